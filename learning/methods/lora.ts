import * as tf from '@tensorflow/tfjs';
import type { HostTensor, TensorMap } from '../../core/host-tensor.ts';
import type { AdaptedLayer } from '../model/model.ts';
import type { Random } from '../training/random.ts';
import { mustKnow, mustMatch, ownKey, sharedKey, tensorOf } from './bank.ts';
import { kaiming, zeros } from './initial.ts';
import type { Active, Bank, LoraPair, Method, TrainableTensor } from './method.ts';
import { alphaOf, type LoraOptions, mustMatchLayers, type PlainLora, rankOf, SHAPING, scaleOf } from './ranks.ts';

/** Tensors of a pair, in the order of writing. */
export const PAIR = ['lora_A', 'lora_B'] as const;

/** A random, B zero: the first forward pass is the base model's. */
export function freshPair(
  layer: AdaptedLayer,
  rank: number,
  random: Random,
): Record<(typeof PAIR)[number], HostTensor> {
  return { lora_A: kaiming([rank, layer.in], random.split(layer.name)), lora_B: zeros([layer.out, rank]) };
}

/** A fresh pair on every layer, to train as what all tasks share. */
export function freshStart(
  layers: readonly AdaptedLayer[],
  options: LoraOptions,
  random: Random,
): Map<string, TrainableTensor> {
  const tensors = new Map<string, TrainableTensor>();
  for (const layer of layers)
    for (const [name, start] of Object.entries(freshPair(layer, rankOf(options, layer.name), random)))
      tensors.set(`${layer.name}/${name}`, { start, place: 'shared', trained: true });
  return tensors;
}

/** base + scale · B (A x). */
export function applyPair(
  layer: AdaptedLayer,
  x: tf.Tensor2D,
  base: tf.Tensor2D,
  active: Active,
  options: LoraOptions,
): tf.Tensor2D {
  const get = (name: string) => active.get(layer.name, name) as tf.Tensor2D;
  const z = tf.mul(tf.matMul(x, get('lora_A'), false, true), scaleOf(options, layer.name)) as tf.Tensor2D;
  return tf.add(base, tf.matMul(z, get('lora_B'), false, true));
}

/** Parameters of one pair on every layer. */
export const pairParameters = (
  layers: readonly AdaptedLayer[],
  options: Pick<LoraOptions, 'rank' | 'rankPattern'>,
): number => layers.reduce((sum, layer) => sum + rankOf(options, layer.name) * (layer.in + layer.out), 0);

/** A task as an ordinary LoRA, layer by layer, with the ranks and alphas of the bank. */
export function foldLayers(bank: Bank, task: string, pairOf: (layer: string) => LoraPair): PlainLora {
  mustKnow(bank, task);
  const options = bank.options as LoraOptions;
  const pair = (layer: string): LoraPair => withAlpha(pairOf(layer), alphaOf(options, layer), options.alpha);
  return { ...shaped(options, options), layers: new Map(bank.layers.map(({ name }) => [name, pair(name)])) };
}

/** A pair that names its alpha where it is another than that of most. */
const withAlpha = (pair: LoraPair, alpha: number, common: number): LoraPair =>
  alpha === common ? pair : { ...pair, alpha };

const shaped = ({ rank, alpha }: Pick<PlainLora, 'rank' | 'alpha'>, { useRslora }: LoraOptions) => ({
  rank,
  alpha,
  ...(useRslora && { useRslora }),
});

/** What every method has in common that keeps one LoRA for all tasks: pass its name, and add what sets it apart. */
export function oneLora<Options extends LoraOptions>(name: string) {
  return {
    name,
    needsTask: false,

    describe: (layers, options) => ({
      shared: PAIR,
      perTask: [],
      frozenAfterTask: [],
      parameters: { shared: pairParameters(layers, options), perTask: 0 },
    }),

    start(layers, options, random) {
      mustMatchLayers(layers, options);
      const tensors: TensorMap = new Map();
      for (const layer of layers)
        for (const [tensor, value] of Object.entries(freshPair(layer, rankOf(options, layer.name), random)))
          tensors.set(sharedKey(layer.name, tensor), value);
      return { method: name, options, layers, tasks: [], tensors };
    },

    begin(bank, task, options) {
      mustMatch(bank, options, SHAPING);
      const tensors = new Map<string, TrainableTensor>();
      for (const [key, start] of pairsOf(bank)) tensors.set(key, { start, place: 'shared', trained: true });
      return { task, tensors, constants: new Map(), earlierTasks: bank.tasks };
    },

    apply: applyPair,

    finish(bank, { task }, trained) {
      const tensors: TensorMap = new Map(bank.tensors);
      for (const { name: layer } of bank.layers)
        for (const tensor of PAIR) tensors.set(sharedKey(layer, tensor), trained.get(`${layer}/${tensor}`)!);
      return { ...bank, tasks: [...bank.tasks, task], tensors };
    },

    activate(bank, task) {
      mustKnow(bank, task);
      return pairsOf(bank);
    },

    fold: (bank, task) =>
      foldLayers(bank, task, (layer) => ({
        A: tensorOf(bank, sharedKey(layer, 'lora_A')),
        B: tensorOf(bank, sharedKey(layer, 'lora_B')),
      })),
  } satisfies Partial<Method<Options>>;
}

