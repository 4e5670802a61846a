import * as tf from '@tensorflow/tfjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { HostTensor } from '../../../core/host-tensor.ts';
import { LLAVA_LAYERS } from '../../../test/method-numbers.ts';
import { expectNear } from '../../../test/reference.ts';
import { ToyModel, toyRun, toySamples } from '../../../test/toy-learning.ts';
import { startTensors } from '../../tensors/backend.ts';
import { TaskProbe } from '../../training/probe.ts';
import { type TrainTask, trainTask } from '../../training/train.ts';
import { bindTrainable } from '../adapter.ts';
import { pairsOf } from '../lora.ts';
import type { Bank, Method } from '../method.ts';
import { treelora } from './index.ts';
import { features, type Node, search, treeOf } from './tree.ts';

const method = treelora as unknown as Method;

const unit = (v: number[]) => Float32Array.from(v, (x) => x / Math.hypot(...v));
const wave = (t: number, layer: number, k = 0) =>
  unit([0, 1, 2].map((i) => Math.sin(1 + 3 * t + 5 * layer + 7 * i + 11 * k)));

describe('tree and search, as NumPy has them (test/reference/methods/treelora.py)', () => {
  const at = [0, 1, 2, 3];
  const known = [0, 1, 2, 3, 4, 5].map((t) => at.map((layer) => wave(t, layer)));
  const seen = Array.from({ length: 12 }, (_, k) =>
    at.map((layer) => unit([...wave(4, layer)].map((x, i) => x + 0.8 * wave(9, layer, k)[i]!))),
  );
  const tree = treeOf(features(known));

  it('falls apart at medians, layer by layer', () => {
    const nested = ({ tasks, children }: Node): unknown => (children.length > 0 ? children.map(nested) : tasks);
    expect(nested(tree)).toEqual([
      [[[3], [1]], [5]],
      [[[4], [2]], [0]],
    ]);
  });

  it('finds the task of every layer in the half that the layer before left', () => {
    expect(search(tree, known, seen)).toEqual([2, 0, 0, 0]);
    expect(search(treeOf(features([known[3]!])), [known[3]!], seen)).toEqual([0, 0, 0, 0]);
    // A task that is exactly like an earlier one is told by its first layer.
    for (const t of [0, 1, 2, 3, 4, 5]) expect(search(tree, known, Array(12).fill(known[t]))[0]).toBe(t);
  });
});

describe('the penalty', () => {
  const host = (data: number[]): HostTensor => ({ shape: [2, 2], data: Float32Array.from(data) });
  const layers = [{ name: 'one', in: 2, out: 2 }];
  const at = (signal: string) => {
    const options = treelora.options.parse({ rank: 2, alpha: 2, signal });
    const bank: Bank = {
      ...{ method: 'treelora', options, layers, tasks: ['a'] },
      tensors: new Map([
        ['shared/one/lora_A', host([1, -2, 0.5, 0])],
        ['shared/one/lora_B', host([0, 0, 0, 0])],
        ['tasks/b/one/guide', { shape: [2, 2], data: unit([1, 0, -1, 2]) }],
      ]),
    };
    const trainable = treelora.begin(bank, 'b', options, null as never);
    const bound = bindTrainable(method, options, layers, trainable);
    return (A: tf.Tensor) => {
      const { active } = bound.at(new Map([['one/lora_A', A]]), tf.scalar(0.4));
      return treelora.penalty!(active, options, trainable);
    };
  };
  beforeAll(() => startTensors('cpu'));

  it('and its gradient are NumPy’s', () => {
    const { value, grad } = tf.valueAndGrad(at('gradients'))(tf.tensor2d([0.8, -1.5, 0.9, -0.1], [2, 2]));
    expect(value.dataSync()[0]).toBeCloseTo(-0.0962537707, 6);
    expectNear(grad.dataSync(), [0.0785154564, 0.1045043925, -0.0367136994, 0.2197335483], 1e-5, 'gradient');
    expect(at('values')(tf.tensor2d([0.8, -1.5, 0.9, -0.1], [2, 2])).dataSync()[0]).toBeCloseTo(0.0127162174, 6);
  });

  it('is 0 with a finite pull where the task begins', () => {
    const { value, grad } = tf.valueAndGrad(at('gradients'))(tf.tensor2d([1, -2, 0.5, 0], [2, 2]));
    expect(value.dataSync()[0]).toBeCloseTo(0, 6);
    expect(grad.dataSync().every(Number.isFinite)).toBe(true);
  });
});

