import { DEFAULTS } from '../../core/defaults.ts';
import { quote } from '../problems.ts';
import type { ReadImage } from '../readers/reader.ts';
import { pathProblem } from '../source.ts';
import type { Fields } from './fields.ts';
import type { At } from './form.ts';
import { fromListText, holds, isObject, refuse } from './values.ts';

/** A picture of a sample, and how its texts may mark it besides `<image>`. */
export interface Picture {
  readonly image: ReadImage;
  /** The mark as it stands in the texts, or the number in `<image 2>`. */
  readonly mark: string | number;
  /** Names it in messages. */
  readonly name: string;
}

const NUMBERED = /^(?:image|img|picture|pic)[ _-]?(\d+)$/i;

/**
 * The pictures of a sample: those of `columns.image`; else of `image` or `images`, of columns with numbers (`image_1`, `image_2`),
 * or of the one column that the file declares. Which of several are meant, a person must say.
 */
export function picturesOf(sample: Fields, at: At): Picture[] {
  const named = sample.manifest.columns?.image;
  if (named !== undefined)
    return [named]
      .flat()
      .flatMap((column, i, all) => picturesIn(sample.take(column), column, at.where, all.length > 1 ? i + 1 : null));
  const plain = ['image', 'images', ...(at.imageColumns ?? [])];
  const numbered = sample.keys
    .filter((key) => NUMBERED.test(key) && !at.imageColumns?.includes(key.replace(NUMBERED, 'image')))
    .sort((a, b) => numberOf(a) - numberOf(b));
  const found = [...new Set(plain)].filter((key) => isThere(sample.peek(key)) && !numbered.includes(key));
  if (found.length + Math.min(1, numbered.length) > 1) {
    const all = [...found, ...numbered];
    refuse(
      `${all.map((key) => quote(key)).join(' and ')} all hold pictures; name those that are meant, in their order, as "columns": {"image": ${JSON.stringify(all)}}, and others in "ignore"`,
    );
  }
  if (numbered.length > 0) return numbered.flatMap((key) => picturesIn(sample.take(key), key, at.where, numberOf(key)));
  const [key] = found;
  return key === undefined ? [] : picturesIn(sample.take(key), key, at.where, null);
}

/** Whether there is a picture, be it one without bytes and path, which is damage. */
const isThere = (value: unknown): boolean =>
  holds(value) || (Array.isArray(value) ? value.some(isThere) : isObject(value) && isEmbedded(value));

const numberOf = (key: string) => Number(NUMBERED.exec(key)![1]);

/**
 * Pictures under one key: one or a list, each a path relative to dataset.json, base64 with or without `data:`, or `{bytes, path}`
 * as the Hub's Parquet files embed them; or an object of them by the marks that stand in the texts. A list may stand as text, as
 * in CSV.
 * @param number of the picture when it is the only one of its column
 */
export function picturesIn(given: unknown, key: string, where: string, number: number | null): Picture[] {
  if (given === undefined || given === null || given === '') return [];
  const value = fromListText(given, quote(key));
  if (
    isObject(value) &&
    !isEmbedded(value) &&
    holds(value) &&
    Object.values(value).every((each) => !Array.isArray(each))
  )
    return Object.entries(value)
      .filter(([, image]) => holds(image))
      .map(([mark, image]) => ({ image: readImage(image, key, `${where}: image ${quote(mark)}`), mark, name: mark }));
  const images = isObject(value) ? listOfStruct(value) : Array.isArray(value) ? (value as unknown[]) : [value];
  const most = DEFAULTS['dataset.maxImagesPerSample'].value;
  if (images.length > most) refuse(`${images.length} images, over the limit of ${most}`);
  if (
    Array.isArray(value) &&
    images.length > 0 &&
    images.every((each) => typeof each === 'number' || typeof each === 'bigint')
  )
    refuse(`${quote(key)} holds a list of numbers; write the encoded picture (JPEG, PNG), or the path of its file`);
  return images.map((image, i) => ({
    image: readImage(image, key, images.length > 1 ? `${where}: image ${i + 1}` : `${where}: image`),
    mark: number !== null && images.length === 1 ? number : i + 1,
    name: images.length > 1 ? `${key} ${i + 1}` : key,
  }));
}

