import { IMAGE_MARKER, LITERAL_IMAGE, type Turn } from '../../core/sample.ts';
import type { Manifest } from '../manifest.ts';
import { quote } from '../problems.ts';
import type { ReadImage } from '../readers/reader.ts';
import { listedIn } from './listed.ts';
import type { Picture } from './pictures.ts';
import { looksLikeImage } from './pictures.ts';
import { refuse } from './values.ts';

/** `<image 1>`, `<image_01>`, `<|image_1|>`: the picture of that number. */
const NUMBERED = /<\|?image[ _-]?(\d+)\|?>/i;
/** Marks of what is not read, at the beginning of a text or a line, or behind another mark. */
const MEDIA = /(?:^|[\n>])\s*(<(?:video|audio)>)/;
const TAG = /<img>[^<]*<\/img>|<img\s[^>]*\bsrc\s*=\s*["']?([^"'\s>]+)[^>]*>|!\[[^\]]*\]\(([^)\s]+)\)/gi;
const DATA_URI = /data:image\/[a-z0-9.+-]+;base64,[A-Za-z0-9+/]{40}/i;
/** What marks pictures in the prompts of other programs. */
const FOREIGN =
  /<\|?(?:start_of_)?(?:image|img|picture|photo)(?:[ _-]?(?:pad|placeholder|here|token|soft_token))?\|?>|\[(?:IMG|IMAGE)\]/i;
const IF_TEXT = 'if it is text, write "marker" into dataset.json: what marks a picture in these texts';

/** Puts the pictures of one sample where its texts mark them, text by text. */
export class Marks {
  /** In the order of the marks that were met. */
  readonly images: ReadImage[] = [];
  private readonly pictures: readonly Picture[];
  private readonly manifest: Manifest;
  private readonly unused: Set<Picture>;
  private isNumbered = false;

  constructor(pictures: readonly Picture[], manifest: Manifest) {
    this.pictures = pictures;
    this.manifest = manifest;
    this.unused = new Set(pictures);
  }

  /** The text of a user turn, its marks as `<image>`. @param what names the turn */
  asked(text: string, what: string): string {
    const { marker = IMAGE_MARKER } = this.manifest;
    const kept = this.plain(text, what);
    if (this.manifest.marker === undefined) this.refuseOthers(text, what);
    const named = this.pictures.flatMap(({ mark }) => (typeof mark === 'string' ? [escaped(mark)] : []));
    const numbered = this.manifest.marker === undefined ? [NUMBERED.source] : [];
    return kept.replaceAll(new RegExp([...named, escaped(marker), ...numbered].join('|'), 'gi'), (mark: string) => {
      const number = NUMBERED.exec(mark)?.[1];
      const byName = this.pictures.find((picture) => picture.mark === mark);
      if (byName) this.takeMarked(byName);
      else if (mark === marker) {
        const [next] = this.unused;
        if (next) this.take(next);
      } else if (number === undefined) return mark;
      else this.takeMarked(this.numbered(Number(number), mark, what));
      return IMAGE_MARKER;
    });
  }

  /** The text of another turn or of an answer: with a marker of the dataset's own, `<image>` is text. */
  plain(text: string, what: string): string {
    const { marker } = this.manifest;
    if (marker === undefined && DATA_URI.test(text))
      refuse(`${what} holds a picture as base64 in its text, which is not read; name it in "images"; ${IF_TEXT}`);
    if (marker === undefined) this.refuseUnused(text, what);
    return marker === undefined || marker === IMAGE_MARKER ? text : text.replaceAll(IMAGE_MARKER, LITERAL_IMAGE);
  }

  /** An image that stands between texts: its own, the one of an index (from 0), or the next of the sample. */
  put(own: ReadImage | null, what: string, index: number | null = null): void {
    const next = index === null ? [...this.unused][0] : this.pictures[index];
    if (own !== null) this.images.push(own);
    else if (next) this.take(next);
    else refuse(`${what} is an image, but "images" has only ${this.pictures.length}; add it there`);
  }

  /** The turns; pictures without any mark stand before the first question where `before` allows it. Every picture has a mark then. */
  finish(turns: readonly Turn[], before: boolean): Turn[] {
    const [first] = this.unused;
    if (this.isNumbered && first)
      refuse(`the picture ${quote(first.name)} is marked in no question; add its mark, or leave the picture out`);
    const isUnmarked = this.images.length === 0 && !turns.some(({ text }) => text.includes(IMAGE_MARKER));
    if (isUnmarked && first) this.refuseForeign(turns);
    const at = turns.findIndex(({ role }) => role === 'user');
    if (!before || !isUnmarked || at < 0) return [...turns];
    const marks = `${IMAGE_MARKER}\n`.repeat(this.unused.size);
    for (const picture of this.unused) this.take(picture);
    return turns.map((turn, i) => (i === at ? { ...turn, text: `${marks}${turn.text}` } : turn));
  }

  /** Pictures that the sample has, marked or not. */
  get count(): number {
    return this.images.length + this.unused.size;
  }

  /** A picture would get a second mark, and the first would stay as text. */
  private refuseForeign(turns: readonly Turn[]): void {
    if (this.manifest.marker !== undefined) return;
    const found = turns.flatMap(({ role, text }) => (role === 'user' ? (FOREIGN.exec(text) ?? []) : []));
    const [mark] = found;
    if (mark)
      refuse(
        `a question has ${quote(mark)}, which marks no picture here; write "marker": ${quote(mark)} into dataset.json if it does in these texts, or ${IMAGE_MARKER} in its place`,
      );
  }

  private take(picture: Picture): void {
    this.images.push(picture.image);
    this.unused.delete(picture);
  }

  private takeMarked(picture: Picture): void {
    this.isNumbered = true;
    this.take(picture);
  }

  private numbered(number: number, mark: string, what: string): Picture {
    const found = this.pictures.find((picture) => picture.mark === number);
    if (found) return found;
    const there = this.pictures.length === 0 ? 'the sample has none' : `the sample has ${this.pictures.length}`;
    return refuse(`${what} has the mark ${quote(mark)} of a picture, but ${there}; add the picture; ${IF_TEXT}`);
  }

  /** Pictures of the dataset that a text shows, but the sample does not read. */
  private refuseUnused(text: string, what: string): void {
    for (const [tag, ...sources] of tagsOf(text)) {
      const source = sources.find((each) => each !== undefined) ?? tag.slice('<img>'.length, -'</img>'.length);
      const path = source.trim().replace(/^\.\//, '');
      const isRead = this.pictures.some(({ image }) => image === path);
      if (!isRead && listedIn(this.manifest).has(path))
        refuse(
          `${what} shows the picture ${quote(path)}, which the sample does not read; name it in "images"; ${IF_TEXT}`,
        );
    }
  }

  /** Marks and pictures that would stay text in a question. */
  private refuseOthers(text: string, what: string): void {
    const media = MEDIA.exec(text)?.[1];
    if (media)
      refuse(`${what} has the mark ${media}; video and audio are not read yet: take the sample out; ${IF_TEXT}`);
    for (const [tag, ...sources] of tagsOf(text)) {
      const source = sources.find((each) => each !== undefined);
      if (source === undefined || isFile(source, this.manifest))
        refuse(
          `${what} has the picture ${quote(tag, 60)} in its text, which is not read; name it in "images" and write <image> in its place; ${IF_TEXT}`,
        );
    }
  }
}

/** Most texts show no picture, which two letters tell. */
const tagsOf = (text: string) => (text.includes('<') || text.includes('![') ? text.matchAll(TAG) : []);

function isFile(source: string, manifest: Manifest): boolean {
  const path = source.replace(/^\.\//, '');
  return looksLikeImage(source) || /^data:image/i.test(source) || listedIn(manifest).has(path);
}

const escaped = (text: string) => text.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&');
