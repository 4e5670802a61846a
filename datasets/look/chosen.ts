import { sha256 } from '../../core/digest.ts';
import type { Unpacked } from '../files.ts';
import type { ImageSink } from '../images.ts';
import type { SplitName } from '../manifest.ts';
import { thumbnail } from './thumbnail.ts';

/** Bytes of images that stand in samples files and were met last: more than validation reads together. */
const RECENT_BYTES = 64 * 2 ** 20;
/** Longest side of a picture on the page, in pixels. */
export const SIDE = 224;
/** Pictures of one sample. */
export const PICTURES = 8;

/** Images, as they came last. */
export class RecentImages implements ImageSink {
  private readonly images = new Map<string, Uint8Array>();
  private bytes = 0;

  set(digest: string, bytes: Uint8Array): void {
    this.images.set(digest, bytes);
    this.bytes += bytes.byteLength;
    for (const [oldest, { byteLength }] of this.images) {
      if (this.bytes <= RECENT_BYTES) break;
      this.images.delete(oldest);
      this.bytes -= byteLength;
    }
  }

  get(digest: string): Uint8Array | undefined {
    return this.images.get(digest);
  }
}

export interface Chosen {
  readonly split: SplitName;
  /** Place in its split. */
  readonly place: number;
  readonly sample: Unpacked;
  /** By digest, of images that stand in the samples file. */
  readonly pictures: ReadonlyMap<string, string>;
}

/** So many samples of every split by lot, the same ones every time. */
export class ByLot {
  private readonly most: number;
  private readonly images: RecentImages;
  private readonly splits = new Map<SplitName, { count: number; drawn: { lot: string; chosen: Chosen }[] }>();

  constructor(most: number, images: RecentImages) {
    this.most = most;
    this.images = images;
  }

  /** To be called while the images of the sample are recent. */
  async add(split: SplitName, sample: Unpacked): Promise<void> {
    const found = this.splits.get(split) ?? { count: 0, drawn: [] };
    this.splits.set(split, found);
    const place = found.count++;
    const lot = sha256(`${split} ${place}`);
    const { drawn } = found;
    if (drawn.length >= this.most && lot > drawn.at(-1)!.lot) return;
    const pictures = new Map<string, string>();
    for (const image of sample.images.slice(0, PICTURES)) {
      const bytes = typeof image === 'string' ? undefined : this.images.get(image?.sha256 ?? '');
      if (bytes && typeof image !== 'string') pictures.set(image.sha256, await thumbnail(bytes, SIDE));
    }
    drawn.push({ lot, chosen: { split, place, sample, pictures } });
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
