import type { TensorMap } from '../../../core/host-tensor.ts';
import { add, type Matrix, toHost } from '../../tensors/linalg.ts';
import { ownKey, sharedKey, tensorOf } from '../bank.ts';
import type { Bank, Consolidated } from '../method.ts';
import { blend, OWN, type Own, ownOf, reanchoring, relativeChange, SHARED, type Shared, sharedOf } from './factors.ts';
import { rootOfMoments } from './moments.ts';
import type { LiloraOptions } from './options.ts';

/**
 * The regularize step. At strength 0 every earlier task is re-expressed in the shared factors as training left them. At
 * γ > 0 the shared factors first go back, A = A° + (1−γ)·N and B0 = B0° + (1−γ)·M, all tasks are re-expressed, and the new
 * one asks for a refit; at γ = 1 the shared factors and every earlier task are exactly as they were.
 */
export function consolidate(before: Bank, after: Bank, task: string, strength: number): Consolidated {
  const options = after.options as LiloraOptions;
  const tensors: TensorMap = new Map(after.tensors);
  const how = (layer: string) => ({
    blend: options.reanchorBlend,
    inputs: options.anchorMetric !== 'weights' ? rootOfMoments(before, layer) : null,
  });
  const changes = new Map<string, Array<{ layer: string; relative: number }>>(before.tasks.map((name) => [name, []]));
  const put = (name: string, layer: string, own: Own) => {
    tensors.set(ownKey(name, layer, 'B_tilde'), toHost(own.B));
    tensors.set(ownKey(name, layer, 'A_tilde'), toHost(own.A));
    if (options.reanchorBlend) tensors.set(ownKey(name, layer, 'a'), { shape: [1], data: Float32Array.of(own.a) });
  };

  for (const { name: layer } of after.layers) {
    const old = sharedOf(before, layer);
    const trained = sharedOf(after, layer);
    if (strength > 0)
      for (const name of SHARED) {
        const key = sharedKey(layer, name);
        // At 1 the very tensor: not even rounding may change what earlier tasks compute.
        tensors.set(key, strength === 1 ? tensorOf(before, key) : toHost(between(old[name], trained[name], strength)));
      }
    // As the bank holds them, rounded to float32.
    const next: Shared = strength > 0 ? sharedOf({ ...after, tensors }, layer) : trained;

    const moved = !(equal(old.A, next.A) && equal(old.B0, next.B0));
    const reanchor = moved && (options.reanchor || strength > 0) ? reanchoring(old, next, how(layer)) : null;
    for (const earlier of before.tasks) {
      const own = ownOf(before, earlier, layer);
      const now = reanchor ? reanchor(own) : own;
      if (reanchor) put(earlier, layer, now);
      else for (const key of OWN.map((name) => ownKey(earlier, layer, name))) tensors.set(key, tensorOf(before, key));
      const relative = moved ? relativeChange(blend(next.B0, now), next.A, blend(old.B0, own), old.A) : 0;
      changes.get(earlier)!.push({ layer, relative });
    }
    if (strength > 0 && !(equal(trained.A, next.A) && equal(trained.B0, next.B0)))
      put(task, layer, reanchoring(trained, next, how(layer))(ownOf(after, task, layer)));
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
