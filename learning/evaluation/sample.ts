import { Random } from '../training/random.ts';

/** A choice of test samples that stands for a whole split. */
export interface TestSample {
  readonly count: number;
  readonly seed: number;
}

/** The places of the chosen samples in their split, ascending: the same ones in every evaluation. */
export function sampledPlaces(samples: number, { count, seed }: TestSample): Int32Array {
  return new Random(seed).split('test sample').permutation(samples).slice(0, count).sort();
}

/** What is evaluated of a split: all of it, or the samples that stand for it. */
export function sampled<T>(samples: readonly T[], sample: TestSample | undefined): readonly T[] {
  return sample ? Array.from(sampledPlaces(samples.length, sample), (place) => samples[place]!) : samples;
}
