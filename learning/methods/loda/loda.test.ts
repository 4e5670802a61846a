import * as tf from '@tensorflow/tfjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LLAVA_LAYERS } from '../../../test/method-numbers.ts';
import { expectNear } from '../../../test/reference.ts';
import { ToyModel, toyRun, toySamples } from '../../../test/toy-learning.ts';
import { startTensors } from '../../tensors/backend.ts';
import { add, fromHost, identity, type Matrix, matrix, multiply, transpose } from '../../tensors/linalg.ts';
import { TaskProbe } from '../../training/probe.ts';
import { Random } from '../../training/random.ts';
import { TrainingStep } from '../../training/step.ts';
import { type TrainTask, trainTask } from '../../training/train.ts';
import type { Bank, Method } from '../method.ts';
import { loda } from './index.ts';
import { generalDirections, generalShare, isolatedDirections } from './subspaces.ts';

const method = loda as unknown as Method;

describe('subspaces are NumPy’s (test/reference/methods/loda.py)', () => {
  const [old, now] = [
    [7.45, 0.52, 0.22, 0, 0.52, 1.51, -0.12, 0.19, 0.22, -0.12, 0.15, -0.05, 0, 0.19, -0.05, 0.1],
    [1.98, -0.79, -0.52, 0.19, -0.79, 0.57, 1.21, -0.34, -0.52, 1.21, 4.1, -0.89, 0.19, -0.34, -0.89, 2.42],
  ].map((data) => matrix(4, 4, data)) as [Matrix, Matrix];
  const A = generalDirections(old, now, 2);
  const span = (rows: Matrix, between?: Matrix) =>
    multiply(transpose(rows), between ? multiply(between, rows) : rows).data;

  it('most energy in old and new', () => expectNear(span(A), GOLDEN.general, 1e-9, 'A_G'));
  it('most new energy for the old', () =>
    expectNear(span(isolatedDirections(old, now, 2, 1e-3)), GOLDEN.isolated, 1e-9, 'A_I'));
  it('what old inputs leave of the general branch, by least squares', () => {
    expectNear(span(A, generalShare(A, old, now)), GOLDEN.share, 1e-7, 'Λ');
  });
  it('where there are fewer directions than rows the rest is zero, and inputs never seen are no trouble', () => {
    const rows = isolatedDirections(matrix(2, 2), matrix(2, 2, [1, 0, 0, 0]), 3, 1e-3);
    expectNear(span(rows), [1, 0, 0, 1], 1e-9, 'span');
    expect([...rows.data.slice(4)]).toEqual([0, 0]);
    expectNear(generalShare(rows, identity(2), matrix(2, 2)).data, new Float64Array(9), 1e-6, 'Λ');
  });
});

const GOLDEN = {
  general: [
    [0.9996277342390993, -0.01632303005986494, 0.00854037620717372, 0.005722573110831168],
    [-0.01632303005986494, 0.11398098654590093, 0.2952080588336712, -0.11651215362031811],
    [0.00854037620717372, 0.2952080588336712, 0.767171236433207, -0.3023223352593181],
    [0.005722573110831168, -0.11651215362031811, -0.3023223352593181, 0.11922004278179359],
  ].flat(),
  isolated: [
    [0.0017308228549592851, -0.006147130707460495, -0.03986546659097291, 0.010039146614800203],
    [-0.006147130707460495, 0.03215153962435376, 0.11541235025406744, -0.13326672621864477],
    [-0.03986546659097291, 0.11541235025406744, 0.984586344317003, 0.016334285530725877],
    [0.010039146614800203, -0.13326672621864477, 0.016334285530725877, 0.9815312932036835],
  ].flat(),
  share: [
    [0.20564932538967223, -0.049908584598438555, -0.11914744008638797, 0.04883482185309518],
    [-0.01702867909397364, 0.10954931691857805, 0.2836618446656802, -0.11196733667473402],
    [-0.033749333307590085, 0.28198645835004826, 0.7306762638324743, -0.2883214302285699],
    [0.0151729935766108, -0.11160589675132536, -0.28909790086887427, 0.11409322344130624],
  ].flat(),
};

