/**
 * What training in rounds moves and takes, on paper: `npx tsx bench/rounds-plan.ts`. The tables of docs/scale.md are its
 * output, and a test keeps them equal. Model: LiLoRA on LLaVA-1.5-7B as the paper adapts it (r 128, q 64).
 */
import { pathToFileURL } from 'node:url';
import { methodNamed } from '../learning/methods/registry.ts';
import type { AdaptedLayer } from '../learning/model/model.ts';

/** The 98 adapted layers of LLaVA-1.5-7B: the MLPs of 32 blocks and the projector. */
export const LAYERS: readonly AdaptedLayer[] = [
  ...Array.from({ length: 32 }, (_, i) => [
    { name: `${i}.gate_proj`, in: 4096, out: 11008 },
    { name: `${i}.up_proj`, in: 4096, out: 11008 },
    { name: `${i}.down_proj`, in: 11008, out: 4096 },
  ]).flat(),
  { name: 'projector.1', in: 1024, out: 4096 },
  { name: 'projector.2', in: 4096, out: 4096 },
];

/** Numbers that one task trains: A, B0 and the task's own factors. */
export function trainedNumbers(): number {
  const method = methodNamed('lilora');
  const options = method.options.parse({ rank: 128, alpha: 256, innerRank: 64 });
  const { shared, perTask } = method.describe(LAYERS, options).parameters;
  return shared + perTask;
}

/** What the plan takes for granted. */
export const ASSUMED = {
  /** Bytes per second of one connection to S3: AWS plans with 85 to 90 MB/s. */
  connection: 90e6,
  /** Parts that the store sends at once; a read is one connection. */
  uploads: 4,
  /** Workers' weights that the average fetches at once (`rounds.downloads`). */
  downloads: 4,
  /** Bytes of one part of an upload (`store.partMebibytes`): one request each. */
  part: 16 * 2 ** 20,
  /** Nanoseconds of one core per number of one worker: digest, reading, adding. Measured: 9. */
  averaging: 9,
  /** Events of a Temporal history for one worker's part: three of the activity, three of the workflow task that its end wakes. */
  events: 6,
  /** Seconds of one step: no measurement, since 7B does not train here yet. */
  step: 4,
} as const;

/** Expected maximum of k standard normal numbers: how far the slowest of k workers is behind the mean. */
export const SLOWEST: Readonly<Record<number, number>> = {
  2: 0.564,
  4: 1.029,
  8: 1.424,
  16: 1.766,
  32: 2.07,
  64: 2.344,
};

export interface RoundCosts {
  readonly workers: number;
  /** Bytes of the trained numbers in float32. */
  readonly weights: number;
  /** Bytes per round through the store: weights between workers and average, and the state that goes with them. */
  readonly exchanged: number;
  readonly kept: number;
  /** Bytes that exchanging gradients would move in one step. */
  readonly gradients: number;
  readonly writeRequests: number;
  /** Seconds that a round takes beside its steps. */
  readonly fetch: number;
  readonly store: number;
  readonly average: number;
  readonly events: number;
}

/** One round of k workers. Formulas beside the table in docs/scale.md. */
export function roundCosts(workers: number): RoundCosts {
  const numbers = trainedNumbers();
  const weights = 4 * numbers;
  const inner = 2 * weights;
  const { connection, uploads, downloads, part, averaging, events } = ASSUMED;
  const parts = (bytes: number) => Math.ceil(bytes / part) + 2;
  return {
    workers,
    weights,
    exchanged: (3 * workers + 1) * weights,
    kept: 2 * workers * inner + 3 * weights,
    gradients: 2 * workers * weights,
    writeRequests: workers * (parts(weights) + parts(inner)) + 2 * parts(weights),
    fetch: Math.max(weights, inner) / connection,
    store: (weights + inner) / (uploads * connection),
    average:
      (workers * weights) / (Math.min(workers, downloads) * connection) + // workers' weights
      (2 * weights) / connection + // weights and momentum of the round before
      (2 * weights) / (uploads * connection) + // the new ones
      1e-9 * averaging * numbers * workers,
    events: events * (workers + 1),
  };
}

/** Share of a round in which nobody trains, beside the slowest worker's own time. */
export function overhead(costs: RoundCosts, roundSteps: number): number {
  const idle = costs.fetch + costs.store + costs.average;
  return idle / (idle + roundSteps * ASSUMED.step);
}

const fixed = (value: number, digits = 1) => value.toFixed(digits);
const percent = (share: number) => `${fixed(100 * share, share < 0.1 ? 1 : 0)} %`;
const table = (head: readonly string[], rows: ReadonlyArray<readonly string[]>) =>
  [head, head.map((_, i) => (i === 0 ? '---' : '---:')), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n');

/** The tables as docs/scale.md shows them. */
export function planTables(): string[] {
  const all = [2, 8, 64].map(roundCosts);
  const line = (name: string, of: (costs: RoundCosts) => string) => [name, ...all.map(of)];
  const head = ['workers', ...all.map(({ workers }) => String(workers))];
  const perRound = table(head, [
    line('exchanged per round, GB', ({ exchanged }) => fixed(exchanged / 1e9)),
    line('moments and momentum through the store, GB', ({ kept }) => fixed(kept / 1e9)),
    line('gradients instead, GB per step', ({ gradients }) => fixed(gradients / 1e9)),
    line('gradients instead, GB per 100 steps', ({ gradients }) => fixed(gradients / 1e7, 0)),
    line('write requests per round', ({ writeRequests }) => String(writeRequests)),
    line('fetching, s', ({ fetch }) => fixed(fetch, 0)),
    line('storing, s', ({ store }) => fixed(store, 0)),
    line('averaging, s', ({ average }) => fixed(average, 0)),
    line('nobody trains, of a round of 25 steps', (costs) => percent(overhead(costs, 25))),
    line('of 100 steps', (costs) => percent(overhead(costs, 100))),
    line('of 500 steps', (costs) => percent(overhead(costs, 500))),
    line('waiting for the slowest, at 5 % spread', ({ workers }) => percent(0.05 * SLOWEST[workers]!)),
    line('events of the workflow’s history per round', ({ events }) => String(events)),
    line('samples for one round of 100 steps of 16', ({ workers }) => (workers * 1600).toLocaleString('en')),
  ]);
  return [perRound];
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href)
  process.stdout.write(`${planTables().join('\n\n')}\n`);
