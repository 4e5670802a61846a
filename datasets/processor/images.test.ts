import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { sha256 } from '../../core/digest.ts';
import { readSafetensors } from '../../core/safetensors.ts';
import { decodeImage, type RgbImage } from '../image.ts';
import type { FamilyFiles } from './family.ts';
import { llavaImages, parseLlavaSettings, toPixels } from './llava.ts';
import type { Picture } from './picture.ts';
import { parseQwen2vlSettings, toPicture } from './qwen2vl.ts';
import { FILTERS, resize } from './resample.ts';
import { parseSmolvlmSettings, toTiles } from './smolvlm.ts';

const FIXTURES = new URL('../../test/fixtures/', import.meta.url);
const json = async (path: string) => JSON.parse(await readFile(new URL(path, FIXTURES), 'utf8'));
const image = async (file: string) => decodeImage(await readFile(new URL(`images/${file}`, FIXTURES)), file);

test('PNG pictures decode to the RGB bytes that Pillow gives: grey, alpha and colour', async () => {
  for (const [file, expected] of Object.entries<Record<string, unknown>>(await json('images/images.json'))) {
    const { width, height, data } = await image(file);
    expect({ file, width, height }).toEqual({ file, width: expected['width'], height: expected['height'] });
    const first = Array.from({ length: 6 }, (_, i) => [...data.subarray(i * 3, i * 3 + 3)]);
    expect(first).toEqual(expected['rgb_first_row_first_6']);
    if (expected['rgb_sha256']) expect(sha256(data), file).toBe(expected['rgb_sha256']);
  }
});

const llava = (value: unknown, file: string) => {
  const settings = parseLlavaSettings(value, file);
  return (picture: RgbImage) => toPixels(picture, settings);
};
const qwen2vl = (value: unknown, file: string) => {
  const settings = parseQwen2vlSettings(value, file);
  return (picture: RgbImage) => toPicture(picture, settings);
};
const smolvlm = (value: unknown, file: string) => {
  const settings = parseSmolvlmSettings(value, file);
  return (picture: RgbImage) => toTiles(picture, settings);
};

test.each([
  ['llava-mha', llava],
  ['llava-gqa', llava],
  ['smolvlm', smolvlm],
  ['qwen2vl', qwen2vl],
] as const)("%s: pixel values of every variant equal transformers' PIL back end", async (model, processor) => {
  const { images } = await json(`${model}/expected.json`);
  const { tensors } = readSafetensors(await readFile(new URL(`${model}/images.safetensors`, FIXTURES)), model);
  expect(images.cases.length).toBeGreaterThanOrEqual(10);
  for (const { variant, file, shape, sample_index, sample, mean } of images.cases) {
    // Here transformers was given the file with its alpha and laid it on white; pictures that people load are
    // converted first, as in the `train` case below.
    if (file === 'alpha.png') continue;
    const picture = processor(images.variants[variant], variant)(await image(file));
    const data = model === 'qwen2vl' ? asPatches(picture, { patch: 4, merge: 2, frames: 2 }) : picture.data;
    const sizes = model === 'qwen2vl' ? [data.length / 96, 96] : [picture.count, 3, picture.height, picture.width];
    expect(sizes).toEqual(model === 'qwen2vl' ? shape : shape.slice(-4));
    const full = tensors.get(`${variant}/${file}`);
    if (full) {
      // One unit in the last place of a float32 near 2 is 2.4e-7; one grey level is 1.4e-2.
      expect(largestDifference(data, full.data as Float32Array), `${variant} ${file}`).toBeLessThanOrEqual(2.4e-7);
    }
    for (const [i, index] of sample_index.entries()) expect(data[index]).toBeCloseTo(sample[i], 6);
    expect(data.reduce((sum, x) => sum + x, 0) / data.length).toBeCloseTo(mean, 6);
  }
});

test('a picture with alpha is what the model was fed: alpha dropped, not blended', async () => {
  const { images } = await json('llava-mha/expected.json');
  const { tensors } = readSafetensors(await readFile(new URL('llava-mha/inputs.safetensors', FIXTURES)), 'inputs');
  const { data } = toPixels(await image('alpha.png'), parseLlavaSettings(images.variants.folder, 'folder'));
  const fed = (tensors.get('train/pixel_values')!.data as Float32Array).subarray(0, data.length);
  expect(largestDifference(data, fed)).toBeLessThanOrEqual(2.4e-7);
});

/** Cuts a picture as Qwen2-VL's processor does: squares of patches row by row, channel · frame · row · column in each. */
function asPatches(
  { height, width, data }: Picture,
  cut: { patch: number; merge: number; frames: number },
): Float32Array {
  const { patch, merge, frames } = cut;
  const values: number[] = [];
  const range = (end: number, step = 1) => Array.from({ length: Math.ceil(end / step) }, (_, i) => i * step);
  for (const top of range(height, patch * merge))
    for (const left of range(width, patch * merge))
      for (const [y0, x0] of range(merge).flatMap((y) => range(merge).map((x) => [top + y * patch, left + x * patch])))
        for (const channel of range(3))
          for (const _ of range(frames))
            for (const y of range(patch))
              for (const x of range(patch)) values.push(data[(channel * height + y0! + y) * width + x0! + x]!);
  return Float32Array.from(values);
}

