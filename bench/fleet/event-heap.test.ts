import { expect, it } from 'vitest';
import { Random } from '../../learning/training/random.ts';
import { EventHeap } from './event-heap.ts';

it('gives events by time, and those of one moment as they came', () => {
  const random = new Random(1);
  const heap = new EventHeap();
  const events = Array.from({ length: 5000 }, (_, value) => ({ time: random.below(300), value }));
  for (const { time, value } of events) heap.add(time, value);
  const sorted = events.toSorted((a, b) => a.time - b.time || a.value - b.value);
  for (const { time, value } of sorted) {
    expect(heap.next).toBe(time);
    expect(heap.take()).toBe(value);
  }
  expect(heap.next).toBe(Number.POSITIVE_INFINITY);
});

it('keeps its order while events come and go', () => {
  const random = new Random(2);
  const heap = new EventHeap();
  let now = 0;
  for (let i = 0; i < 20_000; i++) {
    heap.add(now + random.below(50), i);
    if (i % 3 === 0) continue;
    expect(heap.next).toBeGreaterThanOrEqual(now);
    now = heap.next;
    heap.take();
  }
});
