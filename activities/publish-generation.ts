import { readWhole } from '../core/files.ts';
import { readBank } from '../learning/methods/bank.ts';
import { readGeneration } from '../store/generations.ts';
import type { FileRef, GateReport, LearnedTask, Matrix, StreamState } from '../workflows/contract.ts';
import type { RouterName } from '../workflows/routing-contract.ts';
import { type DataContext, localFile } from './context.ts';
import type { EngineInfo } from './engine.ts';
import type { Evaluated } from './evaluate-task.ts';
import { type EvaluationFile, type RoutingFile, readEvaluation } from './evaluation-file.ts';
import { costFile, costLineage, type PublishedUsage } from './generation-cost.ts';
import { bankFiles, lineageOf, measured, publishBank } from './publish-bank.ts';
import type { EvaluatedRouted } from './routing.ts';

export interface PublishInput {
  readonly state: StreamState;
  readonly task: string;
  readonly dataset: { readonly uri: string; readonly digest: string };
  readonly metric: string;
  /** The packed test split: later generations are tested on it. */
  readonly test: FileRef;
  /** The packed training split, where later tasks rehearse it. */
  readonly train?: FileRef;
  /** Training log of the task. */
  readonly metrics: FileRef;
  readonly bank: FileRef;
  readonly zeroShot: Evaluated;
  /** On the new bank: every learned task in order, then this one. */
  readonly evaluations: readonly Evaluated[];
  /** Where the stream has a router: what it keeps of the new task, and every task evaluated with it. */
  readonly routing?: {
    readonly router: RouterName;
    readonly statistics: FileRef;
    readonly tasks: readonly EvaluatedRouted[];
  };
  readonly gate: readonly GateReport[];
  readonly engine: EngineInfo;
  readonly publishedAt: string;
  readonly workflow: { readonly id: string; readonly runId: string };
  /** Absent when a workflow of an older version asks. */
  readonly usage?: PublishedUsage;
}

/** Publishes what a task made of the stream, with the task in evaluation and lineage. */
export async function publishGeneration(context: DataContext, input: PublishInput): Promise<StreamState> {
  const { store } = context;
  const { state, task, dataset } = input;
  const { definition, head, nextGeneration: number } = state;
  const parent = head && (await readGeneration(store, definition.name, head.generation, head.manifestDigest));
  const local = await localFile(context, input.bank);
  const bank = readBank(await readWhole(local), input.bank.key);
  const { size, sha256 } = input.bank;
  const files = bankFiles(bank, { path: 'bank.safetensors', local, size, sha256 }, definition, parent);

  const matrix = withRow(state.matrix, task, input.zeroShot, input.evaluations);
  const learned: LearnedTask[] = [
    ...state.learned,
    {
      ...{ task, dataset, metric: input.metric, test: input.test, ...rehearsable(input.train), generation: number },
      ...(input.routing && { routing: input.routing.statistics }),
    },
  ].map((each, j) => ({ ...each, samples: each.samples ?? input.evaluations[j]!.count }));
  const instructionFollowing = input.evaluations.map((evaluated) => evaluated.instructionFollowing);
  const earlier = parent && (await readEvaluation(store, parent)).cost;
  const cost = input.usage && costFile(task, input.usage, earlier ?? undefined, files, definition.prices);
  const evaluation: EvaluationFile = {
    schema: 1,
    learned,
    matrix,
    instructionFollowing,
    metrics: measured(learned, matrix, instructionFollowing),
    gate: input.gate,
    ...sampledScores(input.gate.at(-1)),
    predictions: input.evaluations.map(({ task: name, predictions }) => ({ task: name, file: predictions })),
    ...(input.routing && { routing: routingFile(input.routing) }),
    ...(cost && { cost }),
  };
  const { engine, metrics, publishedAt, workflow } = input;
  const { tasks, removed } = lineageOf(parent);
  return publishBank(context, {
    ...{ state, bank, files, evaluation, removed, engine, publishedAt, workflow },
    tasks: [...tasks, { task, dataset, metrics, engine, codeVersion: context.codeVersion }],
    ...(cost && { lineage: { cost: costLineage(cost) } }),
  });
}

function routingFile({ router, tasks }: NonNullable<PublishInput['routing']>): RoutingFile {
  const count = tasks.reduce((sum, each) => sum + each.count, 0);
  return {
    router,
    accuracy: tasks.reduce((sum, each) => sum + each.accuracy * each.count, 0) / count,
    averageScore: tasks.reduce((sum, each) => sum + each.score, 0) / tasks.length,
    tasks: tasks.map(({ task, accuracy, score, count, chosen }) => ({ task, accuracy, score, count, chosen })),
  };
}

/** Which scores of what is published some samples stand for. */
function sampledScores(report: GateReport | undefined): Pick<EvaluationFile, 'sampled'> {
  const sampled = (report?.scores ?? []).flatMap(({ task, sampled: how }) => (how ? [{ task, ...how }] : []));
  return sampled.length > 0 ? { sampled } : {};
}

const rehearsable = (train: FileRef | undefined) => (train ? { train } : {});

/** The matrix with one more row and column. */
function withRow(matrix: Matrix, task: string, zeroShot: Evaluated, evaluations: readonly Evaluated[]): Matrix {
  return {
    tasks: [...matrix.tasks, task],
    zeroShot: [...matrix.zeroShot, zeroShot.score],
    rows: [...matrix.rows, evaluations.map(({ score }) => score)],
  };
}