/** The one pair of every layer, by `<module path>/<tensor>`. */
export function pairsOf(bank: Bank): TensorMap {
  const keys = bank.layers.flatMap(({ name }) => PAIR.map((tensor) => [name, tensor] as const));
  return new Map(keys.map(([layer, tensor]) => [`${layer}/${tensor}`, tensorOf(bank, sharedKey(layer, tensor))]));
}

/** All tasks' pairs of a layer as one: A one below another [T·r, in], B side by side [out, T·r]. */
export function stacked(bank: Bank, layer: string): Record<(typeof PAIR)[number], HostTensor> {
  const [As, Bs] = PAIR.map((name) => bank.tasks.map((task) => tensorOf(bank, ownKey(task, layer, name))));
  const [rank, inputs] = As![0]!.shape as [number, number];
  const out = Bs![0]!.shape[0]!;
  const width = rank * bank.tasks.length;
  const A = new Float32Array(width * inputs);
  const B = new Float32Array(out * width);
  for (const [i, { data }] of As!.entries()) A.set(data, i * rank * inputs);
  for (const [i, { data }] of Bs!.entries())
    for (let row = 0; row < out; row++) B.set(data.subarray(row * rank, (row + 1) * rank), row * width + i * rank);
  return { lora_A: { shape: [width, inputs], data: A }, lora_B: { shape: [out, width], data: B } };
}

/** `stacked` of all layers as constants of a task in training, by `<module path>/<tensor>_earlier`; empty before the first. */
export function earlierLoras(bank: Bank): TensorMap {
  const constants: TensorMap = new Map();
  if (bank.tasks.length > 0)
    for (const { name: layer } of bank.layers)
      for (const [name, earlier] of Object.entries(stacked(bank, layer)))
        constants.set(`${layer}/${name}_earlier`, earlier);
  return constants;
}

/** What the earlier tasks add to the base while a new one trains (`earlierLoras`). */
export function withEarlier(
  layer: AdaptedLayer,
  x: tf.Tensor2D,
  base: tf.Tensor2D,
  active: Active,
  options: LoraOptions,
): tf.Tensor2D {
  if (!active.constant(layer.name, 'lora_A_earlier')) return base;
  const earlier = { ...active, get: (of: string, name: string) => active.constant(of, `${name}_earlier`)! };
  return applyPair(layer, x, base, earlier, options);
}

/** What methods have in common that keep a LoRA per task and add all of them up: one LoRA of T times the rank. */
export const summedLoras = {
  needsTask: false,

  /** In training the new pair on top of the frozen earlier ones (`earlierLoras`); afterwards all of them as one pair. */
  apply: (layer, x, base, active, given) =>
    applyPair(layer, x, withEarlier(layer, x, base, active, given), active, given),

  activate(bank, task) {
    mustKnow(bank, task);
    const pairs = bank.layers.flatMap(({ name }) =>
      Object.entries(stacked(bank, name)).map(([tensor, value]): [string, HostTensor] => [`${name}/${tensor}`, value]),
    );
    return new Map(pairs);
  },

  fold(bank, task) {
    mustKnow(bank, task);
    const options = bank.options as LoraOptions;
    const pairs = bank.layers.map(({ name }): [string, LoraPair, number] => {
      const { lora_A: A, lora_B: B } = stacked(bank, name);
      // Another rank at the same scale.
      const wider = A.shape[0]! / rankOf(options, name);
      return [name, { A, B }, alphaOf(options, name) * (options.useRslora ? Math.sqrt(wider) : wider)];
    });
    const [, first, alpha] = pairs[0] ?? [null, null, options.alpha];
    const layers = new Map(pairs.map(([name, pair, own]) => [name, withAlpha(pair, own, alpha)]));
    return { ...shaped({ rank: first?.A.shape[0] ?? options.rank, alpha }, options), layers };
  },
} satisfies Partial<Method<LoraOptions>>;
