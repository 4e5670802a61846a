import * as tf from '@tensorflow/tfjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { EncodedSample } from '../../core/sample.ts';
import { reference } from '../../test/reference.ts';
import { bindAdapter } from '../methods/adapter.ts';
import { perTaskLora } from '../methods/per-task-lora/index.ts';
import { type Adapt, type BaseModel, type Generator, noAdapter } from '../model/model.ts';
import { loadModel } from '../model/registry.ts';
import { startTensors } from '../tensors/backend.ts';
import { Random } from '../training/random.ts';
import { answerPrompts, type Evaluation, evaluateTask, type Prediction, scoreAnswers } from './evaluate.ts';
import { scorerNamed, scorerNames } from './scorers.ts';

/** A model of random weights, and the tokens that transformers generates with it. */
const ref = reference('llava-mha');
const answers = (at: string): number[][] => ref.json.generate.find((each: { case: string }) => each.case === at).ids;

let model: BaseModel;
/** Vision features by the name of the picture. */
const pictures = new Map<string, tf.Tensor3D>();
let samples: EncodedSample[];

/** The rows of a case, without their padding. */
function prompts(at: string, images: string[][]): EncodedSample[] {
  const { rows, length, inputIds, attentionMask } = ref.batch(at);
  const wanted = answers(at);
  return Array.from({ length: rows }, (_, row) => ({
    id: `${at}-${row}`,
    inputIds: inputIds.slice(row * length, (row + 1) * length).filter((_, i) => attentionMask[row * length + i]),
    labels: null,
    images: images[row]!,
    references: [wanted[row]!.join(' ')],
  }));
}

beforeAll(async () => {
  await startTensors();
  model = await loadModel(`${ref.folder}/model`);
  for (const at of ['one', 'pair-left']) {
    const pixels = ref.pixels(at)[0]!;
    const features = model.encodeImages(pixels);
    for (let i = 0; i < pixels.shape[0]; i++) pictures.set(`${at}-${i}`, tf.slice(features, [i, 0, 0], [1, -1, -1]));
    tf.dispose([pixels, features]);
  }
  samples = [
    ...prompts('pair-left', [['pair-left-0'], ['pair-left-1']]),
    ...prompts('one', [['one-0']]),
    ...prompts('text', [[]]),
  ];
  // The model makes its tables of positions with the first text.
  await evaluate();
});

afterAll(() => {
  tf.dispose([...pictures.values()]);
  model.dispose();
});

const evaluation = (changes: Partial<Evaluation>, generator: Generator): Evaluation => ({
  model,
  generator,
  parameters: null,
  samples,
  decode: (ids) => ids.join(' '),
  features: (names) => tf.concat(names.map((name) => pictures.get(name)!)),
  scorer: scorerNamed('exact'),
  maxNewTokens: 12,
  batchSize: 8,
  signal: new AbortController().signal,
  onProgress: () => {},
  ...changes,
});
async function withGenerator<T>(adapt: Adapt, run: (generator: Generator) => Promise<T>): Promise<T> {
  const generator = model.generator(() => adapt);
  try {
    return await run(generator);
  } finally {
    generator.dispose();
  }
}
const evaluate = (changes: Partial<Evaluation> = {}, adapt: Adapt = noAdapter) =>
  withGenerator(adapt, (generator) => evaluateTask(evaluation(changes, generator)));

