import { sha256 } from './digest.ts';
import { type ErrorName, LiloraError } from './errors.ts';
import { refusePointer } from './git-lfs.ts';

const MAX_DEPTH = 64;
const MAX_BYTES = 256 * 1024 * 1024;
const UNSAFE_KEYS = new Set(['__proto__', 'constructor', 'prototype']);
const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
/** A stretch of a string that stands for itself. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: those that JSON does not allow
const PLAIN = /[^"\\\0-\x1f]*/y;
const ESCAPES: Record<string, string> = {
  '"': '"',
  '\\': '\\',
  '/': '/',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
};

export interface ParseJsonOptions {
  /** Which failure broken text is reported as. Default `IntegrityError`. */
  readonly errorName?: ErrorName;
  /** Deepest nesting that is accepted. Default 64. */
  readonly maxDepth?: number;
  /** Longest text that is accepted, in bytes. Default 256 MiB. */
  readonly maxBytes?: number;
  /** Where in the file the text begins, when it is a part of it; both from 1. */
  readonly start?: Place;
  /**
   * Accept keys such as `constructor` and `__proto__`, always as plain own properties. For vocabularies, whose keys are
   * arbitrary words. Default false: such a key is refused.
   */
  readonly anyKeys?: boolean;
  /** Give numbers that a double would write otherwise (1.50, 1e3, 12345678901234567890) as `WrittenNumber`. Default false. */
  readonly writtenNumbers?: boolean;
  /**
   * Accept NaN, Infinity and -Infinity, which Python's json writes and reads, as numbers. For the files of models: a
   * field that is used must still be a finite number. Default false.
   */
  readonly nonFinite?: boolean;
}

/** A number whose text is not the one that its double has: it stays what was written. */
export class WrittenNumber {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }

  toString(): string {
    return this.text;
  }

  toJSON(): string {
    return this.text;
  }
}

/** A line and a column of a file, both from 1. */
export interface Place {
  readonly line: number;
  readonly column: number;
}

const TOP: Place = { line: 1, column: 1 };

/**
 * Parses JSON from outside, strictly: RFC 8259 in valid UTF-8, no duplicate keys, no keys that reach a prototype, no
 * lone surrogates, no number beyond the range of a double, bounded depth and size. One byte order mark at the very
 * start is dropped, because editors on Windows write it. Errors name the file, the line and the column.
 */
export function parseJson(content: Uint8Array | string, file: string, options: ParseJsonOptions = {}): unknown {
  const { errorName = 'IntegrityError', maxBytes = MAX_BYTES } = options;
  const length = typeof content === 'string' ? content.length : content.byteLength;
  if (length > maxBytes) {
    throw new LiloraError(
      errorName,
      `${file}: JSON of ${length} bytes is over the limit of ${maxBytes}. Split the file.`,
    );
  }
  refusePointer(content, file, errorName);
  const text = typeof content === 'string' ? content : decodeUtf8(content, file, errorName);
  return new JsonReader(text, file, errorName, options).document();
}

/** Decodes UTF-8; bytes that are not UTF-8 are an error that names the file and the place. Keeps a byte order mark. */
export function decodeUtf8(bytes: Uint8Array, file: string, errorName: ErrorName = 'IntegrityError'): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (error) {
    const lossy = new TextDecoder('utf-8').decode(bytes);
    const at = place(lossy, lossy.indexOf('\ufffd'));
    throw new LiloraError(errorName, `${file}:${at}: not valid UTF-8. Save the file as UTF-8.`, { cause: error });
  }
}

/** The line and column (both from 1) of an offset into a text, as `line:column`. */
function place(text: string, offset: number, start = TOP): string {
  const before = text.slice(0, offset);
  const lineStart = before.lastIndexOf('\n') + 1;
  let { line } = start;
  for (let i = before.indexOf('\n'); i >= 0; i = before.indexOf('\n', i + 1)) line++;
  return `${line}:${offset - lineStart + (line === start.line ? start.column : 1)}`;
}

