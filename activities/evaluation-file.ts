import { canonicalJson, parseJson } from '../core/json.ts';
import { getVerified, type ObjectStore } from '../store/object-store.ts';
import type { FileRef, GateReport, LearnedTask, Matrix, Sampled } from '../workflows/contract.ts';
import type { RoutingScores } from '../workflows/routing-contract.ts';
import type { CostFile } from './generation-cost.ts';

/** Scores without the task given, and which tasks the router chose for the prompts of each. */
export interface RoutingFile extends Omit<RoutingScores, 'tasks'> {
  readonly tasks: ReadonlyArray<
    RoutingScores['tasks'][number] & { readonly count: number; readonly chosen: Readonly<Record<string, number>> }
  >;
}

/** `evaluation.json` of a generation: what the next task needs to know, and what the gate saw. */
export interface EvaluationFile {
  readonly schema: 1;
  readonly learned: readonly LearnedTask[];
  readonly matrix: Matrix;
  /** Share of answers in the required format per task, in percent, on this generation. */
  readonly instructionFollowing: readonly number[];
  readonly metrics: Readonly<Record<string, number | null>>;
  readonly gate: readonly GateReport[];
  readonly predictions: ReadonlyArray<{ readonly task: string; readonly file: FileRef }>;
  /** Scores of the last row that were measured on some samples of a test split; absent where there are none. */
  readonly sampled?: ReadonlyArray<{ readonly task: string } & Sampled>;
  /** Absent without a router, and after a removal until the next task. */
  readonly routing?: RoutingFile;
  /** Absent in generations of older versions. */
  readonly cost?: CostFile;
}

export const EVALUATION_FILE = 'evaluation.json';

export function writeEvaluation(evaluation: EvaluationFile): Uint8Array {
  return Buffer.from(canonicalJson(evaluation));
}

/** What a stream carries of it: the table of choices grows with the square of the tasks. */
export function withoutChoices({ tasks, ...scores }: RoutingFile): RoutingScores {
  return { ...scores, tasks: tasks.map(({ task, accuracy, score }) => ({ task, accuracy, score })) };
}

/** Reads the file of a generation whose manifest names it. */
export async function readEvaluation(
  store: ObjectStore,
  generation: { file(path: string): FileRef },
): Promise<EvaluationFile> {
  const ref = generation.file(EVALUATION_FILE);
  return parseJson(await getVerified(store, ref.key, ref), ref.key) as EvaluationFile;
}
