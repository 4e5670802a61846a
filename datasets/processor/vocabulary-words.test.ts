import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { openTokenizer } from './tokenizer.ts';

const FIXTURE = join(import.meta.dirname, '../../test/fixtures/qwen2vl/model');
const root = mkdtempSync(join(tmpdir(), 'lilora-words-'));
afterAll(() => rmSync(root, { recursive: true }));

// github.com/josephrocca/gpt-2-3-tokenizer/issues/1: JavaScript takes these for names of an object's own machinery.
const WORDS = ['constructor', 'prototype', '__proto__', 'toString', 'hasOwnProperty', 'valueOf'];

it('takes every word as a word', async () => {
  const folder = join(root, 'model');
  cpSync(FIXTURE, folder, { recursive: true });
  const text = readFileSync(join(folder, 'tokenizer.json'), 'utf8');
  const json = JSON.parse(text) as {
    model: { vocab: Record<string, number>; ignore_merges: boolean };
    added_tokens: Array<{ id: number; content: string; special: boolean }>;
  };
  json.model.ignore_merges = true;
  // In the place of the last words: ids have no holes.
  const last = Object.entries(json.model.vocab).toSorted(([, a], [, b]) => a - b);
  const first = last.length - WORDS.length;
  for (const [word] of last.slice(first)) delete json.model.vocab[word];
  const next = Math.max(...json.added_tokens.map(({ id }) => id + 1));
  json.added_tokens.push({ id: next, content: '<|constructor|>', special: false });
  // Written by hand: an object literal would set its prototype.
  const entries = WORDS.map((word, i) => `${JSON.stringify(word)}:${first + i}`).join(',');
  const written = JSON.stringify(json).replace('"vocab":{', `"vocab":{${entries},`);
  writeFileSync(join(folder, 'tokenizer.json'), written);
  const tokens = await openTokenizer(folder);
  for (const [i, word] of WORDS.entries()) {
    // This tokenizer cuts before and after underscores.
    if (word !== '__proto__') expect(tokens.encode(word), word).toEqual([first + i]);
    expect(tokens.idOf(word), word).toBe(first + i);
    expect(tokens.textOf(first + i), word).toBe(word);
    expect(tokens.decode([first + i]), word).toBe(word);
  }
  expect(tokens.encode('<|constructor|>')).toEqual([next]);
  expect(tokens.idOf('isPrototypeOf')).toBeUndefined();
  expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
});
