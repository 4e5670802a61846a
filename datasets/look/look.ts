import type { DatasetView, SampleView } from '../../core/dataset-view.ts';
import { sha256 } from '../../core/digest.ts';
import { literal } from '../../core/sample.ts';
import type { Unpacked } from '../files.ts';
import { type Manifest, SPLITS, type SplitName } from '../manifest.ts';
import type { DatasetSource } from '../source.ts';
import { ByLot } from './chosen.ts';
import { MostCommon } from './most-common.ts';
import { asked, clip, type Known, sampleView } from './sample-view.ts';
import { Tally } from './tally.ts';

/** Different answers that are counted apart. */
const APART = 20_000;
const SHOWN = { samples: 20, answers: 15 };
/** Characters of an answer in the list of the commonest. */
const LONGEST = 160;

class SplitLook {
  samples = 0;
  turns = 0;
  answers = 0;
  images = 0;
  textOnly = 0;
  readonly characters = new Tally();
  readonly tokens = new Tally();
  readonly answerLengths = new Tally();
  readonly different = new MostCommon<string>(APART);
}

/**
 * Looks at a dataset while it is validated, in bounded memory: counts, and some samples by lot. `onSample` and `onTokens`
 * are options of `checkDataset`.
 */
export class Look {
  private readonly lot = new ByLot(SHOWN.samples);
  private readonly splits = new Map<SplitName, SplitLook>();

  readonly onSample = async (split: SplitName, sample: Unpacked): Promise<void> => {
    const look = this.of(split);
    const { turns, images } = sample;
    look.samples++;
    look.turns += turns.length;
    look.images += images.length;
    if (images.length === 0) look.textOnly++;
    look.characters.add(turns.reduce((sum, { text }) => sum + text.length, 0));
    for (const { text } of asked(split, turns)) {
      look.answers++;
      look.answerLengths.add(text.length);
      const key = text.length > LONGEST ? `${text.slice(0, LONGEST)}${sha256(text)}` : text;
      look.different.add(key, clip(literal(text), LONGEST));
    }
    await this.lot.add(split, sample);
  };

  readonly onTokens = (split: SplitName, tokens: number): void => this.of(split).tokens.add(tokens);

  private of(split: SplitName): SplitLook {
    const look = this.splits.get(split) ?? new SplitLook();
    this.splits.set(split, look);
    return look;
  }

  /** Numbers of the splits and of their answers. */
  counts(): Pick<DatasetView, 'splits' | 'answers'> {
    const names = SPLITS.filter((name) => this.splits.has(name));
    const looks = names.map((name) => this.of(name));
    return {
      splits: looks.map(({ characters, tokens, answerLengths, different: _, ...counts }, i) => {
        const lengths = tokens.view() ?? characters.view();
        return { name: names[i]!, ...counts, lengths, answerLengths: answerLengths.view() };
      }),
      answers: {
        splits: names,
        commonest: commonest(looks.map(({ different }) => different)),
        distinct: looks.map(({ different }) => ({ count: different.distinct, atLeast: different.full })),
        unseen: unseen(this.splits),
      },
    };
  }

  /**
   * The samples that were drawn.
   * @param found what is known of a dataset that is good: its images, and the model that it is shown by
   */
  async samples(source: DatasetSource, manifest: Manifest, found: Known | null): Promise<SampleView[]> {
    const digests = new Map(manifest.files.map(({ path, sha256 }) => [path, sha256]));
    const views: SampleView[] = [];
    for (const chosen of this.lot.chosen()) views.push(await sampleView(chosen, source, digests, found));
    return views;
  }
}

/** Answers of all splits together. */
function commonest(splits: ReadonlyArray<MostCommon<string>>): DatasetView['answers']['commonest'] {
  const texts = new Map(splits.flatMap((split) => [...split].map(({ key, value }) => [key, value] as const)));
  return [...texts]
    .map(([key, text]) => ({ text, counts: splits.map((split) => split.count(key)) }))
    .sort((a, b) => sum(b.counts) - sum(a.counts))
    .slice(0, SHOWN.answers);
}

const sum = (numbers: readonly number[]) => numbers.reduce((a, b) => a + b, 0);

/** How many answers of other splits never occur in training; null where some were not kept. */
function unseen(splits: ReadonlyMap<SplitName, SplitLook>): number | null {
  const train = splits.get('train')?.different;
  const others = [...splits].filter(([name]) => name !== 'train').map(([, { different }]) => different);
  if (!train || [train, ...others].some(({ full }) => full)) return null;
  return sum(others.flatMap((other) => [...other].map(({ key, count }) => (train.count(key) > 0 ? 0 : count))));
}
