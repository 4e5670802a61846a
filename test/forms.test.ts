import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { readEvaluation } from '../activities/evaluation-file.ts';
import { sha256 } from '../core/digest.ts';
import { writeSplit } from '../datasets/prepared.ts';
import type { Prediction } from '../learning/evaluation/evaluate.ts';
import { readGeneration } from '../store/generations.ts';
import { getVerified, type ObjectStore } from '../store/object-store.ts';
import { openStore } from '../store/open.ts';
import { type Form, fits, MARKER, type PlainSample, sampleOf } from './forms/plain.ts';
import { FORMS, writeInForm } from './forms/write.ts';
import { writeRealVocabularyModel } from './real-vocabulary-model.ts';
import { TestServers } from './servers.ts';
import { startStream, submitDataset, tinyStream, untilSettled, uploadFolder } from './tiny-stream.ts';

/** On real parts, on a model with a real vocabulary: a dataset of every form is learned, and what was learned is the same. */
const MODEL = 's3://lilora-test/models/real-vocabulary';
let servers: TestServers;
let store: ObjectStore;

beforeAll(async () => {
  servers = await TestServers.start();
  store = openStore('s3://lilora-test/product');
  const folder = join(servers.folder, 'model');
  writeRealVocabularyModel(folder);
  await uploadFolder(folder, MODEL);
  await servers.worker('orchestrator');
  await servers.worker('gpu');
});
afterAll(() => servers.stop());

const SIZE = { width: 8, height: 6 } as const;
const picture = (r: number) => {
  const create = { ...SIZE, channels: 3, background: { r, g: 60, b: 90 } } as const;
  return sharp({ create }).png().toBuffer();
};
const asked = (id: string, question: string, answer: string, ...pictures: Uint8Array[]): PlainSample => ({
  id,
  turns: [
    { role: 'user', text: `${`${MARKER}\n`.repeat(pictures.length)}${question}` },
    { role: 'assistant', text: answer },
  ],
  pictures,
});

type Splits = Readonly<Record<'train' | 'test', PlainSample[]>>;

/** One picture and one question each: what every form has a place for. In the order of the answers, as folders of labels are. */
async function simple(): Promise<Splits> {
  const split = (name: string, first: number) =>
    Promise.all(
      ['constructor', 'dachshund', 'prototype', 'tabby_cat'].map(async (answer, i) =>
        asked(`${name}-${i}`, 'Which one is it?', answer, await picture(first + i)),
      ),
    );
  return { train: await split('train', 10), test: await split('test', 100) };
}

/** Several turns and pictures, a system turn, several accepted answers, text alone, other scripts. */
async function rich(): Promise<Splits> {
  const [a, b, c] = await Promise.all([1, 2, 3].map(picture));
  const two = asked('0', 'How do they differ?', 'in colour', a!, b!);
  const more = asked('', 'And from\n"this"?', 'so, too', c!);
  const train = [
    {
      ...two,
      turns: [{ role: 'system' as const, text: 'Be brief.' }, ...two.turns, ...more.turns],
      pictures: [a!, b!, c!],
    },
    asked('1', 'What is 2 × 1.50?', '3.00'),
    asked('2', 'これは何ですか', '犬です 🐕', c!),
  ];
  return { train, test: [{ ...asked('3', 'Which is it?', 'cat', b!), references: ['cat', 'house cat'] }] };
}

/** What a stream made of a dataset. */
interface Learned {
  readonly form: Form;
  readonly line: Awaited<ReturnType<typeof untilSettled>>;
  /** `train-…`, `test-…`: splits by their SHA-256. */
  readonly prepared: readonly string[];
  readonly answers: readonly Prediction[];
}

async function learn(form: Form, name: string, splits: Splits): Promise<Learned> {
  const folder = join(servers.folder, 'datasets', name);
  await writeInForm(folder, form, splits, { name });
  const uri = `s3://lilora-test/datasets/${name}`;
  await uploadFolder(folder, uri);
  const training = { batchSize: 2, epochs: 1, learningRate: 1e-3 };
  await startStream(servers, tinyStream(name, { model: MODEL, training }));
  await submitDataset(servers, name, uri);
  const line = await untilSettled(servers, name, name, 250);
  expect(line.message ?? '', form.name).toBe('');
  const keys: string[] = [];
  for await (const { key } of store.list(`streams/${name}/tasks/${name}/prepared/`)) keys.push(key);
  const { predictions } = await readEvaluation(store, await readGeneration(store, name, 1));
  const { file } = predictions[0]!;
  const lines = Buffer.from(await getVerified(store, file.key, file))
    .toString()
    .trimEnd()
    .split('\n');
  return {
    form,
    line,
    prepared: keys.flatMap((key) => /(?:test|train)-[0-9a-f]{64}/.exec(key) ?? []).sort(),
    answers: lines.map((each) => JSON.parse(each)),
  };
}

/** The prepared splits of samples that no reader ever saw. */
async function preparedOf(splits: Splits): Promise<string[]> {
  const pack = async (split: 'test' | 'train') => {
    const pictures = splits[split].flatMap((sample) => sample.pictures);
    const images = new Map(pictures.map((bytes) => [sha256(bytes), bytes]));
    const facts = new Map([...images].map(([digest, bytes]) => [digest, { ...SIZE, bytes: bytes.length }]));
    const path = join(servers.folder, 'expected');
    return `${split}-${(await writeSplit(path, splits[split].map(sampleOf), images, facts)).sha256}`;
  };
  return [await pack('test'), await pack('train')];
}

it('a dataset of every form is learned, each by a stream of its own, and all learned the same', async () => {
  const sets = { rich: await rich(), simple: await simple() };
  const expected = { rich: await preparedOf(sets.rich), simple: await preparedOf(sets.simple) };
  const able = (form: Form, splits: Splits) => fits(form, splits.train) && fits(form, splits.test);
  const all = FORMS.map((form, i) => {
    const set = able(form, sets.rich) ? 'rich' : 'simple';
    expect(able(form, sets[set]), form.name).toBe(true);
    return learn(form, `form-${i}`, sets[set]).then((learned) => ({ ...learned, set }) as const);
  });
  const said = new Map<string, string>();
  for (const { form, set, line, prepared, answers } of await Promise.all(all)) {
    const { test } = sets[set];
    expect(line, form.name).toMatchObject({ status: 'published', generation: 1 });
    // The same samples and pictures, byte by byte, whatever form they came in.
    if (form.limits.ids !== 'none') expect(prepared, form.name).toEqual(expected[set]);
    expect(
      answers.map(({ references }) => references),
      form.name,
    ).toEqual(test.map((sample) => sampleOf(sample).references));
    const texts = JSON.stringify(answers.map(({ text }) => text));
    if (!said.has(set)) said.set(set, texts);
    expect(texts, form.name).toBe(said.get(set));
  }
});
