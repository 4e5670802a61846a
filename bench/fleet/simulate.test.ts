import { describe, expect, it } from 'vitest';
import { Random } from '../../learning/training/random.ts';
import { type Fleet, type Policy, simulate } from './simulate.ts';
import { makeTasks, type Tasks } from './tasks.ts';

const NONE = { start: [0], load: [0], transfer: [0], stop: [0] };
const tasks = (rows: ReadonlyArray<readonly [at: number, stream: number, run: number]>): Tasks => ({
  at: Float64Array.from(rows, ([at]) => at),
  stream: Int32Array.from(rows, ([, stream]) => stream),
  run: Float64Array.from(rows, ([, , run]) => run),
  streams: Math.max(...rows.map(([, stream]) => stream)) + 1,
});
const fleet = (policy: Policy, more: Partial<Fleet> = {}): Fleet => ({
  policy,
  times: NONE,
  random: new Random(0),
  ...more,
});
const one: Policy = { kind: 'always-on', workers: 1 };

describe('small traces, worked by hand', () => {
  const times = { start: [3], load: [1.5], transfer: [0.5], stop: [1] };

  it('from zero: start, load, run, idle, stop', () => {
    // 0: start; 3: polls, loads 2 (0.5 of it data); 5-15: first; 18: data; 18.5-28.5: second; 33.5: idle for 5; 34.5: gone.
    // 100: start; 105-115: third; 120: idle for 5; 121: gone.
    const trace = tasks([
      [0, 0, 10],
      [18, 0, 10],
      [100, 0, 10],
    ]);
    const seen = simulate(trace, fleet({ kind: 'scale-to-zero', idleSeconds: 5 }, { times }));
    expect(seen).toMatchObject({ coldStarts: 2, peakWorkers: 1, usefulSeconds: 30, billedSeconds: 34.5 + 21 });
    expect(seen.queueing).toEqual({ mean: 10.5 / 3, p50: 5, p95: 5, max: 5 });
    expect(seen.utilisation).toBeCloseTo((12 + 10.5 + 12) / 55.5, 12);
    expect(seen.horizon).toBe(115);
  });

  it('a worker that ends in the moment when a task comes is gone', () => {
    const at = (second: number) =>
      simulate(
        tasks([
          [0, 0, 10],
          [second, 0, 10],
        ]),
        fleet({ kind: 'scale-to-zero', idleSeconds: 5 }, { times }),
      );
    expect(at(19.9).coldStarts).toBe(1);
    expect(at(20).coldStarts).toBe(2);
  });

  it('a stream learns one task at a time, others beside it', () => {
    // Stream 0: 0-10 and, behind it, 10-20. Stream 1: beside, on a second worker, 1-11.
    const trace = tasks([
      [0, 0, 10],
      [1, 0, 10],
      [1, 1, 10],
    ]);
    const seen = simulate(trace, fleet({ kind: 'scale-to-zero', idleSeconds: 1 }));
    expect(seen).toMatchObject({ coldStarts: 2, peakWorkers: 2, billedSeconds: 21 + 11 });
    expect(seen.queueing).toEqual({ mean: 3, p50: 0, p95: 9, max: 9 });
    // With one worker at most the other stream was there first.
    const narrow = simulate(trace, fleet({ kind: 'scale-to-zero', idleSeconds: 1, maxWorkers: 1 }));
    expect(narrow).toMatchObject({ coldStarts: 1, billedSeconds: 31 });
    expect(narrow.queueing).toMatchObject({ mean: (0 + 9 + 19) / 3, max: 19 });
  });

  it('always on: billed from the first to the last second', () => {
    const seen = simulate(tasks([[50, 0, 10]]), fleet({ kind: 'always-on', workers: 2 }, { until: 1000 }));
    expect(seen).toMatchObject({ coldStarts: 0, billedSeconds: 2000, ratio: 200, utilisation: 10 / 2000 });
  });

  it('a life has a minimum and whole units', () => {
    const price = { minimumSeconds: 60, granularitySeconds: 10 };
    const scale: Policy = { kind: 'scale-to-zero', idleSeconds: 5 };
    expect(simulate(tasks([[0, 0, 10]]), fleet(scale, { price })).billedSeconds).toBe(60);
    expect(simulate(tasks([[0, 0, 61]]), fleet(scale, { price })).billedSeconds).toBe(70);
  });
});

