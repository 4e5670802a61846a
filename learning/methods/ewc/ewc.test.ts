import * as tf from '@tensorflow/tfjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { HostTensor } from '../../../core/host-tensor.ts';
import { LLAVA_LAYERS } from '../../../test/method-numbers.ts';
import { expectNear } from '../../../test/reference.ts';
import { ToyModel, toyRun, toySamples } from '../../../test/toy-learning.ts';
import { startTensors } from '../../tensors/backend.ts';
import { holdOut, TaskProbe } from '../../training/probe.ts';
import { Random } from '../../training/random.ts';
import { type TrainTask, trainTask } from '../../training/train.ts';
import { bindTrainable } from '../adapter.ts';
import { readBank, sharedKey, writeBank } from '../bank.ts';
import { pairsOf } from '../lora.ts';
import type { Bank, Method } from '../method.ts';
import { ewc } from './index.ts';

const method = ewc as unknown as Method;
const host = (shape: number[], ...data: number[]): HostTensor => ({ shape, data: Float32Array.from(data) });

beforeAll(() => startTensors('cpu'));

describe('the penalty', () => {
  it('and its gradient are NumPy’s (test/reference/methods/ewc.py)', () => {
    const layers = [{ name: 'one', in: 2, out: 3 }];
    const options = ewc.options.parse({ rank: 2, alpha: 2, weight: 7 });
    const bank: Bank = {
      ...{ method: 'ewc', options, layers, tasks: ['a'] },
      tensors: new Map([
        ['shared/one/lora_A', host([2, 2], 0.25, -0.5, 1, 1.25)],
        ['shared/one/lora_B', host([3, 2], 0.5, 0.5, 1, 2, -1.5, 0.25)],
        ['shared/one/fisher_lora_A', host([2, 2], 0.1, 2, 0, 0.5)],
        ['shared/one/fisher_lora_B', host([3, 2], 1, 0.25, 4, 0, 0.5, 3)],
      ]),
    };
    const trainable = ewc.begin(bank, 'b', options, new Random(1));
    const bound = bindTrainable(method, options, layers, trainable);
    expect(ewc.penalty!(bound.active, options, trainable).dataSync()[0]).toBe(0);
    const now = [tf.tensor2d([0.5, -1, 2, 0.25], [2, 2]), tf.tensor2d([1, -0.5, 0, 3, -2, 0.75], [3, 2])];
    const penalty = (...[A, B]: tf.Tensor[]) =>
      ewc.penalty!(
        bound.at(
          new Map([
            ['one/lora_A', A!],
            ['one/lora_B', B!],
          ]),
        ).active,
        options,
        trainable,
      );
    const { value, grads } = tf.valueAndGrads(penalty)(now);
    expect(value.dataSync()[0]).toBeCloseTo(GOLDEN.penalty, 4);
    for (const [i, expected] of GOLDEN.gradients.entries()) expectNear(grads[i]!.dataSync(), expected, 1e-5, `${i}`);
  });
});

const GOLDEN = {
  penalty: 22.334375,
  gradients: [
    [0.175, -7, 0, -3.5],
    [3.5, -1.75, -28, 0, -1.75, 10.5],
  ],
};

describe('two tasks', () => {
  let model: ToyModel;
  let run: TrainTask;
  let first: Bank;
  const later = toySamples(24, 5);

  beforeAll(async () => {
    model = new ToyModel();
    run = toyRun(model, method, ewc.options.parse({ rank: 3, alpha: 6, fisherSamples: 8 }));
    first = (await trainTask(run)).bank;
  });
  afterAll(() => model.dispose());

  const second = async (given: object) =>
    (await trainTask({ ...run, options: { ...run.options, ...given }, bank: first, task: 'b', samples: later })).bank;

  /** Loss on the samples of task a. */
  async function lossOnFirst(bank: Bank): Promise<number> {
    const probe = new TaskProbe({ ...run, ...holdOut(run, 0) });
    const loss = await probe.loss(pairsOf(bank), 'training', 100);
    probe.dispose();
    return loss;
  }

  it('keeps Fisher information beside the LoRA, as much as it says, and adds up', async () => {
    const { parameters } = ewc.describe(model.layers, ewc.options.parse(first.options));
    const both = await second({});
    const size = [...both.tensors.values()].reduce((sum, { data }) => sum + data.length, 0);
    expect(size).toBe(parameters.shared + parameters.training!.shared);
    expect(size).toBe(2 * 3 * (6 + 6 + 6 + 12));
    expect(readBank(writeBank(both), 'bank').tasks).toEqual(['a', 'b']);
    const fisher = (bank: Bank) => bank.tensors.get(sharedKey('head', 'fisher_lora_B'))!.data;
    const own = await (async () => {
      const probe = new TaskProbe({ ...run, task: 'b', ...holdOut({ ...run, samples: later }, 0) });
      const found = await probe.gradients(pairsOf(both), { squared: true, samples: 8 });
      probe.dispose();
      return found.get('head/lora_B')!.data;
    })();
    expect(Math.max(...fisher(first))).toBeGreaterThan(0);
    expectNear(
      fisher(both),
      own.map((x, i) => x + fisher(first)[i]!),
      1e-6,
      'sum of both',
    );
    const faded = await second({ decay: 0 });
    expect(Math.max(...fisher(faded))).toBeLessThan(Math.max(...fisher(both)));
  });

  it('forgets less the higher the weight', async () => {
    const before = await lossOnFirst(first);
    const [free, held] = [
      await lossOnFirst(await second({ weight: 0 })),
      await lossOnFirst(await second({ weight: 4000 })),
    ];
    expect(free - before).toBeGreaterThan(0.5);
    expect(held - before).toBeLessThan(0.5 * (free - before));
  });
});

it('counts on LLaVA-1.5-7B a LoRA, and as much again for learning on', () => {
  const { parameters } = ewc.describe(LLAVA_LAYERS, ewc.options.parse({ rank: 128 }));
  expect(parameters).toEqual({ shared: 187_301_888, perTask: 0, training: { shared: 187_301_888, perTask: 0 } });
});
