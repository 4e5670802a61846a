import type { HostTensor } from '../core/host-tensor.ts';
import type { Bank, Method } from '../learning/methods/method.ts';
import { Random } from '../learning/training/random.ts';

/**
 * A task as if it had been learned: every trained tensor moved by random numbers.
 * @param size their standard deviation
 */
export function pretend(method: Method, bank: Bank, task: string, options: Record<string, unknown>, size = 0.1): Bank {
  const random = new Random(7).split(task);
  const trainable = method.begin(bank, task, options, random.split('begin'));
  const moved = ({ shape, data }: HostTensor) => ({ shape, data: data.map((x) => x + size * random.normal()) });
  const learned = [...trainable.tensors].filter(([, { trained }]) => trained);
  return method.finish(bank, trainable, new Map(learned.map(([key, { start }]) => [key, moved(start)])));
}
