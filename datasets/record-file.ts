import { type FileHandle, open } from 'node:fs/promises';
import { openFile, readAt } from '../core/files.ts';
import { Numbers } from '../core/numbers.ts';

/** Bytes that are written, or read ahead, at once. */
const PIECE = 2 ** 20;

/** A stretch of a file in which values stand as JSON one after another, and where each ends. */
export interface Stretch {
  readonly path: string;
  /** Bytes of the file before the first. */
  readonly begin: number;
  /** Where each value ends, counted from `begin` on. */
  readonly ends: ArrayLike<number>;
}

/** One value of a stretch. @param parse of its bytes */
export async function recordAt<T>({ path, begin, ends }: Stretch, i: number, parse: (bytes: Uint8Array) => T) {
  const [from, to] = [i === 0 ? 0 : ends[i - 1]!, ends[i]!];
  const file = await openFile(path);
  try {
    return parse(await readAt(file, begin + from, to - from, path));
  } finally {
    await file.close();
  }
}

/** All values of a stretch in order, some read ahead. */
export async function* recordsOf<T>(
  { path, begin, ends }: Stretch,
  parse: (bytes: Uint8Array, i: number) => T,
): AsyncGenerator<T> {
  const file = await openFile(path);
  try {
    for (let i = 0; i < ends.length; ) {
      const from = i === 0 ? 0 : ends[i - 1]!;
      let last = i + 1;
      while (last < ends.length && ends[last]! - from <= PIECE) last++;
      const bytes = await readAt(file, begin + from, ends[last - 1]! - from, path);
      for (; i < last; i++) yield parse(bytes.subarray((i === 0 ? 0 : ends[i - 1]!) - from, ends[i]! - from), i);
    }
  } finally {
    await file.close();
  }
}

/**
 * Values in a file of this machine, as JSON lines: written one after another, then read by number or in order. Whoever named
 * the file removes it. 8 bytes of memory for each.
 */
export class RecordFile<T> implements AsyncIterable<T> {
  private readonly path: string;
  private readonly file: FileHandle;
  private readonly ends = new Numbers();
  private waiting: Buffer[] = [];
  private waitingBytes = 0;

  private constructor(path: string, file: FileHandle) {
    this.path = path;
    this.file = file;
  }

  static async create<T>(path: string): Promise<RecordFile<T>> {
    return new RecordFile<T>(path, await open(path, 'wx'));
  }

  get length(): number {
    return this.ends.length;
  }

  /** @param line how the value is written: JSON with a `\n` at its end */
  async add(value: T, line: Buffer = Buffer.from(`${JSON.stringify(value)}\n`)): Promise<void> {
    const end = this.length === 0 ? 0 : this.ends.at(this.length - 1);
    this.ends.push(end + line.length);
    this.waiting.push(line);
    this.waitingBytes += line.length;
    if (this.waitingBytes >= PIECE) await this.write();
  }

  private async write(): Promise<void> {
    const piece = Buffer.concat(this.waiting);
    [this.waiting, this.waitingBytes] = [[], 0];
    await this.file.writeFile(piece);
  }

  /** Nothing is added any more; from now on it is read. */
  async finish(): Promise<void> {
    await this.write();
    await this.file.close();
  }

  at(i: number): Promise<T> {
    return recordAt(this.stretch, i, parse<T>);
  }

  [Symbol.asyncIterator](): AsyncGenerator<T> {
    return recordsOf(this.stretch, parse<T>);
  }

  /** Every value as it was written. */
  lines(): AsyncGenerator<Uint8Array> {
    return recordsOf(this.stretch, (bytes) => bytes);
  }

  private get stretch(): Stretch {
    return { path: this.path, begin: 0, ends: this.ends.all() };
  }
}

/** What was written here a moment ago. */
function parse<T>(bytes: Uint8Array): T {
  const { buffer, byteOffset, byteLength } = bytes;
  return JSON.parse(Buffer.from(buffer, byteOffset, byteLength).toString('utf8')) as T;
}
