import { IMAGE_MARKER } from '../../core/sample.ts';
import type { Manifest } from '../manifest.ts';
import { quote } from '../problems.ts';
import type { ReadSample } from '../readers/reader.ts';
import { isBookkeeping } from './bookkeeping.ts';
import type { Fields, Unread } from './fields.ts';
import type { At } from './form.ts';
import { listedIn } from './listed.ts';
import { looksLikeImage } from './pictures.ts';
import { isObject, refuse, SharedProblem } from './values.ts';

/** Whatever of a sample was not read is told: left out when it is bookkeeping or ignored on purpose, else refused by name. */
export function judgeUnread(sample: Fields, read: ReadSample, isRow: boolean, at: At): void {
  for (const unread of sample.unread()) {
    const { key, name, value } = unread;
    const why = unread.isIgnored ? 'ignore' : verdict(unread, read, sample);
    if (why === 'read') continue;
    if (why === 'ignore' || why === 'bookkeeping') at.keys?.leaveOut(key, why, at.where);
    else if (why !== 'unknown') told(at, why, quote(value, 60));
    else if (at.keys) at.keys.unknown(unread, at.where, isRow ? placeFor(unread, sample) : '');
    else refuse(`${quote(name)} is a key that no form reads`);
  }
}

function told(at: At, what: string, example: string): void {
  if (!at.keys) refuse(`${what}; it holds ${example}`);
  at.keys.refuse(what, at.where, example);
}

const MEDIA = /^(?:videos?|audios?|sounds?|speech|video_paths?|audio_paths?|video_urls?|audio_urls?)$/i;
const IMAGE_NAME =
  /(?:^|[_-])(?:images?|imgs?|pics?|pictures?|photos?|screenshots?|figures?|masks?|depth)(?:$|[_\d-])|^file_?names?$|_file_names?$|^(?:image|img|pic|photo)s?(?:paths?|files?|urls?)$/i;
/** Answers that people chose or did not. */
export const PREFERENCE = new Set([
  'chosen',
  'rejected',
  'rejected_response',
  'rejected_responses',
  'rejected_images',
  'rejected_messages',
  'negative',
]);
/** Names of keys that hold the name of a picture which is read from elsewhere. */
const NAMES_PICTURE =
  /^(?:file_?name|image_?(?:name|path|file|url|source)|img_?(?:name|path|file|url)|images_?paths?)$/i;

/** Video and audio are refused before anything else is looked at: no form reads them. */
export function refuseMedia(sample: Fields): void {
  for (const key of sample.keys)
    if (MEDIA.test(key) && typeof sample.peek(key) !== 'boolean')
      throw new SharedProblem(
        `${quote(key)} holds ${/^video/i.test(key) ? 'video' : 'audio'}, which is not read yet; take these samples out`,
      );
}

/** A text that stands word for word in a turn, as `prompt` beside `messages` may, is not lost. */
function isInTurns({ value }: Unread, { turns }: ReadSample): boolean {
  const bare = (text: string) => text.replaceAll(IMAGE_MARKER, '').trim();
  return typeof value === 'string' && turns.some(({ text }) => bare(text) === bare(value));
}

/** Why a key may not be passed over; or `read`, `bookkeeping`, `unknown`. */
function verdict(unread: Unread, read: ReadSample, sample: Fields): string {
  const { key, name, value } = unread;
  const ignore = `"ignore": [${quote(name)}]`;
  const place = `${columnsOf(name, sample)}, or say ${ignore} if it is none of the sample's`;
  if (isInTurns(unread, read)) return 'read';
  if (PREFERENCE.has(name))
    return `${quote(key)} is of preference data, of which nothing is learned; say ${ignore} in dataset.json to learn the other answer alone`;
  if (filesIn(value, sample.manifest).some((path) => !read.images.includes(path)))
    return `${quote(key)} names a file of the dataset, which is not read; ${place}`;
  const media = mediaIn(value);
  if (media) return `${quote(key)} holds ${media}, which is not read yet; take these samples out, or say ${ignore}`;
  if (looksLikeImage(value)) return `${quote(key)} holds a picture and is not read; ${place}`;
  if (isBookkeeping(name)) return 'bookkeeping';
  if (!IMAGE_NAME.test(name) || !isPath(value)) return 'unknown';
  if (NAMES_PICTURE.test(name) && read.images.length > 0) return 'bookkeeping';
  return `${quote(key)} is named like a picture and is not read; ${place}`;
}

/** Video or audio within a value, by the name of its file. */
function mediaIn(value: unknown): string | null {
  if (typeof value === 'string') {
    if (/\.(?:mp4|m4v|avi|mov|mkv|webm)$/i.test(value)) return 'video';
    return /\.(?:wav|mp3|flac|ogg|opus|m4a)$/i.test(value) ? 'audio' : null;
  }
  if (!Array.isArray(value) && !isObject(value)) return null;
  return Object.values(value).map(mediaIn).find(Boolean) ?? null;
}

/** Whether texts within a value may be paths or addresses of pictures. */
function isPath(value: unknown): boolean {
  if (typeof value === 'string') return /\.[a-z]{3,5}$|:\/\/|^[^\s/]+\/[^\s]+$/i.test(value.trim());
  if (Array.isArray(value)) return value.some(isPath);
  return isObject(value) && Object.values(value).some(isPath);
}

/** Where `columns` may put what a row holds under an unknown key. */
function placeFor({ key, name, value }: Unread, sample: Fields): string {
  if (key !== name || typeof value !== 'string') return '';
  const image = IMAGE_NAME.test(name) ? `, or ${columnsOf(name, sample)}` : '';
  return `${image}, or "columns": {"input": ${quote(name)}} if the question is about it`;
}

/** How `columns` would take in a picture, beside those that are read already. */
function columnsOf(name: string, sample: Fields): string {
  const known = [sample.manifest.columns?.image ?? ['image', 'images'].filter((key) => sample.has(key))].flat();
  const all = [...known, name];
  return `write "columns": {"image": ${JSON.stringify(all.length === 1 ? name : all)}} into dataset.json if it belongs to the sample`;
}

/** Files of the dataset that texts within a value name. */
function filesIn(value: unknown, manifest: Manifest): string[] {
  if (typeof value === 'string') {
    const path = value.replace(/^\.\//, '');
    return listedIn(manifest).has(path) ? [path] : [];
  }
  if (Array.isArray(value)) return value.flatMap((item: unknown) => filesIn(item, manifest));
  return isObject(value) ? Object.values(value).flatMap((item) => filesIn(item, manifest)) : [];
}
