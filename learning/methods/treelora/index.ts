import * as tf from '@tensorflow/tfjs';
import { z } from 'zod';
import { DEFAULTS } from '../../../core/defaults.ts';
import type { TensorMap } from '../../../core/host-tensor.ts';
import { ownKey, sharedKey, tensorOf } from '../bank.ts';
import { oneLora, PAIR, pairsOf } from '../lora.ts';
import type { Active, Bank, Method, Probe } from '../method.ts';
import { meanPenalty } from '../penalties.ts';
import { pairOptions, rankOf } from '../ranks.ts';
import { type Directions, features, search, treeOf } from './tree.ts';

const options = pairOptions.extend({
  /** Weight of the alignment with the most similar earlier task, reached at the end of the training. */
  weight: z.number().min(0).default(DEFAULTS['treelora.weight'].value),
  /** What a task is known by: the direction that its gradients moved A in, or, as the authors' code does it, A itself. */
  signal: z.enum(['gradients', 'values']).default('gradients'),
  /** Looks at the new task before its training, each at so many samples. */
  rounds: z.number().int().positive().default(DEFAULTS['treelora.rounds'].value),
  roundSamples: z.number().int().positive().default(DEFAULTS['treelora.roundSamples'].value),
});

type Options = z.output<typeof options>;

/** Of a learned task: its direction [r, in] of length 1. */
const DIRECTION = 'direction';
/** Of the task in training: the direction of the earlier task that it is most similar to. */
const GUIDE = 'guide';

/** TreeLoRA (arXiv 2506.10355): one LoRA, whose A is drawn to move as in the most similar earlier task. */
export const treelora: Method<Options> = {
  ...oneLora<Options>('treelora'),
  title: 'TreeLoRA: one LoRA, guided by the most similar earlier task of each layer',
  paper: 'arXiv:2506.10355',
  options,

  describe(layers, options) {
    const { parameters, ...rest } = oneLora<Options>('treelora').describe(layers, options);
    const perTask = layers.reduce((sum, layer) => sum + rankOf(options, layer.name) * layer.in, 0);
    return { ...rest, parameters: { ...parameters, training: { shared: 0, perTask } } };
  },

  /** Looks for the most similar earlier task of every layer. */
  async before(bank, task, options, probe) {
    if (bank.tasks.length === 0) return bank;
    const known = bank.tasks.map((earlier) =>
      bank.layers.map(({ name }) => tensorOf(bank, ownKey(earlier, name, DIRECTION)).data),
    );
    const seen = await observations(bank, options, probe);
    const chosen = search(treeOf(features(known)), known, seen);
    const tensors: TensorMap = new Map(bank.tensors);
    for (const [layer, { name }] of bank.layers.entries()) {
      const { shape } = tensorOf(bank, sharedKey(name, 'lora_A'));
      tensors.set(ownKey(task, name, GUIDE), { shape, data: known[chosen[layer]!]![layer]! });
    }
    return { ...bank, tensors };
  },

  begin(bank, task, options) {
    const constants: TensorMap = new Map();
    for (const { name } of bank.layers) {
      const guide = bank.tensors.get(ownKey(task, name, GUIDE));
      if (!guide) continue;
      constants.set(`${name}/${GUIDE}`, guide);
      constants.set(`${name}/start`, tensorOf(bank, sharedKey(name, 'lora_A')));
    }
    return { ...oneLora<Options>('treelora').begin(bank, task, options), constants };
  },

  /** −weight · share of the training done · mean over layers of the cosine with the guide. */
  penalty(active, { weight, signal }) {
    const pull = meanPenalty(active, weight, (layer) => alignment(active, layer, signal));
    return tf.neg(active.progress ? tf.mul(pull, active.progress) : pull);
  },

  finish(bank, trainable, trained) {
    const { signal } = bank.options as Options;
    const after = oneLora<Options>('treelora').finish(bank, trainable, trained);
    for (const { name } of bank.layers) {
      after.tensors.delete(ownKey(trainable.task, name, GUIDE));
      const [start, end] = [trainable.tensors.get(`${name}/lora_A`)!.start, trained.get(`${name}/lora_A`)!];
      const moved = signal === 'values' ? end.data : start.data.map((x, i) => x - end.data[i]!);
      after.tensors.set(ownKey(trainable.task, name, DIRECTION), { shape: end.shape, data: unit(moved) });
    }
    return after;
  },
};

/** What the new task is like, round by round: directions of the gradients of some samples, or A as it is. */
async function observations(bank: Bank, options: Options, probe: Probe): Promise<Directions[]> {
  const pairs = pairsOf(bank);
  const directionsOf = (tensors: TensorMap) =>
    bank.layers.map(({ name }) => unit(tensors.get(`${name}/${PAIR[0]}`)!.data));
  if (options.signal === 'values') return [directionsOf(pairs)];
  const samples = Math.max(1, Math.min(options.roundSamples, Math.floor(probe.samples / options.rounds)));
  const seen: Directions[] = [];
  for (let round = 0; round < Math.min(options.rounds, probe.samples); round++)
    seen.push(directionsOf(await probe.gradients(pairs, { squared: false, samples, skip: round * samples })));
  return seen;
}

/** The vector at length 1; zeros stay. */
function unit(data: Float32Array): Float32Array {
  const length = Math.sqrt(data.reduce((sum, x) => sum + x * x, 0));
  return length > 0 ? data.map((x) => x / length) : data;
}

/**
 * ⟨m, guide⟩ / √(‖m‖² + (‖A_start‖/100)²) with m = A_start − A, the sum of the steps down so far: a cosine that begins at 0
 * instead of nowhere. For `values` m is A itself.
 */
function alignment(active: Active, layer: string, signal: Options['signal']): tf.Tensor | null {
  const guide = active.constant(layer, GUIDE);
  if (!guide) return null;
  const [start, A] = [active.constant(layer, 'start')!, active.get(layer, 'lora_A')];
  const moved = signal === 'values' ? A : tf.sub(start, A);
  const floor = tf.mul(tf.sum(tf.square(start)), 1e-4);
  return tf.div(tf.sum(tf.mul(moved, guide)), tf.sqrt(tf.add(tf.sum(tf.square(moved)), floor)));
}
