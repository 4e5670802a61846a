import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterAll, expect, it } from 'vitest';
import { PUBLISHED, writePublished } from '../../test/vocabularies/published.ts';
import { openTokenizer } from './tokenizer.ts';

/** Texts, and digests of what Python's `tokenizers` makes of them (test/fixtures/make-vocabularies.py). */
const FIXTURE = join(import.meta.dirname, '../../test/fixtures/vocabularies/odd-texts.json.gz');
const { texts, digests } = JSON.parse(gunzipSync(readFileSync(FIXTURE)).toString()) as {
  texts: string[];
  digests: Record<string, string>;
};
const root = mkdtempSync(join(tmpdir(), 'lilora-published-'));
afterAll(() => rmSync(root, { recursive: true }));

// Qwen's comes from PyPI the first time.
it.each(PUBLISHED)(
  '%s: the same ids and the same decoded text for thousands of odd texts',
  async (name) => {
    const folder = join(root, name);
    writePublished(name, folder);
    const tokens = await openTokenizer(folder);
    const wrong = texts.flatMap((text, i) => {
      const ids = tokens.encode(text);
      const digest = createHash('sha256')
        .update(`${ids.join(',')}\n${tokens.decodeAll(ids)}`)
        .digest('hex')
        .slice(0, 6);
      return digest === digests[name]!.slice(6 * i, 6 * i + 6) ? [] : [{ text, ids, decoded: tokens.decodeAll(ids) }];
    });
    expect(texts.length).toBeGreaterThan(3000);
    expect(wrong.slice(0, 20)).toEqual([]);
  },
  300_000,
);
