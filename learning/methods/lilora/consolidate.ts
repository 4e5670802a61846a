import type { TensorMap } from '../../../core/host-tensor.ts';
import { add, type Matrix } from '../../tensors/linalg.ts';
import { ownKey, sharedKey, tensorOf } from '../bank.ts';
import type { Bank, Consolidated } from '../method.ts';
import { blend, deltaChange, host, type Own, reanchor, type Shared } from './factors.ts';
import { ownOf, sharedOf } from './index.ts';
import type { LiloraOptions } from './options.ts';

/**
 * The regularize step. At strength 0 every earlier task is re-expressed in the shared factors as training left them. At
 * γ > 0 the shared factors first go back, A = A° + (1−γ)·N and B0 = B0° + (1−γ)·M, all tasks are re-expressed, and the new
 * one asks for a refit; at γ = 1 the shared factors and every earlier task are exactly as they were.
 */
export function consolidate(before: Bank, after: Bank, task: string, strength: number): Consolidated {
  const options = after.options as LiloraOptions;
  const tensors: TensorMap = new Map(after.tensors);
  const changes = new Map<string, Array<{ layer: string; relative: number }>>(before.tasks.map((name) => [name, []]));

  for (const { name: layer } of after.layers) {
    const old = sharedOf(before, layer);
    const trained = sharedOf(after, layer);
    const next: Shared =
      strength === 0 ? trained : { A: between(old.A, trained.A, strength), B0: between(old.B0, trained.B0, strength) };
    const same = strength === 1 || (equal(old.A, next.A) && equal(old.B0, next.B0));
    if (strength === 1)
      for (const name of ['A', 'B0']) tensors.set(sharedKey(layer, name), tensorOf(before, sharedKey(layer, name)));
    else if (strength > 0) {
      tensors.set(sharedKey(layer, 'A'), host.write(next.A));
      tensors.set(sharedKey(layer, 'B0'), host.write(next.B0));
    }
    for (const earlier of before.tasks) {
      const own = ownOf(before, earlier, layer);
      // Nothing moved: not even rounding may change what the task computes.
      const kept = same || !(options.reanchor || strength > 0);
      const now = kept ? own : reanchor(own, old, next);
      if (!kept) put(tensors, earlier, layer, now);
      const { change, size } = deltaChange(blend(next.B0, now), next.A, blend(old.B0, own), old.A);
      changes.get(earlier)!.push({ layer, relative: same ? 0 : Math.sqrt(change / Math.max(size, Number.MIN_VALUE)) });
    }
    if (strength > 0) put(tensors, task, layer, reanchor(ownOf(after, task, layer), trained, next));
  }

  const drift = [...changes].map(([name, layers]) => {
    const worst = layers.reduce((a, b) => (b.relative > a.relative ? b : a));
    const mean = layers.reduce((sum, { relative }) => sum + relative, 0) / layers.length;
    return { task: name, mean, worst: worst.relative, worstLayer: worst.layer };
  });
  return { bank: { ...after, tensors }, drift, refit: strength > 0 };
}

/** a° + (1 − γ)·(a − a°). */
const between = (old: Matrix, trained: Matrix, strength: number) => add(old, add(trained, old, -1), 1 - strength);

const equal = (a: Matrix, b: Matrix) => a.data.every((value, i) => value === b.data[i]);

function put(tensors: TensorMap, task: string, layer: string, own: Own): void {
  tensors.set(ownKey(task, layer, 'B_tilde'), host.write(own.B));
  tensors.set(ownKey(task, layer, 'A_tilde'), host.write(own.A));
}
