import { mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { LiloraError } from './errors.ts';
import { type RawTensor, readSafetensors, readTensorMap, SafetensorsFile, writeSafetensors } from './safetensors.ts';

const fixture = (path: string) => readFile(new URL(`../test/fixtures/${path}`, import.meta.url));

/** A file from a header (text, or a value to print) and a number of data bytes. */
function file(header: unknown, dataBytes: number, claimedLength?: number | bigint): Uint8Array {
  const json = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header));
  const out = new Uint8Array(8 + json.length + dataBytes);
  new DataView(out.buffer).setBigUint64(0, BigInt(claimedLength ?? json.length), true);
  out.set(json, 8);
  return out;
}

const f32 = (shape: unknown, data_offsets: unknown, more = {}) => ({ dtype: 'F32', shape, data_offsets, ...more });

const HOSTILE: [string, Uint8Array, RegExp][] = [
  ['an empty file', new Uint8Array(0), /0 bytes are too few/],
  ['a file of 7 bytes', new Uint8Array(7), /7 bytes are too few/],
  ['a header longer than the file', file({}, 0, 3), /3 bytes reaches beyond/],
  ['a header over the limit', file({}, 0, 100_000_001), /100000001 bytes, over 100000000/],
  ['a header length of 2^64 - 1', file({}, 0, 2n ** 64n - 1n), /over 100000000/],
  ['no header at all', file('', 0), /does not start with/],
  ['a header that starts with a space', file(' {}', 0), /does not start with/],
  ['a header that starts with a byte order mark', file('\ufeff{}', 0), /does not start with/],
  ['a header that is a list', file('[]', 0), /does not start with/],
  ['a header that is cut off', file('{"a":', 0), /\(header\):1:6/],
  ['a header that is not UTF-8', file('{"\xff":1}', 0).map((b) => (b === 0xc3 ? 0xff : b)), /not valid UTF-8/],
  ['a zip file behind the header', file('{}PK\x03\x04', 0), /text after the end/],
  [
    'a tensor named twice',
    file(
      '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}',
      4,
    ),
    /"a" stands twice/,
  ],
  [
    'a field named twice',
    file('{"a":{"dtype":"F32","shape":[1],"shape":[1],"data_offsets":[0,4]}}', 4),
    /"shape" stands twice/,
  ],
  [
    'a tensor named __proto__',
    file('{"__proto__":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', 4),
    /not allowed/,
  ],
  ['deep nesting', file(`{"a":${'['.repeat(1000)}${']'.repeat(1000)}}`, 0), /nested deeper/],
  ['data that is cut off', file({ a: f32([2], [0, 8]) }, 7), /cut off/],
  ['bytes after the last tensor', file({ a: f32([1], [0, 4]) }, 5), /1 bytes at its end/],
  ['data but no tensor', file({}, 4), /4 bytes at its end/],
  ['a hole between tensors', file({ a: f32([1], [0, 4]), b: f32([1], [8, 12]) }, 12), /4 bytes before tensor "b"/],
  ['a hole at the start', file({ a: f32([1], [4, 8]) }, 8), /4 bytes before tensor "a"/],
  ['overlapping tensors', file({ a: f32([2], [0, 8]), b: f32([2], [4, 12]) }, 12), /"b" overlaps/],
  ['two tensors in one place', file({ a: f32([1], [0, 4]), b: f32([1], [0, 4]) }, 4), /overlaps/],
  ['an empty tensor inside another', file({ a: f32([2], [0, 8]), b: f32([0], [4, 4]) }, 8), /"b" overlaps/],
  ['an end before the begin', file({ a: f32([1], [4, 0]) }, 4), /ends before it begins/],
  ['a negative offset', file({ a: f32([1], [-4, 0]) }, 4), /broken data_offsets/],
  ['a fractional offset', file({ a: f32([1], [0, 4.5]) }, 5), /broken data_offsets/],
  ['three offsets', file({ a: f32([1], [0, 4, 8]) }, 4), /broken data_offsets/],
  [
    'offsets beyond 2^53',
    file('{"a":{"dtype":"F32","shape":[1],"data_offsets":[9007199254740993,9007199254740997]}}', 4),
    /broken data_offsets/,
  ],
  ['a shape that needs more bytes', file({ a: f32([2], [0, 4]) }, 4), /needs 8 bytes but has 4/],
  ['a shape that needs fewer bytes', file({ a: f32([], [0, 8]) }, 8), /needs 4 bytes but has 8/],
  ['a shape product over 2^53', file({ a: f32([2 ** 27, 2 ** 27], [0, 4]) }, 4), /too large/],
  ['a shape product over 2^64 that wraps to 4', file({ a: f32([2 ** 32, 2 ** 32, 1], [0, 4]) }, 4), /too large/],
  ['a shape product beyond every number', file({ a: f32(new Array(100).fill(2 ** 52), [0, 4]) }, 4), /too large/],
  ['a negative dimension', file({ a: f32([-1, -1], [0, 4]) }, 4), /not a list of whole numbers/],
  ['a dimension of minus zero', file('{"a":{"dtype":"F32","shape":[-0],"data_offsets":[0,0]}}', 0), /not a list/],
  ['a fractional dimension', file({ a: f32([0.5, 2], [0, 4]) }, 4), /not a list of whole numbers/],
  ['a dimension as text', file({ a: f32(['1'], [0, 4]) }, 4), /not a list of whole numbers/],
  ['no shape', file({ a: { dtype: 'F32', data_offsets: [0, 4] } }, 4), /not a list of whole numbers/],
  ['no element type', file({ a: { shape: [1], data_offsets: [0, 4] } }, 4), /element type undefined/],
  ['an unknown element type', file({ a: f32([1], [0, 1], { dtype: 'F8_E9' }) }, 1), /element type "F8_E9"; known/],
  [
    'an element type of every object',
    file({ a: f32([1], [0, 4], { dtype: 'toString' }) }, 4),
    /element type "toString"/,
  ],
  ['an element type in lower case', file({ a: f32([1], [0, 4], { dtype: 'f32' }) }, 4), /element type "f32"/],
  ['an unknown field', file({ a: f32([1], [0, 4], { pickle: 'x' }) }, 4), /unknown field "pickle"/],
  ['a tensor that is no object', file({ a: 5 }, 0), /is not an object/],
  ['a tensor that is null', file({ a: null }, 0), /is not an object/],
  ['metadata that is a list', file({ __metadata__: [] }, 0), /__metadata__ is not an object/],
  ['metadata that is not text', file({ __metadata__: { r: 4 } }, 0), /__metadata__ "r" is not a string/],
  [
    'a BOOL of 2',
    file({ a: f32([1], [0, 1], { dtype: 'BOOL' }) }, 1).map((b, i, all) => (i === all.length - 1 ? 2 : b)),
    /other than 0 and 1/,
  ],
];

