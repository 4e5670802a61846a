/** The workflow of bench/fanout.ts: one evaluation of several tasks, as learn-task does it. */

import type { FileRef, ResolvedStream } from '../workflows/contract.ts';
import { evaluateTasks, type Test } from '../workflows/evaluation.ts';

export interface FanoutInput {
  readonly definition: ResolvedStream;
  readonly bank: FileRef | null;
  readonly tests: readonly Test[];
}

export async function fanout({ definition, bank, tests }: FanoutInput): Promise<number[]> {
  const evaluations = await evaluateTasks(definition, bank, tests);
  return evaluations.map(({ score }) => score);
}
