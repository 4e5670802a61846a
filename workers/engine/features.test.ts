import { mkdtempSync, readdirSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type * as tf from '@tensorflow/tfjs';
import sharp from 'sharp';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { sha256 } from '../../core/digest.ts';
import { openProcessor, type Processor } from '../../datasets/processor/processor.ts';
import type { BaseModel } from '../../learning/model/model.ts';
import { loadModel } from '../../learning/model/registry.ts';
import { startTensors } from '../../learning/tensors/backend.ts';
import { Random } from '../../learning/training/random.ts';
import { reference } from '../../test/reference.ts';
import { FeatureFiles } from './feature-files.ts';
import { Features } from './features.ts';

let model: BaseModel;
let processor: Processor;
const images = new Map<string, Uint8Array>();
let names: string[];

beforeAll(async () => {
  await startTensors('tensorflow', { threads: 2 });
  const folder = `${reference('llava-mha').folder}/model`;
  [model, processor] = await Promise.all([loadModel(folder), openProcessor(folder)]);
  const random = new Random(1);
  for (let i = 0; i < 40; i++) {
    const pixels = new Uint8Array(28 * 28 * 3).map(() => random.below(256));
    const bytes = await sharp(pixels, { raw: { width: 28, height: 28, channels: 3 } })
      .png()
      .toBuffer();
    images.set(sha256(bytes), bytes);
  }
  names = [...images.keys()];
});
afterAll(() => model.dispose());

const values = (features: tf.Tensor3D) => {
  const read = features.dataSync().slice();
  features.dispose();
  return read;
};

it('gives features whose bits do not depend on what was computed before', async () => {
  const batch = [names[3]!, names[39]!, names[3]!, names[20]!];
  const fresh = values(await new Features(model, processor, null).ofBatch(batch, images));
  const warm = new Features(model, processor, null);
  const signal = new AbortController().signal;
  let groups = 0;
  const split = await warm.ofSplits([images], () => groups++, signal);
  expect(groups).toBe(2);
  await warm.ofBatch([names[20]!], images);
  expect(values(await warm.ofBatch(batch, images))).toEqual(fresh);
  const again = await new Features(model, processor, null).ofSplits([images], () => {}, signal);
  expect(values(split(batch))).toEqual(values(again(batch)));
  // Whatever shares the pass, it is the same picture.
  for (const [i, value] of values(split(batch)).entries()) expect(value).toBeCloseTo(fresh[i]!, 4);
});

it('puts the same image twice where it is asked for twice, and refuses one that is not there', async () => {
  const features = new Features(model, processor, null);
  const found = await features.ofBatch([names[1]!, names[1]!], images);
  expect(found.shape.slice(0, 2)).toEqual([2, 16]);
  const read = values(found);
  expect(read.slice(0, read.length / 2)).toEqual(read.slice(read.length / 2));
  await expect(features.ofBatch(['missing'], images)).rejects.toMatchObject({ name: 'IntegrityError' });
});

describe('on disk', () => {
  let root: string;
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'lilora-features-'));
  });
  afterEach(() => rmSync(root, { recursive: true }));

  const kept = () =>
    readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((name) => /\.safetensors$/.test(name));
  const open = (limit = 1e9) => new Features(model, processor, new FeatureFiles(join(root, 'model'), limit));
  const split = async (features: Features) =>
    values((await features.ofSplits([images], () => {}, new AbortController().signal))(names));

  it('are the same bits for another process, which computes nothing', async () => {
    const fresh = await split(open());
    expect(kept()).toHaveLength(2);
    const blind = { ...model, encodeImages: () => expect.fail('The tower was used.') } as unknown as BaseModel;
    const other = new Features(blind, processor, new FeatureFiles(join(root, 'model'), 1e9));
    expect(await split(other)).toEqual(fresh);
  });

  it('are computed anew where a file is damaged', async () => {
    const fresh = await split(open());
    for (const name of kept()) writeFileSync(join(root, name), 'x'.repeat(100));
    expect(await split(open())).toEqual(fresh);
    expect(kept().map((name) => statSync(join(root, name)).size)).not.toContain(100);
  });

  it('stand in for a memory that does not hold them', async () => {
    const signal = new AbortController().signal;
    const fresh = await split(open());
    const one = fresh.byteLength / names.length;
    const tight = new Features(model, processor, new FeatureFiles(join(root, 'model'), 1e9), 5 * one);
    const source = await tight.ofSplits([images], () => {}, signal);
    expect(tight.bytes).toBe(5 * one);
    const batch = [names[0]!, names[39]!, names[20]!];
    await source.ready!(batch);
    const wanted = [0, 39, 20].flatMap((i) => [...fresh.subarray((i * one) / 4, ((i + 1) * one) / 4)]);
    expect([...values(source(batch))]).toEqual(wanted);
    expect(tight.bytes).toBe(5 * one);
    // Without a file they are computed again, as they were.
    const said = vi.spyOn(process.stderr, 'write').mockReturnValue(true);
    for (const name of kept()) rmSync(join(root, name));
    await source.ready!(names);
    await source.ready!(names);
    expect(said).not.toHaveBeenCalled();
    for (const name of kept()) rmSync(join(root, name));
    await source.ready!(names);
    expect(said.mock.calls).toEqual([[expect.stringMatching(/computed again: raise LILORA_FEATURES_GIB/)]]);
    said.mockRestore();
    expect(values(source(names))).toEqual(fresh);
    expect(tight.bytes).toBe(5 * one);
  });

  it('stay within the limit, and the ones used longest ago go', async () => {
    await open().ofBatch(names.slice(0, 4), images);
    const [first] = kept();
    const { size } = statSync(join(root, first!));
    utimesSync(join(root, first!), 1, 1);
    for (const from of [4, 8, 12]) await open(2.5 * size).ofBatch(names.slice(from, from + 4), images);
    expect(kept()).toHaveLength(2);
    expect(kept()).not.toContain(first);
    rmSync(join(root, 'model'), { recursive: true });
    await open(size - 1).ofBatch(names.slice(0, 4), images);
    expect(kept()).toEqual([]);
  });
});
