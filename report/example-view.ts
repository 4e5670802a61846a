import type { GenerationView } from './generation-view.ts';

const digest = (letter: string) => letter.repeat(64);

/** A made-up generation of three tasks: what the tests and the look of the report are checked with. */
export function exampleView(): GenerationView {
  const curve = (task: string, from: number) => ({
    task,
    points: Array.from({ length: 150 }, (_, i) => ({
      step: i + 1,
      loss: from * Math.exp(-i / 40) + 0.12 + 0.09 * Math.abs(Math.sin(i * 12.9898) * Math.cos(i * 4.1)),
    })),
  });
  const task = (
    name: string,
    metric: string,
    generation: number,
    answers: Array<[string, string, string, number]>,
  ) => ({
    task: name,
    dataset: {
      uri: `s3://lilora/datasets/${name}`,
      digest: digest('abc'[generation - 1]!),
      licence: 'CC-BY-4.0',
      source: 'examples/make-datasets.ts',
      counts: { train: 1200, test: 200 },
    },
    metric,
    generation,
    instructionFollowing: 98.5,
    adapter: `adapters/${name}`,
    predictions: answers.map(([prompt, answer, reference, score], i) => ({
      id: `${name}-test-${i}`,
      prompt,
      answer,
      references: [reference],
      score,
    })),
  });
  const scores = (names: string[], before: Array<number | null>, now: number[]) =>
    names.map((name, j) => ({ task: name, before: before[j] ?? null, now: now[j]! }));
  const names = ['science', 'digits', 'caption'];
  const cost = (times: number) => ({
    usefulSeconds: 20 * times,
    billedSeconds: 25.5 * times,
    bytesRead: 9_000_000 * times,
    bytesWritten: 3_000_000 * times,
    money: 0.0123 * times,
  });
  return {
    stream: 'demo',
    generation: 3,
    parent: 2,
    publishedAt: '2026-11-24T15:30:00.000Z',
    model: { uri: 's3://lilora/models/example', digest: digest('d'), name: 'example/model' },
    method: { name: 'lilora', options: { rank: 16, alpha: 32, innerRank: 4, anchor: 1 } },
    targets: 'paper',
    training: { learningRate: 0.004, batchSize: 16, epochs: 2, warmupRatio: 0.03 },
    seed: 0,
    tasks: [
      task('science', 'option-letter', 1, [
        ['Which of these is a liquid at room temperature? A. iron B. water C. oxygen', 'B', 'B', 1],
        ['Which way does the arrow point? A. left B. right', 'A', 'B', 0],
      ]),
      task('digits', 'exact', 2, [['What number is written here?', '47', '47', 1]]),
      task('caption', 'cider', 3, [
        [
          'Describe the picture in one sentence.',
          'A red circle is left of a blue square.',
          'A red circle left of a blue square.',
          0.93,
        ],
      ]),
    ],
    matrix: { tasks: names, zeroShot: [31.5, 0.5, 12.2], rows: [[88.5], [87.0, 91.0], [86.5, 90.5, 91.5]] },
    metrics: { AP: 89.5, MAP: 89.0, MFT: 90.3, BWT: -1.25, forgetting: 1.25, FWT: null, MIF: 98.5 },
    gate: [
      {
        attempt: 'trained',
        scores: scores(names, [88.5, 91], [80.5, 90, 92]),
        worstLoss: 8,
        gain: 79.8,
        verdict: 'over-budget',
      },
      {
        attempt: 'consolidated 0.5',
        scores: scores(names, [88.5, 91], [86.5, 90.5, 91.5]),
        worstLoss: 2,
        gain: 79.3,
        verdict: 'pass',
      },
    ],
    losses: [curve('science', 1.9), curve('digits', 3.4), curve('caption', 2.6)],
    parameters: { shared: 36_864, perTask: 14_336, loraPerTask: 48_128 },
    files: [
      { path: 'bank.safetensors', size: 412_345, sha256: digest('1') },
      { path: 'adapters/caption/adapter_model.safetensors', size: 198_000, sha256: digest('2') },
    ],
    engine: { backend: 'tensorflow', device: 'cpu', version: 'tfjs 4.22.0, TensorFlow 2.21.0' },
    codeVersion: '0.1.0+0123456789ab',
    workflow: { id: 'lilora/demo/caption', runId: '01970000-0000-7000-8000-000000000000' },
    routing: {
      router: 'lda',
      accuracy: 98.5,
      averageScore: 88.6,
      tasks: [
        { task: 'science', accuracy: 99, score: 86, count: 200, chosen: { science: 198, caption: 2 } },
        { task: 'digits', accuracy: 100, score: 90.5, count: 200, chosen: { digits: 200 } },
        { task: 'caption', accuracy: 96.5, score: 89.3, count: 200, chosen: { science: 7, caption: 193 } },
      ],
    },
    cost: {
      currency: 'EUR',
      tasks: names.map((name) => ({ task: name, storedBytes: 610_345, ...cost(1) })),
      stream: cost(4),
    },
  };
}

/** Texts that would break a page, a card or a terminal that forgets to escape. */
export const NASTY = [
  '<script>alert(1)</script>',
  '"><img src=x onerror=alert(1)>',
  "'; drop table",
  '</style><script>',
  // biome-ignore lint/suspicious/noTemplateCurlyInString: it is the point
  '${x} `code` | cell | [link](javascript:alert(1))',
  'line\nbreak\u202ereversed\u0000\u001b[31m',
  '---\nlicense: mit',
  '&amp;&lt;',
  'https://evil.example/x.png',
];

/** The example with one text in every place where text can be. */
export const nastyView = (text: string): GenerationView => {
  const view = exampleView();
  return {
    ...view,
    stream: text,
    publishedAt: text,
    license: text,
    model: { uri: text, digest: text, name: text },
    method: { name: text, options: { [text]: text } },
    targets: [text],
    codeVersion: text,
    engine: { backend: text, device: text, version: text },
    workflow: { id: text, runId: text },
    matrix: { ...view.matrix, tasks: view.matrix.tasks.map(() => text) },
    gate: view.gate.map((g) => ({
      ...g,
      attempt: text,
      verdict: text,
      scores: g.scores.map((s) => ({ ...s, task: text })),
    })),
    losses: view.losses.map((l) => ({ ...l, task: text })),
    routing: {
      ...view.routing!,
      router: text,
      tasks: view.routing!.tasks.map((t) => ({ ...t, task: text, chosen: { [text]: 1 } })),
    },
    files: [{ path: text, size: 1, sha256: text }],
    cost: { ...view.cost!, currency: text, tasks: view.cost!.tasks.map((t) => ({ ...t, task: text })) },
    tasks: view.tasks.map((t) => ({
      ...t,
      task: text,
      metric: text,
      adapter: text,
      dataset: { uri: text, digest: text, licence: text, source: text, counts: { [text]: 3 } },
      predictions: [{ id: text, prompt: text, answer: text, references: [text], score: 0, image: text }],
    })),
  };
};
