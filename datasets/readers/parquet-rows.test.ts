import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { openParquet } from './parquet-rows.ts';

/** The rows that test/fixtures/make-formats.py wrote. */
const EXPECTED = Array.from({ length: 500 }, (_, i) => ({
  id: i,
  text: `${i} `.repeat(i % 7),
  picture: {
    bytes: Uint8Array.from({ length: 40 + (i % 13) }, (_, k) => (i * k) % 256),
    path: i % 3 === 0 ? `${i}.png` : null,
  },
  talk: Array.from({ length: i % 5 }, (_, k) => ({ role: k % 2 === 0 ? 'user' : 'assistant', content: `${i}.${k}` })),
  deep: i % 11 === 0 ? null : Array.from({ length: i % 4 }, (_, k) => [i, k]),
}));

describe.each(['pages-v1.parquet', 'pages-v2.parquet'])('%s, one row group of many pages', (name) => {
  const bytes = new Uint8Array(readFileSync(new URL(`../../test/fixtures/formats/${name}`, import.meta.url)));

  it.each([500, 3000, 20_000, Number.POSITIVE_INFINITY])('read %d bytes at a time', async (window) => {
    let largest = 0;
    const slice = async (start: number, end: number) => {
      largest = Math.max(largest, end - start);
      return bytes.slice(start, end);
    };
    const whole = async () => bytes;
    const table = await openParquet(
      { path: name, size: bytes.length, slice, bytes: whole, manifest: null as never },
      window,
    );
    largest = 0;
    const rows: unknown[] = [];
    for await (const row of table.rows()) rows.push(row);
    expect(rows).toEqual(EXPECTED);
    if (window < 20_000) expect(largest).toBeLessThan(2 * window + 4096);
  });
});