function largestDifference(a: Float32Array, b: Float32Array): number {
  expect(a.length).toBe(b.length);
  return a.reduce((worst, x, i) => Math.max(worst, Math.abs(x - b[i]!)), 0);
}

test('resizing keeps a flat picture flat and the same size unchanged, with every filter', () => {
  const flat = { width: 7, height: 5, data: new Uint8Array(105).fill(200) };
  for (const filter of Object.values(FILTERS)) {
    expect(resize(flat, 7, 5, filter)).toBe(flat);
    for (const [width, height] of [
      [3, 11],
      [20, 2],
      [1, 1],
    ] as const) {
      const { data } = resize(flat, width, height, filter);
      expect(data.length).toBe(width * height * 3);
      expect(data.every((level) => level === 200)).toBe(true);
    }
  }
});

test('a crop larger than the picture is padded with black, as transformers pads it', () => {
  const settings = parseLlavaSettings(
    { do_resize: false, crop_size: { height: 4, width: 4 }, do_rescale: false, do_normalize: false },
    'test',
  );
  const { data } = toPixels({ width: 3, height: 5, data: new Uint8Array(45).fill(9) }, settings);
  expect([...data.subarray(0, 16)]).toEqual([0, 9, 9, 9, 0, 9, 9, 9, 0, 9, 9, 9, 0, 9, 9, 9]);
});

/** The short edge of LLaVA-1.5, enlarged and cropped to a square; levels stay what they are. */
const square = { size: { shortest_edge: 336 }, crop_size: { height: 336, width: 336 } };
const thin = (width: number, height: number) => ({
  width,
  height,
  data: Uint8Array.from({ length: width * height * 3 }, (_, i) => (i * 29 + ((i * i) % 17)) % 256),
});

// Pillow 13: `im.resize(size, BICUBIC).crop(…).tobytes()`, its SHA-256.
test.each([
  [500, 1, 'f27b55a93caad6d98478e2f45ef06964ec510a6f8ae3928c7ea3139e42784f3c'],
  [1, 500, 'a656fd036e33670aa26167b7641f337ae1e4de9cc0588e324b71a0d56a2411cc'],
  [701, 3, 'f6b10ff6be9d2c70bbed3deda1c7dfe3b47e44cbc1b0cf5a58ab2515617adfc2'],
  [40, 3, '980e6ffa9605be04e7492f784f55789b89cf5ffb63c0c8710b741d7a3f31a06c'],
  [335, 336, 'aa2e2a255309aa8256630b4c73355f79b8d55b431c72c1cbc4abaa4be3fb9068'],
])('of a thin picture of %i × %i the crop is as Pillow resizes the whole', (width, height, digest) => {
  const settings = parseLlavaSettings({ ...square, do_rescale: false, do_normalize: false }, 'test');
  const { data } = toPixels(thin(width, height), settings);
  const levels = Uint8Array.from({ length: 336 * 336 * 3 }, (_, i) => data[(i % 3) * 336 * 336 + Math.floor(i / 3)]!);
  expect(sha256(levels)).toBe(digest);
});

test('a picture of 20000 × 1 is enlarged where the crop shows it: the whole would be 6.8 GB', () => {
  const settings = parseLlavaSettings(square, 'test');
  for (const [width, height] of [
    [20_000, 1],
    [1, 20_000],
    [500_000, 10],
  ] as const)
    expect(toPixels(thin(width, height), settings)).toMatchObject({ width: 336, height: 336 });
});

test('a thin picture that would be padded to a square is refused by the limit', () => {
  const family = llavaImages({
    config: { vision_config: { image_size: 336, patch_size: 14 } },
    settings: { value: { ...square, do_pad: true, image_processor_type: 'LlavaImageProcessor' }, file: 'p.json' },
    imageText: '<image>',
  } as unknown as FamilyFiles);
  expect(family.expand({ width: 2000, height: 20 })).toMatchObject({ tokens: 576 });
  const refusal =
    /A picture of 20000 × 1 pixels, which this model pads to a square, would have over 200000000\. Crop it/;
  expect(() => family.expand({ width: 20_000, height: 1 })).toThrow(refusal);
  expect(() => family.pixels(thin(20_000, 1))).toThrow(refusal);
});

test('unknown image processors, filters and broken settings are refused by name', () => {
  const refuse = (value: unknown) => () => parseLlavaSettings(value, 'preprocessor_config.json');
  expect(refuse({ image_processor_type: 'SiglipImageProcessor' })).toThrow(/no support for SiglipImageProcessor/);
  expect(() => parseSmolvlmSettings({ image_processor_type: 'CLIPImageProcessor' }, 'x')).toThrow(
    /no support for CLIPImageProcessor; this model family has Idefics3ImageProcessor, SmolVLMImageProcessor/,
  );
  expect(refuse({ resample: 0 })).toThrow(/no support for resample 0; use 1 \(lanczos\)/);
  expect(refuse({ size: { shortest_edge: -3 } })).toThrow(/preprocessor_config.json: size/);
  expect(refuse({ image_std: [1, 0, 1] })).toThrow(/image_std holds 0/);
  expect(refuse({ image_processor_type: 'CLIPImageProcessor', do_pad: true })).toThrow(/do_pad belongs to/);
});
