import { describe, expect, test } from 'vitest';
import { toySamples } from '../../test/toy-learning.ts';
import type { Rehearsal } from '../methods/method.ts';
import { padBatch } from './batches.ts';
import { chooseRehearsed, type MixedBatch, Mixture } from './mixture.ts';
import { Random } from './random.ts';
import { Sampler } from './sampler.ts';

const TRAINING = { epochs: 2, batchSize: 4 };
const samplesOf = (name: string, count: number) =>
  toySamples(count, 2).map((sample) => ({ ...sample, id: `${name}${sample.id}` }));
const NEW = samplesOf('new ', 10);
const OLD = [
  { task: 'a', samples: samplesOf('a ', 3) },
  { task: 'b', samples: samplesOf('b ', 5) },
];
const mixture = (rehearsal: Rehearsal | null, earlier = OLD, seed = 1) =>
  new Mixture(NEW, earlier, rehearsal, TRAINING, new Random(seed));
const batches = (mix: Mixture): MixedBatch[] => Array.from({ length: mix.steps }, (_, step) => mix.batch(step));
const ids = (mix: Mixture) => batches(mix).flatMap(({ samples }) => samples.map(({ id }) => id));

describe('without rehearsal', () => {
  test('the order is that of the sampler alone', () => {
    const sampler = new Sampler(NEW.length, { ...TRAINING, random: new Random(1).split('order') });
    const wanted = Array.from({ length: sampler.steps }, (_, step) => Array.from(sampler.batch(step), (i) => NEW[i]!));
    expect(batches(mixture(null, []))).toEqual(wanted.map((samples) => ({ samples, groups: [samples] })));
  });
});

describe('grouped by length', () => {
  const random = new Random(5);
  const [sample] = samplesOf('', 1);
  /** Answers of 1 to some hundred tokens behind prompts of 20 to 80: most are short. */
  const many = Array.from({ length: 2000 }, (_, i) => {
    const length = 20 + random.below(60) + Math.round(Math.exp(4 * random.uniform() + random.uniform()));
    return { ...sample!, id: String(i), inputIds: new Int32Array(length) };
  });
  const grouped = (groupByLength: boolean, seed = 1) =>
    batches(new Mixture(many, [], null, { epochs: 2, batchSize: 16, groupByLength }, new Random(seed)));
  /** Share of what is computed that is padding. */
  const padding = (all: readonly MixedBatch[]) => {
    const rows = all.map(({ samples }) => padBatch(samples, 0));
    const tokens = rows.reduce((sum, { attentionMask }) => sum + attentionMask.reduce((a, b) => a + b, 0), 0);
    return 1 - tokens / rows.reduce((sum, { attentionMask }) => sum + attentionMask.length, 0);
  };

  test('rows need less than a tenth of padding, and every epoch still has all samples in an order of its own', () => {
    expect(padding(grouped(false))).toBeGreaterThan(0.3);
    const all = grouped(true);
    expect(padding(all)).toBeLessThan(0.1);
    const drawn = all.flatMap(({ samples }) => samples.map(({ id }) => id));
    const epochs = [drawn.slice(0, 2000), drawn.slice(2000)];
    for (const epoch of epochs) expect([...epoch].sort()).toEqual(many.map(({ id }) => id).sort());
    expect(epochs[0]).not.toEqual(epochs[1]);
    // Long and short batches take turns.
    const lengths = all.slice(0, 125).map(({ samples }) => samples[0]!.inputIds.length);
    expect(lengths).not.toEqual([...lengths].sort((a, b) => a - b));
  });

  test('the step alone says what it learns from, as a resumed run needs it', () => {
    const training = { epochs: 2, batchSize: 16, groupByLength: true };
    const resumed = new Mixture(many, [], null, training, new Random(1)).batch(170);
    expect(resumed).toEqual(grouped(true)[170]);
  });
});

