import { readFileSync } from 'node:fs';
import { crc32, deflateSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { decodeImage, imageSizes } from './image.ts';

const FOLDER = new URL('../test/fixtures/pictures/', import.meta.url);
const picture = (name: string) => new Uint8Array(readFileSync(new URL(name, FOLDER)));
const expected: Record<string, { width: number; height: number; rgb: string }> = JSON.parse(
  readFileSync(new URL('expected.json', FOLDER), 'utf8'),
);

describe('pictures that Pillow made, as Pillow decodes them', () => {
  const deepGrey = 'deep-grey.png';
  it.each(Object.keys(expected).filter((name) => name !== deepGrey))('%s', async (name) => {
    const { width, height, rgb } = expected[name]!;
    const found = await decodeImage(picture(name), name);
    expect([found.width, found.height]).toEqual([width, height]);
    expect(Buffer.from(found.data).toString('hex')).toBe(rgb);
    expect((await imageSizes(new Map([['a', picture(name)]]))).get('a')).toEqual({ width, height });
  });

  it('grey of 16 bits keeps its shades, which Pillow does not', async () => {
    const { data } = await decodeImage(picture(deepGrey), deepGrey);
    // Level i of the file is 2731·i modulo 65536.
    const upper = Array.from({ length: 24 }, (_, i) => ((2731 * i) % 65_536) >> 8);
    expect([...data]).toEqual(upper.flatMap((level) => [level, level, level]));
    expect(expected[deepGrey]!.rgb).toBe('000000'.padEnd(2 * 72, 'f'));
  });
});

describe('is refused by name', () => {
  const refused = (message: RegExp) => ({ name: 'BadDataset', message: expect.stringMatching(message) });

  it.each(['exif-6.jpg', 'cmyk.jpg', 'deep.png', 'animated.webp', 'alpha.webp', 'palette.png'])(
    'every cut of %s',
    async (name) => {
      const whole = picture(name);
      // A PNG is whole without its last chunk, a JPEG without its end marker.
      for (let length = 0; length < whole.length - 16; length += Math.ceil(whole.length / 40))
        await expect(decodeImage(whole.subarray(0, length), name), `${length} bytes`).rejects.toMatchObject(
          refused(new RegExp(`^${name}: .*(zero bytes|damaged|truncated|unknown kind)`)),
        );
    },
  );

  it('a picture of more pixels than the limit, before it is decoded', async () => {
    const huge = blankPng(60_000, 60_000);
    expect(huge.length).toBeLessThan(200);
    await expect(decodeImage(huge, 'huge.png')).rejects.toMatchObject(
      refused(/^huge\.png: 60000 × 60000 pixels, over/),
    );
    await expect(decodeImage(picture('grey.png'), 'a', { maxPixels: 23 })).rejects.toMatchObject(
      refused(/over the limit of 23/),
    );
    await expect(decodeImage(picture('grey.png'), 'a', { maxBytes: 10 })).rejects.toMatchObject(
      refused(/over the limit of 10/),
    );
  });

  it.each([
    ['GIF89a', /damaged/],
    ['<!DOCTYPE html>', /a web page/],
    ['II*\0', /damaged/],
    ['<svg xmlns="">', /a SVG file/],
    ['\0\0\0\x20ftypavif', /damaged/],
    ['RIFF____WAVE', /an unknown kind/],
  ])('%s', async (start, message) => {
    await expect(decodeImage(Buffer.from(start.padEnd(600, 'x'), 'latin1'), 'a.png')).rejects.toMatchObject(
      refused(message),
    );
  });
});

/** The beginning of a PNG that claims a size. */
function blankPng(width: number, height: number): Uint8Array {
  const chunk = (kind: string, data: Uint8Array) => {
    const body = Buffer.concat([Buffer.from(kind), data]);
    const ends = Buffer.alloc(8);
    ends.writeUInt32BE(data.length);
    ends.writeUInt32BE(crc32(body), 4);
    return Buffer.concat([ends.subarray(0, 4), body, ends.subarray(4)]);
  };
  const head = Buffer.from([0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]);
  head.writeUInt32BE(width);
  head.writeUInt32BE(height, 4);
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  return Buffer.concat([signature, chunk('IHDR', head), chunk('IDAT', deflateSync(Buffer.alloc(100)))]);
}