const isEmbedded = (value: Record<string, unknown>) =>
  ['bytes', 'path', 'url'].some((key) => Object.hasOwn(value, key));

/** `{bytes: [], path: []}`, as `datasets` may write a list of images. */
function listOfStruct(value: Record<string, unknown>): unknown[] {
  const lists = Object.entries(value).filter((entry): entry is [string, unknown[]] => Array.isArray(entry[1]));
  if (lists.length === 0) return [value];
  const length = Math.max(...lists.map(([, list]) => list.length));
  return Array.from({ length }, (_, i) => Object.fromEntries(lists.map(([key, list]) => [key, list[i]])));
}

/** One picture as it may stand in a sample. @param name names the picture in messages, once it is read */
export function readImage(value: unknown, key: string, name: string): ReadImage {
  if (isObject(value)) {
    const { bytes, path } = value;
    if (bytes instanceof Uint8Array) return { bytes, name: typeof path === 'string' ? `${name} ${quote(path)}` : name };
    if (typeof bytes === 'string' && isBase64(bytes)) return readImage(bytes, key, name);
    const other = path ?? value['url'];
    if (holds(bytes)) refuse(`"${key}" holds ${quote(value)}; its bytes must be binary`);
    if (!holds(other)) refuse(`"${key}" holds neither the bytes nor the path of a picture; take the sample out`);
    return readImage(other, key, name);
  }
  if (value instanceof Uint8Array) return { bytes: value, name };
  if (typeof value !== 'string') refuse(`"${key}" must be a path or a list of paths, not ${quote(value)}`);
  if (/^data:/i.test(value)) return { bytes: dataUri(value), name };
  if (isBase64(value)) return { bytes: decode(value.replaceAll(/\s/g, ''), value), name };
  if (value.length >= 64 && BEGINS_AS_PICTURE.test(value) && !/\.\w{2,5}$/.test(value))
    refuse(`image ${quote(value, 40)}: begins as base64 of a picture and is none to its end; encode the picture again`);
  const path = value.replace(/^\.\//, '');
  const problem = pathProblem(path);
  if (problem) refuse(`image ${quote(value)}: ${problem}`);
  return path;
}

/** The first bytes of a JPEG, PNG, WebP or GIF file in base64. */
const BEGINS_AS_PICTURE = /^(?:\/9j\/|iVBORw0KGgo|UklGR|R0lGOD)/;

/** Base64 of a JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF or HEIF file, by its first bytes, and too long for a path. */
const isBase64 = (value: string) =>
  value.length >= 64 &&
  /^(?:\/9j\/|iVBORw0KGgo|UklGR|R0lGOD|Qk[0-3]|SUkq|TU0A|AAAA.{2}Z0eX)[A-Za-z0-9+/\s]+={0,2}\s*$/.test(value);

/** Whether a value is a picture, whatever its key is called. */
export function looksLikeImage(value: unknown): boolean {
  if (value instanceof Uint8Array) return true;
  if (typeof value === 'string') return /^data:image\//i.test(value) || isBase64(value);
  if (Array.isArray(value)) return value.some(looksLikeImage);
  return isObject(value) && (value['bytes'] instanceof Uint8Array || Object.values(value).some(looksLikeImage));
}

function dataUri(uri: string): Uint8Array {
  const [, base64] =
    /^data:image\/[a-z0-9.+-]+(?:;[a-z0-9=.+-]+)*;base64,([A-Za-z0-9+/\s]+={0,2})\s*$/i.exec(uri) ?? [];
  return decode(base64?.replaceAll(/\s/g, '') ?? '', uri);
}

function decode(base64: string, value: string): Uint8Array {
  if (base64 === '' || base64.length % 4 !== 0)
    refuse(`image ${quote(value, 40)}: not a whole base64 image; write data:image/png;base64,… with its padding`);
  const most = DEFAULTS['dataset.maxImageBytes'].value;
  if (base64.length > (4 * most) / 3 + 4) refuse(`image ${quote(value, 40)}: over the limit of ${most} bytes`);
  return new Uint8Array(Buffer.from(base64, 'base64'));
}
