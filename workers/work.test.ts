import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { Work } from './work.ts';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

/** An activity that takes so many seconds. */
const busy = (seconds: number) => new Promise((done) => setTimeout(done, seconds * 1000));

function watched() {
  const work = new Work();
  const { run } = work.watch({ run: (seconds: number) => busy(seconds) });
  let idle = false;
  return {
    work,
    run,
    idleAfter: (seconds: number) => void work.idleFor(seconds).then(() => (idle = true)),
    idle: () => idle,
  };
}

it('is idle only after so long without any activity', async () => {
  const { run, idleAfter, idle } = watched();
  idleAfter(5);
  await vi.advanceTimersByTimeAsync(4000);
  void run(10); // 4 … 14
  await vi.advanceTimersByTimeAsync(14_900); // 18.9
  expect(idle()).toBe(false);
  await vi.advanceTimersByTimeAsync(200);
  expect(idle()).toBe(true);
});

it('counts activities and the time in which any ran', async () => {
  const { work, run } = watched();
  expect(work.workedUntil).toBeNull();
  void run(3); // 0 … 3
  await vi.advanceTimersByTimeAsync(1000);
  void run(4); // 1 … 5
  await vi.advanceTimersByTimeAsync(10_000);
  expect(work.begun).toBe(2);
  expect(work.workedUntil!.getTime()).toBeCloseTo(performance.timeOrigin + performance.now() - 6000, -1);
  expect(work.busySeconds).toBeCloseTo(5);
  void run(100);
  await vi.advanceTimersByTimeAsync(2000);
  expect(work.busySeconds).toBeCloseTo(7); // also while one runs
});

it('tells a worker that nothing came for', async () => {
  const { work, run } = watched();
  const [first, second] = [vi.fn(), vi.fn()];
  void work.unusedFor(2).then(first);
  await vi.advanceTimersByTimeAsync(2100);
  expect(first).toHaveBeenCalled();
  void work.unusedFor(2).then(second);
  void run(0.5);
  await vi.advanceTimersByTimeAsync(5000);
  expect(second).not.toHaveBeenCalled();
});
