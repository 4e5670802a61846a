import { createHash } from 'node:crypto';

/** Of a SHA-256 so many 32-bit words are kept: no two texts are known that share them. */
const WORDS = 4;
/** Entries for each place of the table, at most. */
const FULLEST = 0.7;

/**
 * Numbers by digest, in typed arrays: 20 bytes for each place, so 29 to 57 MB for a million entries, where a map of texts
 * takes several hundred. Nothing is removed. While it grows, the old places stand beside the new ones.
 */
export class DigestTable {
  size = 0;
  private keys = new Uint32Array(64 * WORDS);
  /** One more than the number; 0 is a free place. */
  private values = new Uint32Array(64);

  /** Keeps a number from 0 to 2³² − 2 unless the digest has one already, which is then given. */
  add(digest: Uint8Array, value: number): number | null {
    const key = wordsOf(digest);
    const found = this.placeOf(key);
    if (this.values[found] !== 0) return this.values[found]! - 1;
    this.put(found, key, value + 1);
    if (++this.size > this.values.length * FULLEST) this.grow();
    return null;
  }

  get(digest: Uint8Array): number | null {
    const value = this.values[this.placeOf(wordsOf(digest))]!;
    return value === 0 ? null : value - 1;
  }

  private put(place: number, key: Uint32Array, value: number): void {
    this.keys.set(key, place * WORDS);
    this.values[place] = value;
  }

  /** Where a digest is, or would be. */
  private placeOf(key: Uint32Array): number {
    const last = this.values.length - 1;
    for (let place = key[0]! & last; ; place = (place + 1) & last)
      if (this.values[place] === 0 || this.isAt(place, key)) return place;
  }

  private isAt(place: number, key: Uint32Array): boolean {
    for (let i = 0; i < WORDS; i++) if (this.keys[place * WORDS + i] !== key[i]) return false;
    return true;
  }

  private grow(): void {
    const { keys, values } = this;
    this.keys = new Uint32Array(2 * keys.length);
    this.values = new Uint32Array(2 * values.length);
    for (let place = 0; place < values.length; place++) {
      if (values[place] === 0) continue;
      const key = keys.subarray(place * WORDS, (place + 1) * WORDS);
      this.put(this.placeOf(key), key, values[place]!);
    }
  }
}

/** SHA-256 of a text as bytes. */
export function digestBytes(text: string): Uint8Array {
  return createHash('sha256').update(text).digest();
}

function wordsOf(digest: Uint8Array): Uint32Array {
  const view = new DataView(digest.buffer, digest.byteOffset, digest.byteLength);
  const words = new Uint32Array(WORDS);
  for (let i = 0; i < WORDS; i++) words[i] = view.getUint32(4 * i, true);
  return words;
}

/** SHA-256 digests with a number each, in the order in which they came: 61 to 121 bytes for one. */
export class DigestList {
  private readonly table = new DigestTable();
  private bytes = new Uint8Array(64 * 32);

  get size(): number {
    return this.table.size;
  }

  /** The number of a digest, which is new when it equals the size before. */
  add(digest: string): number {
    const bytes = Buffer.from(digest, 'hex');
    const { size } = this.table;
    const known = this.table.add(bytes, size);
    if (known !== null) return known;
    if (this.bytes.length < 32 * (size + 1)) {
      const larger = new Uint8Array(2 * this.bytes.length);
      larger.set(this.bytes);
      this.bytes = larger;
    }
    this.bytes.set(bytes, 32 * size);
    return size;
  }

  /** The number of a digest; −1 when it never came. */
  indexOf(digest: string): number {
    return this.table.get(Buffer.from(digest, 'hex')) ?? -1;
  }

  at(i: number): string {
    return Buffer.from(this.bytes.buffer, 32 * i, 32).toString('hex');
  }

  *keys(): Generator<string> {
    for (let i = 0; i < this.size; i++) yield this.at(i);
  }

  /** The numbers of all digests, in the order of the digests. */
  sorted(): Uint32Array {
    const view = new DataView(this.bytes.buffer);
    const heads = Uint32Array.from({ length: this.size }, (_, i) => view.getUint32(32 * i));
    const at = (i: number) => this.bytes.subarray(32 * i, 32 * (i + 1));
    return heads.map((_, i) => i).sort((a, b) => heads[a]! - heads[b]! || Buffer.compare(at(a), at(b)));
  }
}
