import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { packTar } from 'modern-tar';
import sharp from 'sharp';
import { writeManifest } from '../datasets/write-manifest.ts';
import { Random } from '../learning/training/random.ts';

/** What a made dataset holds: texts of two kilobytes, or pictures of about 40 kB (`small`: of 200 bytes, a file each). */
export const KINDS = ['jsonl', 'json', 'parquet-texts', 'parquet', 'tar', 'small'] as const;
export type Kind = (typeof KINDS)[number];

/** Bytes of one shard, about. */
const SHARD = 48 * 2 ** 20;
const TEXT = 2000;
const SIDE = 116;

const WORDS = 'the a red blue small large cat house stands runs beside under with of and river'.split(' ');

/** Samples that differ, in words that repeat as words do. */
function text(random: Random): string {
  let said = '';
  while (said.length < TEXT) said += `${WORDS[random.below(WORDS.length)]}${random.below(1000)} `;
  return said;
}

/** Noise, which no encoding makes smaller: every picture takes 3 bytes for each pixel. */
async function picture(random: Random): Promise<Uint8Array> {
  const data = new Uint8Array(SIDE * SIDE * 3).map(() => random.below(256));
  return sharp(data, { raw: { width: SIDE, height: SIDE, channels: 3 } })
    .png({ compressionLevel: 0 })
    .toBuffer();
}

interface Row {
  readonly question: string;
  readonly answer: string;
  readonly image?: Uint8Array;
}

async function row(kind: Kind, i: number, random: Random): Promise<Row> {
  const question = `What is number ${i}?`;
  if (kind === 'parquet' || kind === 'tar') return { question, answer: `${i}`, image: await picture(random) };
  return { question, answer: text(random) };
}

/** Writes a dataset of about so many bytes into a folder. @returns the number of training samples */
export async function makeSet(folder: string, kind: Kind, bytes: number): Promise<number> {
  mkdirSync(folder, { recursive: true });
  const random = new Random(bytes);
  const isText = kind === 'jsonl' || kind === 'json' || kind === 'parquet-texts';
  const perShard = Math.floor(SHARD / (isText ? TEXT : SIDE * SIDE * 3));
  const shards: string[] = [];
  let samples = 0;
  for (let written = 0; written < bytes; written += SHARD) {
    const rows: Row[] = [];
    for (let k = 0; k < perShard; k++) rows.push(await row(kind, samples++, random));
    const name = `train-${shards.length}`;
    const [ending, content] = await shard(kind, rows);
    writeFileSync(join(folder, `${name}.${ending}`), content);
    shards.push(`${name}.${ending}`);
  }
  writeFileSync(join(folder, 'test.jsonl'), '{"question": "And?", "answer": "no"}\n');
  const splits = { train: { samples: shards }, test: { samples: 'test.jsonl' } };
  const about = { name: 'made', kind: 'open', metric: 'exact', licence: 'CC0-1.0', source: 'noise' } as const;
  await writeManifest(folder, { ...about, splits });
  return samples;
}

async function shard(kind: Kind, rows: readonly Row[]): Promise<[ending: string, content: Uint8Array | string]> {
  if (kind === 'tar') {
    const files = rows.flatMap(({ image, ...rest }, i) => [
      { name: `${i}.png`, body: image! },
      { name: `${i}.json`, body: new TextEncoder().encode(JSON.stringify(rest)) },
    ]);
    return ['tar', await packTar(files.map(({ name, body }) => ({ header: { name, size: body.length }, body })))];
  }
  if (kind === 'jsonl') return ['jsonl', rows.map((each) => `${JSON.stringify(each)}\n`).join('')];
  if (kind === 'json') return ['json', JSON.stringify(rows)];
  const names = kind === 'parquet' ? ['image', 'question', 'answer'] : ['question', 'answer'];
  const rowsOf = rows.map(({ image, ...rest }) => ({ ...rest, ...(image && { image: { bytes: image, path: null } }) }));
  return ['parquet', parquetFile(names, rowsOf)];
}

const TEXTS = { type: 'BYTE_ARRAY', converted_type: 'UTF8', repetition_type: 'OPTIONAL' } as const;

/** Images as the Hub embeds them: `{bytes, path}`. */
function parquetFile(names: readonly string[], rows: readonly Readonly<Record<string, unknown>>[]): Uint8Array {
  const schema = names.flatMap((name) =>
    name === 'image'
      ? [
          { name, num_children: 2, repetition_type: 'OPTIONAL' as const },
          { name: 'bytes', type: 'BYTE_ARRAY' as const, repetition_type: 'OPTIONAL' as const },
          { name: 'path', ...TEXTS },
        ]
      : [{ name, ...TEXTS }],
  );
  const columnData = names.map((name) => ({ name, data: rows.map((row) => row[name] ?? null) }));
  const root = { name: 'schema', num_children: names.length };
  return new Uint8Array(parquetWriteBuffer({ schema: [root, ...schema], columnData, codec: 'UNCOMPRESSED' }));
}

/** So many pictures of 200 bytes, a file each. */
export async function makeSmall(folder: string, count: number): Promise<number> {
  mkdirSync(join(folder, 'images'), { recursive: true });
  const lines: string[] = [];
  for (let i = 0; i < count; i++) {
    const data = Buffer.alloc(32 * 32 * 3, Buffer.from([i & 255, (i >> 8) & 255, 128]));
    const image = `images/${i}.png`;
    await sharp(data, { raw: { width: 32, height: 32, channels: 3 } })
      .png()
      .toFile(join(folder, image));
    lines.push(`${JSON.stringify({ image, question: 'Which?', answer: `${i}` })}\n`);
  }
  writeFileSync(join(folder, 'train.jsonl'), lines.join(''));
  writeFileSync(join(folder, 'test.jsonl'), '{"question": "And?", "answer": "no"}\n');
  const splits = { train: { samples: 'train.jsonl' }, test: { samples: 'test.jsonl' } };
  const about = { name: 'made', kind: 'open', metric: 'exact', licence: 'CC0-1.0', source: 'colours' } as const;
  await writeManifest(folder, { ...about, splits });
  return count;
}