describe('closed forms of queueing theory', () => {
  const COUNT = 400_000;
  /** Poisson arrivals at `rate`, every task of a stream of its own. */
  const arrivals = (rate: number, run: (random: Random) => number, seed: number): Tasks => {
    const random = new Random(seed);
    const exponential = (mean: number) => -mean * Math.log(1 - random.uniform());
    const at = new Float64Array(COUNT);
    for (let i = 1; i < COUNT; i++) at[i] = at[i - 1]! + exponential(1 / rate);
    return {
      at,
      stream: Int32Array.from({ length: COUNT }, (_, i) => i),
      run: Float64Array.from({ length: COUNT }, () => run(random)),
      streams: COUNT,
    };
  };
  const exponential = (random: Random) => -Math.log(1 - random.uniform());

  it.each([0.3, 0.6, 0.8])('M/M/1 at load %d: the mean wait is ρ/(1−ρ) of a service', (load) => {
    const seen = simulate(arrivals(load, exponential, 11), fleet(one));
    expect(seen.queueing.mean / (load / (1 - load))).toBeCloseTo(1, 1);
    expect(seen.utilisation).toBeCloseTo(load, 2);
  });

  it.each([0.3, 0.6, 0.8])('M/D/1 at load %d: half of that', (load) => {
    const seen = simulate(
      arrivals(load, () => 1, 12),
      fleet(one),
    );
    expect(seen.queueing.mean / (load / (2 * (1 - load)))).toBeCloseTo(1, 1);
  });

  it('M/M/3: Erlang’s formula', () => {
    const [servers, offered] = [3, 2];
    const terms = Array.from({ length: servers }, (_, k) => offered ** k / factorial(k));
    const last = (offered ** servers / factorial(servers)) * (servers / (servers - offered));
    const mustWait = last / (terms.reduce((a, b) => a + b, 0) + last);
    const seen = simulate(arrivals(offered, exponential, 13), fleet({ kind: 'always-on', workers: servers }));
    expect(seen.queueing.mean / (mustWait / (servers - offered))).toBeCloseTo(1, 1);
  });

  it('M/M/1 from zero with an idle time of zero: starts as often as the queue is found empty, share 1−ρ', () => {
    const seen = simulate(
      arrivals(0.6, exponential, 14),
      fleet({ kind: 'scale-to-zero', idleSeconds: 0, maxWorkers: 1 }),
    );
    expect(seen.coldStarts / COUNT).toBeCloseTo(0.4, 2);
    expect(seen.ratio).toBeCloseTo(1, 9); // no idle time, no start: what is billed is work
  });

  it('Little: what is in the system is rate times stay, whatever the policy', () => {
    const random = new Random(5);
    for (const pattern of ['poisson', 'business', 'bursts'] as const) {
      const made = makeTasks({ pattern, streams: 40, tasksPerDay: 30, days: 14, runSeconds: [20, 90, 600] }, random);
      for (const policy of [one, { kind: 'scale-to-zero', idleSeconds: 60 }] as const) {
        const seen = simulate(
          made,
          fleet(policy, { times: { start: [2, 5], load: [4], transfer: [0.5, 2], stop: [1] } }),
        );
        const rate = seen.tasks / seen.horizon;
        expect(seen.meanInSystem / (rate * seen.meanSojourn)).toBeCloseTo(1, 9);
      }
    }
  });
});

const factorial = (n: number): number => (n <= 1 ? 1 : n * factorial(n - 1));

it('is the same for the same seed, and fast: a month of 5,000 streams in seconds', () => {
  const run = () => {
    const random = new Random(3);
    const made = makeTasks(
      { pattern: 'business', streams: 5000, tasksPerDay: 2, days: 30, runSeconds: [24, 60] },
      random,
    );
    return simulate(
      made,
      fleet(
        { kind: 'scale-to-zero', idleSeconds: 30 },
        { times: { start: [2, 5], load: [1], transfer: [0], stop: [1] }, random },
      ),
    );
  };
  const began = performance.now();
  const first = run();
  expect((performance.now() - began) / 1000).toBeLessThan(10);
  expect(first.tasks).toBeGreaterThan(290_000);
  expect(run()).toEqual(first);
});
