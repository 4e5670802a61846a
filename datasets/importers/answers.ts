import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DEFAULTS } from '../../core/defaults.ts';
import { LiloraError } from '../../core/errors.ts';
import { parseJson } from '../../core/json.ts';
import { isObject } from '../forms/values.ts';
import { quote } from '../problems.ts';

/** A question of a test file, and its place in it. */
export interface Question {
  readonly id: string;
  readonly image: string | null;
  readonly index: number;
}

/** The accepted answers of a question; null when the file does not know it. */
export type Answers = (question: Question) => readonly string[] | null;

/** A file with accepted answers, apart from the question file. */
export interface AnswerFile {
  /** Where it lies: among the images, or beside the question file. */
  readonly place: 'images' | 'questions';
  readonly path: string;
  /** Metric of the field that needs them; the released scripts then go by the question file. Absent: both need them. */
  readonly standard?: string;
  /** Turns what the file holds into answers; `BadDataset` when it is of another form. */
  read(value: unknown, file: string): Answers;
}

/** Reads a JSON file of any size that a dataset may have; null when there is none. */
export async function readJsonFile(path: string): Promise<unknown> {
  const bytes = await readFile(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return null;
    throw error;
  });
  if (bytes === null) return null;
  const maxBytes = 4 * DEFAULTS['dataset.maxFileBytes'].value;
  return parseJson(bytes, path, { errorName: 'BadDataset', maxBytes });
}

/** ScienceQA's `problems.json`: the index of the right choice of every problem, as a letter. */
export const scienceQaLetters: AnswerFile = {
  place: 'images',
  path: join('ScienceQA', 'problems.json'),
  read(value, file) {
    const problems = objectIn(value, file);
    return ({ id }) => {
      const problem = Object.hasOwn(problems, id) ? problems[id] : null;
      if (!isObject(problem)) return null;
      const { answer } = problem;
      if (typeof answer !== 'number' || !(answer in [...'ABCDEFGHIJ']))
        throw bad(file, `problem ${quote(id)} has the answer ${quote(answer)}, which is no index of a choice`);
      return ['ABCDEFGHIJ'[answer]!];
    };
  },
};

/** TextVQA's annotations: ten answers of people to every question. */
export const textVqaAnswers: AnswerFile = {
  place: 'images',
  path: join('TextVQA', 'TextVQA_0.5.1_val.json'),
  read(value, file) {
    const known = new Map(
      listIn(objectIn(value, file)['data'], 'data', file).map((entry) => [
        String(entry['question_id']),
        texts(entry['answers'], file),
      ]),
    );
    return ({ id }) => known.get(id) ?? null;
  },
};

/** VQAv2's annotations: ten answers to every question. */
export const vqaAnswers: AnswerFile = {
  place: 'images',
  path: join('VQAv2', 'v2_mscoco_val2014_annotations.json'),
  standard: 'vqa',
  read: (value, file) => people(listIn(objectIn(value, file)['annotations'], 'annotations', file), 'question_id', file),
};

/** VizWiz's annotations: ten answers to every picture, by its name. */
export const vizWizAnswers: AnswerFile = {
  place: 'images',
  path: join('VizWiz', 'Annotations', 'val.json'),
  standard: 'vqa',
  read: (value, file) => people(listIn(value, 'the whole', file), 'image', file),
};

/** Answers of several people, each an object. */
function people(list: readonly Record<string, unknown>[], key: 'question_id' | 'image', file: string): Answers {
  const known = new Map<string, string[]>();
  for (const entry of list)
    known.set(
      String(entry[key]),
      listIn(entry['answers'], 'answers', file).flatMap(({ answer }) => texts(answer, file)),
    );
  return ({ id, image }) => known.get(key === 'image' ? baseName(image ?? '') : id) ?? null;
}

/** GQA's balanced test questions: one answer each, by id. */
export const gqaAnswers: AnswerFile = {
  place: 'images',
  path: join('GQA', 'testdev_balanced_questions.json'),
  read(value, file) {
    const questions = objectIn(value, file);
    return ({ id }) => {
      const question = Object.hasOwn(questions, id) ? questions[id] : null;
      return isObject(question) ? texts([question['answer']], file) : null;
    };
  },
};

/** Captions in the form of COCO; pictures are counted from 1 in the order of the questions. */
export const cocoCaptions: AnswerFile = {
  place: 'questions',
  path: 'val_coco_type_3000.json',
  read(value, file) {
    const all = objectIn(value, file);
    const captions = new Map<unknown, string[]>();
    for (const { image_id: id, caption } of listIn(all['annotations'], 'annotations', file))
      captions.set(id, [...(captions.get(id) ?? []), ...texts([caption], file)]);
    const names = new Map(
      listIn(all['images'] ?? [], 'images', file).map((image) => [image['id'], image['file_name']]),
    );
    return ({ index, image }) => {
      const name = names.get(index + 1);
      if (typeof name === 'string' && image !== null && baseName(name) !== baseName(image))
        throw bad(
          file,
          `image ${index + 1} is ${quote(name)}, but the question of that place asks about ${quote(image)}`,
        );
      return captions.get(index + 1) ?? null;
    };
  },
};

const baseName = (path: string) => path.slice(path.lastIndexOf('/') + 1);

/** Answers as a list of texts. */
export function texts(value: unknown, file: string): string[] {
  const all: unknown[] = Array.isArray(value) ? value : [value];
  return all.map((item) => {
    if (typeof item !== 'string' && typeof item !== 'number') throw bad(file, `${quote(item)} is no answer`);
    return String(item);
  });
}

function objectIn(value: unknown, file: string): Record<string, unknown> {
  if (!isObject(value)) throw bad(file, 'an object is expected');
  return value;
}

function listIn(value: unknown, key: string, file: string): Record<string, unknown>[] {
  if (!Array.isArray(value) || !value.every(isObject)) throw bad(file, `"${key}" must be a list of objects`);
  return value;
}

const bad = (file: string, what: string) =>
  new LiloraError('BadDataset', `${file}: ${what}. Fetch the benchmark's file again.`);
