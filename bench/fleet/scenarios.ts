import { costNumbers, openUsage, type PriceTable } from '../../core/cost.ts';
import { Random } from '../../learning/training/random.ts';
import { type Outcome, type Policy, simulate, type Times } from './simulate.ts';
import { DAY, type Demand, makeTasks, type Tasks } from './tasks.ts';

/** One demand under several policies. */
export interface Scenario {
  readonly name: string;
  /** Tasks by seed: the same for every policy. */
  readonly tasks: (random: Random) => Tasks;
  readonly days: number;
  readonly idleSeconds: readonly number[];
  readonly maxWorkers?: number;
  /** Workers of the peer; by default the fewest whose p95 of queueing is about as short as from zero. */
  readonly alwaysOn?: number;
}

/** Means over the seeds. */
export interface Line {
  readonly scenario: string;
  readonly policy: string;
  readonly outcome: Outcome;
  readonly money: number | null;
}

/** A row of the form that all benchmarks share: ours is scale to zero, the peer always on. */
export interface Row {
  readonly name: string;
  readonly ours: number;
  readonly peer: number;
  readonly ratio: number;
  readonly unit: string;
  readonly runs: number;
}

export interface Settings {
  readonly times: Times;
  readonly seeds: readonly number[];
  readonly prices: PriceTable | null;
  readonly queue: string;
}

const demand = (name: string, asked: Demand, idleSeconds: readonly number[]): Scenario => ({
  name,
  tasks: (random) => makeTasks(asked, random),
  days: asked.days,
  idleSeconds,
});

/** What is simulated when nothing else is asked for. @param demo measured useful seconds of the tasks of the demo */
export function standardScenarios(demo: readonly number[]): Scenario[] {
  const day = { pattern: 'poisson', streams: 1, tasksPerDay: 20, days: 1 } as const;
  const month = { pattern: 'business', days: 28 } as const;
  return [
    demand('a day of 20 tasks, demo tasks', { ...day, runSeconds: demo }, [5, 60, 300]),
    demand('a day of 20 tasks, 10 minutes each', { ...day, runSeconds: [600] }, [5, 60, 300]),
    demand('a day of 20 tasks, 1 hour each', { ...day, runSeconds: [3600] }, [5, 60, 300]),
    demand(
      '28 days, 100 streams, 2 tasks a day in bursts, 10 minutes each',
      { ...month, pattern: 'bursts', streams: 100, tasksPerDay: 2, runSeconds: [600] },
      [5, 60, 300],
    ),
    demand(
      '28 days, 5,000 streams, 1 task a day in business hours, 10 minutes each',
      { ...month, streams: 5000, tasksPerDay: 1, runSeconds: [600] },
      [5, 60, 300],
    ),
  ];
}

export function runScenario(scenario: Scenario, settings: Settings): { lines: Line[]; rows: Row[] } {
  const { name, idleSeconds } = scenario;
  const made = settings.seeds.map((seed) => scenario.tasks(new Random(seed)));
  const price = settings.prices?.workers?.[settings.queue];
  const run = (policy: Policy): Outcome[] =>
    made.map((tasks, i) =>
      simulate(tasks, {
        policy,
        times: settings.times,
        random: new Random(settings.seeds[i]!),
        until: scenario.days * DAY,
        price,
      }),
    );
  const line = (policy: string, outcomes: readonly Outcome[]): Line => {
    const outcome = meanOf(outcomes) as Outcome;
    const { money } = costNumbers(openUsage(settings.queue, outcome.billedSeconds), settings.prices);
    return { scenario: name, policy, outcome, money };
  };
  const fromZero = idleSeconds.map((idle) => {
    const policy: Policy = { kind: 'scale-to-zero', idleSeconds: idle, maxWorkers: scenario.maxWorkers };
    return line(`from zero, idle ${idle} s`, run(policy));
  });
  const workers =
    scenario.alwaysOn ??
    fewestWorkers(fromZero[0]!.outcome, (count) => meanOf(run({ kind: 'always-on', workers: count })) as Outcome);
  const peer = line(`always on, ${workers} worker${workers === 1 ? '' : 's'}`, run({ kind: 'always-on', workers }));
  const rows = fromZero.flatMap(({ policy, outcome: ours }) => {
    const row = (what: string, unit: string, of: (outcome: Outcome) => number): Row => {
      const [a, b] = [of(ours), of(peer.outcome)];
      return {
        name: `fleet: ${name}; ${policy}: ${what}`,
        ours: a,
        peer: b,
        ratio: a / b,
        unit,
        runs: settings.seeds.length,
      };
    };
    return [
      row('billed for every useful GPU-second', 's/s', ({ ratio }) => ratio),
      row('p95 of queueing', 's', ({ queueing }) => queueing.p95),
    ];
  });
  return { lines: [...fromZero, peer], rows };
}

/** The smallest fleet that is always on and whose p95 of queueing is at most a tenth above the given outcome's. */
function fewestWorkers({ queueing, peakWorkers }: Outcome, run: (workers: number) => Outcome): number {
  let [low, high] = [1, Math.max(1, Math.ceil(2 * peakWorkers))]; // the peak is a mean over the seeds
  while (low < high) {
    const middle = (low + high) >> 1;
    if (run(middle).queueing.p95 <= 1.1 * queueing.p95) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** Means, number by number, of outcomes of one shape. */
function meanOf(outcomes: ReadonlyArray<object>): object {
  const [first] = outcomes;
  return Object.fromEntries(
    Object.entries(first!).map(([name, value]) => {
      const values = outcomes.map((outcome) => (outcome as Record<string, unknown>)[name]);
      if (typeof value === 'object') return [name, meanOf(values as object[])];
      return [name, (values as number[]).reduce((a, b) => a + b, 0) / values.length];
    }),
  );
}
