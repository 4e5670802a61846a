import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { openTokenizer } from './tokenizer.ts';

interface Variant {
  readonly base: string;
  readonly tokens: object[];
  readonly gone: string[];
  readonly config: object;
  readonly files: Record<string, object>;
  readonly ids: number[][];
  readonly skipped: string[];
}

/** What transformers made of each (test/fixtures/make-added-tokens.py). */
const FIXTURES = join(import.meta.dirname, '../../test/fixtures');
const { texts, variants } = JSON.parse(readFileSync(join(FIXTURES, 'added-tokens/expected.json'), 'utf8')) as {
  texts: string[];
  variants: Record<string, Variant>;
};
const root = mkdtempSync(join(tmpdir(), 'lilora-added-'));
afterAll(() => rmSync(root, { recursive: true }));

let count = 0;
function folderOf({
  base,
  tokens,
  gone,
  config,
  files,
}: Pick<Variant, 'base' | 'tokens' | 'gone' | 'config' | 'files'>): string {
  const folder = join(root, `${count++}`);
  cpSync(join(FIXTURES, base, 'model'), folder, { recursive: true });
  const edit = (name: string, change: (json: Record<string, unknown>) => object) => {
    const before = JSON.parse(readFileSync(join(folder, name), 'utf8'));
    writeFileSync(join(folder, name), JSON.stringify(change(before)));
  };
  edit('tokenizer.json', (json) => {
    const { vocab, ...model } = json['model'] as { vocab: Record<string, number> };
    const kept = Object.fromEntries(Object.entries(vocab).filter(([word]) => !gone.includes(word)));
    const added = (json['added_tokens'] as Array<{ content: string }>).filter(({ content }) => !gone.includes(content));
    return { ...json, model: { ...model, vocab: kept }, added_tokens: [...added, ...tokens] };
  });
  edit('tokenizer_config.json', ({ added_tokens_decoder: _, ...rest }) => ({ ...rest, ...config }));
  for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), JSON.stringify(content));
  return folder;
}

describe('added tokens', () => {
  it.each(Object.entries(variants))('are those of transformers: %s', async (_, variant) => {
    const tokens = await openTokenizer(folderOf(variant));
    for (const [i, text] of texts.entries()) {
      const ids = tokens.encode(text);
      expect(ids, JSON.stringify(text)).toEqual(variant.ids[i]);
      expect(tokens.decode(ids), JSON.stringify(text)).toBe(variant.skipped[i]);
    }
  });

  it('with another id than their place gives are refused', async () => {
    const flags = { lstrip: false, rstrip: false, normalized: false, single_word: false, special: true };
    const config = { added_tokens_decoder: { 900: { content: '<box>', ...flags } } };
    await expect(
      openTokenizer(folderOf({ base: 'llava-mha', tokens: [], gone: [], config, files: {} })),
    ).rejects.toThrow(
      /tokenizer_config\.json: the token "<box>" has the id 900, but its place gives it \d+\. Save the tokenizer again/,
    );
  });
});