describe('three tasks', () => {
  let model: ToyModel;
  let run: TrainTask;
  let bank: Bank;

  beforeAll(async () => {
    await startTensors('cpu');
    model = new ToyModel();
    run = toyRun(model, method, treelora.options.parse({ rank: 3, alpha: 6 }));
    const first = await trainTask(run);
    bank = (await trainTask({ ...run, bank: first.bank, task: 'b', samples: toySamples(24, 5) })).bank;
  });
  afterAll(() => model.dispose());

  it('keeps a direction of length 1 per task, and nothing of the search', () => {
    for (const task of ['a', 'b']) {
      const { shape, data } = bank.tensors.get(`tasks/${task}/head/direction`)!;
      expect(shape).toEqual([3, 6]);
      expect(Math.hypot(...data)).toBeCloseTo(1, 5);
    }
    expect([...bank.tensors.keys()].some((key) => key.includes('guide'))).toBe(false);
  });

  it('is guided in every layer by the task whose gradients are most like the new ones', async () => {
    const probe = new TaskProbe({ ...run, task: 'c', samples: toySamples(24, 2), heldOut: [] });
    const prepared = await treelora.before!(bank, 'c', treelora.options.parse(run.options), probe);
    const all = await probe.gradients(pairsOf(bank), { squared: false, samples: 24 });
    probe.dispose();
    const layer = 'body';
    const gradient = all.get(`${layer}/lora_A`)!.data;
    const likeness = ['a', 'b'].map((task) =>
      bank.tensors.get(`tasks/${task}/${layer}/direction`)!.data.reduce((sum, x, i) => sum + x * gradient[i]!, 0),
    );
    const best = likeness[0]! > likeness[1]! ? 'a' : 'b';
    expect(prepared.tensors.get(`tasks/c/${layer}/guide`)).toEqual(
      bank.tensors.get(`tasks/${best}/${layer}/direction`),
    );
  });

  it('moves A with its guide the more the higher the weight, and starts without one', async () => {
    const log: number[] = [];
    const along = async (weight: number) => {
      const options = { ...run.options, weight };
      const onProgress = ({ penalty }: { penalty: number }) => void log.push(penalty);
      const done = await trainTask({ ...run, options, bank, task: 'c', samples: toySamples(24, 3), onProgress });
      const moved = done.bank.tensors.get('tasks/c/body/direction')!.data;
      const cosines = ['a', 'b'].map((task) =>
        bank.tensors.get(`tasks/${task}/body/direction`)!.data.reduce((sum, x, i) => sum + x * moved[i]!, 0),
      );
      return Math.max(...cosines);
    };
    const [free, held] = [await along(0), await along(20)];
    expect(held).toBeGreaterThan(free + 0.2);
    expect(log[45]).toBeCloseTo(0, 6); // the first step with the weight
    expect(log.at(-1)).toBeLessThan(-1);
    const first: number[] = [];
    await trainTask({ ...run, onProgress: ({ penalty }) => void first.push(penalty) });
    expect(Math.max(...first.map(Math.abs))).toBe(0);
  });
});

it('counts on LLaVA-1.5-7B a LoRA, and an A per task for learning on', () => {
  const { parameters } = treelora.describe(LLAVA_LAYERS, treelora.options.parse({ rank: 128 }));
  const training = { shared: 0, perTask: 128 * 619_520 };
  expect(parameters).toEqual({ shared: 187_301_888, perTask: 0, training });
});
