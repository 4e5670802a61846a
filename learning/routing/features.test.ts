import * as tf from '@tensorflow/tfjs';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { ToyModel, toySamples } from '../../test/toy-learning.ts';
import { noAdapter } from '../model/model.ts';
import { startTensors } from '../tensors/backend.ts';
import { padBatch } from '../training/batches.ts';
import { promptFeatures } from './features.ts';

let model: ToyModel;
beforeAll(async () => {
  await startTensors('cpu');
  model = new ToyModel();
});
afterAll(() => {
  model.dispose();
  expect(tf.memory().numTensors, 'tensors left over').toBe(0);
});

it('are the last prompt state of the base model, of length 1, whatever shares the batch', async () => {
  const samples = toySamples(7, 2);
  const vision = () => {
    throw new Error('no images here');
  };
  const rest = { model, samples, vision, signal: new AbortController().signal, onProgress: () => {} };
  const together = await promptFeatures({ ...rest, batchSize: 3 });
  for (const [i, sample] of samples.entries()) {
    const states = model.hidden(padBatch([sample], 0), null, noAdapter);
    const at = sample.labels!.findIndex((label, k) => k > 0 && label !== -100) - 1;
    const state = [...tf.tidy(() => states.slice([at, 0], [1, -1]).dataSync())];
    states.dispose();
    const norm = Math.hypot(...state);
    for (const [k, value] of together[i]!.entries()) expect(value).toBeCloseTo(state[k]! / norm, 6);
  }
  await expect(promptFeatures({ ...rest, batchSize: 3, signal: AbortSignal.abort() })).rejects.toThrow(
    /cancelled after 0 of 3 batches/,
  );
});