describe('evaluateTask', () => {
  it.each([1, 2, 3, 8])(
    'gives the answers of transformers in the order of the samples, %d at a time',
    async (batchSize) => {
      const before = tf.memory().numTensors;
      const progress: string[] = [];
      const result = await evaluate({ batchSize, onProgress: (done, of) => progress.push(`${done}/${of}`) });
      expect(result.predictions.map(({ id, text, score }) => ({ id, text, score }))).toEqual(
        samples.map(({ id, references }) => ({ id, text: references[0], score: 100 })),
      );
      expect(result.score).toBe(100);
      const batches = Math.ceil(samples.length / batchSize);
      expect(progress).toEqual(Array.from({ length: batches }, (_, i) => `${i + 1}/${batches}`));
      expect(tf.memory().numTensors).toBe(before);
    },
  );

  it('averages scores and forms over the samples', async () => {
    const changed = samples.map((sample, i) => (i === 0 ? { ...sample, references: ['something else'] } : sample));
    const { score, instructionFollowing, predictions } = await evaluate({ samples: changed });
    expect(score).toBe(75);
    // Twelve words are no short answer unless they are the reference.
    expect(instructionFollowing).toBe(75);
    expect(predictions.map(({ score, follows }) => [score, follows])).toEqual([
      [0, false],
      [100, true],
      [100, true],
      [100, true],
    ]);
  });

  it('an answer ends before its end token, and after the most tokens allowed', async () => {
    const stop = answers('one')[0]![4]!;
    const ending: BaseModel = Object.create(model, { endTokens: { value: [stop] } });
    const only = samples.filter(({ id }) => id === 'one-0');
    const { predictions } = await evaluate({ model: ending, samples: only });
    expect(predictions[0]!.text).toBe(answers('one')[0]!.slice(0, 4).join(' '));
    const short = await evaluate({ samples: only, maxNewTokens: 3 });
    expect(short.predictions[0]!.text).toBe(answers('one')[0]!.slice(0, 3).join(' '));
  });

  it('answers with the adapter that it is given, by itself or in turn with others of its kind', async () => {
    const options = perTaskLora.options.parse({});
    const layers = model.layers.filter(({ name }) => name.endsWith('down_proj'));
    const random = new Random(2);
    let bank = perTaskLora.start(layers, options, random);
    for (const task of ['a', 'b']) {
      const trainable = perTaskLora.begin(bank, task, options, random);
      const trained = [...trainable.tensors].map(
        ([key, { start }]) => [key, { shape: start.shape, data: start.data.map(() => random.normal()) }] as const,
      );
      bank = perTaskLora.finish(bank, trainable, new Map(trained));
    }
    const adapters = ['a', 'b'].map((task) => bindAdapter(bank, task));
    expect(adapters[0]!.kind).toBe(adapters[1]!.kind);
    const alone: Prediction[][] = [];
    for (const { adapt } of adapters) alone.push([...(await evaluate({}, adapt)).predictions]);
    for (const [i, { text }] of alone[0]!.entries()) expect(text).not.toBe(samples[i]!.references[0]);
    expect(alone[0]).not.toEqual(alone[1]);

    const generator = model.generator(adapters[0]!.of);
    for (const i of [0, 1, 0]) {
      const { predictions } = await evaluateTask(evaluation({ parameters: adapters[i]!.parameters }, generator));
      expect(predictions).toEqual(alone[i]);
    }
    generator.dispose();
    for (const adapter of adapters) adapter.dispose();
  });

  it('stops between batches when it is cancelled', async () => {
    const before = tf.memory().numTensors;
    const controller = new AbortController();
    const cancelled = evaluate({ batchSize: 1, signal: controller.signal, onProgress: () => controller.abort() });
    await expect(cancelled).rejects.toThrow('cancelled after 1 of 4 batches');
    await expect(cancelled).rejects.toMatchObject({ name: 'Cancelled' });
    expect(tf.memory().numTensors).toBe(before);
  });

  it('answers in parts what it answers as a whole, and every scorer gives the same', async () => {
    // References that some answers meet, some miss and some meet in part; a score of all alike would hide a swap.
    const mixed = samples.map((sample, i) => ({
      ...sample,
      references: [sample.references[0]!.split(' ').slice(i).join(' '), `A ${i} of its own.`],
    }));
    const { whole, parts } = await withGenerator(noAdapter, async (generator) => {
      const settings = evaluation({ samples: mixed, batchSize: 1 }, generator);
      const part = (from: number, to: number) => answerPrompts({ ...settings, batches: { from, to } });
      const parts = [await part(3, 4), await part(0, 1), await part(1, 3)].flat();
      expect(await evaluateTask(settings)).toEqual(scoreAnswers(mixed, parts, settings.scorer));
      return { whole: await answerPrompts(settings), parts };
    });
    expect(new Set(whole.map(({ text }) => text)).size).toBe(samples.length);
    for (const scorer of scorerNames().map(scorerNamed))
      expect(scoreAnswers(mixed, parts, scorer), scorer.name).toEqual(scoreAnswers(mixed, whole, scorer));
  });

  it('scores a task by what its metric makes of all answers, where that is no mean', () => {
    const split = [
      { id: 'long', references: ['a red dog sits on the grass'] },
      { id: 'short', references: ['a blue cat sits on the roof'] },
    ];
    const answers = [
      { sample: 0, text: 'a red dog sits on the grass' },
      { sample: 1, text: 'yes' },
    ];
    const { score, predictions } = scoreAnswers(split, answers, scorerNamed('bleu'));
    expect(predictions.map((prediction) => prediction.score)).toEqual([expect.closeTo(100, 9), 0]);
    expect(score).toBeCloseTo(100 * Math.exp(1 - 14 / 8) * (7 / 8) ** (1 / 4), 9);
  });

  it('refuses parts that leave a sample out, answer one twice, or do not exist', async () => {
    await withGenerator(noAdapter, async (generator) => {
      const settings = evaluation({ batchSize: 2 }, generator);
      const half = await answerPrompts({ ...settings, batches: { from: 0, to: 1 } });
      expect(half).toHaveLength(2);
      for (const answers of [half, [...half, ...half]])
        expect(() => scoreAnswers(samples, answers, settings.scorer)).toThrow(/answers to 2 of 4 samples/);
      await expect(answerPrompts({ ...settings, batches: { from: 1, to: 3 } })).rejects.toThrow(/the test split has 2/);
    });
  });

  it('refuses to score nothing', async () => {
    await expect(evaluate({ samples: [] })).rejects.toMatchObject({ name: 'BadDataset' });
  });
});
