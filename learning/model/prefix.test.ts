import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { expectNear, lastTokens, NEAR, REFERENCE_MODELS, reference } from '../../test/reference.ts';
import { startTensors } from '../tensors/backend.ts';
import { type Adapt, noAdapter } from './model.ts';
import { checkPrefix } from './prefix.ts';
import { loadModel } from './registry.ts';
import type { VisionLanguageModel } from './vision-language.ts';

/* Learned states before every row, against transformers (test/fixtures/make-prefix.py). */

/** The base model behind a prefix. */
const behind = (prefix: tf.Tensor2D): Adapt => Object.assign<Adapt, object>((_layer, _x, base) => base, { prefix });

describe.each(REFERENCE_MODELS)('%s', (name) => {
  const ref = reference(name);
  const known = ref.tensors('prefix.safetensors');
  const numbers = (key: string) => known.get(key)!.data as Float32Array;
  let model: VisionLanguageModel;
  let prefix: tf.Tensor2D;

  beforeAll(async () => {
    await startTensors('tensorflow', { threads: 2 });
    model = (await loadModel(join(ref.folder, 'model'))) as VisionLanguageModel;
    const { data, shape } = known.get('prefix')!;
    prefix = tf.tensor2d(data as Float32Array, shape as [number, number]);
  });

  afterAll(() => {
    prefix.dispose();
    model.dispose();
    expect(tf.memory().numTensors).toBe(0);
  });

  test.each(['one', 'pair-right', 'pair-left', 'text'])('%s: logits', (at) => {
    tf.tidy(() => {
      const batch = ref.batch(at);
      const features = ref.features(at, model);
      const places = lastTokens(batch);
      const last = model.logits(batch, features, behind(prefix), places);
      expectNear(last.dataSync(), numbers(`${at}/logits_last`), NEAR.logits, 'last logits');
      const without = model.logits(batch, features, noAdapter, places);
      expect(tf.max(tf.abs(tf.sub(last, without))).dataSync()[0]).toBeGreaterThan(100 * NEAR.logits);
      const all = model.logits(batch, features, behind(prefix));
      expect(all.shape[0]).toBe(batch.rows * batch.length);
      expectNear(tf.gather(all, tf.tensor1d(places, 'int32')).dataSync(), last.dataSync(), NEAR.logits, 'of all');
    });
  });

  const again: Pick<Adapt, 'part'> = { part: () => ({ tensors: [], with: () => noAdapter }) };
  test.each([
    ['loss, and its gradient by the prefix', {}],
    ['the same where layers are computed again on the way back', again],
  ])('%s', (_, more) => {
    tf.tidy(() => {
      const inputs = model.lossInputs(ref.batch('train'), ref.features('train', model));
      const lossOf = (prefix: tf.Tensor) => model.lossOf(inputs, Object.assign(behind(prefix as tf.Tensor2D), more));
      const { value, grad } = tf.valueAndGrad(lossOf)(prefix);
      expect(Math.abs(value.dataSync()[0]! - numbers('train/loss')[0]!)).toBeLessThan(NEAR.loss);
      expectNear(grad.dataSync(), numbers('train/prefix_gradient'), NEAR.loss, 'gradient');
    });
  });

  test('greedy generation with a cache, once and compiled', () => {
    const features = ref.features('one', model);
    const expected = [...numbers('one/generated')];
    const adapt = behind(prefix);
    const [answer] = model.generate(ref.batch('one'), features, adapt, expected.length);
    expect(answer!.ids).toEqual(expected);
    const generator = model.generator((parameters) => behind(parameters as tf.Tensor2D));
    const [again] = generator.generate(ref.batch('one'), features, expected.length, prefix);
    expect(again!.ids).toEqual(expected);
    expectNear(again!.logProbabilities, answer!.logProbabilities, 1e-5, 'compiled log-probabilities');
    generator.dispose();
    features?.dispose();
  });

  test('is refused where the model could not see it whole', () => {
    const { decoder } = model.config;
    checkPrefix(prefix, decoder);
    expect(() => checkPrefix(prefix, { ...decoder, width: decoder.width + 1 })).toThrow('Use the model it was learned');
    expect(() => checkPrefix(prefix, { ...decoder, windows: [null, 16] })).toThrow('look back a few only');
    expect(() => checkPrefix(prefix, { ...decoder, contextLength: 3 })).toThrow('fewer promptTokens');
  });
});