describe('hostile and damaged files are refused by name', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'safetensors-'));
  });
  afterAll(() => rm(folder, { recursive: true }));

  test.each(HOSTILE)('%s', async (_, bytes, message) => {
    expect(() => readSafetensors(bytes, 'evil.safetensors')).toThrow(message);
    try {
      readSafetensors(bytes, 'evil.safetensors');
    } catch (error) {
      expect(error).toMatchObject({ name: 'IntegrityError', message: expect.stringContaining('evil.safetensors') });
    }
    const path = join(folder, 'evil.safetensors');
    await writeFile(path, bytes);
    const readAll = async () => {
      const open = await SafetensorsFile.open(path);
      try {
        for (const name of open.names()) await open.readRaw(name);
      } finally {
        await open.close();
      }
    };
    await expect(readAll()).rejects.toMatchObject({ name: 'IntegrityError', message: expect.stringMatching(message) });
  });

  test('every cut of a real file', async () => {
    const whole = await fixture('peft-llava-mha/adapter/adapter_model.safetensors');
    for (let length = 0; length < whole.length; length += 37) {
      expect(() => readSafetensors(whole.subarray(0, length), 'x')).toThrow(LiloraError);
    }
  });

  test('any change of a header is refused or gives tensors that fill the file exactly', async () => {
    const whole = await fixture('peft-llava-mha/adapter/adapter_model.safetensors');
    const headerEnd = 8 + Number(new DataView(whole.buffer, whole.byteOffset).getBigUint64(0, true));
    const changes = fc.array(fc.tuple(fc.nat(headerEnd - 1), fc.nat(255)), { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(changes, (edits) => {
        const bytes = Uint8Array.from(whole);
        for (const [at, value] of edits) bytes[at] = value;
        let total = 0;
        try {
          for (const { data } of readSafetensors(bytes, 'x').tensors.values()) total += data.byteLength;
        } catch (error) {
          if (!(error instanceof LiloraError)) throw error;
          return;
        }
        const length = Number(new DataView(bytes.buffer).getBigUint64(0, true));
        expect(total).toBe(bytes.length - 8 - length);
      }),
      { numRuns: 1500 },
    );
  });

  test('noise', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(60), (noise, length) => {
        const bytes = Uint8Array.from([length, 0, 0, 0, 0, 0, 0, 0, 0x7b, ...noise]);
        try {
          readSafetensors(bytes, 'x');
        } catch (error) {
          expect(error).toBeInstanceOf(LiloraError);
        }
      }),
      { numRuns: 1500 },
    );
  });

  test('a header of 100,000 tensors is read in seconds', () => {
    const many = Object.fromEntries(Array.from({ length: 100_000 }, (_, i) => [`t${i}`, f32([1], [4 * i, 4 * i + 4])]));
    const begin = performance.now();
    expect(readSafetensors(file(many, 400_000), 'x').tensors.size).toBe(100_000);
    expect(performance.now() - begin).toBeLessThan(10_000);
  });

  test('a file that shrinks while it is open', async () => {
    const path = join(folder, 'shrinks');
    await writeFile(path, file({ a: f32([100], [0, 400]) }, 400));
    const open = await SafetensorsFile.open(path);
    await truncate(path, 100);
    await expect(open.readFloat('a')).rejects.toMatchObject({
      name: 'IntegrityError',
      message: expect.stringMatching(/became shorter/),
    });
    await open.close();
    await expect(SafetensorsFile.open(join(folder, 'none'))).rejects.toMatchObject({ name: 'NotFound' });
  });
});

