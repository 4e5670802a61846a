import type { Sample } from '../core/sample.ts';

/** Samples by number, from 0 on, each read when it is asked for: how many there are costs no memory. */
export interface SampleList extends AsyncIterable<Sample> {
  readonly length: number;
  /** One sample; the number must be below `length`. */
  at(i: number): Promise<Sample>;
  /** Every sample as a line of canonical JSON, with its `\n`. */
  lines(): AsyncIterable<Uint8Array>;
}

/**
 * A sample as a line of canonical JSON; within tools and the arguments of calls keys stay in their order, as templates write
 * them.
 */
export function lineOf(sample: Sample): Buffer {
  return Buffer.from(`${JSON.stringify(inOrder(sample))}\n`);
}

/** Keys that hold what people wrote as JSON. */
const AS_WRITTEN = new Set(['tools', 'arguments']);

/** The same value with its keys sorted, but for those within what people wrote. */
function inOrder(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(inOrder);
  const from = value as Readonly<Record<string, unknown>>;
  const sorted: Record<string, unknown> = {};
  for (const key of Object.keys(from).sort()) sorted[key] = AS_WRITTEN.has(key) ? from[key] : inOrder(from[key]);
  return sorted;
}

async function* linesOf(samples: AsyncIterable<Sample>): AsyncGenerator<Uint8Array> {
  for await (const sample of samples) yield lineOf(sample);
}

/** Samples that are in memory. */
export function listOf(samples: readonly Sample[]): SampleList {
  const list: SampleList = {
    length: samples.length,
    at: async (i) => samples[i]!,
    lines: () => linesOf(list),
    async *[Symbol.asyncIterator]() {
      yield* samples;
    },
  };
  return list;
}

/** Some samples of a list, by their numbers there, in this order. */
export function someOf(list: SampleList, numbers: ArrayLike<number>): SampleList {
  const some: SampleList = {
    length: numbers.length,
    at: (i) => list.at(numbers[i]!),
    lines: () => linesOf(some),
    async *[Symbol.asyncIterator]() {
      for (let i = 0; i < numbers.length; i++) yield await list.at(numbers[i]!);
    },
  };
  return some;
}

/** All samples of a list, in memory. */
export async function allOf(list: SampleList): Promise<Sample[]> {
  const samples: Sample[] = [];
  for await (const sample of list) samples.push(sample);
  return samples;
}
