import { describe, expect, it } from 'vitest';
import { inLanes } from './lanes.ts';

describe('inLanes', () => {
  it('does every item once, never more at a time than there are lanes', async () => {
    const done: number[] = [];
    let [running, most] = [0, 0];
    await inLanes(3, [1, 2, 3, 4, 5, 6, 7], async (item) => {
      most = Math.max(most, ++running);
      await new Promise((wake) => setTimeout(wake, 5));
      running--;
      done.push(item);
    });
    expect(done.sort()).toEqual([1, 2, 3, 4, 5, 6, 7]);
    expect(most).toBe(3);
  });

  it('begins nothing after a failure, lets the others end, and fails with it', async () => {
    const [begun, ended]: [number[], number[]] = [[], []];
    const work = async (item: number) => {
      begun.push(item);
      await new Promise((wake) => setTimeout(wake, item * 5));
      if (item === 1) throw new Error('first');
      ended.push(item);
    };
    await expect(inLanes(2, [1, 3, 4, 5], work)).rejects.toThrow('first');
    expect(begun).toEqual([1, 3]);
    expect(ended).toEqual([3]);
  });
});
