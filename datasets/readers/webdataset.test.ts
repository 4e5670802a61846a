import { packTar } from 'modern-tar';
import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import type { Manifest } from '../manifest.ts';
import { Problems } from '../problems.ts';
import type { ReadSample, SamplesFile } from './reader.ts';
import { webdataset } from './webdataset.ts';

/** Reads a shard of these files; what is wrong with them is thrown. */
async function read(files: Readonly<Record<string, string | Uint8Array>>): Promise<ReadSample[]> {
  const bytes = await packTar(
    Object.entries(files).map(([name, body]) => ({ header: { name, size: Buffer.byteLength(body) }, body })),
  );
  const file: SamplesFile = {
    path: 'shard.tar',
    size: bytes.length,
    manifest: { question: 'What?', files: [{ path: 'shard.tar' }] } as unknown as Manifest,
    slice: async (start, end) => bytes.slice(start, end),
    bytes: async () => bytes,
  };
  const problems = new Problems();
  const samples: ReadSample[] = [];
  await problems.stage('data', async () => {
    for await (const sample of await webdataset.read(file, problems)) samples.push(sample);
  });
  return samples;
}

const picture = (format: 'png' | 'gif') =>
  sharp({ create: { width: 4, height: 3, channels: 3, background: 'red' } })
    .toFormat(format)
    .toBuffer();

describe('files of a shard', () => {
  it('endings may be in capitals and of any kind of picture; what macOS adds is passed over', async () => {
    const samples = await read({
      '._1.JPG': 'Mac OS X',
      '1.PNG': await picture('png'),
      '1.TXT': 'one',
      '__MACOSX/2.txt': 'no',
      '2.gif': await picture('gif'),
      '2.txt': 'two',
    });
    expect(samples.map(({ id, turns, images }) => [id, turns.at(-1)!.text, images.length])).toEqual([
      ['1', 'one', 1],
      ['2', 'two', 1],
    ]);
  });

  it('a name with other dots is told for what it is', async () => {
    const shard = { 'a.001.png': await picture('png'), 'a.001.txt': 'one' };
    await expect(read(shard)).rejects.toThrow(/\("a\.001\.txt"\): the name of a sample ends at its first dot/);
  });
});
