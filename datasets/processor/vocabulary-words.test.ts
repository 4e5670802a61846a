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
  json.added_tokens.push({ id: 1000, content: '<|constructor|>', special: false });
  // Written by hand: an object literal would set its prototype.
  const entries = WORDS.map((word, i) => `${JSON.stringify(word)}:${600 + i}`).join(',');
  const written = JSON.stringify(json).replace('"vocab":{', `"vocab":{${entries},`);
  writeFileSync(join(folder, 'tokenizer.json'), written);
  const tokens = await openTokenizer(folder);
  for (const [i, word] of WORDS.entries()) {
    // This tokenizer cuts before and after underscores.
    if (word !== '__proto__') expect(tokens.encode(word), word).toEqual([600 + i]);
    expect(tokens.idOf(word), word).toBe(600 + i);
    expect(tokens.textOf(600 + i), word).toBe(word);
    expect(tokens.decode([600 + i]), word).toBe(word);
  }
  expect(tokens.encode('<|constructor|>')).toEqual([1000]);
  expect(tokens.idOf('isPrototypeOf')).toBeUndefined();
  expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
});
