import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { TensorMap } from '../../core/host-tensor.ts';
import { writeSafetensors } from '../../core/safetensors.ts';
import { imageSizes } from '../../datasets/image.ts';
import { openProcessor } from '../../datasets/processor/processor.ts';
import { formulaWeight } from '../../test/formula-weights.ts';
import { expectNear } from '../../test/reference.ts';
import { Jobs } from './jobs.ts';

/* Folders as they were published, with few and narrow layers: test/fixtures/make-published.py. */

interface Published {
  readonly repository: string;
  readonly dtype: 'F16' | 'BF16';
  /** How its tokenizer is made: low ids, pieces that stand for every text, fillers up to a size, added tokens. */
  readonly rule: {
    readonly low: string[];
    readonly pieces: 'llama' | 'bytes';
    readonly size: number;
    readonly added: Record<string, number>;
    readonly parts: object;
    readonly model: object;
  };
  readonly files: Record<string, unknown>;
  /** File → name → name in memory, which the numbers follow from, and shape. */
  readonly weights: Record<string, Record<string, [string, number[]]>>;
  readonly answers: Array<{
    readonly image: string;
    readonly prompt: string;
    /** Id and how often, in runs. */
    readonly ids: Array<[number, number]>;
    readonly tokens: number[];
    readonly logProbabilities: number[];
  }>;
}

const FIXTURES = fileURLToPath(new URL('../../test/fixtures/', import.meta.url));
const root = mkdtempSync(join(tmpdir(), 'lilora-published-'));
let jobs: Jobs;
beforeAll(async () => {
  jobs = await Jobs.open();
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

function tokenizer({ low, pieces, size, added, parts, model }: Published['rule']): object {
  const hex = (byte: number) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`;
  const every = Array.from({ length: 256 }, (_, i) => i);
  const letters = every.slice(33, 127).map((code) => String.fromCharCode(code));
  const shown = every.filter((b) => (b > 32 && b < 127) || (b > 160 && b !== 173));
  const hidden = every.filter((b) => !shown.includes(b)).map((_, i) => 256 + i);
  const known =
    pieces === 'llama'
      ? [...every.map(hex), '▁', ...letters]
      : [...shown, ...hidden].map((code) => String.fromCharCode(code));
  const tokens = [...low, ...known];
  for (let i = tokens.length; i < size; i++) tokens.push(`<unused_${i}>`);
  const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
  const plain = { dropout: null, unk_token: null, continuing_subword_prefix: null, end_of_word_suffix: null };
  const vocab = Object.fromEntries(tokens.map((token, id) => [token, id]));
  return {
    ...{ version: '1.0', truncation: null, padding: null },
    added_tokens: Object.entries(added)
      .sort(([, a], [, b]) => a - b)
      .map(([content, id]) => ({ id, content, ...flags })),
    ...parts,
    model: {
      ...{ type: 'BPE', ...plain, fuse_unk: false, byte_fallback: false, ignore_merges: false },
      ...{ ...model, vocab, merges: [] },
    },
  };
}

function make(name: string, { files, rule, weights, dtype }: Published): string {
  const folder = join(root, name);
  mkdirSync(folder);
  for (const [file, value] of Object.entries(files))
    writeFileSync(join(folder, file), typeof value === 'string' ? value : JSON.stringify(value));
  writeFileSync(join(folder, 'tokenizer.json'), JSON.stringify(tokenizer(rule)));
  for (const [file, tensors] of Object.entries(weights)) {
    const made: TensorMap = new Map(
      Object.entries(tensors).map(([key, [source, shape]]) => [key, { shape, data: formulaWeight(source, shape) }]),
    );
    writeFileSync(join(folder, file), writeSafetensors(made, { format: 'pt' }, dtype));
  }
  const shards = Object.entries(weights).flatMap(([file, tensors]) => Object.keys(tensors).map((key) => [key, file]));
  const index = { metadata: { total_size: 0 }, weight_map: Object.fromEntries(shards) };
  if (Object.keys(weights).length > 1)
    writeFileSync(join(folder, 'model.safetensors.index.json'), JSON.stringify(index));
  return folder;
}

describe.each(readdirSync(join(FIXTURES, 'published')))('%s', (file) => {
  const published: Published = JSON.parse(readFileSync(join(FIXTURES, 'published', file), 'utf8'));
  let folder: string;
  beforeAll(() => {
    folder = make(file.replace('.json', ''), published);
  });

  it.each(published.answers)('$image "$prompt": tokens of the prompt and the answer', async (wanted) => {
    const { image, prompt, ids, tokens, logProbabilities } = wanted;
    const path = join(FIXTURES, 'images', image);
    const processor = await openProcessor(folder);
    const sizes = await imageSizes(new Map([[image, readFileSync(path)]]));
    const turns = [{ role: 'user', text: `<image>\n${prompt}` }] as const;
    const encoded = processor.encodePrompt({ id: 'asked', turns, images: [image], references: [] }, sizes);
    const expected = ids.flatMap(([id, times]) => Array<number>(times).fill(id));
    expect([...encoded.inputIds]).toEqual(expected);
    const hooks = { signal: new AbortController().signal, onProgress: () => {} };
    const asked = { prompt, images: [path], raw: false, adapter: null, maxNewTokens: 6 };
    const answer = await jobs.run('predict', { model: { folder, digest: folder }, ...asked }, hooks);
    expect(answer.tokens).toEqual(tokens);
    expectNear(answer.logProbabilities, logProbabilities, 2e-4, 'log-probabilities');
  });
});
