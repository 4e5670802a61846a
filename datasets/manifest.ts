import { z } from 'zod';
import { DEFAULTS } from '../core/defaults.ts';
import { LiloraError } from '../core/errors.ts';
import { digestOf, parseJson } from '../core/json.ts';
import { quote } from './problems.ts';
import { type DatasetSource, MANIFEST_FILE, pathProblem } from './source.ts';

/** What an answer looks like; it groups tasks in reports. The score itself comes from `metric`. */
export const KINDS = ['option', 'short-answer', 'caption', 'classification', 'relation', 'open'] as const;

const path = z.string().superRefine((value, context) => {
  const problem = pathProblem(value);
  if (problem) context.addIssue({ code: 'custom', message: `${quote(value)}: ${problem}` });
});
const word = z
  .string()
  .regex(/^[a-z0-9][a-z0-9-]{0,62}$/, 'use 1 to 63 lower-case letters, digits and hyphens, not starting with a hyphen');
const text = z.string().trim().min(1, 'say it in a few words').max(2000);
const split = z.strictObject({ samples: z.union([path, z.array(path).min(1).max(10_000)]) });
const column = z.string().min(1).max(200);
const columnOrSeveral = z.union([column, z.array(column).min(1).max(100)]);

const manifestSchema = z.strictObject({
  schema: z.literal(1, { error: 'this version reads schema 1' }),
  name: word,
  title: text.optional(),
  kind: z.enum(KINDS),
  metric: word,
  format: word.optional(),
  question: text.optional(),
  columns: z
    .strictObject({
      id: column.optional(),
      image: columnOrSeveral.optional(),
      question: column.optional(),
      input: column.optional(),
      answer: column.optional(),
      references: column.optional(),
      choices: column.optional(),
      system: column.optional(),
      history: column.optional(),
      messages: column.optional(),
    })
    .optional(),
  ignore: z.array(column).max(1000).optional(),
  reasoning: z.enum(['learn', 'leave-out']).optional(),
  marker: z.string().min(2).max(100).optional(),
  specialTokens: z.literal(true).optional(),
  images: path.optional(),
  instructionFormat: text.optional(),
  splits: z.strictObject({ train: split, validation: split.optional(), test: split }),
  files: z
    .array(
      z.strictObject({
        path,
        size: z.int().nonnegative(),
        sha256: z.string().regex(/^[0-9a-f]{64}$/, 'a SHA-256 is 64 lower-case hexadecimal digits'),
      }),
    )
    .min(1)
    .max(5_000_000),
  licence: text,
  source: text,
});

/**
 * `dataset.json`. Paths are relative to it.
 * - `kind`: what an answer looks like; `metric`: registry name of the scorer, for example `option-letter`
 * - `format`: registry name of the reader of the samples files; when absent, what the files plainly are
 * - `question`, `columns`: for formats of rows: what is asked about every image, and names of columns that are not the usual ones
 * - `ignore`: keys of samples that are left out on purpose, at whatever depth they stand
 * - `reasoning`: whether what an assistant thought is learned or left out; without it, samples that hold it are refused
 * - `marker`: what marks a picture in the texts of this dataset; `<image>` and all other marks are text then
 * - `images`: the folder from which paths of images count, where that is not the folder of `dataset.json`
 * - `specialTokens`: the texts may use the model's own special tokens
 * - `splits`: the samples of each, one file, several (shards), or a folder of images
 * - `instructionFormat`: what the instructions ask for, in words; only shown
 * - `files`: every file of the dataset but this one
 */
export type Manifest = z.infer<typeof manifestSchema>;

export type SplitName = keyof Manifest['splits'];

/** The splits in the order in which they are shown. */
export const SPLITS: readonly SplitName[] = ['train', 'validation', 'test'];

/** Reads and checks a manifest. `BadDataset` names every field that is wrong. */
export function parseManifest(bytes: Uint8Array): Manifest {
  refuseByteOrderMark(bytes, MANIFEST_FILE);
  const value = parseJson(bytes, MANIFEST_FILE, { errorName: 'BadDataset' });
  const result = manifestSchema.safeParse(value);
  if (!result.success) {
    const issues = result.error.issues.map((issue) => {
      const where = issue.path.map((part) => (typeof part === 'number' ? `[${part}]` : `.${String(part)}`)).join('');
      return `${where.replace(/^\./, '') || 'the manifest'}: ${issue.message}`;
    });
    const rest = issues.length > 20 ? ` (and ${issues.length - 20} more)` : '';
    throw new LiloraError(
      'BadDataset',
      `${MANIFEST_FILE}: ${issues.slice(0, 20).join('; ')}${rest}. Correct the manifest.`,
    );
  }
  refuseRepeatedPaths(result.data);
  return result.data;
}

/** The manifest of a dataset. One over the size limit is refused before it is read. */
export async function readManifest(source: DatasetSource): Promise<Manifest> {
  const most = DEFAULTS['dataset.maxManifestBytes'].value;
  const bytes = await source.read(MANIFEST_FILE, (size) => {
    if (size <= most) return;
    throw new LiloraError(
      'BadDataset',
      `${MANIFEST_FILE}: ${size} bytes, over the limit of ${most}. Split the dataset.`,
    );
  });
  return parseManifest(bytes);
}

/** SHA-256 of the canonical manifest: the version of the dataset, whatever the order of its keys. */
export function datasetVersion(manifest: Manifest): string {
  // Without a format a dataset once was LLaVA's; the versions of those stay what they were.
  return digestOf({ ...manifest, format: manifest.format ?? 'llava' });
}

/** The files or the folder that hold the samples of a split; none when there is no such split. */
export function samplesOf(manifest: Manifest, split: SplitName): readonly string[] {
  return [manifest.splits[split]?.samples ?? []].flat();
}

/** Refuses text that begins with a byte order mark (UTF-8, UTF-16, UTF-32). */
export function refuseByteOrderMark(bytes: Uint8Array, file: string): void {
  const [a, b, c] = bytes;
  const utf8 = a === 0xef && b === 0xbb && c === 0xbf;
  const utf16 = (a === 0xff && b === 0xfe) || (a === 0xfe && b === 0xff);
  if (!utf8 && !utf16) return;
  const what = utf8 ? 'begins with a byte order mark' : 'is UTF-16 text';
  throw new LiloraError('BadDataset', `${file}: ${what}. Save it as plain UTF-8 without a byte order mark.`);
}

function refuseRepeatedPaths(manifest: Manifest): void {
  const seen = new Set<string>();
  for (const { path } of manifest.files) {
    if (seen.has(path)) {
      throw new LiloraError('BadDataset', `${MANIFEST_FILE}: files: ${quote(path)} is listed twice. List it once.`);
    }
    seen.add(path);
  }
  if (seen.has(MANIFEST_FILE)) {
    throw new LiloraError('BadDataset', `${MANIFEST_FILE}: files: the manifest cannot list itself. Remove that entry.`);
  }
  const used = new Map<string, SplitName>();
  for (const name of SPLITS)
    for (const samples of samplesOf(manifest, name)) {
      const other = used.get(samples);
      if (other) {
        const what =
          other === name
            ? `split ${name} reads ${quote(samples)} twice`
            : `splits ${other} and ${name} overlap: both read ${quote(samples)}`;
        throw new LiloraError('BadDataset', `${MANIFEST_FILE}: ${what}. Give each split its own files.`);
      }
      used.set(samples, name);
    }
}
