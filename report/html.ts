import { costSection } from './cost.ts';
import {
  bytes,
  fixed,
  type GenerationView,
  METRIC_NAMES,
  METRICS,
  type PredictionView,
  removalText,
  sampledText,
  signed,
  startText,
} from './generation-view.ts';
import { lossFigure } from './loss-figure.ts';
import { Html, html } from './markup.ts';
import { matrixTable } from './matrix-table.ts';
import { hasAdapters, NO_ADAPTERS, usageWithPeft } from './peft-usage.ts';
import { routingSection } from './routing.ts';
import { STYLE } from './style.ts';

/** One self-contained page about a generation: no script, no external asset, readable without colour. */
export function generationReport(view: GenerationView): string {
  const title = `${view.stream}, generation ${view.generation}`;
  const sampled = sampledText(view.sampled);
  return html`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<title>${title}</title><style>${new Html(STYLE)}</style></head>
<body><main>${[
    header(view),
    html`<section><h2>Accuracy of every task, after every step</h2>${matrixTable(view.matrix)}${sampled !== '' && html`<p class="soft">${sampled}</p>`}</section>`,
    numbers(view),
    routingSection(view.routing, view.matrix.rows.at(-1) ?? []),
    gateHistory(view),
    training(view),
    predictions(view),
    parameters(view),
    costSection(view.cost),
    lineage(view),
    usage(view),
  ]}</main></body></html>
`.text;
}

function header(view: GenerationView): Html {
  const newest = view.tasks.at(-1);
  const facts: Array<[string, string | Html]> = [
    ['learned', newest ? html`<strong>${newest.task}</strong>, task ${view.tasks.length} of this stream` : '–'],
    ['published', view.publishedAt],
    ['method', view.method.name],
    [
      'base model',
      html`${view.model.name}${view.model.revision ? ` at ${view.model.revision}` : ''}, <code>${view.model.uri}</code>`,
    ],
    ['built on', view.parent === null ? 'the base model alone' : `generation ${view.parent}`],
    ...(view.start ? [['started from', startText(view.start, view.tasks)] as [string, string]] : []),
    ...(view.removed ?? []).map((removed): [string, string] => ['removed', removalText(removed)]),
    [
      'computed by',
      view.engine ? `${view.engine.backend} on ${view.engine.device}, ${view.engine.version}` : 'not recorded',
    ],
  ];
  return html`<header><h1>${view.stream} <span class="soft">generation ${view.generation}</span></h1>
<dl class="facts">${facts.map(([name, value]) => html`<dt>${name}</dt><dd>${value}</dd>`)}</dl></header>`;
}

function numbers({ metrics, tasks }: GenerationView): Html {
  return html`<section><h2>In numbers</h2><ul class="cards">${METRIC_NAMES.map((name) => {
    const text = name === 'BWT' || name === 'FWT' ? signed(metrics[name]) : fixed(metrics[name]);
    const { title, meaning } = METRICS[name];
    return html`<li><span class="soft">${title}${name === title.toLowerCase() ? '' : ` (${name})`}</span><strong>${text}</strong><span class="soft">${meaning}</span></li>`;
  })}</ul>
<p class="soft">All in points of a hundred. Scores of different scorers (${[...new Set(tasks.map(({ metric }) => metric))].join(', ')}) share the averages;
caption scores (CIDEr) can exceed 100.</p></section>`;
}

function gateHistory({ gate }: GenerationView): Html {
  const attempt = (report: GenerationView['gate'][number]) => {
    const changes = report.scores.map(
      ({ task, before, now }) =>
        html`<div>${task} ${before === null ? html`${fixed(now)} <span class="soft">(new)</span>` : html`${fixed(before)} → ${fixed(now)}`}</div>`,
    );
    const verdict = html`<span class="${report.verdict === 'pass' ? 'good' : 'bad'}">${report.verdict}</span>`;
    return html`<tr><th scope="row">${report.attempt}</th><td>${changes}</td><td class="number">${fixed(report.worstLoss)}</td><td class="number">${signed(report.gain)}</td><td>${verdict}</td></tr>`;
  };
  return html`<section><h2>At the gate</h2>
<p>A generation is published only if no earlier task lost more than the forgetting budget and the new task gained enough over the base model.
Over the budget, the shared part is regularized more strongly and tried again.</p>
<div class="scroll"><table><thead><tr><th scope="col">attempt</th><th scope="col">best so far → now</th><th scope="col" class="number">worst loss</th><th scope="col" class="number">gain of the new task</th><th scope="col">verdict</th></tr></thead>
<tbody>${gate.map(attempt)}</tbody></table></div></section>`;
}

function training({ losses, training: settings, seed }: GenerationView): Html {
  const list = [...Object.entries(settings), ['seed', seed] as const]
    .map(([name, value]) => `${name} ${value}`)
    .join(', ');
  return html`<section><h2>Training</h2><p class="soft">${list}</p><div class="curves">${losses.map(lossFigure)}</div></section>`;
}

