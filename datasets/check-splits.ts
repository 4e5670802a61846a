import { DEFAULTS } from '../core/defaults.ts';
import { DigestTable, digestBytes } from '../core/digest-table.ts';
import { LiloraError } from '../core/errors.ts';
import { IMAGE_MARKER, type Sample, type Turn } from '../core/sample.ts';
import type { FoundImages } from './found-images.ts';
import type { ImageSizes } from './images.ts';
import type { SplitName } from './manifest.ts';
import { type Problems, Untrainable } from './problems.ts';
import { EXAMPLES, type ReadSplit } from './read-splits.ts';
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

/**
 * Samples that are alike:
 * - `same`: turns and images are equal; within a split, for over two splits it is refused
 * - `near`: the same but for case, white space, punctuation or the encoding of an image
 * - `question`: the same images and question, another answer
 */
export interface Alike {
  readonly kind: 'same' | 'near' | 'question';
  /** The split of the earlier one, and of the later. */
  readonly splits: readonly [SplitName, SplitName];
  /** Later samples. */
  readonly count: number;
  /** The first of them. */
  readonly examples: ReadonlyArray<{ readonly where: string; readonly other: string }>;
}

export interface CheckedSplits {
  readonly leftOut: readonly LeftOut[];
  /** Their numbers in the training split, ascending. */
  readonly dropped: readonly number[];
  readonly alike: readonly Alike[];
}

/**
 * Looks at every sample once: what is tested must not have been learned, every conversation must fit into the context, and
 * every answer of the training split must carry loss, but for a few. 90 to 170 MB of memory for a million samples.
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
      await likeness.compare(name, i, sample);
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
    return error instanceof Untrainable ? { untrainable: error.message } : { problem: error };
  }
}

function checkLeftOut(leftOut: readonly LeftOut[], total: number, problems: Problems): void {
  const most = DEFAULTS['dataset.maxLeftOut'].value;
  if (leftOut.length <= most * total) return;
  const share = `${leftOut.length} of ${total} training samples have an answer that cannot be learned`;
  problems.add(MANIFEST_FILE, `${share}, over the limit of ${100 * most} %; mend these, or use another base model`);
  for (const { where, why } of leftOut) problems.add(where, why);
}

/** Finds samples that are alike, by digests of what they say. */
class Likeness {
  private readonly splits: readonly ReadSplit[];
  private readonly images: FoundImages;
  private readonly problems: Problems;
  private readonly contents = new DigestTable();
  private readonly words = new DigestTable();
  private readonly questions = new DigestTable();
  private readonly kinds = new Map<string, Alike & { count: number; examples: { where: string; other: string }[] }>();
  /** Samples of all splits that were seen. */
  private seen = 0;

  constructor(splits: readonly ReadSplit[], images: FoundImages, problems: Problems) {
    this.splits = splits;
    this.images = images;
    this.problems = problems;
  }

  get found(): Alike[] {
    return [...this.kinds.values()];
  }

  /** @param number of the sample in its split */
  async compare(split: SplitName, number: number, { turns, images }: Sample): Promise<void> {
    const i = this.seen++;
    const where = () => this.splits.find(({ name }) => name === split)!.wheres.at(number);
    const equal = this.contents.add(digestBytes(JSON.stringify([turns.map(partsOf), images])), i);
    if (equal !== null) {
      const [other] = this.placeOf(equal);
      if (other === split) return this.note('same', equal, split, where);
      const there = `the same sample as ${await this.whereOf(equal)}`;
      return this.problems.add(await where(), `${there}: splits ${other} and ${split} overlap; remove one`);
    }
    const twins = images.map((digest) => this.images.twinOf(digest));
    const said = turns.map(({ role, text }) => `${role} ${plainly(text)}`);
    const near = this.words.add(digestBytes(JSON.stringify([said, twins])), i);
    if (near !== null) return this.note('near', near, split, where);
    if (images.length === 0) return;
    const asked = said.filter((_, k) => turns[k]!.role !== 'assistant');
    const question = this.questions.add(digestBytes(JSON.stringify([asked, twins])), i);
    if (question !== null) await this.note('question', question, split, where);
  }

  private async note(
    kind: Alike['kind'],
    earlier: number,
    split: SplitName,
    where: () => Promise<string>,
  ): Promise<void> {
    const [other] = this.placeOf(earlier);
    const key = `${kind} ${other} ${split}`;
    const entry = this.kinds.get(key) ?? { kind, splits: [other, split], count: 0, examples: [] };
    this.kinds.set(key, entry);
    entry.count++;
    if (entry.examples.length < EXAMPLES)
      entry.examples.push({ where: await where(), other: await this.whereOf(earlier) });
  }

  /** The split of a sample, and its number there. */
  private placeOf(i: number): [SplitName, number] {
    let before = 0;
    for (const { name, samples } of this.splits) {
      if (i < before + samples.length) return [name, i - before];
      before += samples.length;
    }
    throw new RangeError(`no sample ${i}`);
  }

  private async whereOf(i: number): Promise<string> {
    const [name, at] = this.placeOf(i);
    return this.splits.find((split) => split.name === name)!.wheres.at(at);
  }
}

/** Everything that a turn says, in one order. */
const partsOf = ({ role, text, loss, reasoning, toolCalls, name, toolCallId }: Turn) => [
  role,
  text,
  loss,
  reasoning,
  toolCalls,
  name,
  toolCallId,
];

/** Words alone: without case, white space and punctuation, where there are words. */
function plainly(text: string): string {
  const unmarked = text.replaceAll(IMAGE_MARKER, ' ');
  const plain = (isAscii.test(unmarked) ? unmarked : unmarked.normalize('NFKC')).toLowerCase();
  const words = plain.replace(isAscii.test(plain) ? /[^a-z0-9]+/g : /[^\p{L}\p{M}\p{N}]+/gu, ' ').trim();
  return words === '' ? plain.trim() : words;
}

const isAscii = /^[\0-\x7f]*$/;
