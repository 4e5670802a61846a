import * as tf from '@tensorflow/tfjs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { HostTensor, TensorMap } from '../../core/host-tensor.ts';
import type { EncodedSample } from '../../core/sample.ts';
import { expectNear, NEAR, reference } from '../../test/reference.ts';
import { type SmallLearning, smallLearning } from '../../test/small-learning.ts';
import { ToyModel, toyMethod, toySamples } from '../../test/toy-learning.ts';
import { adaptWithTensors } from '../methods/adapter.ts';
import type { Bank, Method } from '../methods/method.ts';
import { methodNamed } from '../methods/registry.ts';
import { type BaseModel, noAdapter } from '../model/model.ts';
import { startTensors } from '../tensors/backend.ts';
import { padBatch } from './batches.ts';
import { holdOut, type ProbedRun, TaskProbe } from './probe.ts';
import { Random } from './random.ts';
import { type TrainTask, trainTask } from './train.ts';

const TRAINING = {
  ...{ learningRate: 0.05, batchSize: 8, microBatchSize: 3, epochs: 1 },
  ...{ warmupRatio: 0, weightDecay: 0, clipNorm: 1 },
};

describe.each(['cpu', 'tensorflow'] as const)('a toy on %s', (engine) => {
  let model: ToyModel;
  let run: ProbedRun;
  let probe: TaskProbe;
  let adapter: TensorMap;

  beforeAll(async () => {
    await startTensors(engine);
    model = new ToyModel();
    run = {
      model,
      method: toyMethod,
      options: { pull: 0 },
      layers: model.layers,
      task: 'one',
      samples: toySamples(12, 2),
      heldOut: toySamples(5, 4),
      features: () => {
        throw new Error('no images here');
      },
      training: TRAINING,
      seed: 5,
      signal: new AbortController().signal,
    };
    probe = new TaskProbe(run);
    const bank = toyMethod.start(model.layers, {}, new Random(1));
    const { tensors } = toyMethod.begin(bank, 'one', {}, new Random(2));
    adapter = new Map([...tensors].map(([key, { start }]) => [key, start]));
  });
  afterAll(() => {
    probe.dispose();
    model.dispose();
    expect(tf.memory().numTensors, 'tensors left over').toBe(0);
  });

  /** Loss over samples one by one, each with all of its tokens, as the model itself says. */
  const losses = (samples: readonly EncodedSample[]) =>
    samples.map((sample) => {
      const loss = model.loss(padBatch([sample], 0), null, noAdapter);
      const value = loss.dataSync()[0]!;
      loss.dispose();
      return value;
    });
  const tokens = ({ labels }: EncodedSample) => labels!.filter((label, i) => i > 0 && label !== -100).length;

  test('losses are means over tokens, of all samples or of those held out', async () => {
    for (const [on, samples] of [
      ['training', run.samples],
      ['held-out', run.heldOut],
    ] as const) {
      const each = losses(samples);
      const sum = each.reduce((total, loss, i) => total + loss * tokens(samples[i]!), 0);
      const count = samples.reduce((total, sample) => total + tokens(sample), 0);
      expect(await probe.loss(null, on, 100)).toBeCloseTo(sum / count, 5);
    }
    expect([probe.samples, probe.heldOut]).toEqual([12, 5]);
  });

  test('an answer is right when every token of it is the most likely one', async () => {
    // Answers as the adapted model itself goes on, one of them spoilt.
    const next = (id: number) => {
      const batch = padBatch([{ ...run.samples[0]!, inputIds: Int32Array.of(id), labels: Int32Array.of(-100) }], 0);
      const wired = adaptWithTensors(toyMethod, {}, model.layers, new Map(Object.entries(onHost)));
      const best = tf.tidy(() => model.logits(batch, null, wired).argMax(1).dataSync()[0]!);
      return best;
    };
    const onHost = Object.fromEntries([...adapter].map(([key, { data, shape }]) => [key, tf.tensor(data, [...shape])]));
    const answered = [3, 5, 7].map((start, i): EncodedSample => {
      const ids = [start, next(start), next(next(start))];
      if (i === 1) ids[2] = (ids[2]! + 1) % 10;
      return { ...run.samples[0]!, inputIds: Int32Array.from(ids), labels: Int32Array.of(-100, ids[1]!, ids[2]!) };
    });
    tf.dispose(Object.values(onHost));
    const own = new TaskProbe({ ...run, rehearsed: [{ task: 'old', samples: answered }] });
    expect(own.earlier).toEqual(['old']);
    expect(await own.accuracy(adapter, { task: 'old' }, 3)).toBeCloseTo(2 / 3, 6);
    expect(await own.accuracy(adapter, { task: 'old' }, 1)).toBe(1);
    own.dispose();
  });

  test('gradients are what the loss does when a number changes', async () => {
    const found = await probe.gradients(adapter, { squared: false, samples: 1 });
    const nudged = (key: string, at: number, by: number) => {
      const { shape, data } = adapter.get(key)!;
      const moved: HostTensor = { shape, data: data.map((x, i) => (i === at ? x + by : x)) };
      return probe.loss(new Map([...adapter, [key, moved]]), 'training', 1);
    };
    for (const [key, at] of [
      ['body/A', 4],
      ['body/B', 7],
      ['head/A', 2],
      ['head/B', 9],
    ] as const) {
      const slope = ((await nudged(key, at, 0.02)) - (await nudged(key, at, -0.02))) / 0.04;
      expect(found.get(key)!.data[at]).toBeCloseTo(slope, 3);
    }
  });

  test('squares are taken sample by sample, before the mean', async () => {
    const [one, two, both] = [
      await probe.gradients(adapter, { squared: true, samples: 1 }),
      await probe.gradients(adapter, { squared: true, samples: 2 }),
      await probe.gradients(adapter, { squared: false, samples: 2 }),
    ];
    const plain = await probe.gradients(adapter, { squared: false, samples: 1 });
    for (const [key, { data }] of plain) {
      expectNear(
        one.get(key)!.data,
        data.map((g) => g * g),
        1e-6,
        key,
      );
      const other = both.get(key)!.data.map((mean, i) => 2 * mean - data[i]!);
      expectNear(
        two.get(key)!.data,
        other.map((g, i) => (g * g + data[i]! ** 2) / 2),
        1e-5,
        key,
      );
    }
  });

  test('samples are the same in every probe of a run, and cancelling stops it', async () => {
    const again = new TaskProbe(run);
    const [a, b] = [await probe.hidden(adapter, 3), await again.hidden(adapter, 3)];
    expect(b).toEqual(a);
    again.dispose();
    const other = new TaskProbe({ ...run, seed: 6 });
    expect((await other.hidden(adapter, 3)).data).not.toEqual(a.data);
    other.dispose();
    const stopped = new TaskProbe({ ...run, signal: AbortSignal.abort() });
    await expect(stopped.inputMoments(null, 3)).rejects.toThrow(/^Task one was cancelled while toy measured/);
    stopped.dispose();
  });

  test('a method looks before and after training, which sees none of what is held out', async () => {
    const seen: number[] = [];
    const looking: Method = {
      ...toyMethod,
      heldOut: () => 0.25,
      before: async (bank: Bank, task, _options, probe) => {
        expect([bank.tasks, task, probe.samples, probe.heldOut]).toEqual([[], 'one', 9, 3]);
        seen.push(await probe.loss(null, 'held-out', 3));
        return { ...bank, options: { ...bank.options, seen: true } };
      },
      after: async (bank: Bank, _task, _options, probe) => {
        expect(bank).toMatchObject({ tasks: ['one'], options: { seen: true } });
        seen.push(await probe.loss(toyMethod.activate(bank, 'one'), 'held-out', 3));
        return { ...bank, layers: bank.layers.toReversed() };
      },
    };
    const task: TrainTask = {
      ...{ ...run, method: looking, bank: null, identity: {}, checkpointSeconds: Number.POSITIVE_INFINITY },
      training: { ...TRAINING, epochs: 10 },
      onProgress: () => {},
    };
    const { bank, steps } = await trainTask(task);
    expect([steps, bank.layers.map(({ name }) => name)]).toEqual([20, ['head', 'body']]);
    expect(seen[1]).toBeLessThan(seen[0]!);
    const { samples, heldOut } = holdOut(task, 0.25);
    expect(new Set([...samples, ...heldOut])).toEqual(new Set(run.samples));
    expect(heldOut).toEqual(holdOut(task, 0.25).heldOut);
  });
});

