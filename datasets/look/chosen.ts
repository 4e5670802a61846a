import { sha256 } from '../../core/digest.ts';
import type { Unpacked } from '../files.ts';
import type { SplitName } from '../manifest.ts';
import { thumbnail } from './thumbnail.ts';

/** Longest side of a picture on the page, in pixels. */
export const SIDE = 224;
/** Pictures of one sample. */
export const PICTURES = 8;

export interface Chosen {
  readonly split: SplitName;
  /** Place in its split. */
  readonly place: number;
  readonly sample: Omit<Unpacked, 'images'> & { readonly images: ReadonlyArray<string | SmallImage> };
}

/** An image that stands in the samples file. */
export interface SmallImage {
  readonly sha256: string;
  /** A `data:` URI; null after the first few of a sample. */
  readonly small: string | null;
}

/** So many samples of every split by lot, the same ones every time. */
export class ByLot {
  private readonly most: number;
  private readonly splits = new Map<SplitName, { count: number; drawn: { lot: string; chosen: Chosen }[] }>();

  constructor(most: number) {
    this.most = most;
  }

  async add(split: SplitName, sample: Unpacked): Promise<void> {
    const found = this.splits.get(split) ?? { count: 0, drawn: [] };
    this.splits.set(split, found);
    const place = found.count++;
    const lot = sha256(`${split} ${place}`);
    const { drawn } = found;
    if (drawn.length >= this.most && lot > drawn.at(-1)!.lot) return;
    const images: Array<string | SmallImage> = [];
    for (const [i, image] of sample.images.entries()) {
      if (typeof image === 'string') images.push(image);
      else images.push({ sha256: image.sha256, small: i < PICTURES ? await thumbnail(image.bytes, SIDE) : null });
    }
    drawn.push({ lot, chosen: { split, place, sample: { ...sample, images } } });
    drawn.sort((a, b) => (a.lot < b.lot ? -1 : 1));
    drawn.length = Math.min(drawn.length, this.most);
  }

  /** As many as were asked for over all splits, a fifth of each split but the first, in the order of the files. */
  chosen(): Chosen[] {
    const groups = [...this.splits.values()].map(({ drawn }) => drawn.map(({ chosen }) => chosen));
    const share = Math.ceil(this.most / 5);
    const others = groups.slice(1).map((group) => group.slice(0, share));
    const rest = this.most - others.reduce((sum, group) => sum + group.length, 0);
    return [groups[0]?.slice(0, rest) ?? [], ...others].flatMap((group) => group.sort((a, b) => a.place - b.place));
  }
}
