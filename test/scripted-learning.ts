import type { AveragedRound } from '../activities/average-round.ts';
import type { DataActivities } from '../activities/data.ts';
import type { GpuActivities } from '../activities/gpu.ts';
import { LiloraError } from '../core/errors.ts';
import { type FileRef, QUEUES, type ResolvedStream, SCHEMA, type StreamState } from '../workflows/contract.ts';

/** A reference to an object that is not there. */
export const file = (name: string): FileRef => ({ key: name, size: 1, sha256: name });

/** How activities answer that only pretend to learn. */
export interface Script {
  /** Score of a task on a bank; banks are named trained, regularized-<strength>, safe. */
  score: (bank: string | null, task: string) => number;
  bad?: string[];
  /** No gpu worker lives, and datasets are small: one starts while they are fetched. */
  fromZero?: boolean;
  /** Datasets that were written anew: part of their digest. */
  versions?: Readonly<Record<string, number>>;
  /** Evaluations that were computed before. */
  known?: (bank: string | null, task: string) => boolean;
  consolidates?: boolean;
  hasSafeMode?: boolean;
  /** Samples of the test split of a task; not told when absent, as in histories of older versions. */
  samples?: (task: string) => number;
  /** Training samples whose answers cannot be learned. */
  leftOut?: number;
  /** Tasks whose publication takes hold, but whose worker never says so. */
  unheard?: readonly string[];
  /** Called whenever the stream is read from the store; what it throws is what the store says. */
  opening?: (time: number) => void;
  /** Called when training starts; training ends when it resolves. */
  training?: (attempt: number) => Promise<void>;
  /** A round of training that the store already has. */
  averaged?: AveragedRound;
}

const engine = { backend: '', device: '', version: '' };

/** What the outer step ends with; training takes two rounds. */
export const averagedRound = (round: number, workers: number): AveragedRound & { reused: boolean } => ({
  round,
  weights: file(`averaged-${round}`),
  velocity: file('v'),
  inner: Array.from({ length: workers }, (_, worker) => file(`inner-${round}-${worker}`)),
  started: file('s'),
  log: file('l'),
  seconds: 1,
  engine,
  bank: round === 1 ? file('averaged') : null,
  reused: false,
});

/** A definition of which nothing matters but its name, its queues and what is changed. */
export function scriptedDefinition(name: string, changes: Partial<ResolvedStream> = {}): ResolvedStream {
  return {
    schema: SCHEMA,
    name,
    model: { uri: 's3://models/m', digest: 'm' },
    method: { name: 'lilora', options: {} },
    targets: 'paper',
    training: {
      learningRate: 1,
      batchSize: 1,
      microBatchSize: 1,
      epochs: 1,
      warmupRatio: 0,
      weightDecay: 0,
      clipNorm: 0,
      dropout: 0,
    },
    evaluation: { maxNewTokens: 1, batchSize: 1 },
    gate: { forgettingBudget: 5, minimumGain: 0, consolidations: [0.5, 1], whenOver: 'safe' },
    limits: { trainHours: 1, heartbeatSeconds: 60, checkpointSeconds: 60 },
    seed: 0,
    gpuQueue: `${QUEUES.gpu}-${name}`,
    ...changes,
  };
}

/** A stream that has learned nothing yet. */
export const emptyState = (definition: ResolvedStream, script: Partial<Script> = {}): StreamState => ({
  definition,
  abilities: { consolidates: script.consolidates ?? true, hasSafeMode: script.hasSafeMode ?? true },
  head: null,
  bank: definition.start?.bank ?? null,
  learned: [],
  matrix: { tasks: [], zeroShot: [], rows: [] },
  nextGeneration: 1,
});

