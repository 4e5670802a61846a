import { sha256 } from '../../core/digest.ts';
import type { Sample } from '../../core/sample.ts';
import type { About } from '../../datasets/write-manifest.ts';

/** A sample as a person thinks of it, before it is written in one form or another. */
export interface PlainSample {
  readonly id: string;
  /** Question and answer in turns; one `<image>` in the questions for every picture. */
  readonly turns: readonly PlainTurn[];
  /** Encoded, in the order of the markers. */
  readonly pictures: readonly Uint8Array[];
  /** Accepted answers; without them the last answer is the only one. */
  readonly references?: readonly string[];
}

export interface PlainTurn {
  readonly role: 'system' | 'user' | 'assistant';
  readonly text: string;
}

/** Whether the accepted answers begin with the one that is learned, and none stands there twice. */
function isListed(sample: PlainSample): boolean {
  const { references } = sampleOf(sample);
  return references[0] === sample.turns.at(-1)!.text && new Set(references).size === references.length;
}

/** What a sample is to training. */
export const sampleOf = ({ id, turns, pictures, references }: PlainSample): Sample => ({
  id,
  turns,
  images: pictures.map((bytes) => sha256(bytes)),
  references: references ?? [turns.at(-1)!.text],
});

/** Content by path, relative to dataset.json. */
export type Files = Record<string, Uint8Array | string>;

/** One split, written. */
export interface Written {
  readonly samples: string | string[];
  readonly files: Files;
  /** What dataset.json must say so that it is read. */
  readonly about?: Partial<Pick<About, 'format' | 'question' | 'columns'>>;
}

/** A way to write samples. */
export interface Form {
  readonly name: string;
  readonly limits: Limits;
  write(split: string, samples: readonly PlainSample[]): Written | Promise<Written>;
}

/** What a form has no place for; nothing is said of what it has. */
export interface Limits {
  /** One question and its answer, no system turn. */
  readonly pair?: true;
  readonly system?: 'none';
  readonly pictures?: 'one' | 'at most one';
  /** Markers stand before the question, each on a line of its own; or anywhere, followed by a line end. */
  readonly markers?: 'before' | 'lines';
  /** No other answers than the last turn; or they are listed, the last turn first, each once. */
  readonly references?: 'none' | 'listed';
  /** Ids are names of files, or made by the reader. */
  readonly ids?: 'names' | 'none';
  /** Answers are names of folders. */
  readonly answers?: 'names';
  /** All samples ask the same. */
  readonly questions?: 'same';
}

export const NAME = /^[a-z0-9][a-z0-9_-]{0,60}$/;

/** Whether a form has a place for all that each of these samples says. */
export function fits({ limits }: Form, samples: readonly PlainSample[]): boolean {
  const asked = new Set(samples.map((sample) => plainPair(sample)?.question));
  return (limits.questions !== 'same' || asked.size === 1) && samples.every((sample) => fitsOne(limits, sample));
}

function fitsOne(limits: Limits, sample: PlainSample): boolean {
  const { id, turns, pictures, references } = sample;
  const lines = turns.every(({ text }) => !text.replaceAll(`${MARKER}\n`, '').includes(MARKER));
  return (
    (!limits.pair || pairOf(sample) !== null) &&
    (limits.pictures === undefined ||
      pictures.length === 1 ||
      (limits.pictures === 'at most one' && pictures.length === 0)) &&
    (limits.markers !== 'before' || plainPair(sample) !== null) &&
    (limits.markers !== 'lines' || lines) &&
    (limits.system === undefined || turns[0]?.role !== 'system') &&
    (limits.references !== 'none' || references === undefined) &&
    (limits.references !== 'listed' || isListed(sample)) &&
    (limits.ids !== 'names' || NAME.test(id)) &&
    (limits.answers === undefined || NAME.test(turns.at(-1)!.text))
  );
}

export const MARKER = '<image>';

/** Pictures as files, each once. */
export function pictureFiles(samples: readonly PlainSample[]): Files {
  return Object.fromEntries(samples.flatMap(({ pictures }) => pictures.map((bytes) => [picturePath(bytes), bytes])));
}

export const picturePath = (bytes: Uint8Array) => `images/${sha256(bytes).slice(0, 12)}.png`;

export const picturePaths = ({ pictures }: PlainSample) => pictures.map(picturePath);

export const dataUris = ({ pictures }: PlainSample) =>
  pictures.map((bytes) => `data:image/png;base64,${Buffer.from(bytes).toString('base64')}`);

export const jsonLines = (values: readonly unknown[]) => values.map((value) => `${JSON.stringify(value)}\n`).join('');

/** Question and answer of a sample that has no more turns. */
export interface Pair {
  readonly question: string;
  readonly answer: string;
}

export function pairOf({ turns }: PlainSample): Pair | null {
  const [user, assistant] = turns;
  if (turns.length !== 2 || user?.role !== 'user' || assistant?.role !== 'assistant') return null;
  return { question: user.text, answer: assistant.text };
}

/** The question without the markers before it, which readers of rows put there; null when markers stand elsewhere. */
export function bareQuestion(question: string, pictures: number): string | null {
  const before = `${MARKER}\n`.repeat(pictures);
  if (!question.startsWith(before)) return null;
  const rest = question.slice(before.length);
  return rest.includes(MARKER) ? null : rest;
}

/** Question and answer with all pictures before the question. */
export function plainPair(sample: PlainSample): Pair | null {
  const pair = pairOf(sample);
  const question = pair && bareQuestion(pair.question, sample.pictures.length);
  return pair && question !== null ? { question, answer: pair.answer } : null;
}

/** The turns with all pictures before the first question, which readers put there; null when markers stand elsewhere. */
export function bareTurns({ turns, pictures }: PlainSample): readonly PlainTurn[] | null {
  const first = turns.findIndex(({ role }) => role === 'user');
  const question = bareQuestion(turns[first]!.text, pictures.length);
  if (question === null || turns.slice(first + 1).some(({ text }) => text.includes(MARKER))) return null;
  return turns.map((turn, i) => (i === first ? { ...turn, text: question } : turn));
}

/** The only picture of a sample. */
export function onlyPicture({ id, pictures }: PlainSample): Uint8Array {
  if (pictures.length !== 1) throw new Error(`${id} has ${pictures.length} pictures`);
  return pictures[0]!;
}
