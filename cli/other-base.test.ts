import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { otherBase, otherTemplate } from './other-base.ts';

const SNAPSHOT = '/cache/hub/models--llava-hf--llava-1.5-7b-hf/snapshots/0123abc';

it.each<[string | null, string | null, string, RegExp | null]>([
  [null, null, './model', null],
  ['llava-hf/llava-1.5-7b-hf', null, 'llava-hf/llava-1.5-7b-hf', null],
  ['llava-hf/llava-1.5-7b-hf', null, './LLaVA-1.5-7b-hf/', null],
  ['llava-hf/llava-1.5-7b-hf', 'main', 's3://models/llava-1.5-7b-hf', null],
  ['llava-hf/llava-1.5-7b-hf', '0123abc', SNAPSHOT, null],
  [SNAPSHOT, null, 'llava-hf/llava-1.5-7b-hf@0123abc', null],
  [
    'llava-hf/llava-1.5-13b-hf',
    null,
    './llava-1.5-7b-hf',
    /is llava-hf\/llava-1\.5-13b-hf; it is used with \.\/llava-1\.5-7b-hf/,
  ],
  ['unsloth/llava-1.5-7b-hf-bnb-4bit', null, './llava-1.5-7b-hf', /it is used with/],
  ['llava-hf/llava-1.5-7b-hf', 'v2', './llava-1.5-7b-hf', /at revision v2; whether .* is that revision is not known/],
  ['llava-hf/llava-1.5-7b-hf', 'v2', 'llava-hf/llava-1.5-7b-hf@v1', /it is used with revision v1/],
])('an adapter of %s at %s with %s', (baseModel, revision, model, said) => {
  const told = otherBase({ baseModel, revision }, model);
  if (said === null) expect(told).toBe(null);
  else expect(told).toMatch(said);
});

it.each<[Record<string, string>, Record<string, string>, boolean]>([
  [{}, { 'chat_template.jinja': 'a' }, false],
  [{ 'chat_template.jinja': 'a\n' }, { 'chat_template.jinja': 'a' }, false],
  [{ 'tokenizer_config.json': '{"chat_template": "a"}' }, { 'chat_template.json': '{"chat_template": "a"}' }, false],
  [{ 'tokenizer_config.json': '{"chat_template": [{"name": "a"}]}' }, { 'chat_template.jinja': 'a' }, false],
  [{ 'tokenizer_config.json': '{' }, { 'chat_template.jinja': 'a' }, false],
  [{ 'chat_template.jinja': 'b' }, { 'chat_template.jinja': 'a' }, true],
  [{ 'tokenizer_config.json': '{"chat_template": "b"}' }, { 'chat_template.jinja': 'a' }, true],
])('an adapter with %j beside a model with %j', async (theirs, ours, told) => {
  const folder = mkdtempSync(join(tmpdir(), 'lilora-template-'));
  const put = (name: string, files: Record<string, string>) => {
    mkdirSync(join(folder, name));
    for (const [file, content] of Object.entries(files)) writeFileSync(join(folder, name, file), content);
    return join(folder, name);
  };
  const found = await otherTemplate(put('adapter', theirs), put('model', ours));
  rmSync(folder, { recursive: true });
  if (told) expect(found).toMatch(/adapter has a chat template of its own, which is not used/);
  else expect(found).toBe(null);
});
