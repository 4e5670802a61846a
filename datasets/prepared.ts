import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';
import { DigestList } from '../core/digest-table.ts';
import { LiloraError } from '../core/errors.ts';
import { Numbers } from '../core/numbers.ts';
import { layOut } from '../core/safetensors.ts';
import type { Sample } from '../core/sample.ts';
import type { KnownImages } from './found-images.ts';
import { type Images, imageOf } from './images.ts';
import { listOf, type SampleList } from './sample-list.ts';

/** Version of the layout of a prepared split: part of its name in the store. */
export const SPLIT_VERSION = 2;
export const SPLIT_FORMAT = `lilora-split-v${SPLIT_VERSION}`;

/** The tensors of a split: sizes and places are numbers of bytes, [samples] or [images]. */
export const TENSORS = {
  /** One sample a line, canonical JSON. */
  samples: 'samples',
  /** Where each line ends. */
  sampleEnds: 'sample-ends',
  /** Encoded images, one after another, in the order of their digests. */
  images: 'images',
  /** Where each image ends. */
  imageEnds: 'image-ends',
  /** SHA-256 of each image, [images, 32], ascending. */
  digests: 'image-digests',
  /** Upright width and height of each image, [images, 2]; absent where nobody looked. */
  sizes: 'image-sizes',
} as const;

/** Bytes of samples or small images that are written at once. */
const PIECE = 2 ** 20;

/**
 * Writes one split as training and evaluation read it: a single file with the samples and every image that they need,
 * encoded as it came, by digest. The same content gives the same bytes. Samples are read twice; one image and some samples
 * are in memory at a time, beside some 100 bytes for each image and 8 for each sample.
 * @param images more than this split needs may be there
 * @param facts of images that were looked at: then nobody need look at them again to know their size
 * @returns size and SHA-256 of the file
 */
export async function writeSplit(
  path: string,
  samples: SampleList | readonly Sample[],
  images: Images,
  facts: Pick<KnownImages, 'get'>,
): Promise<{ size: number; sha256: string }> {
  const list = isList(samples) ? samples : listOf(samples);
  const { sampleEnds, digests } = await measure(list);
  const order = digests.sorted();
  const index = await indexOf(order, digests, images, facts);
  const pieces = new Map<string, AsyncIterable<Uint8Array> | Uint8Array>([
    [TENSORS.sampleEnds, bytesOf(sampleEnds)],
    [TENSORS.imageEnds, bytesOf(index.ends)],
    [TENSORS.digests, index.digests],
    [TENSORS.samples, joined(list.lines())],
    [TENSORS.images, joined(imagesIn(order, digests, images))],
    ...(index.sizes ? [[TENSORS.sizes, bytesOf(index.sizes)] as const] : []),
  ]);
  const last = (ends: Float64Array) => ends.at(-1) ?? 0;
  const n = order.length;
  const parts = new Map([
    [TENSORS.sampleEnds, { dtype: 'F64' as const, shape: [list.length], bytes: sampleEnds.byteLength }],
    [TENSORS.imageEnds, { dtype: 'F64' as const, shape: [n], bytes: index.ends.byteLength }],
    ...(index.sizes ? [[TENSORS.sizes, { dtype: 'I32' as const, shape: [n, 2], bytes: 8 * n }] as const] : []),
    [TENSORS.digests, { dtype: 'U8' as const, shape: [n, 32], bytes: 32 * n }],
    [TENSORS.samples, { dtype: 'U8' as const, shape: [last(sampleEnds)], bytes: last(sampleEnds) }],
    [TENSORS.images, { dtype: 'U8' as const, shape: [last(index.ends)], bytes: last(index.ends) }],
  ]);
  const { names, head, bytes } = layOut(parts, { format: SPLIT_FORMAT });
  const hash = createHash('sha256');
  const file = await open(path, 'w');
  try {
    const put = async (piece: Uint8Array) => {
      hash.update(piece);
      // Appends: the whole piece is written before this ends.
      await file.writeFile(piece);
      return piece.byteLength;
    };
    await put(head);
    for (const name of names) {
      const content = pieces.get(name)!;
      let written = 0;
      for await (const piece of content instanceof Uint8Array ? [content] : content) written += await put(piece);
      if (written !== parts.get(name as never)!.bytes)
        throw new LiloraError('IntegrityError', `${name} of the split changed while they were packed. Try again.`);
    }
  } finally {
    await file.close();
  }
  return { size: bytes, sha256: hash.digest('hex') };
}

const isList = (samples: SampleList | readonly Sample[]): samples is SampleList => !Array.isArray(samples);

async function measure(list: SampleList): Promise<{ sampleEnds: Float64Array; digests: DigestList }> {
  const ends = new Numbers();
  const digests = new DigestList();
  let end = 0;
  for await (const line of list.lines()) {
    end += line.byteLength;
    ends.push(end);
    for (const digest of imagesOf(line)) digests.add(digest);
  }
  return { sampleEnds: ends.all(), digests };
}

const IMAGES = '"images":';

/**
 * The images of a sample, without reading its texts: the keys of a line are sorted and a quote within a text is escaped, so
 * what stands first under `images` is the sample's own.
 */
function imagesOf(line: Uint8Array): string[] {
  const text = Buffer.from(line.buffer, line.byteOffset, line.byteLength);
  const from = text.indexOf(IMAGES) + IMAGES.length;
  return JSON.parse(text.toString('latin1', from, text.indexOf(']', from) + 1)) as string[];
}

/** What is known of every image, in the order of their digests. */
async function indexOf(order: Uint32Array, digests: DigestList, images: Images, facts: Pick<KnownImages, 'get'>) {
  const ends = new Float64Array(order.length);
  const all = new Uint8Array(32 * order.length);
  const sizes = new Int32Array(2 * order.length);
  let isKnown = true;
  let end = 0;
  for (const [k, i] of order.entries()) {
    const digest = digests.at(i);
    const found = facts.get(digest);
    end += found?.bytes ?? (await imageOf(images, digest)).byteLength;
    ends[k] = end;
    all.set(Buffer.from(digest, 'hex'), 32 * k);
    if (found) sizes.set([found.width, found.height], 2 * k);
    else isKnown = false;
  }
  return { ends, digests: all, sizes: isKnown ? sizes : null };
}

async function* imagesIn(order: Uint32Array, digests: DigestList, images: Images): AsyncGenerator<Uint8Array> {
  for (const i of order) yield await imageOf(images, digests.at(i));
}

/** The same bytes in fewer pieces; each is good until the next is asked for. */
async function* joined(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const buffer = new Uint8Array(PIECE);
  let filled = 0;
  for await (const piece of pieces) {
    if (filled + piece.byteLength > PIECE && filled > 0) {
      yield buffer.subarray(0, filled);
      filled = 0;
    }
    if (piece.byteLength > PIECE) yield piece;
    else {
      buffer.set(piece, filled);
      filled += piece.byteLength;
    }
  }
  yield buffer.subarray(0, filled);
}

const bytesOf = ({ buffer, byteOffset, byteLength }: Float64Array | Int32Array) =>
  new Uint8Array(buffer as ArrayBuffer, byteOffset, byteLength);
