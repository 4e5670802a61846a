import type { EncodedSample } from '../../core/sample.ts';
import type { Rehearsal } from '../methods/method.ts';
import type { TrainingOptions } from './options.ts';
import { Random } from './random.ts';
import { Sampler } from './sampler.ts';

/** Training samples of an earlier task that a method rehearses. */
export interface Rehearsed {
  readonly task: string;
  readonly samples: readonly EncodedSample[];
}

/** What one step learns from. */
export interface MixedBatch {
  readonly samples: readonly EncodedSample[];
  /** The same by groups whose gradients the method reconciles; one group for methods that do not. */
  readonly groups: ReadonlyArray<readonly EncodedSample[]>;
  /** Share of the batch that is of earlier tasks; undefined for methods that rehearse nothing. */
  readonly rehearsed?: number;
}

/**
 * The samples of an earlier task that are rehearsed, as ascending indices: a quota that seed and task decide, so every
 * later task rehearses the same ones. What is kept of old tasks are these numbers, never copies.
 */
export function chooseRehearsed({ perTask }: Rehearsal, samples: number, seed: number, task: string): Int32Array {
  const all = new Random(seed).split(`rehearse ${task}`).permutation(samples);
  return (perTask === 'all' ? all : all.slice(0, perTask)).sort();
}

/** Which samples belong to which step: those of the new task, and those of earlier tasks that its method rehearses. */
export class Mixture {
  readonly steps: number;
  private readonly sampler: Sampler;
  /** Of every sample that the sampler draws: 0 for the new task, then the earlier ones in order. */
  private readonly sources: readonly number[];
  private readonly samples: readonly EncodedSample[];
  private readonly beside: { readonly samples: readonly EncodedSample[]; readonly sampler: Sampler } | null;
  private readonly rehearsal: Rehearsal | null;

  constructor(
    samples: readonly EncodedSample[],
    rehearsed: readonly Rehearsed[],
    rehearsal: Rehearsal | null,
    training: Pick<TrainingOptions, 'epochs' | 'batchSize' | 'groupByLength'>,
    random: Random,
  ) {
    const earlier = rehearsal?.place === 'aside' ? [] : rehearsed;
    const old = earlier.flatMap((task) => task.samples);
    this.rehearsal = rehearsal;
    const apart = rehearsal?.place === 'beside' && old.length > 0;
    this.samples = apart ? samples : [...samples, ...old];
    this.sources = [samples, ...(apart ? [] : earlier.map((task) => task.samples))].flatMap((part, source) =>
      part.map(() => source),
    );
    const { epochs, batchSize, groupByLength = false } = training;
    const order = (name: string, drawn: readonly EncodedSample[]) =>
      new Sampler(drawn.length, {
        ...{ epochs, batchSize, random: random.split(name) },
        ...(groupByLength && { lengths: drawn.map(({ inputIds }) => inputIds.length) }),
      });
    this.sampler = order('order', this.samples);
    this.beside = apart ? { samples: old, sampler: order('rehearsal', old) } : null;
    this.steps = this.sampler.steps;
  }

  /** The samples of step `step`, counted from 0. */
  batch(step: number): MixedBatch {
    const drawn = Array.from(this.sampler.batch(step));
    const own = drawn.map((i) => this.samples[i]!);
    if (!this.rehearsal) return { samples: own, groups: [own] };
    const { beside } = this;
    const added = beside ? Array.from(beside.sampler.batch(step), (i) => beside.samples[i]!) : [];
    const samples = [...own, ...added];
    const groups = new Map<number, EncodedSample[]>();
    const put = (group: number, sample: EncodedSample) => groups.set(group, [...(groups.get(group) ?? []), sample]);
    const { groups: by = 'none' } = this.rehearsal;
    const groupOf = (source: number) => (by === 'tasks' ? source : by === 'age' ? Math.min(source, 1) : 0);
    for (const [at, i] of drawn.entries()) put(groupOf(this.sources[i]!), own[at]!);
    for (const sample of added) put(groupOf(1), sample);
    const old = added.length + drawn.filter((i) => this.sources[i]! > 0).length;
    return { samples, groups: [...groups.values()], rehearsed: old / samples.length };
  }
}
