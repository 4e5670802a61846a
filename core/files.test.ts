import { mkdtempSync, rmSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { sha256 } from './digest.ts';
import { openFile, readAt, readWhole } from './files.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'lilora-files-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

it('reads a file that Node refuses to read at once, to its last byte', async () => {
  const path = join(folder, 'large');
  const size = 2 ** 31 + 16;
  const file = await open(path, 'w');
  await file.write(Buffer.from('end'), 0, 3, size - 3); // the rest is a hole: it takes no space
  await file.close();
  const bytes = await readWhole(path);
  expect(bytes.byteLength).toBe(size);
  expect(Buffer.from(bytes.subarray(size - 4)).toString()).toBe('\0end');
  expect(sha256(bytes)).toBe('223018b0ca7a652e960a69e90459eae21c6172170b5f4dbb125a4d2ab2ab5d2f'); // by Python's hashlib
});

it('says which file is missing or ends early', async () => {
  await expect(readWhole(join(folder, 'none'))).rejects.toMatchObject({ name: 'NotFound', message: /none/ });
  const handle = await openFile(join(folder, 'large'));
  await expect(readAt(handle, 2 ** 31, 100, 'large')).rejects.toMatchObject({
    name: 'IntegrityError',
    message: /large/,
  });
  await handle.close();
});