describe('llava-mha', () => {
  const ref = reference('llava-mha');
  const batch = ref.batch('train');
  let small: SmallLearning;
  let model: BaseModel;
  let features: tf.Tensor3D;
  let probe: TaskProbe;

  beforeAll(async () => {
    await startTensors('tensorflow');
    small = await smallLearning('llava-mha');
    model = small.model;
    features = ref.features('train', model)!;
    const method = methodNamed('sequential-lora');
    probe = new TaskProbe({
      ...{ model, method, options: method.options.parse({ rank: 4, alpha: 8 }), task: 'one', heldOut: [], seed: 1 },
      ...{ layers: small.layers, samples: small.samples(1), features: small.features },
      training: TRAINING,
      signal: new AbortController().signal,
    });
  });
  afterAll(() => {
    probe.dispose();
    features.dispose();
    small.dispose();
  });

  const adapter = () =>
    new Map(
      [...ref.tensors('adapter/adapter_model.safetensors')].map(([key, tensor]) => [
        key.replace('base_model.model.', '').replace('.lora_', '/lora_').replace('.weight', ''),
        tensor,
      ]),
    );

  test('the loss with an adapter is PEFT’s', async () => {
    expect(await probe.loss(adapter(), 'training', 100)).toBeCloseTo(ref.json.lora.losses[0], 4);
  });

  test('input moments are those of a padded batch without its padding', async () => {
    const found = await probe.inputMoments(adapter(), 100);
    const layer = 'model.language_model.layers.0.mlp.down_proj';
    let expected: Float32Array = new Float32Array();
    const states = model.hidden(batch, features, (name, x, base) => {
      if (name === layer) {
        const real = tf.tidy(() => tf.mul(x, tf.tensor2d(batch.attentionMask, [x.shape[0], 1], 'float32')));
        const moments = tf.matMul(real, real, true);
        expected = moments.dataSync() as Float32Array;
        tf.dispose([real, moments]);
      }
      return base;
    });
    states.dispose();
    const without = await probe.inputMoments(null, 100);
    expectNear(without.get(layer)!.data, expected, 1e-5, layer, true);
    expect(found.get(layer)!.data).not.toEqual(without.get(layer)!.data);
    expect([...found.keys()]).toEqual(ref.json.lora.modules.toSorted((a: string, b: string) => order(a) - order(b)));
  });
  const order = (name: string) => model.layers.findIndex((layer) => layer.name === name);

  test('hidden states are PyTorch’s, after the final norm', () => {
    const one = ref.batch('one');
    const seen = ref.features('one', model)!;
    const states = model.hidden(one, seen, noAdapter);
    expectNear(states.dataSync(), ref.numbers('one/final_norm'), NEAR.logits, 'final norm');
    tf.dispose([states, seen]);
  });

  test('the task vector is the mean state of the token before the answer', async () => {
    const states = model.hidden(batch, features, noAdapter);
    const all = states.dataSync();
    const width = states.shape[1];
    states.dispose();
    const mean = new Float64Array(width);
    for (let row = 0; row < batch.rows; row++) {
      const labels = batch.labels!.slice(row * batch.length, (row + 1) * batch.length);
      const at = row * batch.length + labels.findIndex((label) => label !== -100) - 1;
      for (let i = 0; i < width; i++) mean[i]! += all[at * width + i]! / batch.rows;
    }
    expectNear((await probe.hidden(null, 100)).data, mean, 1e-4, 'task vector');
  });
});
