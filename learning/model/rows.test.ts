import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { expectNear, REFERENCE_MODELS, reference, rowFeatures } from '../../test/reference.ts';
import { smallOptions } from '../../test/small-learning.ts';
import { bindAdapter } from '../methods/adapter.ts';
import type { Bank } from '../methods/method.ts';
import { methodNamed } from '../methods/registry.ts';
import { startTensors } from '../tensors/backend.ts';
import { Random } from '../training/random.ts';
import type { BaseModel, TokenBatch } from './model.ts';
import { loadModel } from './registry.ts';
import { imageRows, nextRows, promptRows } from './rows.ts';

beforeAll(async () => void (await startTensors('tensorflow')));

describe('tokens of samples', () => {
  let values: tf.Tensor2D;
  let matrices: tf.Tensor3D;
  beforeAll(() => {
    values = tf.tensor2d([1, 2, 3, 4], [2, 2]);
    matrices = tf.tensor3d([2, 0, 0, 5], [2, 2, 1]);
  });

  it('of text', () => {
    const rows = promptRows({ rows: 2, length: 3, prompt: tf.tensor2d([0, 1, 1, 1, 0, 0], [2, 3]) });
    const x = tf.tensor2d([9, 9, 1, 2, 3, 4, 5, 6, 9, 9, 9, 9], [6, 2]);
    expect(rows.mean(x).arraySync()).toEqual([
      [2, 3],
      [5, 6],
    ]);
    expect(
      rows
        .spread(values)
        .arraySync()
        .map(([first]) => first),
    ).toEqual([1, 1, 1, 3, 3, 3]);
    expect([...rows.times(x, matrices).dataSync()]).toEqual([18, 2, 6, 30, 45, 45]);
  });

  it('of pictures, with fillers', () => {
    // Positions in two rows of four tokens; the last is a filler.
    const rows = imageRows({ rows: 2, length: 4 }, tf.tensor1d([1, 4, 5, 8], 'int32'));
    const x = tf.tensor2d([1, 2, 3, 4, 5, 6, 9, 9], [4, 2]);
    expect(rows.mean(x).arraySync()).toEqual([
      [1, 2],
      [4, 5],
    ]);
    expect(
      rows
        .spread(values)
        .arraySync()
        .map(([first]) => first),
    ).toEqual([1, 3, 3, 0]);
    expect([...rows.times(x, matrices).dataSync()]).toEqual([2, 20, 30, 0]);
    const none = imageRows({ rows: 2, length: 4 }, tf.tensor1d([4], 'int32'));
    expect(none.mean(tf.tensor2d([[1, 2]])).arraySync()).toEqual([
      [0, 0],
      [1, 2],
    ]);
  });

  it('chosen once, and kept', () => {
    const prompt = promptRows({ rows: 2, length: 1, prompt: tf.ones([2, 1]) });
    expect(prompt.chosen('layer', () => values)).toBe(values);
    const next = nextRows(2, prompt.made);
    const never = () => {
      throw new Error('chosen again');
    };
    expect(next.chosen('layer', never)).toBe(values);
    expect(next.chosen('other', never)).toBe(null);
    expect(next.spread(values)).toBe(values);
  });
});

/** A method that chooses by sample: every answer must be that of its own prompt, generated or read. */
describe.each(REFERENCE_MODELS)('%s', (name) => {
  const ref = reference(name);
  let model: BaseModel;
  let bank: Bank;
  beforeAll(async () => {
    model = await loadModel(join(ref.folder, 'model'));
    const method = methodNamed('mixlora');
    const options = method.options.parse({ ...smallOptions('mixlora'), rank: 2 });
    const layers = model.layers.filter((layer) => ref.json.lora.modules.includes(layer.name));
    const start = method.start(layers, options, new Random(1));
    const random = new Random(2);
    const tensors = [...start.tensors].map(([key, { shape, data }]) => {
      const size = key.includes('router') ? 3 : 0.2;
      return [key, { shape, data: data.map(() => size * random.normal()) }] as const;
    });
    bank = { ...start, tasks: ['a'], tensors: new Map(tensors) };
  });
  afterAll(() => model.dispose());

  it('answers as it would read its answers, alone and beside others', { timeout: 120_000 }, () => {
    const batch = ref.batch('pair-left');
    const features = ref.features('pair-left', model)!;
    const adapter = bindAdapter(bank, 'a');
    const generator = model.generator(adapter.of);
    const before = tf.memory().numTensors;
    const answers = generator.generate(batch, features, 6, adapter.parameters);
    expect(tf.memory().numTensors).toBe(before);
    const one = generator.generate(batch, features, 1, adapter.parameters);
    expect(one.map(({ ids }) => ids[0])).toEqual(answers.map(({ ids }) => ids[0]));
    for (const [row, { ids, logProbabilities }] of answers.entries()) {
      const own = rowFeatures(features, batch, row, model.imageToken);
      const read = withAnswer(batch, row, ids);
      const prompt = read.length - ids.length;
      const positions = Int32Array.from(ids, (_, i) => prompt - 1 + i);
      const logits = model.logits(read, own, adapter.adapt, positions);
      const all = tf.logSoftmax(logits).arraySync() as number[][];
      expectNear(
        ids.map((id, i) => all[i]![id]!),
        logProbabilities,
        2e-4,
        `row ${row}`,
      );
      // Choosing by the answer too would give other numbers.
      const { labels: _, ...unlabelled } = read;
      const other = model.logits(unlabelled, own, adapter.adapt, positions);
      expect(() => expectNear(other.dataSync(), logits.dataSync(), 1e-3, 'logits')).toThrow();
      tf.dispose([own, logits, other]);
    }
    // The first row ends after two tokens: what was chosen for the second stays with it.
    Object.defineProperty(model, 'endTokens', { value: [answers[0]!.ids[1]!], configurable: true });
    const [, rest] = generator.generate(batch, features, 6, adapter.parameters);
    Reflect.deleteProperty(model, 'endTokens');
    expect(rest!.ids).toEqual(answers[1]!.ids.slice(0, rest!.ids.length));
    expectNear(rest!.logProbabilities, answers[1]!.logProbabilities.slice(0, rest!.ids.length), 1e-4, 'second row');
    for (const used of [generator, adapter, features]) used.dispose();
  });

  /** One row of a batch and its answer, labelled as in training. */
  function withAnswer(batch: TokenBatch, row: number, answer: readonly number[]): TokenBatch {
    const { length, inputIds, attentionMask, grids } = batch;
    const prompt = [...inputIds.subarray(row * length, (row + 1) * length)].filter(
      (_, i) => attentionMask[row * length + i],
    );
    return {
      rows: 1,
      length: prompt.length + answer.length,
      inputIds: Int32Array.from([...prompt, ...answer]),
      attentionMask: new Int32Array(prompt.length + answer.length).fill(1),
      labels: Int32Array.from([...prompt.map(() => -100), ...answer]),
      ...(grids && { grids: [grids[row]!] }),
    };
  }
});
