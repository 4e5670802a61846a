import { DEFAULTS } from '../../core/defaults.ts';
import { decodeUtf8, type Place, parseJson } from '../../core/json.ts';
import type { Problems } from '../problems.ts';
import { bad, type Entry } from './each.ts';
import type { SamplesFile } from './reader.ts';

/* JSON as samples are written in it, read piece by piece: one sample is in memory, whatever the size of the file. */

/** Bytes that are read at once. */
const PIECE = 2 ** 20;

/** A file from its beginning on, piece by piece. */
export async function* piecesOf({ size, slice }: Pick<SamplesFile, 'size' | 'slice'>): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < size; at += PIECE) yield await slice(at, Math.min(size, at + PIECE));
}

/** The lines of a file as bytes, without their `\n`; numbers count from 1. */
export async function* linesOf(
  file: SamplesFile,
): AsyncGenerator<{ readonly bytes: Uint8Array; readonly line: number }> {
  const begun = new Begun(() => `${file.path}:${line}`);
  let line = 1;
  for await (const piece of piecesOf(file)) {
    let from = 0;
    for (let end = piece.indexOf(10); end >= 0; end = piece.indexOf(10, from)) {
      begun.add(piece.subarray(from, end));
      yield { bytes: begun.take(), line: line++ };
      from = end + 1;
    }
    begun.add(piece.subarray(from));
  }
  if (begun.size > 0) yield { bytes: begun.take(), line };
}

/** One object per line; lines that are no JSON go to `problems`. */
export async function* jsonLines(file: SamplesFile, problems: Problems): AsyncGenerator<Entry> {
  for await (const { bytes, line } of linesOf(file)) {
    // The parser counts lines within what it is given, so the line of the file is told by the name.
    const place = `${file.path}:${line}`;
    let value: unknown;
    try {
      const text = decodeUtf8(bytes, place, 'BadDataset');
      if (text.trim() === '') continue;
      value = parseJson(text, place, { errorName: 'BadDataset', writtenNumbers: true });
    } catch (error) {
      problems.addError(error);
      continue;
    }
    yield { value, place };
  }
}

/** The items of a file that is one JSON array. What is no JSON ends it, as `BadDataset` with line and column. */
export async function* jsonItems(file: SamplesFile): AsyncGenerator<Entry> {
  const splitter = new ItemSplitter(file.path);
  let i = 0;
  for await (const piece of piecesOf(file))
    for (const { bytes, start } of splitter.push(piece)) {
      const options = { errorName: 'BadDataset', start, maxBytes: bytes.length, writtenNumbers: true } as const;
      yield { value: parseJson(bytes, file.path, options), place: `${file.path}[${i++}]` };
    }
  splitter.end();
}

interface Item {
  readonly bytes: Uint8Array;
  readonly start: Place;
}

const [QUOTE, BACKSLASH, COMMA, NEWLINE] = [0x22, 0x5c, 0x2c, 0x0a];
const isOpening = (byte: number) => byte === 0x5b || byte === 0x7b;
const isClosing = (byte: number) => byte === 0x5d || byte === 0x7d;
const isSpace = (byte: number) => byte === 0x20 || byte === 0x09 || byte === NEWLINE || byte === 0x0d;

/** Finds where the items of an array begin and end; what stands in them is the parser's business. */
class ItemSplitter {
  private readonly path: string;
  private readonly begun: Begun;
  private state: 'before' | 'first' | 'items' | 'after' = 'before';
  private depth = 0;
  private quoted = false;
  private escaped = false;
  private line = 1;
  /** Bytes before the line that is read. */
  private lineAt = 0;
  private read = 0;
  private start: Place = { line: 1, column: 1 };

  constructor(path: string) {
    this.path = path;
    this.begun = new Begun(() => this.path);
  }

  *push(piece: Uint8Array): Generator<Item> {
    let from = 0;
    for (let i = 0; i < piece.length; i++) {
      const byte = piece[i]!;
      if (byte === NEWLINE) {
        this.line++;
        this.lineAt = this.read + i + 1;
      }
      if (this.state === 'before' || this.state === 'after') this.outside(byte, i);
      else if (this.within(byte)) {
        this.begun.add(piece.subarray(from, i));
        const isEmpty = this.state === 'first' && byte !== COMMA && this.begun.isBlank();
        const bytes = this.begun.take();
        if (!isEmpty) yield { bytes, start: this.start };
        this.state = byte === COMMA ? 'items' : 'after';
      } else continue;
      from = i + 1;
      this.start = { line: this.line, column: this.read + i + 2 - this.lineAt };
    }
    this.read += piece.length;
    if (this.state === 'first' || this.state === 'items') this.begun.add(piece.subarray(from));
  }

  /** Takes in one byte of the items; whether it ends one. */
  private within(byte: number): boolean {
    if (this.quoted) {
      if (this.escaped) this.escaped = false;
      else if (byte === BACKSLASH) this.escaped = true;
      else if (byte === QUOTE) this.quoted = false;
    } else if (byte === QUOTE) this.quoted = true;
    else if (isOpening(byte)) this.depth++;
    else if (this.depth === 0) return byte === COMMA || byte === 0x5d;
    else if (isClosing(byte)) this.depth--;
    return false;
  }

  private outside(byte: number, i: number): void {
    if (isSpace(byte)) return;
    if (this.state === 'before' && byte === 0x5b) this.state = 'first';
    else if (this.state === 'before')
      throw bad(`${this.path}: a JSON array of samples is expected; one object per line is .jsonl.`);
    else {
      const at = `${this.line}:${this.read + i + 1 - this.lineAt}`;
      throw bad(`${this.path}:${at}: text after the end of the JSON value. Correct the file.`);
    }
  }

  /** Says what is missing at the end of the file. */
  end(): void {
    if (this.state === 'after') return;
    if (this.state === 'before') throw bad(`${this.path}: a JSON array of samples is expected, but the file is empty.`);
    // What was begun tells best where it breaks off.
    if (!this.begun.isBlank()) parseJson(this.begun.take(), this.path, { errorName: 'BadDataset', start: this.start });
    throw bad(`${this.path}:${this.line}: the array has no end. Copy the file again.`);
  }
}

/** Bytes that were begun in one piece and may go on in the next. */
class Begun {
  size = 0;
  private parts: Uint8Array[] = [];
  private readonly where: () => string;

  constructor(where: () => string) {
    this.where = where;
  }

  add(part: Uint8Array): void {
    if (part.length === 0) return;
    const most = DEFAULTS['dataset.maxSampleBytes'].value;
    this.size += part.length;
    if (this.size > most) throw bad(`${this.where()}: one sample is over the limit of ${most} bytes. Make it smaller.`);
    this.parts.push(part);
  }

  isBlank(): boolean {
    return this.parts.every((part) => part.every(isSpace));
  }

  take(): Uint8Array {
    const { parts } = this;
    this.parts = [];
    this.size = 0;
    return parts.length === 1 ? parts[0]! : Buffer.concat(parts);
  }
}
