import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it, test } from 'vitest';
import type { TensorMap } from '../../core/host-tensor.ts';
import { readTensorMap, writeSafetensors } from '../../core/safetensors.ts';
import { GENERATION_SETTINGS } from '../../learning/model/generation.ts';
import { expectNear } from '../../test/reference.ts';
import { Jobs } from './jobs.ts';

/* Folders in which two sources disagree, weights are stored otherwise, or generation is set: test/fixtures/make-sources.py. */

interface Case {
  readonly name: string;
  readonly base: string;
  readonly files?: Readonly<Record<string, unknown>>;
  readonly absent?: readonly string[];
  readonly weights?: ReadonlyArray<readonly [ending: string, to: string]>;
  readonly prefix?: readonly [start: string, other: string];
  readonly tokens: number[];
  readonly logProbabilities: number[];
}

const FIXTURES = fileURLToPath(new URL('../../test/fixtures/', import.meta.url));
const { cases, generationSettings } = JSON.parse(readFileSync(join(FIXTURES, 'sources.json'), 'utf8')) as {
  cases: Case[];
  generationSettings: string[];
};
const root = mkdtempSync(join(tmpdir(), 'lilora-sources-'));
let jobs: Jobs;
beforeAll(async () => {
  jobs = await Jobs.open();
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

/** RFC 7396. */
function merged(value: unknown, patch: unknown): unknown {
  const isObject = (v: unknown): v is Record<string, unknown> =>
    typeof v === 'object' && v !== null && !Array.isArray(v);
  if (!isObject(patch)) return patch;
  const out = isObject(value) ? { ...value } : {};
  for (const [key, change] of Object.entries(patch))
    if (change === null) delete out[key];
    else out[key] = merged(out[key], change);
  return out;
}

/** Copies the fixture and changes it as the script did. */
function make({ name, base, files = {}, absent = [], weights = [], prefix }: Case): string {
  const folder = join(root, name.replaceAll(/[^a-zA-Z0-9]+/g, '-'));
  cpSync(join(FIXTURES, base, 'model'), folder, { recursive: true });
  for (const [file, patch] of Object.entries(files)) {
    const path = join(folder, file);
    const before = existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : {};
    const text = JSON.stringify(merged(before, patch));
    writeFileSync(path, text.replaceAll(/"(NaN|-?Infinity)"/g, '$1'));
  }
  for (const file of absent) rmSync(join(folder, file));
  if (weights.length === 0 && !prefix) return folder;
  const path = join(folder, 'model.safetensors');
  const tensors: TensorMap = new Map();
  for (const [stored, tensor] of readTensorMap(readFileSync(path), path)) {
    let key = prefix && stored.startsWith(prefix[0]) ? prefix[1] + stored.slice(prefix[0].length) : stored;
    for (const [, to] of weights.filter(([ending]) => stored.endsWith(ending)))
      if (to.startsWith('+')) tensors.set(to.slice(1), tensor);
      else if (to.startsWith('*')) tensors.set(to.slice(1), { ...tensor, data: tensor.data.map((x) => x * 1.25) });
      else key = to;
    tensors.set(key, tensor);
  }
  writeFileSync(path, writeSafetensors(tensors));
  return folder;
}

const answer = (folder: string) => {
  const hooks = { signal: new AbortController().signal, onProgress: () => {} };
  const asked = { prompt: 'What is this?', images: [join(FIXTURES, 'images/wide.png')], raw: false, adapter: null };
  return jobs.run('predict', { model: { folder, digest: folder }, ...asked, maxNewTokens: 8 }, hooks);
};

it.each(cases.map((one) => [one.name, one] as const))('%s', async (_, one) => {
  const { tokens, logProbabilities } = await answer(make(one));
  expect(tokens).toEqual(one.tokens);
  expectNear(logProbabilities, one.logProbabilities, 1e-4, 'log-probabilities');
});

test('every generation setting of transformers is applied, refused, or without effect', () => {
  const known = Object.values(GENERATION_SETTINGS).flat();
  expect(generationSettings.filter((name) => !known.includes(name))).toEqual([]);
  expect(new Set(known).size).toBe(known.length);
});

const REFUSED = {
  num_beams: 4,
  guidance_scale: 1.5,
  penalty_alpha: 0.6,
  dola_layers: 'high',
  watermarking_config: { bias: 2 },
  stop_strings: ['.'],
  token_healing: true,
  constraints: [{}],
  force_words_ids: [[1]],
  num_beam_groups: 2,
  repetition_penalty: 0,
  suppress_tokens: [-1],
  bad_words_ids: [3],
};

it.each(Object.entries(REFUSED))('%s %j is refused by name', async (key, value) => {
  const folder = make({
    ...{ name: `refused ${key}`, base: 'llava-mha', files: { 'generation_config.json': { [key]: value } } },
    ...{ tokens: [], logProbabilities: [] },
  });
  await expect(answer(folder)).rejects.toMatchObject({
    name: 'BadModel',
    message: expect.stringMatching(new RegExp(`generation_config\\.json\\): ${key}\\b`)),
  });
});
