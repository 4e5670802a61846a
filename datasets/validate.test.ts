import { mkdtempSync, readFileSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { sha256 } from '../core/digest.ts';
import { LiloraError } from '../core/errors.ts';
import { canonicalJson } from '../core/json.ts';
import { type RawTensor, writeSafetensors } from '../core/safetensors.ts';
import type { Sample } from '../core/sample.ts';
import { type LlavaSample, writeSmallDataset } from '../test/small-dataset.ts';
import { imageSizes } from './image.ts';
import { ImageSpool } from './images.ts';
import { localFolder } from './local-folder.ts';
import type { Manifest } from './manifest.ts';
import { PackedSplit } from './packed-split.ts';
import { writeSplit } from './prepared.ts';
import { Untrainable } from './problems.ts';
import { allOf, someOf } from './sample-list.ts';
import { validateDataset } from './validate.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'lilora-dataset-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const write = (spoil?: (samples: LlavaSample[], split: string) => void) =>
  writeSmallDataset(folder, { name: 'colours', train: 6, test: 3, seed: 1, spoil });
const validate = (options?: Parameters<typeof validateDataset>[1]) => validateDataset(localFolder(folder), options);
const path = (name: string) => join(folder, name);
const manifest = (): Manifest => JSON.parse(readFileSync(path('dataset.json'), 'utf8'));
const save = (value: object) => writeFileSync(path('dataset.json'), JSON.stringify(value));
/** Changes a file and, so that only its content is wrong, its entry in the manifest. */
const replace = (name: string, bytes: Uint8Array | string) => {
  writeFileSync(path(name), bytes);
  const now = manifest();
  const entry = { path: name, size: Buffer.byteLength(bytes), sha256: sha256(bytes) };
  save({ ...now, files: now.files.map((file) => (file.path === name ? entry : file)) });
};
const image = () => readFileSync(path('images/train-1.png'));

describe('a good dataset', () => {
  it('gives its samples, its images by digest and its version', async () => {
    await write();
    const pictures = new Map<string, Uint8Array>();
    const found = await validate({ images: pictures });
    expect(found.splits.train).toHaveLength(6);
    expect(found.splits.test?.map(({ id }) => id)).toEqual(['test-0', 'test-1', 'test-2']);
    const [sample] = found.splits.train!;
    expect(sample!.turns.map(({ role }) => role)).toEqual(['user', 'assistant']);
    expect(sample!.references).toEqual([sample!.turns[1]!.text]);
    const file = readFileSync(path('images/train-0.png'));
    expect(sha256(pictures.get(sample!.images[0]!)!)).toBe(sha256(file));
    expect(found.images.get(sample!.images[0]!)).toEqual({ width: 28, height: 28, bytes: file.length });
    expect(found.digest).toMatch(/^[0-9a-f]{64}$/);
    expect((await validate()).digest).toBe(found.digest);
  });

  it('shows every sample as it is read, with the image that stands in its file', async () => {
    await write((samples, split) => {
      if (split === 'test') samples[0]!.image = `data:image/png;base64,${image().toString('base64')}`;
    });
    const seen: string[] = [];
    await validate({
      onSample: (split, { id, images: [first] }) => {
        seen.push(`${split} ${id} ${typeof first === 'string' ? 'path' : sha256(first!.bytes) === first!.sha256}`);
      },
    });
    expect(seen).toHaveLength(9);
    expect(seen.slice(5)).toEqual(['train train-5 path', 'test test-0 true', 'test test-1 path', 'test test-2 path']);
  });

  it('is packed into one file per split and comes back the same', async () => {
    await write();
    const pictures = await ImageSpool.create(path('spool'));
    const { splits, images } = await validate({ images: pictures });
    const packed = path('packed');
    const file = await writeSplit(packed, splits.test!, pictures, images);
    const bytes = readFileSync(packed);
    expect(file).toEqual({ size: bytes.length, sha256: sha256(bytes) });
    // As the format is defined: one safetensors file that a single call writes.
    const lines = splits.test!.map((sample) => `${canonicalJson(sample)}\n`);
    const digests = [...new Set(splits.test!.flatMap((s) => s.images))].sort();
    const encoded = await Promise.all(digests.map((digest) => pictures.get(digest)));
    const endsOf = (lengths: number[]) =>
      Float64Array.from(lengths, (_, i) => lengths.slice(0, i + 1).reduce((a, b) => a + b));
    const [n, text, all] = [digests.length, Buffer.from(lines.join('')), Buffer.concat(encoded.map((each) => each!))];
    const whole: Record<string, RawTensor> = {
      samples: { dtype: 'U8', shape: [text.length], data: text },
      'sample-ends': { dtype: 'F64', shape: [3], data: endsOf(lines.map((line) => Buffer.byteLength(line))) },
      images: { dtype: 'U8', shape: [all.length], data: all },
      'image-ends': { dtype: 'F64', shape: [n], data: endsOf(encoded.map((each) => each!.length)) },
      'image-digests': { dtype: 'U8', shape: [n, 32], data: Buffer.from(digests.join(''), 'hex') },
      'image-sizes': { dtype: 'I32', shape: [n, 2], data: new Int32Array(2 * n).fill(28) },
    };
    expect(bytes.equals(writeSafetensors(new Map(Object.entries(whole)), { format: 'lilora-split-v2' }))).toBe(true);

    const back = await PackedSplit.open(packed);
    await isTheSame(back, splits.test!);
    // What older versions wrote says no sizes: they stand in the images.
    const looked = await imageSizes({ keys: () => back.keys(), get: (digest) => back.get(digest) });
    for (const digest of back.keys()) expect(looked.get(digest)).toEqual(back.sizes!.get(digest));
    expect(await back.get('other')).toBeUndefined();
    await pictures.close();
    writeFileSync(packed, bytes.subarray(0, -1));
    await expect(PackedSplit.open(packed, 'test')).rejects.toThrow(/packed: .*cut off/);
    whole['sample-ends']!.data[1] = 1;
    writeFileSync(packed, writeSafetensors(new Map(Object.entries(whole)), { format: 'lilora-split-v2' }));
    await expect(PackedSplit.open(packed, 'test')).rejects.toThrow(/test has places out of order in sample-ends/);
  });

  it.each([true, false])('packed by the first version it still opens, sizes in it: %s', async (known) => {
    await write();
    const pictures = new Map<string, Uint8Array>();
    const { splits } = await validate({ images: pictures });
    const text = Buffer.from(canonicalJson(splits.test!));
    const facts = splits.test!.flatMap((s) => s.images).map((digest) => [digest, [28, 28]] as const);
    const whole = new Map([['samples', text]]);
    if (known) whole.set('sizes', Buffer.from(canonicalJson(Object.fromEntries(facts))));
    for (const digest of splits.test!.flatMap((s) => s.images))
      whole.set(`image/${digest}`, Buffer.from(pictures.get(digest)!));
    const raw = [...whole].map(([name, data]) => [name, { dtype: 'U8', shape: [data.length], data }] as const);
    writeFileSync(path('packed'), writeSafetensors(new Map(raw), { format: 'lilora-split-v1' }));
    const back = await PackedSplit.open(path('packed'));
    await isTheSame(back, splits.test!);
    expect(back.sizes === undefined).toBe(!known);
    if (known) for (const digest of back.keys()) expect(back.sizes!.get(digest)).toEqual({ width: 28, height: 28 });
  });

  async function isTheSame(back: PackedSplit, samples: readonly Sample[]) {
    expect(await allOf(back.samples)).toEqual(samples);
    for (const [i, sample] of samples.entries()) expect(await back.samples.at(i)).toEqual(sample);
    expect(await allOf(someOf(back.samples, [2, 0, 2]))).toEqual([samples[2], samples[0], samples[2]]);
    expect([...back.keys()]).toEqual([...new Set(samples.flatMap((s) => s.images))].sort());
    for (const digest of back.keys()) expect(sha256((await back.get(digest))!)).toBe(digest);
    const first = await back.imagesOf(someOf(back.samples, [0]));
    expect([...first.keys()]).toEqual(samples[0]!.images);
  }

  it('gives ids that repeat their place, as often as they do; the first keeps its own', async () => {
    await write((samples, split) => {
      if (split === 'test') samples[1]!.id = 'train-3';
      if (split === 'test') samples[2]!.id = 'train-3';
      if (split === 'train') samples[0]!.id = 'train-3@test.json[1]';
    });
    const { splits, renamed } = await validate();
    const ids = ['test-0', 'train-3@test.json[1]#2', 'train-3@test.json[2]'];
    expect(splits.test!.map(({ id }) => id)).toEqual(ids);
    expect(splits.train!.map(({ id }) => id)).toContain('train-3');
    expect(renamed).toEqual({ count: 2, examples: ids.slice(1).map((id) => ({ was: 'train-3', id })) });
  });
});

describe('is refused by name', () => {
  const cases: Array<[string, () => unknown, RegExp]> = [
    [
      'a missing image',
      () => write().then(() => unlinkSync(path('images/train-1.png'))),
      /images\/train-1\.png: no such file/,
    ],
    [
      'a truncated image',
      () => write().then(() => replace('images/train-1.png', image().subarray(0, image().length - 20))),
      /images\/train-1\.png: the image is truncated/,
    ],
    [
      'a changed byte',
      () =>
        write().then(() => {
          const bytes = image();
          bytes[60] = bytes[60]! ^ 1;
          writeFileSync(path('images/train-1.png'), bytes);
        }),
      /images\/train-1\.png: its SHA-256 is .* says/,
    ],
    [
      'another size',
      () => write().then(() => writeFileSync(path('train.json'), '[]')),
      /train\.json: 2 bytes, but dataset\.json says/,
    ],
    [
      'a symbolic link',
      () =>
        write().then(() => {
          unlinkSync(path('images/train-1.png'));
          symlinkSync('/etc/hostname', path('images/train-1.png'));
        }),
      /train-1\.png: a symbolic link/,
    ],
    [
      'a marker without an image',
      () =>
        write((s) => {
          delete s[0]!.image;
        }),
      /id "train-0".*no image/,
    ],
    [
      'an image without a marker',
      () =>
        write((s) => {
          s[0]!.conversations[0]!.value = 'what?';
        }),
      /train-0.*no <image> marker/,
    ],
    [
      'no answer',
      () => write((s, split) => split === 'train' && s[2]!.conversations.pop()),
      /train\.json\[2\] \(id "train-2"\): no gpt turn/,
    ],
    [
      'a path that leaves the dataset',
      () =>
        write((s) => {
          s[0]!.image = '../../etc/passwd';
        }),
      /leaves the dataset/,
    ],
    [
      'an absolute path',
      () =>
        write((s) => {
          s[0]!.image = '/etc/passwd';
        }),
      /absolute path/,
    ],
    [
      'a URL',
      () =>
        write((s) => {
          s[0]!.image = 'https://example.org/a.png';
        }),
      /URL/,
    ],
    [
      'an image that is not listed',
      () =>
        write((s) => {
          s[0]!.image = 'images/other.png';
        }),
      /"images\/other\.png" is not in "files"/,
    ],
    ['an empty split', () => write((s, split) => split === 'test' && s.splice(0)), /test\.json: split test is empty/],
    [
      'the same sample in train and test',
      () =>
        write(
          (s, split) =>
            split === 'test' &&
            s.splice(1, 1, { ...JSON.parse(readFileSync(path('train.json'), 'utf8'))[2], id: 'other' }),
        ),
      /id "other".*the same sample as train\.json\[2\].*overlap/,
    ],
    ['broken JSON', () => write().then(() => replace('train.json', '[{"id": 1,]')), /train\.json:1:11/],
    ['UTF-16', () => write().then(() => replace('train.json', Buffer.from('\ufeff[]', 'utf16le'))), /UTF-16/],
    ['an unknown format', () => write().then(() => save({ ...manifest(), format: 'tar' })), /there is no reader "tar"/],
    ['an unknown field', () => write().then(() => save({ ...manifest(), extra: 1 })), /extra/],
  ];
  it.each(cases)('%s', async (_, make, message) => {
    await make();
    await expect(validate()).rejects.toMatchObject({ name: 'BadDataset', message: expect.stringMatching(message) });
  });

  it('everything that is wrong, at once', async () => {
    await write((samples, split) => {
      if (split !== 'train') return;
      samples[1]!.conversations.pop();
      samples[4]!.image = '/x';
    });
    await expect(validate()).rejects.toThrow(
      /2 problem\(s\) found\. Nothing was trained\.[\s\S]*train-1[\s\S]*train-4/,
    );
  });

  it('a conversation that is longer than the context', async () => {
    await write();
    const processor = {
      contextLength: 10,
      encodeTraining: ({ id }: { id: string }) => ({ inputIds: new Int32Array(id === 'train-5' ? 11 : 10) }),
    };
    await expect(validate({ processor })).rejects.toThrow(/1 problem.*train-5.*11 tokens.*the model reads 10/s);
  });

  it('answers that the model cannot learn, above a small share', async () => {
    const learn = (lost: number) => ({
      contextLength: 10,
      encodeTraining: ({ id }: { id: string }) => {
        if (Number(id.split('-')[1]) < lost) throw new Untrainable(`Sample ${id}: no token carries loss.`);
        return { inputIds: new Int32Array(10) };
      },
    });
    await writeSmallDataset(folder, { name: 'many', train: 200, test: 4, seed: 1 });
    const { splits, leftOut } = await validate({ processor: learn(2) });
    // Answers of the test split are compared, not learned.
    expect([splits.train!.length, splits.test!.length]).toEqual([198, 4]);
    expect(leftOut.map(({ id, why }) => [id, why])).toEqual([
      ['train-0', 'Sample train-0: no token carries loss.'],
      ['train-1', 'Sample train-1: no token carries loss.'],
    ]);
    const refuses = new LiloraError('BadDataset', 'Sample train-0: its text holds the special token <s>. Remove it.');
    const encodeTraining = () => {
      throw refuses;
    };
    // The place says which sample it is; its id is not told once more.
    await expect(validate({ processor: { contextLength: 10, encodeTraining } as never })).rejects.toThrow(
      /\(id "train-0"\): its text holds the special token <s>\. Remove it\./,
    );
    await expect(validate({ processor: learn(3) })).rejects.toThrow(
      /4 problem\(s\).*3 of 200 training samples have an answer that cannot be learned, over the limit of 1 %.*train-2/s,
    );
  });

  it('no manifest at all', async () => {
    await write();
    unlinkSync(path('dataset.json'));
    await expect(validate()).rejects.toMatchObject({
      name: 'NotFound',
      message: expect.stringMatching(/dataset\.json/),
    });
  });
});
