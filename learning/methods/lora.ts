import * as tf from '@tensorflow/tfjs';
import { z } from 'zod';
import { DEFAULTS } from '../../core/defaults.ts';
import type { HostTensor } from '../../core/host-tensor.ts';
import type { AdaptedLayer } from '../model/model.ts';
import type { Random } from '../training/random.ts';
import { kaiming, zeros } from './initial.ts';
import type { Active } from './method.ts';

/** What every method made of ordinary LoRA pairs needs (LoRA, arXiv 2106.09685): ΔW = alpha/rank · B A. */
export const loraOptions = z.strictObject({
  rank: z.number().int().positive().default(DEFAULTS['adapter.rank'].value),
  alpha: z.number().positive().default(DEFAULTS['adapter.alpha'].value),
});

export type LoraOptions = z.output<typeof loraOptions>;

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

/** base + alpha/rank · B (A x). */
export function applyPair(
  layer: AdaptedLayer,
  x: tf.Tensor2D,
  base: tf.Tensor2D,
  active: Active,
  options: LoraOptions,
): tf.Tensor2D {
  const get = (name: string) => active.get(layer.name, name) as tf.Tensor2D;
  const z = tf.mul(tf.matMul(x, get('lora_A'), false, true), options.alpha / options.rank) as tf.Tensor2D;
  return tf.add(base, tf.matMul(z, get('lora_B'), false, true));
}

/** Parameters of one pair on every layer. */
export const pairParameters = (layers: readonly AdaptedLayer[], rank: number) =>
  layers.reduce((sum, layer) => sum + rank * (layer.in + layer.out), 0);
