import type { DatasetView, Shown } from '../../core/dataset-view.ts';
import { bytes, fixed } from '../generation-view.ts';
import { Html, html } from '../markup.ts';
import { barFigure, sizesFigure, whole } from './figures.ts';
import { samplesSection } from './samples.ts';
import { DATASET_STYLE } from './style.ts';

/** One self-contained page about a dataset: no script, no external asset, readable without colour. */
export function datasetPage(view: DatasetView): string {
  return html`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<title>${view.name}: dataset</title><style>${new Html(DATASET_STYLE)}</style></head>
<body><main>${[header(view), problems(view), splits(view), lengths(view), answers(view), pictures(view), samplesSection(view), left(view)]}</main></body></html>
`.text;
}

const number = (text: string | Html) => html`<td class="number">${text}</td>`;
const head = (names: readonly string[]) =>
  html`<thead><tr>${names.map((name, i) => html`<th scope="col" class="${i === 0 ? '' : 'number'}">${name}</th>`)}</tr></thead>`;

function header({ name, place, madeAt, manifest, digest, model, problems: wrong, moreProblems }: DatasetView): Html {
  const count = wrong.length + moreProblems;
  const verdict =
    count === 0
      ? html`<span class="badge good">✓ a good dataset</span>`
      : html`<span class="badge bad">✗ refused: ${whole(count)} problem${count === 1 ? '' : 's'}</span>`;
  const facts: Array<[string, string | Html]> = [
    ['place', html`<code>${place}</code>`],
    ...(manifest
      ? ([
          ['kind', manifest.kind],
          ['scored by', manifest.metric],
          ['licence', manifest.licence],
          ['source', manifest.source],
        ] as Array<[string, string]>)
      : []),
    ...(digest === null ? [] : [['digest', html`<code>${digest}</code>`] as [string, Html]]),
    ['model', model ? html`<code>${model.name}</code>, reads ${whole(model.contextLength)} tokens` : 'none named'],
    ['looked at', madeAt],
  ];
  return html`<header><h1>${name} ${verdict}</h1>
<dl class="facts">${facts.map(([fact, value]) => html`<dt>${fact}</dt><dd>${value}</dd>`)}</dl></header>`;
}

function problems({ problems: wrong, moreProblems }: DatasetView): Html {
  if (wrong.length === 0) return html``;
  return html`<section><h2>What is wrong</h2><p>Nothing is trained on this dataset until it is mended. What was read before it was refused stands below.</p>
<ul class="problems">${wrong.map(({ text, sample }) => html`<li>${text}${sample !== undefined && html`<details><summary>the sample there</summary><pre>${sample}</pre></details>`}</li>`)}</ul>
${moreProblems > 0 && html`<p class="soft">and ${whole(moreProblems)} more</p>`}</section>`;
}

function splits({ splits: all, model }: DatasetView): Html {
  if (all.length === 0) return html``;
  const unit = model ? 'tokens' : 'characters';
  const row = (split: DatasetView['splits'][number]) =>
    html`<tr><th scope="row">${split.name}</th>${[split.samples, split.turns, split.answers, split.images, split.textOnly].map((value) => number(whole(value)))}${number(
      split.lengths ? whole(split.lengths.median) : '–',
    )}${number(split.lengths ? whole(split.lengths.max) : '–')}</tr>`;
  return html`<section><h2>Splits</h2><div class="scroll"><table>${head(['split', 'samples', 'turns', 'answers', 'pictures', 'without picture', `${unit}, median`, 'longest'])}<tbody>${all.map(row)}</tbody></table></div></section>`;
}

function lengths({ splits: all, model }: DatasetView): Html {
  const measured = all.filter((split) => split.lengths);
  if (measured.length === 0) return html``;
  const unit = model ? 'tokens' : 'characters';
  const said = model
    ? html`A whole conversation with its image tokens, as <code>${model.name}</code> reads it. The model reads ${whole(model.contextLength)}; nothing is cut.`
    : html`A whole conversation without its pictures. With <code>--model</code> this is in tokens.`;
  return html`<section><h2>Lengths</h2><p>${said}</p><div class="figures">${measured.map((split) => barFigure(`${split.name}, conversations`, split.lengths, unit))}${measured.map(
    (split) => barFigure(`${split.name}, answers`, split.answerLengths, 'characters'),
  )}</div></section>`;
}

