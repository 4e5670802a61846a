import { LiloraError } from '../core/errors.ts';
import { openFile, readAt } from '../core/files.ts';
import { parseJson } from '../core/json.ts';
import { SafetensorsFile } from '../core/safetensors.ts';
import type { Sample } from '../core/sample.ts';
import type { ImageSizes, Images } from './images.ts';
import { SPLIT_FORMAT, TENSORS } from './prepared.ts';
import { recordAt, recordsOf, type Stretch } from './record-file.ts';
import { listOf, type SampleList } from './sample-list.ts';

const FIRST_FORMAT = 'lilora-split-v1';
/** Of the first version: one tensor for each image. */
const IMAGE = 'image/';
/** Of the first version: width and height of every image by digest, JSON; absent in files older still. */
const SIZES = 'sizes';

/** Where the images of a split lie. */
interface ImagePlaces {
  /** SHA-256, [images, 32], ascending. */
  readonly digests: Uint8Array;
  /** Bytes of the file before each, and to its end. */
  readonly begins: Float64Array;
  readonly ends: Float64Array;
  /** Width and height, [images, 2]; null where they are not known. */
  readonly sizes: Int32Array | null;
}

/** A file that `writeSplit` wrote. Samples and images stay on the disk until they are asked for, by number and digest. */
export class PackedSplit implements Images {
  readonly path: string;
  readonly samples: SampleList;
  private readonly places: ImagePlaces;

  private constructor(path: string, samples: SampleList, places: ImagePlaces) {
    this.path = path;
    this.samples = samples;
    this.places = places;
  }

  /** @param name of the file in messages, when it is not the path */
  static async open(path: string, name = path): Promise<PackedSplit> {
    const file = await SafetensorsFile.open(path);
    const { format } = file.metadata;
    try {
      if (format === FIRST_FORMAT && isBytes(file, TENSORS.samples))
        return await openFirst(file, path, name, PackedSplit.of);
      if (
        format === SPLIT_FORMAT &&
        Object.values(TENSORS).every((tensor) => tensor === TENSORS.sizes || file.has(tensor))
      )
        return PackedSplit.of(path, ...(await readIndex(file, path, name)));
      throw damaged(name, `is no packed split (${SPLIT_FORMAT})`);
    } finally {
      await file.close();
    }
  }

  private static of = (path: string, samples: SampleList, places: ImagePlaces): PackedSplit =>
    new PackedSplit(path, samples, places);

  /** Of its images; undefined in files of the oldest versions. */
  get sizes(): ImageSizes | undefined {
    const { sizes } = this.places;
    if (sizes === null) return undefined;
    return {
      get: (digest) => {
        const i = this.indexOf(digest);
        return i < 0 ? undefined : { width: sizes[2 * i]!, height: sizes[2 * i + 1]! };
      },
    };
  }

  /** Digests of its images, in the order of the file. */
  *keys(): Generator<string> {
    for (let i = 0; i < this.places.begins.length; i++) yield this.digestAt(i);
  }

  async get(digest: string): Promise<Uint8Array | undefined> {
    const i = this.indexOf(digest);
    if (i < 0) return undefined;
    const [begin, end] = [this.places.begins[i]!, this.places.ends[i]!];
    const file = await openFile(this.path);
    try {
      return await readAt(file, begin, end - begin, this.path);
    } finally {
      await file.close();
    }
  }

  /** The images of some samples alone, in the order of the file. */
  async imagesOf(samples: SampleList): Promise<Images> {
    const wanted = new Uint8Array(this.places.begins.length);
    for await (const { images } of samples)
      for (const digest of images) {
        const i = this.indexOf(digest);
        if (i >= 0) wanted[i] = 1;
      }
    const digestAt = (i: number) => this.digestAt(i);
    return {
      *keys() {
        for (let i = 0; i < wanted.length; i++) if (wanted[i] === 1) yield digestAt(i);
      },
      get: (digest) => this.get(digest),
      sizes: this.sizes,
    };
  }

  private digestAt(i: number): string {
    const { buffer, byteOffset } = this.places.digests;
    return Buffer.from(buffer, byteOffset + 32 * i, 32).toString('hex');
  }

