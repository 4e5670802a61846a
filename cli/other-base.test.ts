import { expect, it } from 'vitest';
import { otherBase } from './other-base.ts';

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