/** Activities that answer from a script, and what was called. */
export function scriptedActivities(definition: ResolvedStream, script: Script) {
  const calls: string[] = [];
  let published: StreamState | null = null;
  let trainings = 0;
  let openings = 0;
  const evaluated = ({ bank, task }: { bank: FileRef | null; task: string }) => ({
    task,
    score: script.score(bank?.key ?? null, task),
    instructionFollowing: 100,
    count: script.samples?.(task) ?? 1,
    predictions: file('p'),
    reused: false,
  });
  const data: DataActivities = {
    openStream: async () => {
      script.opening?.(++openings);
      return published ?? emptyState(definition, script);
    },
    inspectDataset: async ({ dataset }) => {
      if (script.bad?.includes(`manifest:${dataset}`))
        throw new LiloraError('BadDataset', `${dataset}/dataset.json is not JSON.`);
      return {
        name: dataset.split('/').at(-1)!,
        digest: `digest-of-${dataset}${script.versions?.[dataset] ?? ''}`,
        uri: dataset,
        fromZero: script.fromZero ?? false,
      };
    },
    fetchDataset: async ({ task }) => {
      calls.push(`fetch ${task}`);
      if (script.bad?.includes(task)) throw new LiloraError('BadDataset', `train.json, sample 7: no assistant turn.`);
      const counts: Record<string, number> = {
        ...(script.samples && { test: script.samples(task) }),
        ...(script.leftOut && { 'left out': script.leftOut }),
      };
      return { metric: 'exact', train: file(`${task}-train`), test: file(`${task}-test`), counts, reused: false };
    },
    publishGeneration: async ({ state, task, dataset, test, bank, zeroShot, evaluations, routing }) => {
      calls.push(`publish ${task} ${bank.key}`);
      const generation = state.nextGeneration;
      published = {
        ...state,
        head: { generation, manifestDigest: String(generation), epoch: (state.head?.epoch ?? 0) + 1 },
        bank,
        learned: [
          ...state.learned,
          {
            task,
            dataset,
            metric: 'exact',
            test,
            generation,
            ...(script.samples && { samples: script.samples(task) }),
            ...(routing && { routing: routing.statistics }),
          },
        ],
        matrix: {
          tasks: [...state.matrix.tasks, task],
          zeroShot: [...state.matrix.zeroShot, zeroShot.score],
          rows: [...state.matrix.rows, evaluations.map(({ score }) => score)],
        },
        nextGeneration: generation + 1,
      };
      if (script.unheard?.includes(task))
        throw new LiloraError('Conflict', `Generation ${generation} is there already.`);
      return published;
    },
    publishStart: async ({ state, tests, zeroShot, evaluations }) => {
      calls.push(`publish start ${tests.map(({ task }) => task).join(' ')}`);
      const generation = state.nextGeneration;
      const scores = evaluations.map(({ score }) => score);
      published = {
        ...state,
        head: { generation, manifestDigest: String(generation), epoch: 1 },
        learned: tests.map((test) => ({ ...test, generation })),
        matrix: {
          tasks: tests.map(({ task }) => task),
          zeroShot: zeroShot.map(({ score }) => score),
          rows: tests.map((_, i) => scores.slice(0, i + 1)),
        },
        nextGeneration: generation + 1,
      };
      return published;
    },
    findEvaluation: async (input) =>
      script.known?.(input.bank?.key ?? null, input.task) ? { ...evaluated(input), reused: true } : null,
    findEvaluations: async ({ bank, tests }) => ({
      found: tests.map(({ task }) =>
        script.known?.(bank?.key ?? null, task) ? { ...evaluated({ bank, task }), reused: true } : null,
      ),
    }),
    mergeShards: async (input) => {
      calls.push(`merge ${input.answers.map(({ key }) => key).join(' ')}`);
      return evaluated(input);
    },
    openRounds: async () => ({ run: 'run', steps: 8, rounds: 2, last: script.averaged ?? null }),
    averageRound: async ({ round, trained, previous }) => {
      calls.push(`average ${round} of ${trained.map(({ weights }) => weights.key)} after ${previous?.weights.key}`);
      return averagedRound(round, trained.length);
    },
    removeTask: async ({ state, task }) => {
      calls.push(`remove ${task}`);
      const generation = state.nextGeneration;
      const head = { generation, manifestDigest: '', epoch: state.head!.epoch + 1 };
      const learned = state.learned.filter((each) => each.task !== task);
      return {
        state: { ...state, head, learned, nextGeneration: generation + 1 },
        removal: { task, generation, traces: [], objects: 0, bytes: 0 },
      };
    },
    rollbackStream: async ({ state, generation }) => {
      calls.push(`rollback ${generation}`);
      return {
        ...state,
        head: { generation, manifestDigest: '', epoch: state.head!.epoch + 1 },
        learned: state.learned.slice(0, generation),
      };
    },
  };
  const gpu: GpuActivities = {
    warmModel: async () => {
      calls.push('warm');
      return { digest: 'm' };
    },
    trainTask: async ({ safe, task }) => {
      calls.push(`train ${task}${safe ? ' safe' : ''}`);
      await script.training?.(++trainings);
      return {
        bank: file(safe ? 'safe' : 'trained'),
        metrics: file('m'),
        steps: 1,
        seconds: 1,
        engine,
        reused: false,
      };
    },
    trainRound: async ({ round, worker, from }) => {
      calls.push(`round ${round} worker ${worker} from ${from?.inner.key}`);
      await script.training?.(++trainings);
      const [weights, inner] = [file(`weights-${round}-${worker}`), file(`inner-${round}-${worker}`)];
      return { weights, inner, started: null, log: null, seconds: 1, engine, reused: false };
    },
    regularizeShared: async ({ strength }) => {
      calls.push(`regularize ${strength}`);
      return { bank: file(`regularized-${strength}`), drift: [], reused: false };
    },
    evaluateTask: async (input) => {
      if (script.samples) calls.push(`evaluate ${input.task}`);
      return evaluated(input);
    },
    routingStatistics: async ({ task }) => {
      calls.push(`statistics ${task}`);
      return { statistics: file(`${task}-statistics`), count: 1, seconds: 1, reused: false };
    },
    evaluateRouted: async ({ task, tasks }) => {
      calls.push(
        `route ${task} over ${tasks.map(({ statistics }) => statistics.key.replace('-statistics', '')).join(' ')}`,
      );
      return { task, score: 100, accuracy: 100, count: 1, chosen: { [task]: 1 }, reused: false };
    },
    answerShard: async ({ task, batches }) => {
      calls.push(`answer ${task} ${batches.from}-${batches.to}`);
      return { answers: file(`${task}-${batches.from}-${batches.to}`), count: 1, reused: false };
    },
  };
  return { calls, data, gpu };
}
