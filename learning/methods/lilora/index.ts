import * as tf from '@tensorflow/tfjs';
import type { TensorMap } from '../../../core/host-tensor.ts';
import type { AdaptedLayer } from '../../model/model.ts';
import { toHost } from '../../tensors/linalg.ts';
import type { Random } from '../../training/random.ts';
import { mustMatch, ownKey, sharedKey, tensorOf, withTask } from '../bank.ts';
import { kaiming, zeros } from '../initial.ts';
import { foldLayers } from '../lora.ts';
import type { Active, Bank, Method, Trainable, TrainableTensor } from '../method.ts';
import { startLikeSimilar } from '../similar.ts';
import { consolidate } from './consolidate.ts';
import { blend, OWN, ownOf, SHARED, sharedOf } from './factors.ts';
import { activeTensors, hasMoments, rootOfMoments, withMoments } from './moments.ts';
import { innerRankOf, type LiloraOptions, liloraOptions, safeOptions } from './options.ts';
import { constantsOf, penalty } from './penalty.ts';
import { withSensitivity } from './sensitivity.ts';

/**
 * LiLoRA, LoRA in LoRA (arXiv 2508.06202), with our anchored variant (README.md beside this file):
 * ΔW_t = s · (σ(a_t)·B0 + (1 − σ(a_t))·B̃_t Ã_t) · A, s = alpha / rank.
 */
export const lilora: Method<LiloraOptions> = {
  name: 'lilora',
  title: 'LiLoRA: one A and one basis for all tasks, small factors for each',
  paper: 'arXiv:2508.06202',
  options: liloraOptions,
  needsTask: true,

  describe(layers, options) {
    const { rank, sharedBasis, sharedA, anchorMetric } = options;
    const sum = (each: (layer: AdaptedLayer) => number) => layers.reduce((total, layer) => total + each(layer), 0);
    const frozen = [
      ...(sharedA === 'frozen-after-first' ? ['A'] : []),
      ...(sharedBasis === 'frozen-after-first' ? ['B0'] : []),
    ];
    return {
      shared: SHARED,
      perTask: OWN,
      frozenAfterTask: [...OWN, ...frozen],
      parameters: {
        shared: sum((layer) => rank * (layer.in + layer.out)),
        perTask: sum((layer) => innerRankOf(layer, options) * (rank + layer.out) + 1),
        ...(anchorMetric !== 'weights' && {
          training: {
            shared: sum((layer) => (hasMoments(layer.in) ? layer.in ** 2 : 0)),
            perTask: anchorMetric === 'fisher' ? sum((layer) => layer.out) : 0,
          },
        }),
      },
    };
  },

  start(layers, options, random): Bank {
    const tensors: TensorMap = new Map();
    for (const { name, in: inputs, out } of layers) {
      tensors.set(sharedKey(name, 'A'), kaiming([options.rank, inputs], random.split(name)));
      tensors.set(sharedKey(name, 'B0'), zeros([out, options.rank]));
    }
    return { method: 'lilora', options, layers, tasks: [], tensors };
  },

  begin(bank, task, options, random): Trainable {
    mustMatch(bank, options, ['rank', 'alpha', 'innerRank', 'innerShare']);
    const first = bank.tasks.length === 0;
    const tensors = new Map<string, TrainableTensor>();
    for (const layer of bank.layers) {
      const { name, out } = layer;
      const inner = innerRankOf(layer, options);
      const shared = (tensor: string, frozen: boolean): TrainableTensor => ({
        start: tensorOf(bank, sharedKey(name, tensor)),
        place: 'shared',
        trained: first || !frozen,
      });
      const own = (start: TrainableTensor['start']): TrainableTensor => ({ start, place: 'own', trained: true });
      tensors.set(`${name}/A`, shared('A', options.sharedA === 'frozen-after-first'));
      tensors.set(`${name}/B0`, shared('B0', options.sharedBasis === 'frozen-after-first'));
      const draw: Random = random.split(name);
      const fresh = {
        A_tilde: kaiming([inner, options.rank], draw),
        B_tilde: zeros([out, inner]),
        a: { shape: [1], data: Float32Array.of(draw.normal()) },
      };
      for (const [tensor, start] of Object.entries(fresh))
        tensors.set(`${name}/${tensor}`, own(bank.tensors.get(ownKey(task, name, tensor)) ?? start));
    }
    let constants: TensorMap | null = null;
    return {
      task,
      tensors,
      /** Minutes of sums at 7B after some tasks: for training only, not for whoever asks where it starts and ends. */
      get constants() {
        constants ??= penaltyConstants(bank, options);
        return constants;
      },
      earlierTasks: bank.tasks,
    };
  },

  /** B_t is formed once per layer: fewer operations than two thin products as soon as there are more tokens than ranks. */
  apply(layer, x, base, active, options) {
    const get = (name: string) => active.get(layer.name, name) as tf.Tensor2D;
    const alpha = tf.sigmoid(get('a'));
    const own = tf.matMul(get('B_tilde'), get('A_tilde'));
    // α·B0 + (1−α)·own = own + α·(B0 − own)
    const B = tf.add(own, tf.mul(alpha, tf.sub(get('B0'), own))) as tf.Tensor2D;
    const z = tf.mul(tf.matMul(x, get('A'), false, true), options.alpha / options.rank) as tf.Tensor2D;
    return tf.add(base, tf.matMul(z, B, false, true));
  },

  penalty: (active: Active, options) => penalty(active, options),

  finish: withTask,
  consolidate,
  safe: safeOptions,

  measures: ({ anchorMetric, startFrom }) => anchorMetric !== 'weights' || startFrom === 'similar',
  before: (bank, task, options, probe) => startLikeSimilar(bank, task, options, probe, activeTensors),
  async after(bank, task, options, probe) {
    if (options.anchorMetric === 'weights') return bank;
    const known = await withMoments(bank, task, options, probe);
    return options.anchorMetric === 'fisher' ? withSensitivity(known, task, options.fisherSamples, probe) : known;
  },

  activate: activeTensors,

  fold: (bank, task) =>
    foldLayers(bank, task, (layer) => ({
      A: tensorOf(bank, sharedKey(layer, 'A')),
      B: toHost(blend(sharedOf(bank, layer).B0, ownOf(bank, task, layer))),
    })),
};

function penaltyConstants(bank: Bank, options: LiloraOptions): TensorMap {
  const constants: TensorMap = new Map();
  if (bank.tasks.length === 0) return constants;
  for (const { name } of bank.layers) {
    const earlier = bank.tasks.map((other) => ownOf(bank, other, name));
    const inputs = options.anchorMetric !== 'weights' ? rootOfMoments(bank, name) : null;
    for (const [key, tensor] of constantsOf(name, sharedOf(bank, name), earlier, options, inputs))
      constants.set(key, tensor);
  }
  return constants;
}
