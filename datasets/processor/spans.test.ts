import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { EncodedSample } from '../../core/sample.ts';
import { type Published, writePublished } from '../../test/vocabularies/published.ts';
import { spansOf } from './spans.ts';
import { openTokenizer, type Tokens } from './tokenizer.ts';

const TEXTS = [
  'A red dog sits on the grass.',
  ' two  spaces\nand a line ',
  'Grüße, cœur, Ωμέγας, привет',
  '犬が好きです。 龘 𠮷野家',
  '🐕 👩‍👩‍👧 🏳️‍🌈 x',
  '3.14 × 10⁻²³ ½ ﷽',
];

const encoded = (ids: readonly number[], from = ids.length): EncodedSample => ({
  id: 'x',
  inputIds: Int32Array.from(ids),
  labels: Int32Array.from(ids, (id, i) => (i < from ? -100 : id)),
  images: [],
  references: [],
});

/** What a text becomes: LLaMA's words begin with their space, the first one too. */
const BEFORE: Partial<Record<Published, string>> = { llama: '<s> ', llama3: '<|begin_of_text|>' };

describe.each(['llama', 'llama3'] as const)('tokens of the vocabulary of %s, as people read them', (name) => {
  let folder: string;
  let tokenizer: Tokens;
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'lilora-spans-'));
    writePublished(name, folder);
    tokenizer = await openTokenizer(folder);
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  const image = () => tokenizer.idOf('<image>')!;

  it.each(TEXTS)('are the text once more, no letter broken: %j', (text) => {
    const ids = tokenizer.encode(text);
    const spans = spansOf(encoded(ids), tokenizer, image());
    expect(spans.map((span) => span.text).join('')).toBe(`${BEFORE[name]}${text}`);
    expect(spans.reduce((sum, { count }) => sum + count, 0)).toBe(ids.length);
    expect(spans.filter(({ kind }) => kind === 'special')).toHaveLength(1);
  });

  it('carry loss where their labels do, and fold images', () => {
    const [start, end] = [tokenizer.encode('Look'), tokenizer.encode(' 犬').slice(1)];
    const ids = [...start, ...Array<number>(576).fill(image()), ...end];
    const spans = spansOf(encoded(ids, start.length + 576), tokenizer, image());
    expect(spans.filter(({ kind }) => kind === 'image')).toEqual([
      { text: '<image>', loss: false, kind: 'image', count: 576 },
    ]);
    const learned = spans.filter(({ loss }) => loss);
    expect(
      learned
        .map(({ text }) => text)
        .join('')
        .trim(),
    ).toBe('犬');
    expect(learned.reduce((sum, { count }) => sum + count, 0)).toBe(end.length);
  });
});
