import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { decodeImage, imageSizes } from '../image.ts';

const FOLDER = new URL('../../test/fixtures/more-pictures/', import.meta.url);
const picture = (name: string) => new Uint8Array(readFileSync(new URL(name, FOLDER)));
const expected: Record<string, { width: number; height: number; rgb: string }> = JSON.parse(
  readFileSync(new URL('expected.json', FOLDER), 'utf8'),
);
const REFUSED: Record<string, RegExp> = {
  'lab.tiff': /a TIFF file in colours other than grey, RGB, palette or CMYK/,
  'ycbcr.tiff': /a TIFF file in colours other than/,
  'float.tiff': /numbers other than whole ones/,
  'animated.avif': /an AVIF sequence/,
};
const DEEP = 'deep-grey.tiff';
const names = Object.keys(expected).filter((name) => !(name in REFUSED) && name !== DEEP);
const refusal = (message: RegExp) => ({ name: 'BadDataset', message: expect.stringMatching(message) });

describe('as Pillow decodes them, upright', () => {
  it.each(names.filter((name) => !name.endsWith('.avif')))('%s', async (name) => {
    const { width, height, rgb } = expected[name]!;
    const found = await decodeImage(picture(name), name);
    expect([found.width, found.height]).toEqual([width, height]);
    expect(Buffer.from(found.data).toString('hex')).toBe(rgb);
    expect((await imageSizes(new Map([['a', picture(name)]]))).get('a')).toEqual({ width, height });
  });

  it.each(names.filter((name) => name.endsWith('.avif')))('%s, but for how colours are made finer', async (name) => {
    const { width, height, rgb } = expected[name]!;
    const { data, ...size } = await decodeImage(picture(name), name);
    expect(size).toEqual({ width, height });
    expect((await imageSizes(new Map([['a', picture(name)]]))).get('a')).toEqual({ width, height });
    const pillow = Buffer.from(rgb, 'hex');
    const far = [...data].map((level, i) => Math.abs(level - pillow[i]!));
    // Colours of every pixel are as Pillow's but for rounding; coarser ones differ where neighbours do.
    const whole = ['smooth-444.avif', 'lossless.avif', 'grey.avif', 'exif-6.avif'].includes(name);
    expect(Math.max(...far)).toBeLessThanOrEqual(whole ? 1 : 40);
    expect(far.reduce((sum, each) => sum + each) / far.length).toBeLessThan(whole ? 0.5 : 10);
  });

  it('grey of 16 bits keeps its shades, which Pillow does not', async () => {
    const upper = Array.from({ length: 24 }, (_, i) => ((2 * i + 1) * 37) % 256);
    expect([...(await decodeImage(picture(DEEP), DEEP)).data]).toEqual(upper.flatMap((level) => [level, level, level]));
    expect(expected[DEEP]!.rgb).toMatch(/^[0f]*$/);
  });
});

describe('is refused by name', () => {
  it.each(Object.entries(REFUSED))('%s', async (name, message) => {
    await expect(decodeImage(picture(name), name)).rejects.toMatchObject(refusal(message));
  });

  it.each(['palette.gif', 'interlaced.gif', 'rgb-tiff_lzw.tiff', 'palette.tiff', 'smooth-444.avif', 'palette.bmp'])(
    'every cut of %s',
    async (name) => {
      const whole = picture(name);
      // A GIF is whole without its last byte.
      for (let length = 0; length < whole.length - 1; length += Math.ceil(whole.length / 40))
        await expect(decodeImage(whole.subarray(0, length), name), `${length} bytes`).rejects.toMatchObject(
          refusal(new RegExp(`^${name}: .*(zero bytes|zeros only|damaged|truncated|unknown kind)`)),
        );
    },
  );

  it.each([
    ['\0\0\0\x1cftypheic\0\0\0\0mif1heicmiaf', /HEIC picture.*HEVC.*Convert it to JPEG/],
    ['\0\0\0\x18ftypmif1\0\0\0\0mif1heic', /HEIC/],
    ['\0\0\0\x18ftypisom\0\0\0\0isomiso2', /a film/],
    ['version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n', /Git LFS pointer.*git lfs pull/],
    ['{"error": "not found"}', /JSON text, not an image: the download failed/],
    ['\0'.repeat(512), /holds zeros only/],
    ['\n<html><body>Not found', /a web page/],
    ['<?xml version="1.0"?><svg/>', /a SVG file/],
    ['\0\0\0\x0cjP  \r\n', /a JPEG 2000 file/],
    [`BM${'\0'.repeat(12)}\x28\0\0\0\x05\0\0\0\x05\0\0\0\x01\0\x08\0\x01\0\0\0${'\0'.repeat(40)}`, /a compressed BMP/],
    [`BM${'\0'.repeat(12)}\x28\0\0\0\x05\0\0\0\x05\0\0\0\x01\0\x10\0${'\0'.repeat(40)}`, /a BMP file of 16 bits/],
    [`BM${'\0'.repeat(12)}\x28\0\0\0\0\0\x01\0\0\0\x01\0\x01\0\x18\0${'\0'.repeat(40)}`, /65536 × 65536 pixels, over/],
  ])('%j', async (start, message) => {
    await expect(decodeImage(Buffer.from(start, 'latin1'), 'a.png')).rejects.toMatchObject(refusal(message));
  });
});
