import { DEFAULTS } from '../core/defaults.ts';
import { isLiloraError, LiloraError } from '../core/errors.ts';
import type { Sample } from '../core/sample.ts';
import type { FoundImages } from './found-images.ts';
import type { ImageSizes } from './images.ts';
import { type Alike, Likeness } from './likeness.ts';
import type { SplitName } from './manifest.ts';
import { type Problems, Untrainable } from './problems.ts';
import type { ReadSplit } from './read-splits.ts';
import { MANIFEST_FILE } from './source.ts';

/** What a model says about a conversation. */
export interface Encoder {
  /** Longest row of tokens. */
  readonly contextLength: number;
  encodeTraining(sample: Sample, sizes: ImageSizes): { readonly inputIds: Int32Array };
}

/** A training sample whose answer cannot be learned with this model. */
export interface LeftOut {
  readonly id: string;
  readonly where: string;
  readonly why: string;
}

export interface CheckedSplits {
  readonly leftOut: readonly LeftOut[];
  /** Their numbers in the training split, ascending. */
  readonly dropped: readonly number[];
  readonly alike: readonly Alike[];
}

/**
 * Looks at every sample once: what is tested must not have been learned, every conversation must fit into the context, and
 * every answer of the training split must carry loss, but for a few. 29 to 57 MB of memory for a million samples, twice
 * that where many of them are alike.
 */
export async function checkSplits(
  splits: readonly ReadSplit[],
  found: FoundImages,
  problems: Problems,
  processor?: Encoder,
  onTokens?: (split: SplitName, tokens: number) => void,
): Promise<CheckedSplits> {
  const likeness = new Likeness(splits, found, problems);
  const { facts } = found;
  const leftOut: LeftOut[] = [];
  const dropped: number[] = [];
  for (const { name, samples, wheres } of splits) {
    let i = 0;
    for await (const sample of samples) {
      await likeness.compare(sample);
      const tokens = processor ? tokensOf(processor, sample, facts) : {};
      if (tokens.length !== undefined) onTokens?.(name, tokens.length);
      if (tokens.problem !== undefined) problems.addError(tokens.problem, await wheres.at(i));
      // Answers of other splits are compared, not learned.
      if (tokens.untrainable !== undefined && name === 'train') {
        leftOut.push({ id: sample.id, where: await wheres.at(i), why: tokens.untrainable });
        dropped.push(i);
      }
      i++;
    }
  }
  checkLeftOut(leftOut, splits.find(({ name }) => name === 'train')?.samples.length ?? 0, problems);
  return { leftOut, dropped, alike: likeness.found };
}

interface Tokens {
  /** Of the whole conversation with its images. */
  readonly length?: number;
  /** What is wrong with the sample: whatever was thrown. */
  readonly problem?: unknown;
  /** Why nothing can be learned from it. */
  readonly untrainable?: string;
}

function tokensOf(processor: Encoder, sample: Sample, sizes: ImageSizes): Tokens {
  try {
    const { length } = processor.encodeTraining(sample, sizes).inputIds;
    if (length <= processor.contextLength) return { length };
    const what = `${length} tokens with its images, but the model reads ${processor.contextLength}; shorten it`;
    return { length, problem: new LiloraError('BadDataset', what) };
  } catch (error) {
    if (error instanceof Untrainable) return { untrainable: error.message };
    // It is told beside the place of the sample, which holds its id.
    const own = `Sample ${sample.id}: `;
    if (!isLiloraError(error, 'BadDataset') || !error.message.startsWith(own)) return { problem: error };
    const what = error.message.slice(own.length).replace(/^./, (letter) => letter.toLowerCase());
    return { problem: new LiloraError('BadDataset', what, { cause: error }) };
  }
}

function checkLeftOut(leftOut: readonly LeftOut[], total: number, problems: Problems): void {
  const most = DEFAULTS['dataset.maxLeftOut'].value;
  if (leftOut.length <= most * total) return;
  const share = `${leftOut.length} of ${total} training samples have an answer that cannot be learned`;
  problems.add(MANIFEST_FILE, `${share}, over the limit of ${100 * most} %; mend these, or use another base model`);
  for (const { id, where, why } of leftOut) problems.add(where, why.replace(`Sample ${id}: `, ''));
}