  /** Halves until it is found; −1 when it is not there. */
  private indexOf(digest: string): number {
    const bytes = Buffer.from(digest, 'hex');
    let [from, to] = [0, this.places.begins.length];
    while (from < to) {
      const middle = (from + to) >>> 1;
      const order = Buffer.compare(this.places.digests.subarray(32 * middle, 32 * (middle + 1)), bytes);
      if (order === 0) return middle;
      if (order < 0) from = middle + 1;
      else to = middle;
    }
    return -1;
  }
}

const damaged = (name: string, what: string) =>
  new LiloraError('IntegrityError', `${name} ${what}. Submit the dataset again.`);

const isBytes = (file: SafetensorsFile, tensor: string) => file.has(tensor) && file.info(tensor).dtype === 'U8';

async function readIndex(file: SafetensorsFile, path: string, name: string): Promise<[SampleList, ImagePlaces]> {
  const lines = file.info(TENSORS.samples);
  const pictures = file.info(TENSORS.images);
  const ends = async (tensor: string, within: { readonly begin: number; readonly end: number }) => {
    const { data } = await file.readRaw(tensor);
    let before = 0;
    if (!(data instanceof Float64Array)) throw damaged(name, `has no numbers in ${tensor}`);
    for (const end of data) {
      if (!(Number.isSafeInteger(end) && end >= before)) throw damaged(name, `has places out of order in ${tensor}`);
      before = end;
    }
    if (before !== within.end - within.begin) throw damaged(name, `has places in ${tensor} that lead out of it`);
    return data;
  };
  const sampleEnds = await ends(TENSORS.sampleEnds, lines);
  const stretch: Stretch = { path, begin: lines.begin, ends: sampleEnds };
  const imageEnds = await ends(TENSORS.imageEnds, pictures);
  const digests = (await file.readRaw(TENSORS.digests)).data;
  const sizes = file.has(TENSORS.sizes) ? (await file.readRaw(TENSORS.sizes)).data : null;
  if (!(digests instanceof Uint8Array && digests.length === 32 * imageEnds.length))
    throw damaged(name, 'has not one digest for each image');
  if (sizes !== null && !(sizes instanceof Int32Array && sizes.length === 2 * imageEnds.length))
    throw damaged(name, 'has not one size for each image');
  const begins = imageEnds.map((_, i) => pictures.begin + (i === 0 ? 0 : imageEnds[i - 1]!));
  return [samplesIn(stretch, name), { digests, begins, ends: imageEnds.map((end) => pictures.begin + end), sizes }];
}

function samplesIn(stretch: Stretch, name: string): SampleList {
  const parse = (bytes: Uint8Array) => parseJson(bytes, name) as Sample;
  return {
    length: stretch.ends.length,
    at: (i) => recordAt(stretch, i, parse),
    lines: () => recordsOf(stretch, (bytes) => bytes),
    [Symbol.asyncIterator]: () => recordsOf(stretch, parse),
  };
}

/** The first version: samples as one JSON text, one tensor for each image. */
async function openFirst<T>(
  file: SafetensorsFile,
  path: string,
  name: string,
  of: (path: string, samples: SampleList, places: ImagePlaces) => T,
): Promise<T> {
  const json = async (tensor: string) => parseJson((await file.readRaw(tensor)).data as Uint8Array, name);
  const samples = listOf((await json(TENSORS.samples)) as Sample[]);
  const known = file.has(SIZES) ? ((await json(SIZES)) as Record<string, [width: number, height: number]>) : null;
  const images = file
    .names()
    .filter((tensor) => tensor.startsWith(IMAGE))
    .sort();
  const digests = new Uint8Array(32 * images.length);
  const sizes = known && new Int32Array(2 * images.length);
  for (const [i, tensor] of images.entries()) {
    const digest = tensor.slice(IMAGE.length);
    digests.set(Buffer.from(digest, 'hex'), 32 * i);
    sizes?.set(known?.[digest] ?? [0, 0], 2 * i);
  }
  const infos = images.map((tensor) => file.info(tensor));
  const begins = Float64Array.from(infos, ({ begin }) => begin);
  return of(path, samples, { digests, begins, ends: Float64Array.from(infos, ({ end }) => end), sizes });
}