describe('mixed', () => {
  const mix = mixture({ perTask: 'all', place: 'mixed' });

  test('every epoch is one order of all samples, and the share of old ones is told', () => {
    expect(mix.steps).toBe(2 * Math.ceil(18 / 4));
    const all = [...NEW, ...OLD.flatMap(({ samples }) => samples)].map(({ id }) => id).sort();
    expect(ids(mix).slice(0, 18).sort()).toEqual(all);
    expect(ids(mix).slice(18).sort()).toEqual(all);
    for (const { samples, groups, rehearsed } of batches(mix)) {
      expect(groups).toEqual([samples]);
      expect(rehearsed).toBe(samples.filter(({ id }) => !id.startsWith('new')).length / samples.length);
    }
  });

  test('the order follows from the seed', () => {
    expect(ids(mixture({ perTask: 'all', place: 'mixed' }))).toEqual(ids(mix));
    expect(ids(mixture({ perTask: 'all', place: 'mixed' }, OLD, 2))).not.toEqual(ids(mix));
  });

  test('groups of tasks, or of new and old, hold what the batch holds', () => {
    for (const [groups, names] of [
      ['tasks', ['a', 'b', 'new']],
      ['age', ['a|b', 'new']],
    ] as const) {
      const seen = new Set<string>();
      for (const batch of batches(mixture({ perTask: 'all', place: 'mixed', groups }))) {
        expect(
          batch.groups
            .flat()
            .map(({ id }) => id)
            .sort(),
        ).toEqual(batch.samples.map(({ id }) => id).sort());
        for (const group of batch.groups) {
          const of = names.find((name) => group.every(({ id }) => new RegExp(`^(${name}) `).test(id)));
          expect(of).toBeDefined();
          seen.add(of!);
        }
      }
      expect([...seen].sort()).toEqual([...names]);
    }
  });
});

describe('beside', () => {
  test('every batch of new samples has one of old ones with it, which go round', () => {
    const beside = mixture({ perTask: 'all', place: 'beside', groups: 'age' });
    expect(beside.steps).toBe(2 * Math.ceil(10 / 4));
    const old: string[] = [];
    for (const [step, { groups, rehearsed }] of batches(beside).entries()) {
      const [fresh, again] = groups;
      expect(fresh!.length).toBe(step % 3 === 2 ? 2 : 4);
      expect(again!.length).toBe(4);
      expect(rehearsed).toBe(again!.length / (again!.length + fresh!.length));
      old.push(...again!.map(({ id }) => id));
    }
    expect(new Set(old.slice(0, 8)).size).toBe(8);
    expect(
      ids(beside)
        .filter((id) => id.startsWith('new'))
        .slice(0, 10)
        .sort(),
    ).toEqual(NEW.map(({ id }) => id).sort());
  });

  test('the first task has nothing beside it', () => {
    for (const { groups, rehearsed } of batches(mixture({ perTask: 3, place: 'beside', groups: 'age' }, []))) {
      expect(groups.length).toBe(1);
      expect(rehearsed).toBe(0);
    }
  });
});

test('a quota is drawn by seed and task, the same for every later task; what is smaller is taken whole', () => {
  const quota = (seed: number, task: string, perTask: Rehearsal['perTask'] = 5) => [
    ...chooseRehearsed({ perTask, place: 'mixed' }, 20, seed, task),
  ];
  expect(new Set(quota(1, 'a')).size).toBe(5);
  expect(quota(1, 'a')).toEqual([...quota(1, 'a')].sort((x, y) => x - y));
  expect(quota(1, 'a')).toEqual(quota(1, 'a'));
  expect(quota(1, 'b')).not.toEqual(quota(1, 'a'));
  expect(quota(2, 'a')).not.toEqual(quota(1, 'a'));
  const all = Array.from({ length: 20 }, (_, i) => i);
  expect(quota(1, 'a', 100)).toEqual(all);
  expect(quota(1, 'a', 'all')).toEqual(all);
});
