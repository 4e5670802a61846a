import { DEFAULTS } from '../../core/defaults.ts';
import { IMAGE_MARKER, type Turn } from '../../core/sample.ts';
import { quote } from '../problems.ts';
import { pathProblem } from '../source.ts';
import type { ReadImage } from './reader.ts';

/* Rules that every conversation keeps, whatever format it comes in. */

/** A sample that breaks a rule; caught by `readEach` and noted with its place. */
export class SampleProblem extends Error {}

export function refuse(message: string): never {
  throw new SampleProblem(message);
}

/** What a format calls the two sides of a conversation, for messages. */
export interface Words {
  readonly user: string;
  readonly assistant: string;
}

export function readText(value: unknown, what: string, isAnswer: boolean): string {
  if (typeof value !== 'string') refuse(`${what} must be a text, not ${quote(value)}`);
  const longest = DEFAULTS['dataset.maxTextLength'].value;
  if (value.length > longest)
    refuse(`${what} has ${value.length} characters, over the limit of ${longest}; shorten it`);
  if (/\p{Surrogate}/u.test(value)) refuse(`${what} holds half of a surrogate pair; save the text as UTF-8`);
  if (value.includes('\0')) refuse(`${what} holds a NUL character; remove it`);
  if (value.trim() === '')
    refuse(`${what} is empty; ${isAnswer ? 'write the answer' : 'write the text'} or remove the sample`);
  return isAnswer ? value.trim() : value;
}

/** The list of turns, no longer than a conversation may be. @param shape how to write it */
export function turnList(value: unknown, key: string, shape: string): unknown[] {
  if (!Array.isArray(value) || value.length === 0) refuse(`"${key}" must be a list of turns; ${shape}`);
  const most = DEFAULTS['dataset.maxTurns'].value;
  if (value.length > most) refuse(`${value.length} turns, over the limit of ${most}; split the conversation`);
  return value;
}

/** Question and answer take turns, an answer is last, one marker for each image stands in the questions. */
export function checkTurns(turns: readonly Turn[], images: number, words: Words): void {
  checkOrder(turns, words);
  checkMarkers(turns, images, words);
}

function checkOrder(turns: readonly Turn[], { user, assistant }: Words): void {
  if (!turns.some(({ role }) => role === 'assistant'))
    refuse(`no ${assistant} turn, so there is nothing to learn; add the answer`);
  for (const [i, { role }] of turns.entries()) {
    const before = turns[i - 1]?.role ?? null;
    if (role === 'system' && i > 0) refuse(`turn ${i + 1} is a system turn; only the first turn may be one`);
    if (role === 'user' && before === 'user')
      refuse(`turns ${i} and ${i + 1} are both ${user}; join them or add the answer`);
    if (role !== 'assistant') continue;
    if (before === 'assistant') refuse(`turns ${i} and ${i + 1} are both ${assistant}; join them or add the question`);
    if (before !== 'user')
      refuse(`the conversation begins with a ${assistant} turn; begin with the question of a ${user} turn`);
  }
  if (turns.at(-1)!.role !== 'assistant')
    refuse(`the last turn is not a ${assistant} turn; add the answer or remove the question`);
}

function checkMarkers(turns: readonly Turn[], images: number, { user }: Words): void {
  let markers = 0;
  for (const [i, { role, text }] of turns.entries()) {
    const found = text.split(IMAGE_MARKER).length - 1;
    if (found > 0 && role !== 'user') refuse(`turn ${i + 1} has an ${IMAGE_MARKER} marker; only ${user} turns may`);
    if (found > 0 && text.replaceAll(IMAGE_MARKER, '').trim() === '')
      refuse(`turn ${i + 1} asks nothing; add the question`);
    markers += found;
  }
  if (markers === images) return;
  if (images === 0) refuse(`${markers} ${IMAGE_MARKER} marker(s) but no image; name the image or remove the marker`);
  if (markers === 0) refuse(`${images} image(s) but no ${IMAGE_MARKER} marker; put the marker into a ${user} turn`);
  refuse(`${markers} ${IMAGE_MARKER} marker(s) but ${images} image(s); there must be one marker for each image`);
}

/** `references`, the accepted answers; without it the last answer is the only one. */
export function readReferences(value: unknown, answer: string): string[] {
  if (value === undefined || value === null) return [answer];
  const most = DEFAULTS['dataset.maxReferences'].value;
  if (!Array.isArray(value) || value.length === 0 || value.length > most) {
    refuse(`"references" must be a list of 1 to ${most} accepted answers`);
  }
  return value.map((item: unknown, i) => readText(item, `reference ${i + 1}`, true));
}

/**
 * Images of a sample: one or a list, each a path relative to dataset.json, a `data:` URI, or `{bytes, path}` as the Hub's
 * Parquet files embed them. @param where names the sample
 */
export function readImages(value: unknown, key: string, where: string): ReadImage[] {
  if (value === undefined || value === null) return [];
  const images: unknown[] = Array.isArray(value) ? value : [value];
  const most = DEFAULTS['dataset.maxImagesPerSample'].value;
  if (images.length > most) refuse(`${images.length} images, over the limit of ${most}`);
  return images.map((image, i) =>
    readImage(image, key, images.length > 1 ? `${where}: image ${i + 1}` : `${where}: image`),
  );
}

function readImage(value: unknown, key: string, name: string): ReadImage {
  if (isObject(value)) {
    const { bytes, path } = value;
    if (bytes instanceof Uint8Array) return { bytes, name: typeof path === 'string' ? `${name} ${quote(path)}` : name };
    if (bytes === undefined || bytes === null) return readImage(path ?? value['url'], key, name);
    refuse(`"${key}" holds ${quote(value)}; its bytes must be binary`);
  }
  if (value instanceof Uint8Array) return { bytes: value, name };
  if (typeof value !== 'string') refuse(`"${key}" must be a path or a list of paths, not ${quote(value)}`);
  if (/^data:/i.test(value)) return { bytes: dataUri(value), name };
  const problem = pathProblem(value);
  if (problem) refuse(`image ${quote(value)}: ${problem}`);
  return value;
}

function dataUri(uri: string): Uint8Array {
  const [, base64] = /^data:image\/[a-z0-9.+-]+;base64,([A-Za-z0-9+/]+={0,2})$/i.exec(uri) ?? [];
  if (base64 === undefined || base64.length % 4 !== 0)
    refuse(`image ${quote(uri, 40)}: not a whole base64 image; write data:image/png;base64,… with its padding`);
  const most = DEFAULTS['dataset.maxImageBytes'].value;
  if (base64.length > (4 * most) / 3 + 4) refuse(`image ${quote(uri, 40)}: over the limit of ${most} bytes`);
  return new Uint8Array(Buffer.from(base64, 'base64'));
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function isId(value: unknown): value is string | number {
  if (typeof value === 'number') return Number.isSafeInteger(value);
  return (
    typeof value === 'string' && value.trim() !== '' && value.length <= 200 && !/\p{Cc}|\p{Surrogate}/u.test(value)
  );
}

/** The id of a sample; where the format asks for none, its place is one. */
export function readId(value: unknown, place: string | null): string {
  if ((value === undefined || value === null) && place !== null) return place;
  if (!isId(value)) refuse(`"id" must be a text of 1 to 200 characters or a whole number, not ${quote(value)}`);
  return String(value);
}
