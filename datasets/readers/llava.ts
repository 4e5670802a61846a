import { DEFAULTS } from '../../core/defaults.ts';
import { LiloraError } from '../../core/errors.ts';
import { decodeUtf8, parseJson } from '../../core/json.ts';
import { IMAGE_MARKER, type Turn } from '../../core/sample.ts';
import { refuseByteOrderMark } from '../manifest.ts';
import { type Problems, quote } from '../problems.ts';
import { pathProblem } from '../source.ts';
import type { Reader, ReadSample } from './reader.ts';

const ROLES: Readonly<Record<string, Turn['role']>> = { human: 'user', gpt: 'assistant', system: 'system' };
const SHAPE = 'write {"id": …, "image": "images/1.png", "conversations": [{"from": "human", "value": …}, …]}';

/** A sample that breaks a rule; caught by the reader and noted with its place. */
class SampleProblem extends Error {}

function refuse(message: string): never {
  throw new SampleProblem(message);
}

/**
 * The conversation format of LLaVA: a JSON array (`.json`) or one object per line (`.jsonl`) of
 * `{id, image?: path or list of paths, conversations: [{from: human|gpt|system, value}], references?: [answer]}`.
 * `<image>` stands in human turns, once per image. Answers lose the white space around them. Other keys are ignored.
 * `references` (not part of LLaVA) lists the accepted answers; without it, the last answer is the only one.
 */
export const llava: Reader = {
  name: 'llava',
  read(bytes, file, problems) {
    refuseByteOrderMark(bytes, file);
    const samples: ReadSample[] = [];
    const limit = DEFAULTS['dataset.maxSamples'].value;
    for (const { value, place } of /\.jsonl$/i.test(file) ? lines(bytes, file, problems) : items(bytes, file)) {
      const where = isObject(value) && isId(value['id']) ? `${place} (id ${quote(String(value['id']))})` : place;
      if (samples.length >= limit) throw bad(`${where}: more than ${limit} samples. Split the dataset.`);
      try {
        samples.push(readSample(value, where));
      } catch (error) {
        if (!(error instanceof SampleProblem)) throw error;
        problems.add(where, error.message);
      }
    }
    return samples;
  },
};

function* items(bytes: Uint8Array, file: string): Generator<{ value: unknown; place: string }> {
  if (!/\.json$/i.test(file)) throw bad(`${file}: the name must end in .json or .jsonl. Rename the file.`);
  const value = parseJson(bytes, file, { errorName: 'BadDataset', maxBytes: DEFAULTS['dataset.maxFileBytes'].value });
  if (!Array.isArray(value)) throw bad(`${file}: a JSON array of samples is expected; one object per line is .jsonl.`);
  for (const [i, item] of value.entries()) yield { value: item, place: `${file}[${i}]` };
}

function* lines(bytes: Uint8Array, file: string, problems: Problems): Generator<{ value: unknown; place: string }> {
  const text = decodeUtf8(bytes, file, 'BadDataset').split('\n');
  for (const [i, line] of text.entries()) {
    if (line.trim() === '') continue;
    let value: unknown;
    try {
      // The parser counts lines within what it is given, so the line of the file is told by the name.
      value = parseJson(line, `${file}:${i + 1}`, { errorName: 'BadDataset' });
    } catch (error) {
      problems.addError(error);
      continue;
    }
    yield { value, place: `${file}:${i + 1}` };
  }
}

function readSample(value: unknown, where: string): ReadSample {
  if (!isObject(value)) refuse(`a sample must be an object; ${SHAPE}`);
  if (!isId(value['id']))
    refuse(`"id" must be a text of 1 to 200 characters or a whole number, not ${quote(value['id'])}`);
  const turns = readTurns(value['conversations']);
  const images = readImages(value['image']);
  checkMarkers(turns, images.length);
  const answer = turns.at(-1)!.text;
  return { id: String(value['id']), where, turns, images, references: readReferences(value['references'], answer) };
}

