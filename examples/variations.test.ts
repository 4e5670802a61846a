import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { localFolder } from '../datasets/local-folder.ts';
import { readManifest } from '../datasets/manifest.ts';
import { makeDataset } from './make-datasets.ts';
import { VARIATIONS } from './variations.ts';

const root = mkdtempSync(join(tmpdir(), 'lilora-variations-'));
afterAll(() => rmSync(root, { recursive: true }));

it('are fifty tasks, told apart by question and instruction', () => {
  expect(new Set(VARIATIONS.map(({ name }) => name)).size).toBe(50);
  expect(new Set(VARIATIONS.map(({ kind, instruction }) => `${kind} ${instruction}`)).size).toBe(50);
});

it('ask for the same thing in another style', () => {
  const answers = (answer: string) =>
    Object.fromEntries(
      VARIATIONS.filter(({ kind }) => kind === 'open').map(({ name, of }) => [
        name.replace('open-', ''),
        of({ text: '', answer }).answer,
      ]),
    );
  expect(answers('red')).toEqual({
    plain: 'red',
    sentence: 'it is red.',
    next: 'green',
    twice: 'red and red',
    negated: 'not green',
    label: 'answer: red',
    second: 'blue',
    question: 'is it red?',
    pair: 'red green',
    given: 'the answer is red',
  });
  // The last one of a list is followed by the first.
  expect([answers('9')['next'], answers('left')['next'], answers('no')['second']]).toEqual(['0', 'above', 'no']);
});

it.each(VARIATIONS)('$name is a dataset that the product takes', async ({ name }) => {
  const folder = join(root, name);
  await makeDataset(name, { train: 4, test: 2, seed: 0, instructions: 'single' }, folder);
  expect((await readManifest(localFolder(folder))).name).toBe(name);
});

it('become datasets as the example tasks do', async () => {
  const sizes = { train: 30, test: 10, seed: 0, instructions: 'single' } as const;
  const folder = join(root, 'relation-pair');
  expect(await makeDataset('relation-pair', sizes, folder)).toEqual({ train: 30, test: 10 });
  const samples = JSON.parse(readFileSync(join(folder, 'train.json'), 'utf8')) as {
    conversations: { value: string }[];
  }[];
  for (const { conversations } of samples) {
    expect(conversations[0]!.value).toMatch(/^<image>\nwhere is .* name it and the one that follows\.$/);
    expect(conversations[1]!.value).toMatch(/^(above right|right below|below left|left above)$/);
  }
});
