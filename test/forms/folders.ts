import { packTar } from 'modern-tar';
import { list, parquetFile, TEXT } from './columns.ts';
import {
  type Files,
  type Form,
  jsonLines,
  type Limits,
  onlyPicture,
  type PlainSample,
  picturePath,
  plainPair,
} from './plain.ts';
import { csvFile } from './tables.ts';

/* Forms in which the pictures lie in a folder or an archive that says what is what. */

const ONE_PICTURE: Limits = { pair: true, pictures: 'one', markers: 'before' };
const nameOf = (bytes: Uint8Array) => picturePath(bytes).split('/').at(-1)!;

/** Pictures of one split in its folder. */
const inFolder = (folder: string, samples: readonly PlainSample[]): Files =>
  Object.fromEntries(samples.map((sample) => [`${folder}/${nameOf(onlyPicture(sample))}`, onlyPicture(sample)]));

/** The question that every sample asks, for forms that have no place for it. */
const sharedQuestion = (samples: readonly PlainSample[]) => ({ question: plainPair(samples[0]!)!.question });

const metadata = (sample: PlainSample) => ({
  id: sample.id,
  file_name: nameOf(onlyPicture(sample)),
  ...plainPair(sample)!,
});

async function tar(entries: ReadonlyArray<readonly [name: string, body: Uint8Array | string]>): Promise<Uint8Array> {
  const files = entries.map(([name, body]) => ({ name, body: Buffer.from(body as string) }));
  return packTar(files.map(({ name, body }) => ({ header: { name, size: body.length }, body })));
}

export const FOLDER_FORMS: readonly Form[] = [
  {
    name: 'imagefolder with metadata.jsonl',
    limits: ONE_PICTURE,
    write: (split, samples) => ({
      samples: `${split}/metadata.jsonl`,
      files: {
        [`${split}/metadata.jsonl`]: jsonLines(
          samples.map((sample) => ({ ...metadata(sample), references: sample.references })),
        ),
        ...inFolder(split, samples),
      },
    }),
  },
  {
    name: 'imagefolder with metadata.csv',
    limits: { ...ONE_PICTURE, references: 'none' },
    write: (split, samples) => ({
      samples: split,
      files: { [`${split}/metadata.csv`]: csvFile(samples.map(metadata)), ...inFolder(split, samples) },
    }),
  },
  {
    name: 'imagefolder with metadata.parquet',
    limits: ONE_PICTURE,
    write: (split, samples) => ({
      samples: split,
      files: {
        [`${split}/metadata.parquet`]: parquetFile(
          { id: TEXT, file_name: TEXT, question: TEXT, answer: TEXT, references: list(TEXT) },
          samples.map((sample) => ({ ...metadata(sample), references: sample.references })),
        ),
        ...inFolder(split, samples),
      },
    }),
  },
  {
    name: 'imagefolder by labels',
    limits: { ...ONE_PICTURE, references: 'none', ids: 'none', answers: 'names', questions: 'same' },
    write: (split, samples) => ({
      samples: split,
      files: Object.fromEntries(
        samples.map((sample, i) => [`${split}/${plainPair(sample)!.answer}/${i}.png`, onlyPicture(sample)]),
      ),
      about: sharedQuestion(samples),
    }),
  },
  {
    name: 'webdataset with conversations',
    limits: {},
    async write(split, samples) {
      const entries = samples.flatMap((sample, i) => {
        const { id, turns, pictures, references } = sample;
        const key = `${i}`.padStart(6, '0');
        const json = { id, messages: turns.map(({ role, text }) => ({ role, content: text })), references };
        return [
          ...pictures.map((bytes, n) => [`${key}.${n}.png`, bytes] as const),
          [`${key}.json`, JSON.stringify(json)] as const,
        ];
      });
      return { samples: `${split}-000000.tar`, files: { [`${split}-000000.tar`]: await tar(entries) } };
    },
  },
  {
    name: 'webdataset with texts',
    limits: { ...ONE_PICTURE, references: 'none', ids: 'names', questions: 'same' },
    async write(split, samples) {
      const half = Math.ceil(samples.length / 2);
      const files: Files = {};
      for (const [i, some] of [samples.slice(0, half), samples.slice(half)].entries())
        if (some.length > 0)
          files[`${split}-00000${i}.tar`] = await tar(
            some.flatMap((sample) => [
              [`${sample.id}.png`, onlyPicture(sample)] as const,
              [`${sample.id}.txt`, plainPair(sample)!.answer] as const,
            ]),
          );
      return { samples: Object.keys(files), files, about: sharedQuestion(samples) };
    },
  },
];
