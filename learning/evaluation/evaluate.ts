import { setImmediate } from 'node:timers/promises';
import type * as tf from '@tensorflow/tfjs';
import { LiloraError } from '../../core/errors.ts';
import type { EncodedSample, Sample } from '../../core/sample.ts';
import type { BaseModel, Generator } from '../model/model.ts';
import type { Tree } from '../tensors/tree.ts';
import { padBatch } from '../training/batches.ts';
import { type Scorer, taskScore } from './scorers/scorer.ts';

/** How prompts are answered. Scoring is apart: several workers may each answer some batches of one test split. */
export interface Answering {
  readonly model: BaseModel;
  /** Of this model, with the kind of adapter that answers. */
  readonly generator: Generator;
  /** Of the adapter. */
  readonly parameters: Tree;
  /** Prompts, ending where the answer begins. */
  readonly samples: readonly EncodedSample[];
  /** Text of new tokens, special tokens left out. */
  readonly decode: (ids: readonly number[]) => string;
  /** Vision features of the images of one batch in this order, [images, tokens, width]; evaluation disposes of them. */
  readonly features: (digests: readonly string[]) => tf.Tensor3D | Promise<tf.Tensor3D>;
  readonly maxNewTokens: number;
  readonly batchSize: number;
  /** All batches when absent. */
  readonly batches?: BatchRange;
  readonly signal: AbortSignal;
  /** Batches done, of how many. */
  readonly onProgress: (done: number, of: number) => void;
}

export interface Evaluation extends Answering {
  readonly scorer: Scorer;
}

/** Batches `from` up to, without, `to`, in the order of evaluation. */
export interface BatchRange {
  readonly from: number;
  readonly to: number;
}

/** The answer to one sample of the split, by its place there. */
export interface Answer {
  readonly sample: number;
  readonly text: string;
}

export interface Prediction {
  readonly id: string;
  readonly text: string;
  readonly references: readonly string[];
  /** Percent. */
  readonly score: number;
  /** Has the form that was asked for. */
  readonly follows: boolean;
}

export interface EvaluationResult {
  /** Mean score, or what the scorer makes of all answers together; in percent. */
  readonly score: number;
  /** Share of answers in the form that was asked for, in percent. */
  readonly instructionFollowing: number;
  /** In the order of the samples. */
  readonly predictions: readonly Prediction[];
}

/** Answers every prompt greedily and scores the answers. */
export async function evaluateTask(evaluation: Evaluation): Promise<EvaluationResult> {
  return scoreAnswers(evaluation.samples, await answerPrompts(evaluation), evaluation.scorer);
}

/**
 * Greedy answers to all prompts, or to those of some batches. A batch is computed by itself, so its answers are the same
 * bit by bit whoever computes it, and beside whatever other batches.
 */
export async function answerPrompts(answering: Answering): Promise<Answer[]> {
  const { samples, batchSize, signal, onProgress } = answering;
  const all = evaluationBatches(samples, batchSize);
  const { from, to } = answering.batches ?? { from: 0, to: all.length };
  if (!(from >= 0 && from < to && to <= all.length))
    throw new LiloraError('BadConfig', `Batches ${from} to ${to} were asked for; the test split has ${all.length}.`);
  const batches = all.slice(from, to);
  const answers: Answer[] = [];
  for (const [done, chosen] of batches.entries()) {
    if (signal.aborted)
      throw new LiloraError('Cancelled', `Evaluation was cancelled after ${done} of ${batches.length} batches.`);
    const texts = await answer(
      answering,
      chosen.map((i) => samples[i]!),
    );
    for (const [row, sample] of chosen.entries()) answers.push({ sample, text: texts[row]! });
    onProgress(done + 1, batches.length);
    await setImmediate();
  }
  return answers;
}

/** Places of the samples, batch by batch. Prompts of like length share a batch: little is padded. */
export function evaluationBatches(samples: readonly EncodedSample[], batchSize: number): number[][] {
  if (samples.length === 0) throw new LiloraError('BadDataset', 'There are no test samples. Add some.');
  const order = samples
    .map((_, i) => i)
    .sort((a, b) => samples[a]!.inputIds.length - samples[b]!.inputIds.length || a - b);
  return Array.from({ length: Math.ceil(order.length / batchSize) }, (_, batch) =>
    order.slice(batch * batchSize, (batch + 1) * batchSize),
  );
}

/**
 * Scores the answers to a whole test split, in whatever order they come: some scores (CIDEr) depend on all of them.
 * A missing or a second answer is an `IntegrityError`.
 */
export function scoreAnswers(
  samples: ReadonlyArray<Pick<Sample, 'id' | 'references'>>,
  answers: readonly Answer[],
  scorer: Scorer,
): EvaluationResult {
  const texts = new Map(answers.map(({ sample, text }) => [sample, text]));
  if (texts.size !== answers.length || answers.length !== samples.length || samples.some((_, i) => !texts.has(i)))
    throw new LiloraError(
      'IntegrityError',
      `${answers.length} answers to ${texts.size} of ${samples.length} samples: there must be one to each. Evaluate again.`,
    );
  const answered = samples.map(({ references }, i) => ({ text: texts.get(i)!, references }));
  const scores = scorer.score(answered);
  const predictions = samples.map(({ id }, i) => ({
    id,
    ...answered[i]!,
    score: scores[i]!,
    follows: scorer.follows(answered[i]!),
  }));
  const mean = (values: number[]) => values.reduce((a, b) => a + b, 0) / values.length;
  return {
    score: taskScore(scorer, answered, scores),
    instructionFollowing: 100 * mean(predictions.map(({ follows }) => Number(follows))),
    predictions,
  };
}

/** One JSON object a line: the form in which answers and predictions are kept. */
export const jsonLines = (values: readonly object[]) => values.map((value) => `${JSON.stringify(value)}\n`).join('');

/** Greedy answers to one batch of prompts. */
async function answer(
  { model, generator, parameters, decode, features, maxNewTokens }: Answering,
  samples: readonly EncodedSample[],
): Promise<string[]> {
  const images = samples.flatMap((sample) => sample.images);
  const vision = images.length > 0 ? await features(images) : null;
  try {
    const batch = padBatch(samples, model.padToken, { side: 'left' });
    return generator.generate(batch, vision, maxNewTokens, parameters).map(({ ids }) => {
      const end = ids.findIndex((id) => model.endTokens.includes(id));
      return decode(end < 0 ? ids : ids.slice(0, end)).trim();
    });
  } finally {
    vision?.dispose();
  }
}
