import { z } from 'zod';
import { DEFAULTS } from '../../../core/defaults.ts';
import { LiloraError } from '../../../core/errors.ts';
import type { HostTensor, TensorMap } from '../../../core/host-tensor.ts';
import { qr } from '../../tensors/decompose.ts';
import { add, fromHost, type Matrix, matrix, multiply, scale, toHost } from '../../tensors/linalg.ts';
import type { Random } from '../../training/random.ts';
import { mustMatch, ownKey, sharedKey } from '../bank.ts';
import { zeros } from '../initial.ts';
import { earlierLoras, PAIR, pairParameters, summedLoras } from '../lora.ts';
import type { Bank, Method, TrainableTensor } from '../method.ts';
import { loraOptions } from '../ranks.ts';
import { generalDirections, generalShare, isolatedDirections } from './subspaces.ts';

const options = loraOptions.extend({
  /** w_G: what the general branch counts beside the isolated one. */
  generalWeight: z.number().positive().default(DEFAULTS['loda.generalWeight'].value),
  /** ρ_max of gradient-aligned steps; 0 for ordinary ones. */
  lookAhead: z.number().min(0).default(DEFAULTS['loda.lookAhead'].value),
  /** ε of the ridge on old moments. */
  ridge: z.number().positive().default(DEFAULTS['loda.ridge'].value),
  /** Samples of a task whose inputs are looked at. */
  momentSamples: z.number().int().positive().default(DEFAULTS['loda.momentSamples'].value),
});

type Options = z.output<typeof options>;

const MOMENTS = 'moments';

/** LoDA, task-driven subspaces (arXiv 2603.00191): where updates may go is read from the inputs of old and new data. */
export const loda: Method<Options> = {
  ...summedLoras,
  name: 'loda',
  title: 'LoDA: updates in directions that the data choose, all of them added',
  paper: 'arXiv:2603.00191',
  options,

  describe: (layers, { rank }) => ({
    shared: [],
    perTask: PAIR,
    frozenAfterTask: PAIR,
    parameters: {
      shared: 0,
      perTask: pairParameters(layers, { rank: 2 * rank }),
      training: { shared: layers.reduce((sum, layer) => sum + layer.in ** 2, 0), perTask: 0 },
    },
  }),

  start: (layers, options) => ({ method: 'loda', options, layers, tasks: [], tensors: new Map() }),

  lookAhead: ({ lookAhead }) => lookAhead,

  /** Moments of the new inputs, and the directions that they and the old ones make. */
  async before(bank, task, options, probe) {
    const most = DEFAULTS['loda.maxInputs'].value;
    const wide = bank.layers.find((layer) => layer.in > most);
    if (wide) {
      const problem = `LoDA works with matrices of inputs × inputs, and ${wide.name} has ${wide.in} inputs, more than ${most}`;
      throw new LiloraError('BadConfig', `${problem}. Choose narrower targets, or another method.`);
    }
    const adapter = bank.tasks.length > 0 ? summedLoras.activate(bank, bank.tasks[0]!) : null;
    const found = await probe.inputMoments(adapter, options.momentSamples);
    const tensors: TensorMap = new Map(bank.tensors);
    for (const { name } of bank.layers) {
      const now = found.get(name)!;
      tensors.set(ownKey(task, name, MOMENTS), now);
      tensors.set(ownKey(task, name, 'lora_A'), toHost(directions(oldMoments(bank, name), fromHost(now), options)));
      await probe.alive();
    }
    return { ...bank, tensors };
  },

  begin(bank, task, options, random) {
    mustMatch(bank, options, ['rank', 'alpha']);
    const tensors = new Map<string, TrainableTensor>();
    const rows = 2 * options.rank;
    for (const { name, in: inputs, out } of bank.layers) {
      const A = bank.tensors.get(ownKey(task, name, 'lora_A')) ?? anyDirections(rows, inputs, random.split(name));
      tensors.set(`${name}/lora_A`, { start: A, place: 'own', trained: false });
      tensors.set(`${name}/lora_B`, { start: zeros([out, rows]), place: 'own', trained: true });
    }
    return { task, tensors, constants: earlierLoras(bank), earlierTasks: bank.tasks };
  },

  /** The general branch keeps the share of it that old inputs allow; the new moments join the old ones. */
  finish(bank, { task, tensors: begun }, trained) {
    const { rank } = bank.options as Options;
    const tensors: TensorMap = new Map(bank.tensors);
    for (const { name } of bank.layers) {
      const { start: A } = begun.get(`${name}/lora_A`)!;
      const B = trained.get(`${name}/lora_B`)!;
      const now = bank.tensors.get(ownKey(task, name, MOMENTS));
      const old = oldMoments(bank, name);
      tensors.set(ownKey(task, name, 'lora_A'), A);
      tensors.set(ownKey(task, name, 'lora_B'), now && old ? corrected(A, B, old, fromHost(now), rank) : B);
      if (!now) continue;
      tensors.delete(ownKey(task, name, MOMENTS));
      tensors.set(sharedKey(name, MOMENTS), old ? toHost(add(old, fromHost(now))) : now);
    }
    return { ...bank, tasks: [...bank.tasks, task], tensors };
  },
};

const oldMoments = (bank: Bank, layer: string): Matrix | null => {
  const moments = bank.tensors.get(sharedKey(layer, MOMENTS));
  return moments ? fromHost(moments) : null;
};

/** Rows of A [2r, in]. A first task has nothing to be isolated from: one branch of twice the rank. */
function directions(old: Matrix | null, now: Matrix, { rank, generalWeight, ridge }: Options): Matrix {
  if (!old) return generalDirections(null, now, 2 * rank);
  const general = scale(generalDirections(old, now, rank), generalWeight);
  const isolated = isolatedDirections(old, now, rank, ridge);
  return { rows: 2 * rank, cols: now.cols, data: Float64Array.from([...general.data, ...isolated.data]) };
}

/** Random orthonormal rows, where nothing was measured. */
function anyDirections(rows: number, inputs: number, random: Random): HostTensor {
  const count = Math.min(rows, inputs);
  const drawn = matrix(
    inputs,
    count,
    Float64Array.from({ length: inputs * count }, () => random.normal()),
  );
  const { Q } = qr(drawn);
  const out = matrix(rows, inputs);
  for (let row = 0; row < count; row++)
    for (let i = 0; i < inputs; i++) out.data[row * inputs + i] = Q.data[i * count + row]!;
  return toHost(out);
}

/** B with B_G Λ_G in place of B_G. */
function corrected(A: HostTensor, B: HostTensor, old: Matrix, now: Matrix, rank: number): HostTensor {
  const [all, rows] = [fromHost(B), fromHost(A)];
  const general = { rows: rank, cols: rows.cols, data: rows.data.slice(0, rank * rows.cols) };
  const left = matrix(all.rows, rank);
  for (let i = 0; i < all.rows; i++) left.data.set(all.data.subarray(i * all.cols, i * all.cols + rank), i * rank);
  const kept = multiply(left, generalShare(general, old, now));
  const out = matrix(all.rows, all.cols, all.data);
  for (let i = 0; i < all.rows; i++) out.data.set(kept.data.subarray(i * rank, (i + 1) * rank), i * all.cols);
  return toHost(out);
}
