import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { isSha256, sha256, sha256File } from './digest.ts';

// FIPS 180-2, appendix B.1 and the empty message.
const ABC = 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad';
const EMPTY = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';

test('SHA-256 of bytes and of strings', () => {
  expect(sha256('abc')).toBe(ABC);
  expect(sha256(new TextEncoder().encode('abc'))).toBe(ABC);
  expect(sha256('')).toBe(EMPTY);
  expect(sha256('é')).toBe(sha256(Uint8Array.of(0xc3, 0xa9)));
});

test('SHA-256 of a file is that of its bytes; a missing file is NotFound and named', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'digest-'));
  const bytes = new Uint8Array(3_000_001).map((_, i) => i * 31);
  await writeFile(join(folder, 'big'), bytes);
  expect(await sha256File(join(folder, 'big'))).toBe(sha256(bytes));
  await expect(sha256File(join(folder, 'none'))).rejects.toMatchObject({
    name: 'NotFound',
    message: expect.stringMatching(/none: no such/),
  });
  await rm(folder, { recursive: true });
});

test('what a digest looks like', () => {
  expect(isSha256(ABC)).toBe(true);
  for (const other of [ABC.toUpperCase(), ABC.slice(1), `${ABC}0`, `${ABC}\n`, 7, null])
    expect(isSha256(other)).toBe(false);
});