describe('two tasks', () => {
  let model: ToyModel;
  let run: TrainTask;
  let first: Bank;
  let second: Bank;

  beforeAll(async () => {
    await startTensors('cpu');
    model = new ToyModel();
    run = toyRun(model, method, loda.options.parse({ rank: 2, alpha: 4 }));
    first = (await trainTask(run)).bank;
    second = (await trainTask({ ...run, bank: first, task: 'b', samples: toySamples(24, 5) })).bank;
  });
  afterAll(() => model.dispose());

  const of = (bank: Bank, key: string) => fromHost(bank.tensors.get(key)!);
  const moments = async (
    task: string,
    samples: TrainTask['samples'],
    adapter: Parameters<TaskProbe['inputMoments']>[0],
  ) => {
    const probe = new TaskProbe({ ...run, task, samples, heldOut: [] });
    const found = await probe.inputMoments(adapter, 200);
    probe.dispose();
    return fromHost(found.get('head')!);
  };

  it('keeps what earlier tasks added, and adds moments up', async () => {
    for (const key of ['tasks/a/head/lora_A', 'tasks/a/head/lora_B'])
      expect(second.tensors.get(key)).toEqual(first.tensors.get(key));
    expect([...second.tensors.keys()].filter((key) => key.includes('moments'))).toEqual([
      'shared/body/moments',
      'shared/head/moments',
    ]);
    const sum = add(
      await moments('a', run.samples, null),
      await moments('b', toySamples(24, 5), loda.activate(first, 'a')),
    );
    expectNear(of(second, 'shared/head/moments').data, sum.data, 1e-5, 'moments', true);
  });

  it('has orthonormal rows in both branches', () => {
    const A = of(second, 'tasks/b/head/lora_A');
    for (const from of [0, 2]) {
      const rows = { rows: 2, cols: A.cols, data: A.data.slice(from * A.cols, (from + 2) * A.cols) };
      expectNear(multiply(rows, rows, false, true).data, [1, 0, 0, 1], 1e-6, `rows from ${from}`);
    }
  });

  it('adds all tasks up, in one LoRA of twice the rank for each', () => {
    const [one, both] = [loda.fold!(first, 'a'), loda.fold!(second, 'b')];
    expect([one.rank, one.alpha, both.rank, both.alpha]).toEqual([4, 8, 8, 16]);
    const delta = (bank: Bank, task: string) =>
      multiply(of(bank, `tasks/${task}/head/lora_B`), of(bank, `tasks/${task}/head/lora_A`));
    const { A, B: folded } = both.layers.get('head')!;
    const sum = add(delta(second, 'a'), delta(second, 'b'));
    expectNear(multiply(fromHost(folded), fromHost(A)).data, sum.data, 1e-6, 'sum of both tasks');
  });

  it('refuses layers too wide for its matrices', async () => {
    const wide = { ...loda.start([{ name: 'wide', in: 4096, out: 2 }], loda.options.parse({}), new Random(1)) };
    await expect(loda.before!(wide, 'a', loda.options.parse({}), null as never)).rejects.toThrow(
      /wide has 4096 inputs, more than 2048/,
    );
  });

  it('takes gradients ahead: of one half of the batch, where the other half’s gradient leads', () => {
    const samples = toySamples(6, 3);
    const seen: Map<string, Float32Array>[] = [];
    const watched = (ahead: number): Method => ({
      ...method,
      lookAhead: () => ahead,
      adjust: (gradients) => {
        seen.push(new Map([...gradients].map(([key, g]) => [key, g.dataSync().slice() as Float32Array])));
        return gradients;
      },
    });
    const begun = loda.begin(first, 'b', loda.options.parse({ rank: 2, alpha: 4 }), new Random(1));
    const at = (shift: Map<string, Float32Array> | null, by: number) => ({
      ...begun,
      tensors: new Map(
        [...begun.tensors].map(([key, tensor]) => {
          const moved = shift?.get(key);
          const { shape, data } = tensor.start;
          return [key, moved ? { ...tensor, start: { shape, data: data.map((x, i) => x - by * moved[i]!) } } : tensor];
        }),
      ),
    });
    const take = (trainable: typeof begun, batch: typeof samples, ahead: number) => {
      const step = new TrainingStep({ ...run, method: watched(ahead), trainable, penalty: true }, 1);
      step.take([batch], 0.1, new Random(9));
      step.dispose();
      return seen.pop()!;
    };
    const draw = new Random(9).split('look ahead');
    const order = Array.from(draw.permutation(6), (i) => samples[i]!);
    const there = take(begun, order.slice(3), 0);
    const wanted = take(at(there, 0.5 * draw.uniform()), order.slice(0, 3), 0);
    const got = take(begun, samples, 0.5);
    for (const [key, gradient] of wanted) expectNear(got.get(key)!, gradient, 1e-5, key);
    expect(got.get('head/lora_B')).not.toEqual(take(begun, order.slice(0, 3), 0).get('head/lora_B'));
    expect(tf.memory().numTensors).toBe(3);
  });
});

it('counts on LLaVA-1.5-7B two LoRAs per task, and moments for learning on', () => {
  const { parameters } = loda.describe(LLAVA_LAYERS, loda.options.parse({ rank: 128 }));
  const moments = 32 * (2 * 4096 ** 2 + 11_008 ** 2) + 1024 ** 2 + 4096 ** 2;
  expect(parameters).toEqual({ shared: 0, perTask: 2 * 187_301_888, training: { shared: moments, perTask: 0 } });
});
