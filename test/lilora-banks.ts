import * as tf from '@tensorflow/tfjs';
import type { TensorMap } from '../core/host-tensor.ts';
import type { bindTrainable } from '../learning/methods/adapter.ts';
import { blend, ownOf, sharedOf } from '../learning/methods/lilora/factors.ts';
import { lilora } from '../learning/methods/lilora/index.ts';
import { type LiloraOptions, liloraOptions } from '../learning/methods/lilora/options.ts';
import type { Bank } from '../learning/methods/method.ts';
import type { AdaptedLayer } from '../learning/model/model.ts';
import { multiply } from '../learning/tensors/linalg.ts';
import { Random } from '../learning/training/random.ts';

/* LiLoRA banks of two small layers, as if tasks had been learned. */

export const options = (given: object = {}): LiloraOptions => liloraOptions.parse({ rank: 4, alpha: 8, ...given });
export const layers: AdaptedLayer[] = [
  { name: 'one', in: 6, out: 5 },
  { name: 'two', in: 5, out: 7 },
];

/** Gives every tensor that a task trains other values, as if it had learned. */
export function learn(bank: Bank, task: string, given: LiloraOptions, seed: number, size = 0.3): Bank {
  const random = new Random(seed);
  const trainable = lilora.begin(bank, task, given, random.split('begin'));
  const trained: TensorMap = new Map();
  for (const [key, { start, trained: learns }] of trainable.tensors)
    if (learns) trained.set(key, { shape: start.shape, data: start.data.map((x) => x + size * random.normal()) });
  return lilora.finish(bank, trainable, trained);
}

export function learnTwo(given: LiloraOptions): { first: Bank; second: Bank } {
  const first = learn(lilora.start(layers, given, new Random(1)), 'a', given, 2);
  return { first, second: learn(first, 'b', given, 3) };
}

/** B_t·A of a task by plain matrices, [out, in]. */
export const delta = (bank: Bank, task: string, layer: string) => {
  const { A, B0 } = sharedOf(bank, layer);
  return multiply(blend(B0, ownOf(bank, task, layer)), A);
};

/** Moves A and B0 of all layers, as training a next task would. */
export function moveShared(bound: ReturnType<typeof bindTrainable>): void {
  const random = new Random(8);
  for (const [key, variable] of bound.variables)
    if (/\/(A|B0)$/.test(key)) {
      const moved = variable.dataSync().map((x) => x + 0.1 * random.normal());
      variable.assign(tf.tensor(moved, variable.shape));
    }
}
