import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { expectNear, REFERENCE_MODELS } from '../../test/reference.ts';
import { apart, halvedReference, referenceAnswers } from '../../test/reference-answers.ts';
import { prompts, smallLearning } from '../../test/small-learning.ts';
import { methodNamed } from '../methods/registry.ts';
import { startTensors } from '../tensors/backend.ts';
import { padBatch } from '../training/batches.ts';
import { trainTask } from '../training/train.ts';
import { noAdapter } from './model.ts';

/* Matrices that stay in 16 bits a number give what float32 matrices give. */

let root: string;
beforeAll(async () => {
  await startTensors('tensorflow');
  root = mkdtempSync(join(tmpdir(), 'lilora-half-'));
});
afterAll(() => {
  rmSync(root, { recursive: true });
  delete process.env['LILORA_EAGER'];
});

/** Some steps, then answers of the base model. */
async function work(name: (typeof REFERENCE_MODELS)[number], folder: string, weights: 'float32' | 'stored') {
  const small = await smallLearning(name, { folder, load: { weights } });
  const bytes = tf.memory().numBytes;
  const method = methodNamed('lilora');
  const samples = small.samples(3);
  const losses: number[] = [];
  const { bank } = await trainTask({
    ...{ model: small.model, method, layers: small.layers, bank: null, task: 'one', samples, seed: 1, identity: {} },
    options: method.options.parse({ rank: 4, alpha: 8, innerRank: 2 }),
    features: small.features,
    training: {
      ...{
        learningRate: 1e-2,
        batchSize: 2,
        microBatchSize: 1,
        epochs: 1,
        warmupRatio: 0,
        weightDecay: 0,
        clipNorm: 1,
      },
    },
    checkpointSeconds: Number.POSITIVE_INFINITY,
    signal: new AbortController().signal,
    onProgress: ({ loss, gradientNorm }) => losses.push(loss, gradientNorm),
  });
  const asked = prompts(samples.slice(0, 2));
  const features = tf.tidy(() => small.features(asked.flatMap(({ images }) => images)));
  const answers = small.model.generate(padBatch(asked, small.model.padToken, { side: 'left' }), features, noAdapter, 8);
  features.dispose();
  small.dispose();
  return { bytes, losses, tensors: bank.tensors, answers };
}

describe.each(REFERENCE_MODELS)('%s', (name) => {
  it.each(['BF16', 'F16'] as const)('learns and answers the same from %s matrices as they are stored', async (type) => {
    const folder = halvedReference(root, name, type);
    process.env['LILORA_EAGER'] = '1';
    const whole = await work(name, folder, 'float32');
    const stored = await work(name, folder, 'stored');
    expect(stored.bytes).toBeLessThan(whole.bytes);
    expect({ ...stored, bytes: 0 }).toEqual({ ...whole, bytes: 0 });
  });

  it('is near float32 weights that are rounded to 16 bits a number', async () => {
    process.env['LILORA_EAGER'] = '0';
    const whole = await referenceAnswers(name);
    const spread = whole.logits.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
    for (const [type, share] of [
      ['BF16', 0.03],
      ['F16', 0.004],
    ] as const) {
      const folder = halvedReference(root, name, type);
      const { logits, loss } = apart(await referenceAnswers(name, { folder, load: { weights: 'stored' } }), whole);
      expect(logits, type).toBeLessThan(share * spread);
      expect(loss, type).toBeLessThan(share);
    }
  });

  it('is nearly the same as graphs, whose optimizer may fuse operations otherwise', async () => {
    const folder = halvedReference(root, name, 'BF16');
    process.env['LILORA_EAGER'] = '0';
    const whole = await work(name, folder, 'float32');
    const stored = await work(name, folder, 'stored');
    expectNear(stored.losses, whole.losses, 2e-5, 'losses and norms');
    expect(stored.answers.map(({ ids }) => ids)).toEqual(whole.answers.map(({ ids }) => ids));
    expect(tf.memory().numTensors).toBe(0);
  });
});
