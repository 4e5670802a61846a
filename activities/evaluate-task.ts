import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { scorerNamed } from '../learning/evaluation/scorers.ts';
import { activeDigest } from '../learning/methods/adapter.ts';
import { readBank } from '../learning/methods/bank.ts';
import type { FileRef, ResolvedStream } from '../workflows/contract.ts';
import { beat, cancellation, type GpuContext, localFile, storeFile } from './context.ts';
import { modelFolder } from './model-folder.ts';
import { once } from './results.ts';

export interface EvaluateTaskInput {
  readonly definition: ResolvedStream;
  /** Null: the base model alone (row 0 of the matrix). */
  readonly bank: FileRef | null;
  readonly task: string;
  readonly test: FileRef;
  readonly metric: string;
}

export interface Evaluated {
  readonly task: string;
  /** Percent. */
  readonly score: number;
  /** Percent of answers in the required format. */
  readonly instructionFollowing: number;
  readonly count: number;
  readonly predictions: FileRef;
  /** True when nothing had to be computed: everything that goes in was evaluated before. */
  readonly reused: boolean;
}

/** Scores one task on a bank; memoised by the digest of model, active adapter, data, scorer and decoding. */
export async function evaluateTask(context: GpuContext, input: EvaluateTaskInput): Promise<Evaluated> {
  const { definition, task, metric } = input;
  const bank = input.bank && (await localFile(context, input.bank));
  const scorer = scorerNamed(metric);
  const key = {
    code: context.codeVersion,
    model: definition.model.digest,
    adapter: bank ? activeDigest(readBank(await readFile(bank), bank), task) : 'none',
    data: input.test.sha256,
    scorer: `${scorer.name}@${scorer.version}`,
    decoding: definition.evaluation,
  };
  const result = await once(context, 'cache/evaluations', key, async () => {
    const out = await mkdtemp(join(tmpdir(), 'lilora-evaluate-'));
    try {
      const [model, samples] = await Promise.all([
        modelFolder(context, definition.model.uri, definition.model.digest, { weights: true }),
        localFile(context, input.test),
      ]);
      const { method, targets, evaluation } = definition;
      const { score, instructionFollowing, count, predictions } = await context.engine.run(
        'evaluate',
        { model, method, targets, task, bank, samples, metric, evaluation, out },
        { signal: cancellation(context), onProgress: beat },
      );
      const file = await storeFile(context, 'cache/predictions', predictions, '.jsonl');
      return { score, instructionFollowing, count, predictions: file };
    } finally {
      await rm(out, { recursive: true, force: true });
    }
  });
  return { task, ...result };
}
