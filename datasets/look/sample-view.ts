import type { PictureView, SampleView, TokensView, TurnView } from '../../core/dataset-view.ts';
import { DEFAULTS } from '../../core/defaults.ts';
import { type EncodedSample, literal, type Sample, type Turn } from '../../core/sample.ts';
import type { ImageSizes } from '../images.ts';
import type { SplitName } from '../manifest.ts';
import type { DatasetSource } from '../source.ts';
import { type Chosen, PICTURES, SIDE, type SmallImage } from './chosen.ts';
import { thumbnail } from './thumbnail.ts';

/** Characters of a turn. */
const LONGEST = 4000;
/** Tokens of a sample. */
const SPANS = 700;
const REFERENCES = 5;

/** What a model makes of a sample. */
export interface Shower {
  encodeTraining(sample: Sample, sizes: ImageSizes): EncodedSample;
  /** Tokens as people read them. */
  spans(encoded: EncodedSample): TokensView['spans'];
}

/** What is known of a dataset that is good: its images, and the model that it is shown by. */
export interface Known {
  readonly images: ImageSizes;
  readonly model?: Shower | undefined;
}

/** Answers that are learned, or of a test the one that is asked for. */
export function asked(split: SplitName, turns: readonly Turn[]): readonly Turn[] {
  const answers = turns.filter(({ role }) => role === 'assistant');
  return split === 'train' ? answers.filter(({ loss }) => loss !== false) : answers.slice(-1);
}

export const clip = (text: string, longest: number) =>
  text.length > longest ? `${text.slice(0, longest)}… (${text.length - longest} characters more)` : text;

/** A sample as the page shows it, with its tokens where a model is named. */
export async function sampleView(
  { split, sample }: Chosen,
  source: DatasetSource,
  digests: ReadonlyMap<string, string>,
  found: Known | null,
): Promise<SampleView> {
  const digestOf = (image: string | SmallImage) => (typeof image === 'string' ? digests.get(image) : image.sha256);
  const views: PictureView[] = [];
  for (const image of sample.images.slice(0, PICTURES)) {
    const facts = found?.images.get(digestOf(image) ?? '');
    const small = typeof image === 'string' ? await smallPicture(source, image) : image.small;
    views.push({ small, ...(facts && { width: facts.width, height: facts.height }) });
  }
  const { id, where, turns, references } = sample;
  const last = asked(split, turns);
  const shown = {
    split,
    id,
    where,
    pictures: views,
    tools: (sample.tools ?? []).map((tool) => clip(JSON.stringify(tool), LONGEST)),
    turns: turns.map((turn) => turnView(turn, last.includes(turn))),
    references: references.slice(0, REFERENCES).map((reference) => clip(literal(reference), LONGEST)),
  };
  if (!found?.model) return { ...shown, tokens: null };
  const { where: _, place: __, images, ...rest } = sample;
  try {
    const encoded = found.model.encodeTraining(
      { ...rest, images: images.map((each) => digestOf(each)!) },
      found.images,
    );
    return { ...shown, tokens: tokensView(encoded, found.model.spans(encoded)) };
  } catch (error) {
    return { ...shown, tokens: null, leftOut: (error as Error).message };
  }
}

/** Null where the picture cannot be read: that is a problem of its own, and told there. */
async function smallPicture(source: DatasetSource, path: string): Promise<string | null> {
  try {
    return await thumbnail(await source.read(path, notTooLarge), SIDE);
  } catch {
    return null;
  }
}

function notTooLarge(size: number): void {
  if (size > DEFAULTS['dataset.maxImageBytes'].value) throw new Error('too large');
}

function turnView({ role, name, text, reasoning, toolCalls }: Turn, loss: boolean): TurnView {
  return {
    role: name === undefined ? role : `${role} ${name}`,
    text: clip(literal(text), LONGEST),
    loss,
    ...(reasoning !== undefined && { reasoning: clip(reasoning, LONGEST) }),
    ...(toolCalls && { calls: toolCalls.map((call) => clip(JSON.stringify(call), LONGEST)) }),
  };
}

/** Long rows are shown by their start and their end. */
function tokensView({ inputIds, labels }: EncodedSample, spans: TokensView['spans']): TokensView {
  const withLoss = labels === null ? 0 : labels.filter((label) => label !== -100).length;
  const half = SPANS / 2;
  if (spans.length <= SPANS) return { count: inputIds.length, withLoss, spans };
  const left = spans.slice(half, -half).reduce((sum, span) => sum + ('count' in span ? span.count : 0), 0);
  return { count: inputIds.length, withLoss, spans: [...spans.slice(0, half), { left }, ...spans.slice(-half)] };
}