class JsonReader {
  private at = 0;
  private readonly text: string;
  private readonly file: string;
  private readonly errorName: ErrorName;
  private readonly maxDepth: number;
  private readonly anyKeys: boolean;
  private readonly start: Place;
  private readonly writtenNumbers: boolean;
  private readonly nonFinite: boolean;

  constructor(text: string, file: string, errorName: ErrorName, options: ParseJsonOptions) {
    this.text = text;
    this.file = file;
    this.errorName = errorName;
    this.maxDepth = options.maxDepth ?? MAX_DEPTH;
    this.anyKeys = options.anyKeys ?? false;
    this.start = options.start ?? TOP;
    this.writtenNumbers = options.writtenNumbers ?? false;
    this.nonFinite = options.nonFinite ?? false;
  }

  document(): unknown {
    if (this.text.charCodeAt(0) === 0xfeff) this.at = 1;
    this.space();
    const value = this.value(0);
    this.space();
    if (this.at < this.text.length) this.fail('text after the end of the JSON value');
    return value;
  }

  private fail(problem: string, at = this.at): never {
    throw new LiloraError(
      this.errorName,
      `${this.file}:${place(this.text, at, this.start)}: ${problem}. Correct the file.`,
    );
  }

  private space(): void {
    for (;;) {
      const c = this.text.charCodeAt(this.at);
      if (c !== 0x20 && c !== 0x0a && c !== 0x0d && c !== 0x09) return;
      this.at++;
    }
  }

  private value(depth: number): unknown {
    if (depth > this.maxDepth) this.fail(`nested deeper than ${this.maxDepth} levels`);
    const c = this.text[this.at];
    if (c === '{') return this.object(depth);
    if (c === '[') return this.array(depth);
    if (c === '"') return this.string();
    if (c === 't') return this.word('true', true);
    if (c === 'f') return this.word('false', false);
    if (c === 'n') return this.word('null', null);
    if (this.nonFinite && c === 'N') return this.word('NaN', Number.NaN);
    if (this.nonFinite && c === 'I') return this.word('Infinity', Number.POSITIVE_INFINITY);
    if (this.nonFinite && this.text.startsWith('-I', this.at)) return this.word('-Infinity', Number.NEGATIVE_INFINITY);
    return this.number();
  }

  private word<T>(word: string, value: T): T {
    if (!this.text.startsWith(word, this.at)) this.fail('expected a JSON value');
    this.at += word.length;
    return value;
  }

  private number(): number | WrittenNumber {
    NUMBER.lastIndex = this.at;
    const match = NUMBER.exec(this.text);
    if (/^-?(?:NaN|Infinity)\b/.test(this.text.slice(this.at, this.at + 10)))
      this.fail('expected a JSON value, and NaN and Infinity are none: write null, or leave it out');
    if (!match) this.fail(this.at < this.text.length ? 'expected a JSON value' : 'the text ends too early');
    const value = Number(match[0]);
    if (!Number.isFinite(value)) this.fail(`the number ${match[0].slice(0, 40)} is too large`);
    this.at += match[0].length;
    return this.writtenNumbers && String(value) !== match[0] ? new WrittenNumber(match[0]) : value;
  }

  private string(): string {
    const start = ++this.at;
    let result = '';
    let from = start;
    for (;;) {
      PLAIN.lastIndex = this.at;
      PLAIN.test(this.text);
      this.at = PLAIN.lastIndex;
      const c = this.text.charCodeAt(this.at);
      if (c === 0x22) break;
      if (Number.isNaN(c)) this.fail('the string that starts here has no end', start - 1);
      if (c < 0x20) this.fail('a control character inside a string');
      result += this.text.slice(from, this.at) + this.escape();
      from = this.at;
    }
    result += this.text.slice(from, this.at++);
    if (/\p{Surrogate}/u.test(result)) this.fail('a string with half of a surrogate pair', start - 1);
    return result;
  }

