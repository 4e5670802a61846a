import { setImmediate } from 'node:timers/promises';
import type * as tf from '@tensorflow/tfjs';
import { LiloraError } from '../../core/errors.ts';
import type { EncodedSample } from '../../core/sample.ts';
import type { Adapt, BaseModel } from '../model/model.ts';
import { padBatch } from '../training/batches.ts';
import type { Scorer } from './scorers/scorer.ts';

export interface Evaluation {
  readonly model: BaseModel;
  readonly adapt: Adapt;
  /** Prompts, ending where the answer begins. */
  readonly samples: readonly EncodedSample[];
  /** Text of new tokens, special tokens left out. */
  readonly decode: (ids: readonly number[]) => string;
  /** Vision features of images in this order, [images, tokens, width]; evaluation disposes of them. */
  readonly features: (digests: readonly string[]) => tf.Tensor3D;
  readonly scorer: Scorer;
  readonly maxNewTokens: number;
  readonly batchSize: number;
  readonly signal: AbortSignal;
  /** Batches done, of how many. */
  readonly onProgress: (done: number, of: number) => void;
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
  /** Mean score, in percent. */
  readonly score: number;
  /** Share of answers in the form that was asked for, in percent. */
  readonly instructionFollowing: number;
  /** In the order of the samples. */
  readonly predictions: readonly Prediction[];
}

/** Answers every prompt greedily and scores the answers. Prompts of like length share a batch: little is padded. */
export async function evaluateTask(evaluation: Evaluation): Promise<EvaluationResult> {
  const { samples, scorer, batchSize } = evaluation;
  if (samples.length === 0) throw new LiloraError('BadDataset', 'There are no test samples. Add some.');
  const order = samples
    .map((_, i) => i)
    .sort((a, b) => samples[a]!.inputIds.length - samples[b]!.inputIds.length || a - b);
  const texts = new Array<string>(samples.length);
  const batches = Math.ceil(order.length / batchSize);
  for (let batch = 0; batch < batches; batch++) {
    if (evaluation.signal.aborted)
      throw new LiloraError('Cancelled', `Evaluation was cancelled after ${batch} of ${batches} batches.`);
    const chosen = order.slice(batch * batchSize, (batch + 1) * batchSize);
    const answers = answer(
      evaluation,
      chosen.map((i) => samples[i]!),
    );
    for (const [row, i] of chosen.entries()) texts[i] = answers[row]!;
    evaluation.onProgress(batch + 1, batches);
    await setImmediate();
  }
  const answered = samples.map(({ references }, i) => ({ text: texts[i]!, references }));
  const scores = scorer.score(answered);
  const predictions = samples.map(({ id }, i) => ({
    id,
    ...answered[i]!,
    score: scores[i]!,
    follows: scorer.follows(answered[i]!),
  }));
  const mean = (values: number[]) => values.reduce((a, b) => a + b, 0) / values.length;
  return {
    score: mean(scores),
    instructionFollowing: 100 * mean(predictions.map(({ follows }) => Number(follows))),
    predictions,
  };
}

/** Greedy answers to one batch of prompts. */
function answer(
  { model, adapt, decode, features, maxNewTokens }: Evaluation,
  samples: readonly EncodedSample[],
): string[] {
  const images = samples.flatMap((sample) => sample.images);
  const vision = images.length > 0 ? features(images) : null;
  try {
    const batch = padBatch(samples, model.padToken, { side: 'left' });
    return model.generate(batch, vision, adapt, maxNewTokens).map(({ ids }) => {
      const end = ids.findIndex((id) => model.endTokens.includes(id));
      return decode(end < 0 ? ids : ids.slice(0, end)).trim();
    });
  } finally {
    vision?.dispose();
  }
}
