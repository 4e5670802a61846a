import { DEFAULTS } from '../../core/defaults.ts';
import { parseJson, WrittenNumber } from '../../core/json.ts';
import { quote } from '../problems.ts';

/* Values of samples, whatever file they come from: what they hold, and their texts. */

/** A sample that breaks a rule; caught by `readEach` and noted with its place. */
export class SampleProblem extends Error {}

/** A problem that many samples of a file share: told once, with the first place and their number. */
export class SharedProblem extends SampleProblem {}

export function refuse(message: string): never {
  throw new SampleProblem(message);
}

/** A class number without a name, as splits of the Hub without labels hold it (−1). */
export class NoClass {
  readonly number: number;

  constructor(number: number) {
    this.number = number;
  }
}

export function isObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

/** Whether there is something under a key: not null, not an empty text, list or object, at any depth. */
export function holds(value: unknown): boolean {
  if (value === undefined || value === null || value === '') return false;
  if (Array.isArray(value)) return value.some(holds);
  if (isObject(value)) return Object.values(value).some(holds);
  return true;
}

/** The text of a text, number or truth value, as it was written; null for everything else. */
export function textOf(value: unknown): string | null {
  if (typeof value === 'string') return value;
  if (typeof value === 'boolean' || typeof value === 'bigint' || value instanceof WrittenNumber) return String(value);
  return typeof value === 'number' && Number.isFinite(value) ? String(value) : null;
}

/** A text of a sample. @param what names it in messages @param isAnswer whether it loses the white space around it */
export function readText(value: unknown, what: string, isAnswer: boolean): string {
  if (value instanceof NoClass)
    throw new SharedProblem(
      `${what} is the class ${value.number}, which has no name: this split has no labels; take another split, or take the sample out`,
    );
  const text = textOf(value) ?? refuse(`${what} must be a text, not ${quote(value)}`);
  checkText(text, what);
  if (text.trim() === '')
    refuse(`${what} is empty; ${isAnswer ? 'write the answer' : 'write the text'} or remove the sample`);
  return isAnswer ? text.trim() : text;
}

/** Refuses a text that is too long or holds what no text may. */
export function checkText(text: string, what: string): void {
  const longest = DEFAULTS['dataset.maxTextLength'].value;
  if (text.length > longest) refuse(`${what} has ${text.length} characters, over the limit of ${longest}; shorten it`);
  if (/\p{Surrogate}/u.test(text)) refuse(`${what} holds half of a surrogate pair; save the text as UTF-8`);
  if (text.includes('\0')) refuse(`${what} holds a NUL character; remove it`);
  if (/[\ufdd0\ufdd1]/.test(text)) refuse(`${what} holds a noncharacter of Unicode (U+FDD0 or U+FDD1); remove it`);
}

/** A value that may stand as JSON text: what the text says. Other texts stay texts. */
export function fromJsonText(value: unknown, what: string): unknown {
  if (typeof value !== 'string' || !/^\s*[[{]/.test(value)) return value;
  try {
    return parseJson(value, what, { errorName: 'BadDataset', writtenNumbers: true });
  } catch (error) {
    refuse(`${what} looks like JSON, but ${(error as Error).message}`);
  }
}

/** A list that may stand as JSON text, or as Python prints one: `['a', "b's"]`. */
export function fromListText(value: unknown, what: string): unknown {
  if (typeof value !== 'string') return value;
  const python = /^\s*\[\s*(?:(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")\s*(?:,\s*|(?=\])))*\]\s*$/s;
  if (!python.test(value)) return fromJsonText(value, what);
  return [...value.matchAll(/'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)"/gs)].map(([, single, double]) =>
    (single ?? double ?? '').replaceAll(/\\(.)/gs, (_, each: string) => ({ n: '\n', t: '\t' })[each] ?? each),
  );
}

/**
 * A list of objects: as it is, as JSON text, or as an object of lists (`{from: [], value: []}`), which Hugging Face `datasets`
 * makes of it. Null for everything else.
 */
export function itemsOf(value: unknown, what: string): unknown[] | null {
  const plain = fromJsonText(value, what);
  if (Array.isArray(plain)) return plain;
  if (!isObject(plain)) return null;
  const columns = Object.entries(plain).filter(([, column]) => column !== null && column !== undefined);
  const [first] = columns;
  if (!first || !columns.every(([, column]) => Array.isArray(column))) return null;
  const length = (first[1] as unknown[]).length;
  if (columns.some(([, column]) => (column as unknown[]).length !== length))
    refuse(`${what} is an object of lists that are not equally long; write a list of objects`);
  return Array.from({ length }, (_, i) =>
    Object.fromEntries(columns.map(([key, column]) => [key, (column as unknown[])[i]])),
  );
}

export function isId(value: unknown): value is string | number | bigint | WrittenNumber {
  if (typeof value === 'bigint') return true;
  if (typeof value === 'number') return Number.isFinite(value);
  if (value instanceof WrittenNumber) return true;
  return (
    typeof value === 'string' && value.trim() !== '' && value.length <= 200 && !/\p{Cc}|\p{Surrogate}/u.test(value)
  );
}

/** The id of a sample; where it has none, its place is one. */
export function readId(value: unknown, place: string): string {
  // pandas writes NaN for an id that is missing.
  if (value === undefined || value === null || Number.isNaN(value)) return place;
  if (!isId(value)) refuse(`"id" must be a text of 1 to 200 characters or a number, not ${quote(value)}`);
  return String(value);
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