/** Right or wrong in a word; scores between, as captions have, as they are. */
function verdict(score: number): Html {
  if (score > 0 && score < 1) return html`<span class="soft">scored ${fixed(100 * score)}</span>`;
  return score >= 1 ? html`<span class="good">✓ right</span>` : html`<span class="bad">✗ wrong</span>`;
}

/** The only pictures that a report takes. */
const PICTURE = /^data:image\/(?:png|jpeg|webp);base64,[A-Za-z0-9+/]+=*$/;

function predictions({ tasks }: GenerationView): Html {
  const answer = (p: PredictionView) => html`<li class="${p.score >= 0.5 ? 'right' : 'wrong'}">
${p.image && PICTURE.test(p.image) ? html`<img src="${p.image}" alt="">` : ''}<div>${p.prompt && html`<p class="soft">${p.prompt}</p>`}
<p>${verdict(p.score)} ${p.answer === '' ? html`<em>(empty answer)</em>` : html`<strong>${p.answer}</strong>`}</p>
<p class="soft">expected ${p.references.slice(0, 3).join(' or ')} · <span class="mono">${p.id}</span></p></div></li>`;
  const shown = tasks.filter((task) => task.predictions.length > 0);
  if (shown.length === 0) return html``;
  return html`<section><h2>What it answers</h2>${shown.map(
    (task) =>
      html`<h3>${task.task} <span class="soft">scored by ${task.metric}</span></h3><ul class="answers">${task.predictions.map(answer)}</ul>`,
  )}</section>`;
}

function parameters({ parameters: counts, tasks }: GenerationView): Html {
  if (!counts) return html``;
  const total = counts.shared + counts.perTask * tasks.length;
  const lora = counts.loraPerTask * tasks.length;
  const bar = (name: string, value: number, other: boolean) =>
    html`<tr><th scope="row">${name}</th><td class="number">${value.toLocaleString('en')}</td><td style="min-width:14rem"><span class="bar ${other ? 'other' : ''}" style="width:${((100 * value) / Math.max(total, lora, 1)).toFixed(1)}%"></span></td></tr>`;
  return html`<section><h2>Parameters</h2>
<p>Each task stores ${counts.perTask.toLocaleString('en')} parameters of its own, ${fixed((100 * counts.perTask) / Math.max(1, counts.loraPerTask), 0)} % of an ordinary LoRA
of the same rank on the same layers; ${counts.shared.toLocaleString('en')} are shared by all tasks.</p>
<table><tbody>${bar(`this stream, ${tasks.length} task${tasks.length === 1 ? '' : 's'}`, total, false)}${bar('one LoRA per task', lora, true)}</tbody></table></section>`;
}

function lineage(view: GenerationView): Html {
  const rows = view.tasks.map(
    ({ task, dataset, generation, metric }) =>
      html`<tr><th scope="row">${task}</th><td>${generation}</td><td>${metric}</td><td><code>${dataset.uri}</code><br><span class="soft mono">${dataset.digest}</span>${dataset.licence && html`<br><span class="soft">${dataset.licence}${dataset.source && html`; ${dataset.source}`}</span>`}</td><td>${Object.entries(dataset.counts ?? {}).map(([split, n]) => html`<div>${split} ${n}</div>`)}</td></tr>`,
  );
  return html`<section><h2>Where it comes from</h2>
<div class="scroll"><table><thead><tr><th scope="col">task</th><th scope="col">generation</th><th scope="col">scorer</th><th scope="col">dataset and its digest</th><th scope="col">samples</th></tr></thead><tbody>${rows}</tbody></table></div>
<dl class="facts"><dt>model digest</dt><dd class="mono">${view.model.digest}</dd><dt>adapted layers</dt><dd>${typeof view.targets === 'string' ? view.targets : view.targets.join(', ')}</dd>
<dt>method options</dt><dd class="mono">${JSON.stringify(view.method.options)}</dd><dt>code</dt><dd class="mono">${view.codeVersion}</dd>
${view.workflow && html`<dt>workflow</dt><dd class="mono">${view.workflow.id} (run ${view.workflow.runId})</dd>`}</dl>
<details><summary>${view.files.length} files with their SHA-256</summary><div class="scroll"><table><tbody>${view.files.map(
    ({ path, size, sha256 }) =>
      html`<tr><td class="mono">${path}</td><td class="number">${bytes(size)}</td><td class="mono soft">${sha256}</td></tr>`,
  )}</tbody></table></div></details></section>`;
}

function usage(view: GenerationView): Html {
  const { stream, generation, tasks } = view;
  if (!hasAdapters(view)) return html`<section><h2>Use it</h2><p>${NO_ADAPTERS.replaceAll('`', '')}</p></section>`;
  const task = tasks.at(-1)?.task ?? 'TASK';
  return html`<section><h2>Use it</h2><p>Every task is an ordinary LoRA that PEFT loads. All of them share rank, alpha and target layers, so a server can swap them while it runs.</p>
<pre>npx lilora pull ${stream} ./adapters --generation ${generation}</pre>
<pre>${usageWithPeft(`./adapters/${task}`)}</pre></section>`;
}
