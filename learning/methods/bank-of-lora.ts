import { LiloraError } from '../../core/errors.ts';
import { Random } from '../training/random.ts';
import type { Bank } from './method.ts';
import type { PlainLora } from './ranks.ts';
import { methodNamed } from './registry.ts';

/** Methods whose bank is nothing but pairs, so that an adapter of any origin is one. */
const OF_PAIRS = ['sequential-lora', 'per-task-lora'];

/**
 * The bank in which an ordinary LoRA is the one task: to go on from it, with its ranks, alphas and scale. `BadConfig` for a
 * method that keeps more of a task than its pairs.
 */
export function bankOfLora(name: string, task: string, { rank, alpha, useRslora, layers }: PlainLora): Bank {
  if (!OF_PAIRS.includes(name))
    throw new LiloraError(
      'BadConfig',
      `A stream of method ${name} cannot start from an adapter of PEFT: it needs more than its pairs. Use ${OF_PAIRS.join(' or ')}, or a bank of the same method.`,
    );
  const unlike = (values: Array<[string, number | undefined]>, common: number) => {
    const own = values.filter(([, value]) => value !== undefined && value !== common);
    return own.length > 0 ? (Object.fromEntries(own) as Record<string, number>) : undefined;
  };
  const rankPattern = unlike(
    [...layers].map(([layer, { A }]) => [layer, A.shape[0]]),
    rank,
  );
  const alphaPattern = unlike(
    [...layers].map(([layer, pair]) => [layer, pair.alpha]),
    alpha,
  );
  const method = methodNamed(name);
  const options = method.options.parse({
    ...{ rank, alpha },
    ...(rankPattern && { rankPattern }),
    ...(alphaPattern && { alphaPattern }),
    ...(useRslora && { useRslora }),
  });
  const adapted = [...layers].map(([name, { A, B }]) => ({ name, in: A.shape[1]!, out: B.shape[0]! }));
  const random = new Random(0);
  const started = method.start(adapted, options, random);
  const trained = [...layers].flatMap(([layer, { A, B }]) => [
    [`${layer}/lora_A`, A] as const,
    [`${layer}/lora_B`, B] as const,
  ]);
  return method.finish(started, method.begin(started, task, options, random), new Map(trained));
}
