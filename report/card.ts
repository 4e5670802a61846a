import { costBlocks } from './cost.ts';
import {
  fixed,
  type GenerationView,
  METRIC_NAMES,
  METRICS,
  removalText,
  sampledText,
  signed,
  startText,
} from './generation-view.ts';
import { visible } from './markup.ts';
import { hasAdapters, NO_ADAPTERS, usageWithPeft } from './peft-usage.ts';
import { routingBlocks } from './routing.ts';

/** The model card (`README.md`) of a generation: a YAML head that model hubs read, and a body for people. */
export function modelCard(view: GenerationView): string {
  return `---\n${head(view)}\n---\n\n${body(view)}`;
}

/** JSON is YAML, so every text is written as a JSON string: no name can end the head or start a new key. */
const yaml = (text: string) => JSON.stringify(visible(text.replace(/[\r\n\t]+/g, ' ')));

function head(view: GenerationView): string {
  const last = view.matrix.rows.at(-1) ?? [];
  const results = view.tasks.flatMap(({ task, metric, dataset }, j) =>
    last[j] === undefined
      ? []
      : [
          '      - task:',
          '          type: image-text-to-text',
          '        dataset:',
          `          name: ${yaml(task)}`,
          `          type: ${yaml(dataset.uri)}`,
          `          revision: ${yaml(dataset.digest)}`,
          '        metrics:',
          `          - type: ${yaml(metric)}`,
          `            name: ${yaml(`${metric} (percent)`)}`,
          `            value: ${Number(last[j].toFixed(2))}`,
        ],
  );
  return [
    ...(hasAdapters(view) ? ['library_name: peft'] : []),
    `base_model: ${yaml(view.model.name)}`,
    'base_model_relation: adapter',
    'pipeline_tag: image-text-to-text',
    `license: ${yaml(view.license ?? 'other')}`,
    'datasets:',
    ...view.tasks.map(({ task }) => `  - ${yaml(task)}`),
    'tags:',
    ...['lilora', 'lora', 'continual-learning', view.method.name].map((tag) => `  - ${yaml(tag)}`),
    'model-index:',
    `  - name: ${yaml(`${view.stream} generation ${view.generation}`)}`,
    '    results:',
    ...results,
  ].join('\n');
}

/** Text of others inside Markdown: no markup, no HTML, no table cell border, one line. */
export function markdown(text: string): string {
  return visible(text.replace(/[\r\n\t]+/g, ' '))
    .replace(/[\\`*_{}[\]()#+!|~$]/g, (c) => `\\${c}`)
    .replace(/&/g, '&amp;')
    .replace(/</g, '&lt;')
    .replace(/>/g, '&gt;')
    .replace(/:\/\//g, ':&#47;&#47;');
}

/** Text of others as inline code: only the backtick and line breaks could leave it. */
const code = (text: string) =>
  `\`${visible(text.replace(/[\r\n\t]+/g, ' '))
    .replace(/`/g, 'ˋ')
    .replace(/\|/g, '¦')}\``;

function earlierData(rehearsed: GenerationView['rehearsed']): string {
  if (!rehearsed) return 'without the data of the earlier ones';
  const { perTask, aside } = rehearsed;
  const data =
    perTask === 'all'
      ? 'all training data of the earlier ones'
      : `up to ${perTask} training samples of each earlier one`;
  return aside ? `looking at ${data} without training on them` : `with ${data}`;
}

function body(view: GenerationView): string {
  const { matrix, metrics, tasks, parameters } = view;
  const names = matrix.tasks.map(markdown);
  const row = (title: string, scores: readonly number[]) =>
    `| ${title} | ${matrix.tasks.map((_, j) => (scores[j] === undefined ? '' : fixed(scores[j]))).join(' | ')} |`;
  const newest = tasks.at(-1)?.task ?? 'TASK';
  const foldable = hasAdapters(view);
  const sampled = sampledText(view.sampled);
  return [
    `# ${markdown(view.stream)}, generation ${view.generation}`,
    `Adapters of a model that learned ${tasks.length} task${tasks.length === 1 ? '' : 's'} one after another, ${earlierData(view.rehearsed)}. ` +
      `Method: ${markdown(view.method.name)}. Base model: ${code(view.model.revision ? `${view.model.name}@${view.model.revision}` : view.model.name)}. Published ${markdown(view.publishedAt)}.`,
    '## Accuracy of every task, after every step',
    [
      `| after learning | ${names.join(' | ')} |`,
      `| --- |${' ---: |'.repeat(names.length)}`,
      row('_nothing (base model)_', matrix.zeroShot),
      ...matrix.rows.map((scores, i) => row(names[i]!, scores)),
    ].join('\n'),
    ...(sampled === '' ? [] : [markdown(sampled)]),
    '## In numbers',
    METRIC_NAMES.map((name) => {
      const value = name === 'BWT' || name === 'FWT' ? signed(metrics[name]) : fixed(metrics[name]);
      const { title, meaning } = METRICS[name];
      return `- **${title}${name === title.toLowerCase() ? '' : ` (${name})`}**: ${value}. ${meaning}`;
    }).join('\n'),
    ...routingBlocks(view.routing, matrix.rows.at(-1) ?? [], markdown),
    '## Use',
    ...(foldable
      ? [
          `Each task is an ordinary LoRA in \`adapters/<task>\`. All share rank, alpha and target layers.`,
          `\`\`\`python\n${usageWithPeft(`adapters/${newest}`)}\n\`\`\``,
        ]
      : [NO_ADAPTERS]),
    '## Tasks and data',
    [
      '| task | learned in generation | scorer | dataset | digest | licence of the data |',
      '| --- | ---: | --- | --- | --- | --- |',
      ...tasks.map(
        ({ task, generation, metric, dataset }) =>
          `| ${markdown(task)} | ${generation} | ${markdown(metric)} | ${code(dataset.uri)} | ${code(dataset.digest.slice(0, 16))} | ${markdown(dataset.licence ?? 'not stated')} |`,
      ),
    ].join('\n'),
    ...costBlocks(view.cost, markdown),
    '## What to know',
    [
      `Scores are measured on the test split of each dataset with greedy decoding, with the task given${view.routing ? ' where it does not say otherwise' : '; nothing chooses the adapter for you'}.`,
      'The base model’s own limits and biases remain, and each adapter was tested on its own task only.',
      ...(view.license === undefined
        ? ['No licence was chosen for these adapters: see the licences of the base model and of the datasets.']
        : []),
      ...(view.start ? [markdown(startText(view.start, tasks))] : []),
      ...(view.removed ?? []).map((removed) => markdown(removalText(removed))),
      ...(parameters
        ? [
            `Each task stores ${parameters.perTask.toLocaleString('en')} parameters of its own and all share ${parameters.shared.toLocaleString('en')}; an ordinary LoRA of the same rank stores ${parameters.loraPerTask.toLocaleString('en')} for each task.${foldable ? ' The files in `adapters/` are unfolded to ordinary LoRA size.' : ''}`,
          ]
        : []),
      `Every file’s SHA-256, the digests of model and data, the code version (${code(view.codeVersion)}) and the engine are in \`manifest.json\`; pictures, answers and training curves are in \`report.html\`.`,
    ]
      .map((note) => `- ${note}`)
      .join('\n'),
    '',
  ].join('\n\n');
}
