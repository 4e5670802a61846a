import { describe, expect, it } from 'vitest';
import type { TensorMap } from '../../core/host-tensor.ts';
import { Random } from '../training/random.ts';
import type { Bank, Method, Probe } from './method.ts';
import { methodNamed } from './registry.ts';

const layers = [{ name: 'one', in: 6, out: 5 }];

/** A probe on which the tasks have these losses; without an adapter it is 2. */
const probeOf = (method: Method, bank: Bank, losses: Record<string, number>) =>
  ({
    loss: async (adapter: TensorMap | null) => {
      const same = ([task]: [string, number]) =>
        [...method.activate(bank, task)].every(([key, tensor]) => adapter?.get(key) === tensor);
      return adapter === null ? 2 : Object.entries(losses).find(same)![1];
    },
  }) as unknown as Probe;

describe.each(['lilora', 'per-task-lora'])('%s', (name) => {
  const method = methodNamed(name);
  const options = method.options.parse({ rank: 4, alpha: 8, startFrom: 'similar' });
  const learned = (tasks: readonly string[]) =>
    tasks.reduce(
      (bank, task, i) => {
        const random = new Random(i);
        const trainable = method.begin(bank, task, options, random);
        const tensors = [...trainable.tensors].map(
          ([key, { start }]) => [key, { ...start, data: start.data.map(() => random.normal()) }] as const,
        );
        return method.finish(bank, trainable, new Map(tensors));
      },
      method.start(layers, options, new Random(1)),
    );
  const bank = learned(['a', 'b', 'c']);
  const ownStarts = async (losses: Record<string, number>, given = options) => {
    const before = await method.before!(bank, 'd', given, probeOf(method, bank, losses));
    const { tensors } = method.begin(before, 'd', given, new Random(9));
    return [...tensors].filter(([, { place }]) => place === 'own').map(([key, { start }]) => [key, start] as const);
  };

  it('starts a task where the earlier one ended that does best on its samples', async () => {
    const starts = await ownStarts({ a: 1.5, b: 0.5, c: 1 });
    expect(starts.length).toBeGreaterThan(0);
    for (const [key, start] of starts) expect(start).toBe(bank.tensors.get(`tasks/b/${key}`));
  });

  it('starts afresh where the base model does better than any, and where it is not asked', async () => {
    const fresh = method.begin(bank, 'd', options, new Random(9)).tensors;
    const plain = method.options.parse({ rank: 4, alpha: 8 });
    const never = await ownStarts({ a: 0, b: 0, c: 0 }, plain);
    for (const starts of [await ownStarts({ a: 3, b: 2, c: 2.5 }), never])
      for (const [key, start] of starts) expect(start.data).toEqual(fresh.get(key)!.start.data);
  });

  it('says that it looks at data only where it does', () => {
    expect([method.measures!(options), method.measures!(method.options.parse({}))]).toEqual([true, false]);
  });
});