function answers({ answers: { splits: names, commonest, distinct, unseen }, splits: all }: DatasetView): Html {
  if (commonest.length === 0) return html``;
  const totals = names.map((name) => all.find((split) => split.name === name)?.answers ?? 0);
  const share = (count: number, i: number) => (totals[i] ? (100 * count) / totals[i] : 0);
  const different = names
    .map((name, i) => `${name} ${distinct[i]?.atLeast ? 'more than ' : ''}${whole(distinct[i]?.count ?? 0)}`)
    .join(', ');
  const row = ({ text, counts }: (typeof commonest)[number]) =>
    html`<tr><th scope="row">${text === '' ? html`<em>(empty)</em>` : text}</th>${counts.map((count, i) => number(count === 0 ? '–' : html`${whole(count)} <span class="soft">${fixed(share(count, i))} %</span>`))}<td>${counts.map(
      (count, i) =>
        count > 0 &&
        html`<span class="bar ${i === 0 ? '' : 'other'}" style="width:${Math.min(100, share(count, i)).toFixed(1)}%"></span>`,
    )}</td></tr>`;
  const others = totals.reduce((sum, total, i) => sum + (names[i] === 'train' ? 0 : total), 0);
  return html`<section><h2>Answers</h2><p>Different answers: ${different}.${
    unseen !== null &&
    others > 0 &&
    unseen > 0 &&
    ` Of the ${whole(others)} answers of other splits ${whole(unseen)} never occur in training.`
  }</p>
<div class="scroll"><table class="bars">${head(['commonest', ...names, ''])}<tbody>${commonest.map(row)}</tbody></table></div></section>`;
}

function pictures({ pictures: found }: DatasetView): Html {
  if (!found) return html``;
  const { count, bytes: size, longerSide, sizes, distinct, atLeast } = found;
  const rows = sizes.map(
    ({ width, height, count: times }) =>
      html`<tr><th scope="row">${width} × ${height}</th>${number(whole(times))}${number(`${fixed((100 * times) / count)} %`)}</tr>`,
  );
  return html`<section><h2>Pictures</h2><p>${whole(count)} different picture${count === 1 ? '' : 's'}, ${bytes(size)}; ${atLeast ? 'at least ' : ''}${whole(distinct)} different size${distinct === 1 ? '' : 's'}.</p>
<div class="figures">${distinct > 1 && [sizesFigure(found), barFigure('Longer side', longerSide, 'pixels')]}
<figure><table>${head(['width × height', 'pictures', 'share'])}<tbody>${rows}</tbody></table><figcaption>the commonest</figcaption></figure></div></section>`;
}

const LIKE = {
  same: 'the same as one of',
  near: 'like one of',
  question: 'another answer to a question of',
} as const;
const BUT = {
  same: '',
  near: ', but for case, space, punctuation or the encoding of a picture',
  question: ' about the same pictures',
} as const;

function alikeRow({ kind, splits: [earlier, later], count, examples }: DatasetView['alike'][number]): Html {
  const shown = examples.slice(0, 5).map(({ where, other }) => html`<div>${where} as ${other}</div>`);
  return html`<tr><th scope="row">${later}</th>${number(whole(count))}<td>${LIKE[kind]} ${earlier}${BUT[kind]}</td><td>${shown}</td></tr>`;
}

function more({ count, shown }: Shown<unknown>): Html {
  return shown.length > 0 && count > shown.length
    ? html`<p class="soft">and ${whole(count - shown.length)} more</p>`
    : html``;
}

/** What is not learned, or worth a look. */
function left(view: DatasetView): Html {
  const { leftOut, keys, renamedIds, alike, unusedFiles } = view;
  const list = (title: string, said: string, of: Shown<unknown>, names: readonly string[], rows: readonly Html[]) =>
    of.count > 0 &&
    html`<section><h2>${title} <span class="soft">${whole(of.count)}</span></h2><p>${said}</p><div class="scroll"><table><thead><tr>${names.map((name) => html`<th scope="col">${name}</th>`)}</tr></thead><tbody>${rows}</tbody></table></div>${more(of)}</section>`;
  return html`${[
    list(
      'Left out of training',
      'Samples whose answer this model cannot learn.',
      leftOut,
      ['id', 'where', 'why'],
      leftOut.shown.map(
        ({ id, where, why }) => html`<tr><th scope="row" class="mono">${id}</th><td>${where}</td><td>${why}</td></tr>`,
      ),
    ),
    list(
      'Keys that were not read',
      'They hold something in so many samples, and nothing is learned from it.',
      { count: keys.length, shown: keys },
      ['key', 'why', 'samples', 'first at'],
      keys.map(
        ({ key, why, samples, where }) =>
          html`<tr><th scope="row" class="mono">${key}</th><td>${why === 'ignore' ? html`<code>ignore</code> of dataset.json names it` : why}</td>${number(whole(samples))}<td>${where}</td></tr>`,
      ),
    ),
    list(
      'Ids that were made unique',
      'Another sample had them before.',
      renamedIds,
      ['id', 'is now'],
      renamedIds.shown.map(({ was, id }) => html`<tr><td class="mono">${was}</td><td class="mono">${id}</td></tr>`),
    ),
    list(
      'Samples that are alike',
      'What is tested should not have been learned; what is said twice weighs twice.',
      { count: alike.reduce((sum, { count }) => sum + count, 0), shown: [] },
      ['of', 'samples', '', 'for example'],
      alike.map(alikeRow),
    ),
    list(
      'Files that no sample uses',
      'dataset.json lists them; they were verified, and nothing of them is learned.',
      unusedFiles,
      ['path'],
      unusedFiles.shown.map((path) => html`<tr><td class="mono">${path}</td></tr>`),
    ),
  ]}`;
}