describe('reading and writing', () => {
  test('files of the reference implementation come out byte for byte when written again', async () => {
    const shards = [1, 2, 3].map((n) => `safetensors-shards/model-0000${n}-of-00003.safetensors`);
    for (const path of ['peft-qwen2vl/adapter/adapter_model.safetensors', ...shards]) {
      const bytes = await fixture(path);
      const { tensors, metadata } = readSafetensors(bytes, path);
      expect(metadata).toEqual({ format: 'pt' });
      expect(Buffer.from(writeSafetensors(tensors, metadata)).equals(bytes)).toBe(true);
    }
  });

  const TYPES: RawTensor[] = [
    { dtype: 'F32', shape: [2], data: Float32Array.of(1.5, -2) },
    { dtype: 'F64', shape: [1, 1], data: Float64Array.of(Math.PI) },
    { dtype: 'I64', shape: [], data: BigInt64Array.of(-(2n ** 63n)) },
    { dtype: 'I32', shape: [1], data: Int32Array.of(-7) },
    { dtype: 'I16', shape: [3], data: Int16Array.of(1, 2, -3) },
    { dtype: 'I8', shape: [1], data: Int8Array.of(-1) },
    { dtype: 'U8', shape: [1], data: Uint8Array.of(255) },
    { dtype: 'BOOL', shape: [3], data: Uint8Array.of(1, 0, 1) },
    { dtype: 'F16', shape: [1], data: Uint16Array.of(0x3c00) },
    { dtype: 'BF16', shape: [0, 5], data: new Uint16Array(0) },
  ];

  test('every element type goes there and back, whatever the order it came in', () => {
    const tensors = new Map(TYPES.map((tensor) => [`t.${tensor.dtype}`, tensor]));
    const bytes = writeSafetensors(tensors, { b: '2', a: 'ü' });
    expect(writeSafetensors(new Map([...tensors].reverse()), { a: 'ü', b: '2' })).toEqual(bytes);
    const read = readSafetensors(bytes, 'x');
    expect(new Map([...read.tensors].sort())).toEqual(new Map([...tensors].sort()));
    expect(read.metadata).toEqual({ a: 'ü', b: '2' });
    expect([...read.tensors.values()].map(({ dtype }) => dtype).join(' ')).toBe(
      'I64 F64 F32 I32 BF16 F16 I16 I8 U8 BOOL',
    );
    expect(new DataView(bytes.buffer).getBigUint64(0, true) % 8n).toBe(0n);
  });

  test('arbitrary names, shapes and numbers', () => {
    const name = fc
      .string({ unit: 'grapheme', maxLength: 8 })
      .filter((n) => !/^(__proto__|constructor|prototype|__metadata__)$/.test(n));
    const tensor = fc.array(fc.nat(4), { maxLength: 3 }).chain((shape) => {
      const size = shape.reduce((product, n) => product * n, 1);
      return fc.float32Array({ minLength: size, maxLength: size }).map((data) => ({ shape, data }));
    });
    fc.assert(
      fc.property(fc.dictionary(name, tensor), (record) => {
        const map = new Map(Object.entries(record));
        const read = readTensorMap(writeSafetensors(map), 'x');
        expect(new Map([...read].sort())).toEqual(new Map([...map].sort()));
      }),
    );
  });

  test('narrow types round, and are widened when they are read as numbers', () => {
    const map = new Map([['w', { shape: [3], data: Float32Array.of(1, 1 / 3, 100_000) }]]);
    const numbers = (dtype: 'F16' | 'BF16') => [...readTensorMap(writeSafetensors(map, {}, dtype), 'x').get('w')!.data];
    expect(numbers('F16')).toEqual([1, 0.333251953125, Number.POSITIVE_INFINITY]);
    expect(numbers('BF16')).toEqual([1, 0.333984375, 99840]);
    const wide = new Map<string, RawTensor>([['w', TYPES[1]!]]);
    expect([...readTensorMap(writeSafetensors(wide), 'x').get('w')!.data]).toEqual([Math.fround(Math.PI)]);
  });

  test('whole numbers are not mistaken for weights; wrong sizes are not written', () => {
    const ids = writeSafetensors(new Map<string, RawTensor>([['ids', TYPES[3]!]]));
    expect(() => readTensorMap(ids, 'in.safetensors')).toThrow(/in.safetensors: tensor "ids" holds I32/);
    const short = new Map([['w', { shape: [2, 2], data: new Float32Array(3) }]]);
    expect(() => writeSafetensors(short)).toThrow(/tensor "w": 3 elements do not fit F32 of shape \[2,2\]/);
    const wrong = new Map<string, RawTensor>([['w', { dtype: 'F64', shape: [1], data: Float32Array.of(1) }]]);
    expect(() => writeSafetensors(wrong)).toThrow(/do not fit F64/);
  });
});
