import type { Sample } from '../core/sample.ts';

/** Samples by number, from 0 on, each read when it is asked for: how many there are costs no memory. */
export interface SampleList extends AsyncIterable<Sample> {
  readonly length: number;
  /** One sample; the number must be below `length`. */
  at(i: number): Promise<Sample>;
}

/** Samples that are in memory. */
export function listOf(samples: readonly Sample[]): SampleList {
  return {
    length: samples.length,
    at: async (i) => samples[i]!,
    async *[Symbol.asyncIterator]() {
      yield* samples;
    },
  };
}

/** Some samples of a list, by their numbers there, in this order. */
export function someOf(list: SampleList, numbers: ArrayLike<number>): SampleList {
  return {
    length: numbers.length,
    at: (i) => list.at(numbers[i]!),
    async *[Symbol.asyncIterator]() {
      for (let i = 0; i < numbers.length; i++) yield await list.at(numbers[i]!);
    },
  };
}

/** All samples of a list, in memory. */
export async function allOf(list: SampleList): Promise<Sample[]> {
  const samples: Sample[] = [];
  for await (const sample of list) samples.push(sample);
  return samples;
}
