import { rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { LiloraError } from '../../core/errors.ts';
import { IMAGE_MARKER } from '../../core/sample.ts';
import { llava } from '../forms/conversation.ts';
import { readSample } from '../forms/read-sample.ts';
import { isObject, SampleProblem } from '../forms/values.ts';
import type { Manifest } from '../manifest.ts';
import { Problems, quote } from '../problems.ts';
import type { ReadSample } from '../readers/reader.ts';
import { pathProblem } from '../source.ts';
import { writeManifest } from '../write-manifest.ts';
import { type Answers, readJsonFile, texts } from './answers.ts';
import type { Benchmark, BenchmarkTask } from './benchmarks.ts';
import { linkImages, missingImages, mustHaveAll, withoutOverlap, writeSamples } from './write-task.ts';

export interface Places {
  /** Folder with a folder of question files for each task. */
  readonly questions: string;
  /** Folder that image paths start from. */
  readonly images: string;
  /** Folder in which the dataset's folder is made. */
  readonly out: string;
}

/** What became of a task. */
export interface Imported {
  readonly name: string;
  readonly folder: string;
  readonly metric: string;
  readonly train: number;
  readonly test: number;
  /** Training samples that are also test samples, and so were left out. */
  readonly overlap: number;
  /** Samples of both splits that were left out because their image is not there. */
  readonly missing: number;
  readonly notes: readonly string[];
}

/**
 * Turns one task of a benchmark into a dataset: conversations in the LLaVA format, with every accepted answer, and the
 * images that they need (linked where the file system allows it, else copied). The folder appears when it is whole.
 * `BadDataset` lists what is wrong, `NotFound` which images are missing.
 */
export async function importTask(
  benchmark: Benchmark,
  task: BenchmarkTask,
  places: Places,
  { scoring, skipMissing = false }: { readonly scoring: 'standard' | 'paper'; readonly skipMissing?: boolean },
): Promise<Imported> {
  const folder = join(places.out, task.name);
  if (await stat(folder).catch(() => null))
    throw new LiloraError('BadConfig', `${folder} is there already. Remove it, or name another folder.`);
  const questions = join(places.questions, task.folder);
  const problems = new Problems();
  const notes: string[] = [];
  const answers = await answersOf(task, questions, places.images, scoring, notes);
  const asked = await problems.stage(questions, () => testSamples(task, questions, answers, problems));
  const told = await problems.stage(questions, () => trainSamples(task, questions, problems));
  const missing = await missingImages(imagesOf([...told, ...asked]), places.images);
  if (!skipMissing) mustHaveAll(missing, places.images);
  const whole = (samples: ReadSample[]) =>
    samples.filter(({ images }) => !images.some((image) => missing.has(String(image))));
  const [test, all] = [whole(asked), whole(told)];
  const train = await withoutOverlap(all, test, places.images);
  const partial = join(places.out, `.${task.name}.part`);
  if (scoring === 'paper' && task.caution) notes.push(task.caution);
  const metric = (answers && task.answers?.standard) ?? task.metric[scoring];
  try {
    await rm(partial, { recursive: true, force: true });
    const splits = {
      train: { samples: await writeSamples(partial, 'train', train) },
      test: { samples: await writeSamples(partial, 'test', test) },
    };
    await linkImages(imagesOf([...train, ...test]), places.images, partial);
    await writeManifest(partial, {
      name: task.name,
      title: `${task.folder} of ${benchmark.title}`,
      kind: task.kind,
      metric,
      format: llava.name,
      splits,
      licence: `see ${task.folder} and ${benchmark.source}`,
      source: benchmark.source,
    });
    await rename(partial, folder);
  } catch (error) {
    await rm(partial, { recursive: true, force: true });
    throw error;
  }
  const overlap = all.length - train.length;
  const lost = asked.length + told.length - test.length - all.length;
  return { name: task.name, folder, metric, train: train.length, test: test.length, overlap, missing: lost, notes };
}

const imagesOf = (samples: readonly ReadSample[]) => new Set(samples.flatMap(({ images }) => images.map(String)));

/** Whether the folder of a task is there. */
export async function hasTask(task: BenchmarkTask, questions: string): Promise<boolean> {
  return (await stat(join(questions, task.folder)).catch(() => null))?.isDirectory() ?? false;
}

async function questionFile(folder: string, names: readonly string[]): Promise<{ file: string; list: unknown[] }> {
  for (const name of names) {
    const file = join(folder, name);
    const list = await readJsonFile(file);
    if (list === null) continue;
    if (!Array.isArray(list)) throw new LiloraError('BadDataset', `${file}: a list of samples is expected.`);
    return { file, list };
  }
  throw new LiloraError('NotFound', `${folder} has no ${names.join(' or ')}. Fetch the question files again.`);
}

async function trainSamples(task: BenchmarkTask, folder: string, problems: Problems): Promise<ReadSample[]> {
  const { file, list } = await questionFile(folder, task.train);
  const id = uniqueIds('train');
  return each(list, file, problems, (sample, place) => {
    const conversations: unknown[] = Array.isArray(sample['conversations']) ? [...sample['conversations']] : [];
    const [first] = conversations;
    const image = imageOf(sample);
    if (isObject(first) && typeof first['value'] === 'string')
      conversations[0] = { ...first, value: withMarker(first['value'], image) };
    return read({ id: id(sample['id']), image, conversations }, place);
  });
}

async function testSamples(
  task: BenchmarkTask,
  folder: string,
  answers: Answers | null,
  problems: Problems,
): Promise<ReadSample[]> {
  const { file, list } = await questionFile(folder, task.test);
  const id = uniqueIds('test');
  return each(list, file, problems, (question, place, index) => {
    const image = imageOf(question);
    const key = String(question['question_id'] ?? question['id']);
    const references = answers ? answers({ id: key, image, index }) : ownAnswers(question, place);
    if (!references?.length) throw new SampleProblem(`${task.answers?.path} has no answer to question ${quote(key)}`);
    const conversations = [
      { from: 'human', value: withMarker(String(question['text'] ?? ''), image) },
      { from: 'gpt', value: references[0] },
    ];
    return read({ id: id(key), image, conversations, references }, place);
  });
}

function ownAnswers(question: Record<string, unknown>, place: string): string[] {
  const own = question['answer'] ?? question['answer_bbox'];
  if (own === undefined || own === null) throw new SampleProblem('no answer here, and none in an annotation file');
  // A box as a list of numbers is one answer.
  if (Array.isArray(own) && own.every((part) => typeof part === 'number')) return [`[${own.join(', ')}]`];
  return texts(own, place);
}

/** The answers of an annotation file; null when the question file's own are meant. */
async function answersOf(
  { answers }: BenchmarkTask,
  questions: string,
  images: string,
  scoring: 'standard' | 'paper',
  notes: string[],
): Promise<Answers | null> {
  if (!answers || (answers.standard !== undefined && scoring === 'paper')) return null;
  const file = join(answers.place === 'images' ? images : questions, answers.path);
  const value = await readJsonFile(file);
  if (value !== null) return answers.read(value, file);
  notes.push(`${file} is not there: the answers of the question file are taken`);
  return null;
}

function each(
  list: readonly unknown[],
  file: string,
  problems: Problems,
  make: (sample: Record<string, unknown>, place: string, index: number) => ReadSample,
): ReadSample[] {
  const samples: ReadSample[] = [];
  for (const [i, sample] of list.entries()) {
    const place = `${file}[${i}]`;
    try {
      if (!isObject(sample)) throw new SampleProblem('a sample must be an object');
      samples.push(make(sample, place, i));
    } catch (error) {
      if (error instanceof SampleProblem) problems.add(place, error.message);
      else problems.addError(error);
    }
  }
  return samples;
}

/** Through the rules of the LLaVA format. */
const read = (sample: Record<string, unknown>, place: string) =>
  readSample(sample, { place, where: place }, NO_MANIFEST, llava.name);
const NO_MANIFEST = { files: [], splits: {} } as unknown as Manifest;

/** Paths begin with `./` in some of the files. */
function imageOf(sample: Record<string, unknown>): string | null {
  const { image } = sample;
  if (image === undefined || image === null || image === '') return null;
  if (typeof image !== 'string') throw new SampleProblem(`"image" must be a path, not ${quote(image)}`);
  const path = image.replace(/^(?:\.\/)+/, '');
  const problem = pathProblem(path);
  if (problem) throw new SampleProblem(`image ${quote(image)}: ${problem}`);
  return path;
}

/** The released scripts put the image first, wherever its marker stands. */
function withMarker(text: string, image: string | null): string {
  const question = text.replaceAll(IMAGE_MARKER, '').trim();
  return image === null ? question : `${IMAGE_MARKER}\n${question}`;
}

/** The benchmarks' own ids where they are unique, with the split before them. */
function uniqueIds(split: string): (id: unknown) => string {
  const seen = new Map<string, number>();
  return (id) => {
    const base = `${split}-${String(id ?? '').slice(0, 150)}`;
    const times = (seen.get(base) ?? 0) + 1;
    seen.set(base, times);
    return times === 1 ? base : `${base}~${times}`;
  };
}
