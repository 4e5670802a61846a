import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { HostTensor } from '../../../core/host-tensor.ts';
import { LLAVA_LAYERS } from '../../../test/method-numbers.ts';
import { expectNear } from '../../../test/reference.ts';
import { ToyModel, toyRun, toySamples } from '../../../test/toy-learning.ts';
import { startTensors } from '../../tensors/backend.ts';
import { fromHost, multiply } from '../../tensors/linalg.ts';
import { holdOut, TaskProbe } from '../../training/probe.ts';
import { type TrainTask, trainTask } from '../../training/train.ts';
import { pairsOf } from '../lora.ts';
import type { Bank, LoraPair, Method } from '../method.ts';
import { lines } from './index.ts';
import { blockOf, depthFactors, mergeAlpha, scalePairs } from './scaling.ts';

const method = lines as unknown as Method;
const host = (shape: number[], data: number[]): HostTensor => ({ shape, data: Float32Array.from(data) });
const pair = (A: number[][], B: number[][]): LoraPair => ({
  A: host([A.length, A[0]!.length], A.flat()),
  B: host([B.length, B[0]!.length], B.flat()),
});

describe('scaling', () => {
  const at = (block: number) => `model.language_model.layers.${block}.mlp.up_proj`;

  it('grows linearly with depth, as NumPy has it (test/reference/methods/lines.py)', () => {
    const factors = depthFactors([at(0), at(1), at(2), at(3), 'model.multi_modal_projector.linear_1'], 0.3, 0.7);
    expectNear([...factors.values()], [0.3, 0.5333333333, 0.7666666667, 1, 0.3], 1e-9, 'factors');
  });

  it('reads block numbers as whole names, and takes a single block for the deepest', () => {
    expect([at(1), at(11), 'layers.2.x', 'mylayers.2.x', 'a.layers.x'].map(blockOf)).toEqual([1, 11, 2, null, null]);
    expect([...depthFactors([at(0), 'projector'], 0.25, 0.5).values()]).toEqual([0.75, 0.25]);
  });

  it('goes into B: ΔW times the factor', () => {
    const pairs = new Map([[at(0), pair([[1, 2]], [[3], [4]])]]);
    const { A, B } = scalePairs(pairs, new Map([[at(0), 0.5]])).get(at(0))!;
    expect([...multiply(fromHost(B), fromHost(A)).data]).toEqual([1.5, 3, 2, 4]);
  });

  it('sets α of a merged adapter by the size of what was merged', () => {
    const [one, two] = [pair([[1, -2, 0.5]], [[2], [-1]]), pair([[0.5, 1.5, 2]], [[1], [3]])];
    // Of every entry the larger one, as an SVD writes it.
    const merged = pair(GOLDEN.A, GOLDEN.B);
    const tasks = [one, two].map((task) => new Map([['x', task]]));
    expect(mergeAlpha(tasks, new Map([['x', merged]]))).toBeCloseTo(GOLDEN.alpha, 5);
    const mean = pair(
      [
        [1, -2, 0.5],
        [0.5, 1.5, 2],
      ],
      [
        [1, 0.5],
        [-0.5, 1.5],
      ],
    );
    expect(mergeAlpha(tasks, new Map([['x', mean]]))).toBeCloseTo(1, 6);
    expect(() => mergeAlpha(tasks, new Map())).toThrow(/changes nothing/);
  });
});

const GOLDEN = {
  A: [
    [0.17252322720869043, 0.6297473470976608, 0.7573995081177151],
    [0.4354199981433744, -0.7384807124728622, 0.5148355684317062],
  ],
  B: [
    [-0.6591439177378319, 4.854433983041608],
    [7.637044951458798, 0.4189802016774183],
  ],
  alpha: 0.5125,
};

describe('two tasks', () => {
  let model: ToyModel;
  let run: TrainTask;
  let first: Bank;
  let trained: Bank;

  beforeAll(async () => {
    await startTensors('cpu');
    model = new ToyModel();
    run = toyRun(model, method, lines.options.parse({ rank: 3, alpha: 6, alphas: [] }));
    first = (await trainTask(run)).bank;
    trained = (await trainTask({ ...run, bank: first, task: 'b', samples: toySamples(24, 5) })).bank;
  });
  afterAll(() => model.dispose());

  /** What is chosen for the second task, with all of the first at hand. */
  async function choose(given: object) {
    const options = lines.options.parse({ rank: 3, alpha: 6, ...given });
    const rehearsed = [{ task: 'a', samples: run.samples }];
    const probe = new TaskProbe({
      ...run,
      task: 'b',
      ...holdOut({ ...run, task: 'b', samples: toySamples(24, 5) }, 0.25),
      rehearsed,
    });
    const bank = await lines.after!(trained, 'b', options, probe, { begun: first, further: async () => [] });
    const right = {
      new: await probe.accuracy(pairsOf(bank), 'held-out', 100),
      old: await probe.accuracy(pairsOf(bank), { task: 'a' }, 20),
    };
    probe.dispose();
    return { bank, right, factor: bank.tensors.get('tasks/b/body/depth_factor')!.data[0]! };
  }
  const numbers = (bank: Bank) => [...pairsOf(bank).values()].map(({ data }) => [...data]);

  it('keeps what was trained when only the new task counts, and goes back when only the others do', async () => {
    const forNew = await choose({ newWeight: 1e6, alphas: [0, 0.5] });
    expect([forNew.factor, numbers(forNew.bank)]).toEqual([1, numbers(trained)]);
    const forOld = await choose({ newWeight: 1e-6, alphas: [0] });
    expect([forOld.factor, numbers(forOld.bank)]).toEqual([0, numbers(first)]);
    expect(forOld.right.old).toBeGreaterThan(forNew.right.old + 0.2);
  });

  it('chooses the candidate that answers most', async () => {
    const score = ({ right }: Awaited<ReturnType<typeof choose>>) => 2 * right.new + right.old;
    const chosen = await choose({});
    const alone = []; // each against leaving it as it is
    for (const alpha of lines.options.parse({}).alphas) alone.push(await choose({ alphas: [alpha] }));
    expect(score(chosen)).toBe(Math.max(...alone.map(score)));
  });

  it('scales the whole LoRA when that is what α refers to', async () => {
    const { bank, factor } = await choose({ reference: 'base', newWeight: 1e-6, alphas: [0.5] });
    const at = (bank: Bank, tensor: string) => bank.tensors.get(`shared/head/${tensor}`)!.data;
    expect([...at(bank, 'lora_B')]).toEqual([...at(trained, 'lora_B')].map((x) => Math.fround(x * factor)));
    expect(at(bank, 'lora_A')).toEqual(at(trained, 'lora_A'));
  });

  it('without anything held out leaves the adapter as it was trained', async () => {
    const { bank } = await trainTask({ ...run, options: lines.options.parse({ rank: 3, alpha: 6, heldOut: 0 }) });
    expect(bank.tensors.get('tasks/a/body/depth_factor')!.data[0]).toBe(1);
  });
});

it('counts on LLaVA-1.5-7B a LoRA, and a number per layer', () => {
  const { parameters } = lines.describe(LLAVA_LAYERS, lines.options.parse({ rank: 128 }));
  expect(parameters).toEqual({ shared: 187_301_888, perTask: 0, training: { shared: 0, perTask: 98 } });
});
