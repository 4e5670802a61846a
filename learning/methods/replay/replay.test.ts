import { afterAll, beforeAll, expect, test } from 'vitest';
import type { EncodedSample } from '../../../core/sample.ts';
import { type SmallLearning, smallLearning } from '../../../test/small-learning.ts';
import { startTensors } from '../../tensors/backend.ts';
import { padBatch } from '../../training/batches.ts';
import { chooseRehearsed } from '../../training/mixture.ts';
import { type TrainTask, trainTask } from '../../training/train.ts';
import { bindAdapter } from '../adapter.ts';
import type { Bank } from '../method.ts';
import { methodNamed } from '../registry.ts';

/* Methods that look back, on a tiny model: after a second task that says the contrary, they know the first one better. */

let small: SmallLearning;
beforeAll(async () => {
  await startTensors('tensorflow');
  small = await smallLearning('llava-mha');
});
afterAll(() => small.dispose());

/** The same questions with answers shifted by so many tokens. */
const answering = (shift: number): EncodedSample[] =>
  small.samples(4).map((sample) => {
    const labels = sample.labels!.map((label) => (label < 0 ? label : 5 + ((label + shift) % 40)));
    const inputIds = sample.inputIds.map((id, i) => (labels[i]! < 0 ? id : labels[i]!));
    return { ...sample, id: `${shift} ${sample.id}`, inputIds, labels };
  });

/** Loss on the first task after both, and on the second. */
async function afterBoth(name: string, more: object = {}): Promise<{ first: number; second: number }> {
  const method = methodNamed(name);
  const options = method.options.parse({ rank: 4, alpha: 8, ...more });
  const tasks = [answering(1), answering(11)] as const;
  const rehearsal = method.rehearsal?.(options);
  const kept = rehearsal
    ? Array.from(chooseRehearsed(rehearsal, tasks[0].length, 1, 'first'), (i) => tasks[0][i]!)
    : [];
  let bank: Bank | null = null;
  for (const [i, samples] of tasks.entries()) {
    const run: TrainTask = {
      ...{ model: small.model, layers: small.layers, features: small.features, method, options, bank, samples },
      task: i === 0 ? 'first' : 'second',
      rehearsed: i === 0 ? [] : [{ task: 'first', samples: kept }],
      training: {
        ...{ learningRate: 2e-2, batchSize: 4, microBatchSize: 8, epochs: 10 },
        ...{ warmupRatio: 0, weightDecay: 0, clipNorm: 1 },
      },
      ...{ seed: 1, identity: {}, checkpointSeconds: 1e9, signal: new AbortController().signal, onProgress: () => {} },
    };
    bank = (await trainTask(run)).bank;
  }
  const adapter = bindAdapter(bank!, 'second');
  const [first, second] = tasks.map((samples) => {
    const batch = samples.slice(0, 4);
    const features = small.features(batch.flatMap(({ images }) => images));
    const loss = small.model.loss(padBatch(batch, small.model.padToken), features, adapter.adapt);
    features.dispose();
    return loss.dataSync()[0]!;
  });
  adapter.dispose();
  return { first: first!, second: second! };
}

let on: Awaited<ReturnType<typeof afterBoth>>;
beforeAll(async () => {
  on = await afterBoth('sequential-lora');
});

test.each([
  ['replay', { perTask: 4 }],
  ['joint', {}],
  ['ortho-lora', { mode: 'replay', perTask: 4 }],
])('%s %o learns the second task and forgets far less than training on', async (name, options) => {
  const back = await afterBoth(name, options);
  expect(on.first).toBeGreaterThan(2 * on.second);
  expect(back.first).toBeLessThan(0.5 * on.first);
  expect(back.second).toBeLessThan(2 * on.second);
});

test('lwf forgets less, and learns less', async () => {
  const back = await afterBoth('lwf');
  expect(back.first).toBeLessThan(0.8 * on.first);
  expect(back.second).toBeGreaterThan(on.second);
});
