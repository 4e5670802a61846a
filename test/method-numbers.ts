import * as tf from '@tensorflow/tfjs';
import { type HostTensor, sizeOf, type TensorMap } from '../core/host-tensor.ts';
import { bindTrainable } from '../learning/methods/adapter.ts';
import type { Bank, Method, Trainable } from '../learning/methods/method.ts';
import type { AdaptedLayer, Rows } from '../learning/model/model.ts';
import { Random } from '../learning/training/random.ts';

/* What a method computes on one layer from given numbers: for comparison with test/reference/methods. */

/** Entry k is sin(seed + 0.7 k), as `wave` in test/reference/methods/wave.py. */
export function wave(seed: number, ...shape: number[]): HostTensor {
  return { shape, data: Float32Array.from({ length: sizeOf(shape) }, (_, k) => Math.sin(seed + 0.7 * k)) };
}

/** Tensors of a layer called `l`, by name. */
type Named = Readonly<Record<string, HostTensor>>;

const onLayer = (tensors: Named): TensorMap => new Map(Object.entries(tensors).map(([name, t]) => [`l/${name}`, t]));

interface Computed {
  readonly y: readonly number[];
  readonly penalty: number;
  /** Of the penalty, by tensor. */
  gradient(name: string): Float32Array;
}

/** A method on one layer, all of its tensors in training; `earlier` is the number of tasks before. */
export function computed(
  method: Pick<Method, 'apply' | 'penalty' | 'route' | 'name'>,
  given: {
    readonly options: Record<string, unknown>;
    readonly tensors: Named;
    readonly constants?: Named;
    readonly earlier?: number;
    /** [tokens, in]. */
    readonly x: HostTensor;
    readonly out: number;
    /** Of the tokens; made inside, freed afterwards. */
    readonly rows?: () => Rows;
  },
): Computed {
  const { options, tensors, constants = {}, earlier = 0, x, out } = given;
  const trainable: Trainable = {
    task: 'new',
    tensors: new Map([...onLayer(tensors)].map(([key, start]) => [key, { start, place: 'shared', trained: true }])),
    constants: onLayer(constants),
    earlierTasks: Array.from({ length: earlier }, (_, i) => `earlier ${i}`),
  };
  const bound = bindTrainable(method as Method, options, [{ name: 'l', in: x.shape[1]!, out }], trainable);
  const variables = [...bound.variables.values()];
  const penalty = () => {
    // Every variable takes part, so that those which the penalty does not read have the gradient 0.
    const none = variables.map((variable) => tf.mul(tf.sum(variable), 0));
    return tf.addN([method.penalty?.(bound.active, options, trainable) ?? tf.scalar(0), ...none]) as tf.Scalar;
  };
  let result: Computed;
  tf.tidy(() => {
    const base = tf.zeros<tf.Rank.R2>([x.shape[0]!, out]);
    const input = tf.tensor2d(x.data, x.shape as [number, number]);
    const y = [...bound.adapt('l', input, base, given.rows?.()).dataSync()];
    const { value, grads } = tf.variableGrads(penalty, variables);
    const gradients = new Map([...bound.variables].map(([key, { name }]) => [key, grads[name]!.dataSync()]));
    const gradient = (name: string) => gradients.get(`l/${name}`) as Float32Array;
    result = { y, penalty: value.dataSync()[0]!, gradient };
  });
  bound.dispose();
  return result!;
}

/** A bank of one layer `l` [in, out] after one more task, whose trained tensors are given. */
export function afterTask(method: Method, bank: Bank, task: string, trained: Named): Bank {
  const trainable = method.begin(bank, task, { ...bank.options }, new Random(1));
  return method.finish(bank, trainable, onLayer(trained));
}

/** The linear layers of LLaVA-1.5-7B that the LiLoRA paper adapts: the MLPs of 32 decoder layers and the projector. */
export const LLAVA_LAYERS: readonly AdaptedLayer[] = [
  { name: 'projector.linear_1', in: 1024, out: 4096 },
  { name: 'projector.linear_2', in: 4096, out: 4096 },
  ...Array.from({ length: 32 }, (_, i): AdaptedLayer[] => [
    { name: `layers.${i}.gate_proj`, in: 4096, out: 11008 },
    { name: `layers.${i}.up_proj`, in: 4096, out: 11008 },
    { name: `layers.${i}.down_proj`, in: 11008, out: 4096 },
  ]).flat(),
];
