/**
 * What answers without looking score on the example tasks: `npx tsx examples/floors.ts [--train 1200] [--test 200]`.
 * `constant` is the best single answer; `blind` knows the form of the question too, and gives the commonest training
 * answer to that form. A model that sees nothing can get no more, so results are read against them.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { Sample } from '../core/sample.ts';
import { localFolder } from '../datasets/local-folder.ts';
import { validateDataset } from '../datasets/validate.ts';
import { taskScore } from '../learning/evaluation/scorers/scorer.ts';
import { scorerNamed } from '../learning/evaluation/scorers.ts';
import { makeDatasets } from './make-datasets.ts';
import { COLOURS, COLUMNS, NUMBERS, ROWS, SHAPES, SIZES } from './words.ts';

/** Scores of answers that do not look, in percent. */
export interface Floors {
  readonly constant: number;
  readonly blind: number;
}

const CONTENT = new RegExp(
  `\\b(${[...COLOURS, ...SHAPES, ...SIZES, ...ROWS, ...COLUMNS, ...NUMBERS].join('|')})\\b`,
  'g',
);

/** What is asked, whatever it is asked about. */
const form = (sample: Sample) => sample.turns[0]!.text.replace(CONTENT, '_');

/** The commonest of some answers. */
function commonest(answers: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const answer of answers) counts.set(answer, (counts.get(answer) ?? 0) + 1);
  return [...counts].reduce((a, b) => (b[1] > a[1] ? b : a))[0];
}

/** Floors of a dataset with the splits `train` and `test`, by its own metric. */
export async function floorsOf(folder: string): Promise<Floors> {
  const { manifest, splits } = await validateDataset(localFolder(folder));
  const scorer = scorerNamed(manifest.metric);
  const { train = [], test = [] } = splits;
  const mean = (answer: (sample: Sample) => string) => {
    const answers = test.map((sample) => ({ text: answer(sample), references: sample.references }));
    return taskScore(scorer, answers, scorer.score(answers));
  };
  const candidates = [...new Set(test.flatMap(({ references }) => references))].slice(0, 100);
  const byForm = new Map<string, string[]>();
  for (const sample of train) byForm.set(form(sample), [...(byForm.get(form(sample)) ?? []), sample.references[0]!]);
  const usual = commonest(train.map(({ references }) => references[0]!));
  const learned = new Map([...byForm].map(([asked, answers]) => [asked, commonest(answers)]));
  return {
    constant: Math.max(...candidates.map((candidate) => mean(() => candidate))),
    blind: mean((sample) => learned.get(form(sample)) ?? usual),
  };
}

if (process.argv[1] && import.meta.url.endsWith(process.argv[1].split('/').at(-1)!)) {
  const { values } = parseArgs({
    options: { train: { type: 'string', default: '1200' }, test: { type: 'string', default: '200' } },
  });
  const root = mkdtempSync(join(tmpdir(), 'lilora-floors-'));
  const made = await makeDatasets(root, { train: Number(values.train), test: Number(values.test) });
  console.log(`${'task'.padEnd(10)}constant  blind`);
  for (const [name, folder] of Object.entries(made)) {
    const { constant, blind } = await floorsOf(folder);
    console.log(`${name.padEnd(10)}${constant.toFixed(1).padStart(8)}${blind.toFixed(1).padStart(7)}`);
  }
  rmSync(root, { recursive: true });
}
