import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readTensorMap, writeSafetensors } from '../core/safetensors.ts';
import type { BaseModel } from '../learning/model/model.ts';
import { loadModel } from '../learning/model/registry.ts';
import { startTensors } from '../learning/tensors/backend.ts';
import { PEFT_FILES } from '../store/peft.ts';
import { openAdapter } from '../workers/engine/adapter.ts';
import { Jobs } from '../workers/engine/jobs.ts';
import { expectNear, lastTokens, NEAR, reference } from './reference.ts';

/* Adapters under the names of many writers: make-adapters.py had PEFT and transformers compute the same. */

const place = mkdtempSync(join(tmpdir(), 'lilora-adapters-'));
beforeAll(() => startTensors('tensorflow'));
afterAll(() => rmSync(place, { recursive: true, force: true }));

describe.each(['llava-mha', 'smolvlm', 'qwen2vl'])('%s', (name) => {
  const ref = reference(name);
  const home = join(ref.folder, 'adapters');
  const names: Record<string, Record<string, string>> = JSON.parse(readFileSync(join(home, 'names.json'), 'utf8'));
  const expected = readTensorMap(readFileSync(join(home, 'expected.safetensors')), 'expected');
  const tensors = readTensorMap(readFileSync(join(home, 'adapter', PEFT_FILES.weights)), 'adapter');
  let model: BaseModel;
  beforeAll(async () => {
    model = await loadModel(join(ref.folder, 'model'));
  });
  afterAll(() => model.dispose());

  /** Logits after the last token, with pictures as the adapter sees them. */
  async function logits(folder: string, at: 'one' | 'text'): Promise<Float32Array> {
    const adapter = await openAdapter({ folder }, join(ref.folder, 'model'));
    const found = tf.tidy(() => {
      const pictures = ref.pixels(at).map((picture) => model.encodeImages(picture, adapter.tower));
      const features = pictures.length > 0 ? tf.concat(pictures) : null;
      return model.logits(ref.batch(at), features, adapter.adapt, lastTokens(ref.batch(at))).dataSync();
    });
    adapter.dispose();
    return found as Float32Array;
  }

  /** The same adapter under the keys of another writer. */
  function written(kind: string): string {
    const folder = mkdtempSync(join(place, 'as-'));
    const own = Object.entries(names[kind]!).map(([theirs, ours]) => [theirs, tensors.get(ours)!] as const);
    expect(own).toHaveLength(tensors.size);
    writeFileSync(join(folder, PEFT_FILES.weights), writeSafetensors(new Map(own)));
    writeFileSync(join(folder, PEFT_FILES.config), readFileSync(join(home, 'adapter', PEFT_FILES.config)));
    return folder;
  }

  it('computes what PEFT computes with layers of tower, projector and decoder', async () => {
    expectNear(await logits(join(home, 'adapter'), 'one'), expected.get('adapter')!.data, NEAR.logits, name);
  });

  it.each(Object.keys(names))('computes the same under the names of %s', async (kind) => {
    const by = expected.get(kind) ?? expected.get('adapter')!;
    expectNear(await logits(written(kind), 'one'), by.data, NEAR.logits, kind);
  });

  it('computes what PEFT computes with a head, whose own weights stand beside it', async () => {
    const kept = readTensorMap(readFileSync(join(home, 'with-head', PEFT_FILES.weights)), 'with-head');
    expect([...kept.keys()].some((key) => key.endsWith('lm_head.base_layer.weight'))).toBe(true);
    expectNear(await logits(join(home, 'with-head'), 'one'), expected.get('with-head')!.data, NEAR.logits, name);
  });

  it('refuses a head whose weights beside it are others', async () => {
    const kept = readTensorMap(readFileSync(join(home, 'with-head', PEFT_FILES.weights)), 'with-head');
    for (const [key, { data }] of kept) if (key.endsWith('base_layer.weight')) data[0]! += 1;
    const folder = mkdtempSync(join(place, 'head-'));
    writeFileSync(join(folder, PEFT_FILES.weights), writeSafetensors(kept));
    writeFileSync(join(folder, PEFT_FILES.config), readFileSync(join(home, 'with-head', PEFT_FILES.config)));
    await expect(logits(folder, 'one')).rejects.toThrow(/lm_head\.base_layer\.weight .* is a weight of the model/);
  });

  it('computes what the language model alone computes with its adapter', async () => {
    const by = expected.get('language-alone')!;
    expectNear(await logits(join(home, 'language-alone'), 'text'), by.data, NEAR.logits, name);
  });

  it('answers what transformers generates with them, and with nothing that an adapted tower saw', async () => {
    const jobs = await Jobs.open();
    const asked = {
      model: { folder: join(ref.folder, 'model'), digest: name },
      prompt: 'What is this?',
      images: [join(ref.folder, '../images/wide.png')],
      raw: false,
      maxNewTokens: 8,
    };
    const hooks = { signal: new AbortController().signal, onProgress: () => {} };
    const answer = (kind: string | null) =>
      jobs.run('predict', { ...asked, adapter: kind === null ? null : { folder: join(home, kind) } }, hooks);
    const before = await answer(null);
    const generated = JSON.parse(readFileSync(join(home, 'generated.json'), 'utf8'));
    for (const kind of ['adapter', 'with-head']) {
      const { tokens, logProbabilities } = await answer(kind);
      expect(tokens, kind).toEqual(generated[kind].tokens);
      expectNear(logProbabilities, generated[kind].logProbabilities, NEAR.logits, kind);
    }
    expect(await answer(null)).toEqual(before);
  });
});
