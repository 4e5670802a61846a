import { expect, it } from 'vitest';
import { DigestTable, digestBytes } from './digest-table.ts';

it('a digest table knows what a map knows, through many growths', () => {
  const table = new DigestTable();
  const map = new Map<string, number>();
  for (let i = 0; i < 20_000; i++) {
    const text = `${(i * 7919) % 12_345}`;
    const before = map.get(text);
    expect(table.add(digestBytes(text), i)).toBe(before ?? null);
    if (before === undefined) map.set(text, i);
  }
  expect(table.size).toBe(map.size);
  for (const [text, i] of map) expect(table.get(digestBytes(text))).toBe(i);
  expect(table.get(digestBytes('none'))).toBeNull();
});

it('digests that differ in their last kept word alone are apart', () => {
  const table = new DigestTable();
  const digest = new Uint8Array(32);
  const other = digest.slice();
  other[15] = 1;
  expect([table.add(digest, 3), table.add(other, 4), table.get(digest), table.get(other)]).toEqual([null, null, 3, 4]);
});
