import type { DatasetView, SampleView } from '../../core/dataset-view.ts';
import { sha256 } from '../../core/digest.ts';
import { literal } from '../../core/sample.ts';
import type { Unpacked } from '../files.ts';
import { type Manifest, SPLITS, type SplitName } from '../manifest.ts';
import type { DatasetSource } from '../source.ts';
import { ByLot, RecentImages } from './chosen.ts';
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
}

/**
 * Looks at a dataset while it is validated, in bounded memory: counts, and some samples by lot. `images`, `onSample` and
 * `onTokens` are options of `validateDataset`.
 */
export class Look {
  readonly images = new RecentImages();
  private readonly lot = new ByLot(SHOWN.samples, this.images);
  private readonly splits = new Map<SplitName, SplitLook>();
  private readonly answers = new MostCommon<string>(APART);

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
      this.answers.add(key, clip(literal(text), LONGEST), SPLITS.indexOf(split));
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
    const places = names.map((name) => SPLITS.indexOf(name));
    const top = this.answers.top(SHOWN.answers, SPLITS.length);
    return {
      splits: names.map((name) => {
        const { characters, tokens, answerLengths, ...counts } = this.of(name);
        const lengths = tokens.view() ?? characters.view();
        return { name, ...counts, lengths, answerLengths: answerLengths.view() };
      }),
      answers: {
        splits: names,
        commonest: top.map(({ value, counts }) => ({ text: value, counts: places.map((place) => counts[place]!) })),
        distinct: places.map((place) => this.answers.distinct(place)),
        atLeast: this.answers.full,
        unseen: this.answers.full || !names.includes('train') ? null : this.answers.without(SPLITS.indexOf('train')),
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
