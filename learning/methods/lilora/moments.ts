import { DEFAULTS } from '../../../core/defaults.ts';
import type { TensorMap } from '../../../core/host-tensor.ts';
import { add, cholesky, fromHost, type Matrix, ridge, scale, toHost, trace } from '../../tensors/linalg.ts';
import { sharedKey, tensorsOfTask } from '../bank.ts';
import type { Bank, Probe } from '../method.ts';
import { SENSITIVITY } from './factors.ts';
import type { LiloraOptions } from './options.ts';

/** Σ x xᵀ of what went into a layer in the tasks so far, [in, in], each task's with a mean diagonal of 1. */
const MOMENTS = 'moments';

/** Share of the mean of the diagonal that is added to it: directions that no task used are held a little, too. */
const RIDGE = 0.01;

/** Whether a layer with so many inputs keeps them. */
export const hasMoments = (inputs: number) => inputs <= DEFAULTS['lilora.maxInputs'].value;

/** A bank that knows the inputs of `task`, too. Wider layers than `lilora.maxInputs` stay without. */
export async function withMoments(bank: Bank, task: string, options: LiloraOptions, probe: Probe): Promise<Bank> {
  const found = await probe.inputMoments(activeTensors(bank, task), options.momentSamples);
  const tensors: TensorMap = new Map(bank.tensors);
  for (const { name, in: inputs } of bank.layers.filter((layer) => hasMoments(layer.in))) {
    const now = fromHost(found.get(name)!);
    const mean = trace(now) / inputs;
    if (mean === 0) continue;
    const old = bank.tensors.get(sharedKey(name, MOMENTS));
    const own = scale(now, 1 / mean);
    tensors.set(sharedKey(name, MOMENTS), toHost(old ? add(fromHost(old), own) : own));
  }
  return { ...bank, tensors };
}

/** M [in, in] with M Mᵀ the mean second moment of a layer's inputs in the tasks so far; null where it is not known. */
export function rootOfMoments(bank: Bank, layer: string): Matrix | null {
  const tensor = bank.tensors.get(sharedKey(layer, MOMENTS));
  if (!tensor) return null;
  const moments = fromHost(tensor);
  const mean = trace(moments) / moments.rows;
  return cholesky(ridge(scale(moments, 1 / mean), RIDGE));
}

/** What computes a task: all but what is measured for training later ones. */
export function activeTensors(bank: Bank, task: string): TensorMap {
  const measured = [MOMENTS, SENSITIVITY].map((name) => `/${name}`);
  return new Map([...tensorsOfTask(bank, task)].filter(([key]) => !measured.some((end) => key.endsWith(end))));
}