function readTurns(value: unknown): Turn[] {
  if (!Array.isArray(value) || value.length === 0) refuse(`"conversations" must be a list of turns; ${SHAPE}`);
  const most = DEFAULTS['dataset.maxTurns'].value;
  if (value.length > most) refuse(`${value.length} turns, over the limit of ${most}; split the conversation`);
  const turns = value.map((turn: unknown, i): Turn => {
    if (!isObject(turn)) refuse(`turn ${i + 1} must be an object with "from" and "value"`);
    const from = turn['from'];
    const role = typeof from === 'string' && Object.hasOwn(ROLES, from) ? ROLES[from] : undefined;
    if (!role) refuse(`turn ${i + 1} is from ${quote(from)}; use human, gpt or system`);
    return { role, text: readText(turn['value'], `turn ${i + 1} (${String(from)})`, role === 'assistant') };
  });
  checkOrder(turns);
  return turns;
}

function readText(value: unknown, what: string, isAnswer: boolean): string {
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

function checkOrder(turns: readonly Turn[]): void {
  if (!turns.some(({ role }) => role === 'assistant'))
    refuse('no gpt turn, so there is nothing to learn; add the answer');
  for (const [i, { role }] of turns.entries()) {
    const before = turns[i - 1]?.role ?? null;
    if (role === 'system' && i > 0) refuse(`turn ${i + 1} is a system turn; only the first turn may be one`);
    if (role === 'user' && before === 'user')
      refuse(`turns ${i} and ${i + 1} are both human; join them or add the answer`);
    if (role !== 'assistant') continue;
    if (before === 'assistant') refuse(`turns ${i} and ${i + 1} are both gpt; join them or add the question`);
    if (before !== 'user') refuse('the conversation begins with a gpt turn; begin with the question of a human turn');
  }
  if (turns.at(-1)!.role !== 'assistant')
    refuse('the last turn is not a gpt turn; add the answer or remove the question');
}

function readImages(value: unknown): string[] {
  if (value === undefined || value === null) return [];
  const paths: unknown[] = Array.isArray(value) ? value : [value];
  const most = DEFAULTS['dataset.maxImagesPerSample'].value;
  if (paths.length > most) refuse(`${paths.length} images, over the limit of ${most}`);
  return paths.map((path) => {
    if (typeof path !== 'string') refuse(`"image" must be a path or a list of paths, not ${quote(path)}`);
    const problem = pathProblem(path);
    if (problem) refuse(`image ${quote(path)}: ${problem}`);
    return path;
  });
}

function checkMarkers(turns: readonly Turn[], images: number): void {
  let markers = 0;
  for (const [i, { role, text }] of turns.entries()) {
    const found = text.split(IMAGE_MARKER).length - 1;
    if (found > 0 && role !== 'user') refuse(`turn ${i + 1} has an ${IMAGE_MARKER} marker; only human turns may`);
    if (found > 0 && text.replaceAll(IMAGE_MARKER, '').trim() === '')
      refuse(`turn ${i + 1} asks nothing; add the question`);
    markers += found;
  }
  if (markers === images) return;
  if (images === 0) refuse(`${markers} ${IMAGE_MARKER} marker(s) but no image; name the image or remove the marker`);
  if (markers === 0) refuse(`${images} image(s) but no ${IMAGE_MARKER} marker; put the marker into a human turn`);
  refuse(`${markers} ${IMAGE_MARKER} marker(s) but ${images} image(s); there must be one marker for each image`);
}

function readReferences(value: unknown, answer: string): string[] {
  if (value === undefined || value === null) return [answer];
  const most = DEFAULTS['dataset.maxReferences'].value;
  if (!Array.isArray(value) || value.length === 0 || value.length > most) {
    refuse(`"references" must be a list of 1 to ${most} accepted answers`);
  }
  return value.map((item: unknown, i) => readText(item, `reference ${i + 1}`, true));
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isId(value: unknown): value is string | number {
  if (typeof value === 'number') return Number.isSafeInteger(value);
  return (
    typeof value === 'string' && value.trim() !== '' && value.length <= 200 && !/\p{Cc}|\p{Surrogate}/u.test(value)
  );
}

function bad(message: string): LiloraError {
  return new LiloraError('BadDataset', message);
}
