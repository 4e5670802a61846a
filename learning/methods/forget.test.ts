import { expect, it } from 'vitest';
import { smallOptions } from '../../test/small-learning.ts';
import { Random } from '../training/random.ts';
import { activeDigest } from './adapter.ts';
import { readBank, writeBank } from './bank.ts';
import { forgetTask } from './forget.ts';
import type { Bank } from './method.ts';
import { methodNamed, methodNames } from './registry.ts';

const layers = [{ name: 'one', in: 12, out: 10 }];

/** Three tasks, begun and finished as they were begun. */
function learned(name: string): Bank {
  const method = methodNamed(name);
  const options = method.options.parse(smallOptions(name));
  let bank = method.start(layers, options, new Random(1));
  for (const task of ['a', 'b', 'c']) {
    const trainable = method.begin(bank, task, options, new Random(2).split(task));
    bank = method.finish(bank, trainable, new Map([...trainable.tensors].map(([key, { start }]) => [key, start])));
  }
  return bank;
}

it.each(methodNames())('%s forgets a task and leaves the others as they were, or refuses', (name) => {
  const bank = learned(name);
  const method = methodNamed(name);
  const shared = [...bank.tensors.keys()].some((key) => !key.startsWith('tasks/'));
  if (!method.needsTask && shared) {
    expect(() => forgetTask(bank, 'b')).toThrow(/one adapter for all tasks.* cannot forget it\. Roll back/);
    return;
  }
  const { bank: without, traces } = forgetTask(bank, 'b');
  expect(traces.length > 0).toBe(shared);
  expect(readBank(writeBank(without), 'bank').tasks).toEqual(['a', 'c']);
  expect([...without.tensors.keys()].filter((key) => key.includes('tasks/b/'))).toEqual([]);
  if (method.needsTask)
    for (const task of ['a', 'c']) expect(activeDigest(without, task)).toBe(activeDigest(bank, task));
  expect(() => method.begin(without, 'b', method.options.parse(without.options), new Random(3))).not.toThrow();
});

it('names shared tensors that keep traces', () => {
  expect(forgetTask(learned('lilora'), 'a').traces).toEqual(['A', 'B0']);
  expect(forgetTask(learned('per-task-lora'), 'a').traces).toEqual([]);
  expect(() => forgetTask(learned('lilora'), 'd')).toThrow(/knows no task "d"/);
});