  private escape(): string {
    const letter = this.text[this.at + 1] ?? '';
    if (letter === 'u') {
      const hex = this.text.slice(this.at + 2, this.at + 6);
      if (!/^[0-9a-fA-F]{4}$/.test(hex)) this.fail('a \\u escape needs four hexadecimal digits');
      this.at += 6;
      return String.fromCharCode(Number.parseInt(hex, 16));
    }
    const plain = ESCAPES[letter];
    if (plain === undefined) this.fail('an unknown escape in a string');
    this.at += 2;
    return plain;
  }

  private array(depth: number): unknown[] {
    const result: unknown[] = [];
    this.at++;
    this.space();
    if (this.text[this.at] === ']') {
      this.at++;
      return result;
    }
    for (;;) {
      this.space();
      result.push(this.value(depth + 1));
      this.space();
      const c = this.text[this.at++];
      if (c === ']') return result;
      if (c !== ',') this.fail('expected "," or "]"', this.at - 1);
    }
  }

  private object(depth: number): Record<string, unknown> {
    const result: Record<string, unknown> = {};
    this.at++;
    this.space();
    if (this.text[this.at] === '}') {
      this.at++;
      return result;
    }
    for (;;) {
      this.space();
      const keyAt = this.at;
      if (this.text[keyAt] !== '"') this.fail('expected a key in double quotes');
      const key = this.string();
      if (Object.hasOwn(result, key)) this.fail(`the key ${JSON.stringify(key)} stands twice in one object`, keyAt);
      const unsafe = UNSAFE_KEYS.has(key);
      if (unsafe && !this.anyKeys) this.fail(`the key ${JSON.stringify(key)} is not allowed`, keyAt);
      this.space();
      if (this.text[this.at] !== ':') this.fail('expected ":"');
      this.at++;
      this.space();
      const value = this.value(depth + 1);
      // Plain assignment to `__proto__` would replace the prototype instead of adding a property.
      if (unsafe) Object.defineProperty(result, key, { value, enumerable: true, configurable: true, writable: true });
      else result[key] = value;
      this.space();
      const c = this.text[this.at++];
      if (c === '}') return result;
      if (c !== ',') this.fail('expected "," or "}"', this.at - 1);
    }
  }
}

/**
 * The one text of a JSON value: keys sorted by code unit, no spaces, numbers as ECMAScript prints them (as in RFC 8785).
 * Refuses, as `BadConfig`, what JSON cannot say: undefined, NaN, infinities, functions, symbols, bigints, class
 * instances, holes in arrays, cycles. The error names the path to it.
 */
export function canonicalJson(value: unknown): string {
  return write(value, '$', 0);
}

/** SHA-256 of the canonical JSON: equal for equal values, whatever the order of their keys. */
export function digestOf(value: unknown): string {
  return sha256(canonicalJson(value));
}

function refuse(path: string, what: string): never {
  throw new LiloraError('BadConfig', `${path} is ${what}, which JSON cannot hold. Leave it out or convert it.`);
}

function write(value: unknown, path: string, depth: number): string {
  if (depth > MAX_DEPTH) return refuse(path, `nested deeper than ${MAX_DEPTH} levels`);
  if (value === null || typeof value === 'boolean' || typeof value === 'string') return JSON.stringify(value);
  if (typeof value === 'number') return Number.isFinite(value) ? JSON.stringify(value) : refuse(path, `${value}`);
  if (Array.isArray(value)) {
    return `[${Array.from(value, (item, i) => write(item, `${path}[${i}]`, depth + 1)).join(',')}]`;
  }
  if (typeof value !== 'object') return refuse(path, `a value of type ${typeof value}`);
  const prototype = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) return refuse(path, 'an object of a class');
  const entries = Object.keys(value)
    .sort()
    .map(
      (key) => `${JSON.stringify(key)}:${write((value as Record<string, unknown>)[key], `${path}.${key}`, depth + 1)}`,
    );
  return `{${entries.join(',')}}`;
}
