import { DigestTable, digestBytes } from '../core/digest-table.ts';
import { IMAGE_MARKER, type Sample, type Turn } from '../core/sample.ts';
import type { FoundImages } from './found-images.ts';
import type { SplitName } from './manifest.ts';
import type { Problems } from './problems.ts';
import { EXAMPLES, type ReadSplit } from './read-splits.ts';

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

/** Samples by something that they share. Who shares it is asked only of those that share what is coarser. */
interface Level {
  readonly table: DigestTable;
  /** Samples of the coarser level whose first is in the table. */
  readonly met: Set<number>;
  digest(sample: Sample): Uint8Array;
}

/**
 * Finds samples that are alike, by digests of what they say: first of question and images, which differ for most samples;
 * of whole conversations only where those are equal. What is tested must not have been learned: equal samples in two
 * splits go to `problems`.
 */
export class Likeness {
  private readonly splits: readonly ReadSplit[];
  private readonly problems: Problems;
  private readonly questions: Level;
  private readonly words: Level;
  private readonly contents: Level;
  private readonly kinds = new Map<string, Alike & { count: number; examples: { where: string; other: string }[] }>();
  /** Samples of all splits that were seen. */
  private seen = 0;

  constructor(splits: readonly ReadSplit[], found: FoundImages, problems: Problems) {
    this.splits = splits;
    this.problems = problems;
    const twins = (sample: Sample) => sample.images.map((digest) => found.twinOf(digest));
    const level = (parts: (sample: Sample) => unknown): Level => ({
      table: new DigestTable(),
      met: new Set(),
      digest: (sample) => digestBytes(JSON.stringify(parts(sample))),
    });
    const asked = ({ turns }: Sample) => turns.filter(({ role }) => role !== 'assistant').map(plainTurn);
    this.questions = level((sample) => [asked(sample), twins(sample)]);
    this.words = level((sample) => [sample.turns.map(plainTurn), twins(sample)]);
    this.contents = level(({ turns, images }) => [turns.map(partsOf), images]);
  }

  get found(): Alike[] {
    return [...this.kinds.values()];
  }

  /** Takes in the next sample: splits in order, every sample of each. */
  async compare(sample: Sample): Promise<void> {
    const i = this.seen++;
    const question = this.questions.table.add(this.questions.digest(sample), i);
    if (question === null) return;
    const near = await this.finer(this.words, question, sample, i);
    if (near === null) {
      if (sample.images.length > 0) await this.note('question', question, i);
      return;
    }
    const same = await this.finer(this.contents, near, sample, i);
    if (same === null) return this.note('near', near, i);
    const [[earlier], [split, number]] = [this.placeOf(same), this.placeOf(i)];
    if (earlier.name === split.name) return this.note('same', same, i);
    const there = `the same sample as ${await this.whereOf(same)}`;
    const where = await split.wheres.at(number);
    this.problems.add(where, `${there}: splits ${earlier.name} and ${split.name} overlap; remove one`);
  }

  /** The first sample that is also alike on a finer level; null when this one is. @param first of the coarser level */
  private async finer(level: Level, first: number, sample: Sample, i: number): Promise<number | null> {
    if (!level.met.has(first)) {
      const [{ samples }, number] = this.placeOf(first);
      level.met.add(first);
      level.table.add(level.digest(await samples.at(number)), first);
    }
    return level.table.add(level.digest(sample), i);
  }

  private async note(kind: Alike['kind'], earlier: number, later: number): Promise<void> {
    const splits = [this.placeOf(earlier)[0].name, this.placeOf(later)[0].name] as const;
    const key = [kind, ...splits].join(' ');
    const entry = this.kinds.get(key) ?? { kind, splits, count: 0, examples: [] };
    this.kinds.set(key, entry);
    entry.count++;
    if (entry.examples.length < EXAMPLES)
      entry.examples.push({ where: await this.whereOf(later), other: await this.whereOf(earlier) });
  }

  /** The split of a sample, and its number there. */
  private placeOf(i: number): [ReadSplit, number] {
    let before = 0;
    for (const split of this.splits) {
      if (i < before + split.samples.length) return [split, i - before];
      before += split.samples.length;
    }
    throw new RangeError(`no sample ${i}`);
  }

  private whereOf(i: number): Promise<string> {
    const [{ wheres }, number] = this.placeOf(i);
    return wheres.at(number);
  }
}

const plainTurn = ({ role, text }: Turn): string => `${role} ${plainly(text)}`;

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
  const plain = text.replaceAll(IMAGE_MARKER, ' ');
  const isPlain = isAscii.test(plain);
  const words = isPlain
    ? plain.toLowerCase().replace(/[^a-z0-9]+/g, ' ')
    : plain
        .normalize('NFKC')
        .toLowerCase()
        .replace(/[^\p{L}\p{M}\p{N}]+/gu, ' ');
  return words.trim() || plain.trim();
}

const isAscii = /^[\0-\x7f]*$/;
