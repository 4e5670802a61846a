import {
  dataUris,
  type Files,
  type Form,
  jsonLines,
  type Limits,
  MARKER,
  type PlainSample,
  type PlainTurn,
  pairOf,
  pictureFiles,
  picturePaths,
  plainPair,
} from './plain.ts';

/* Forms of one JSON object per sample. */

interface Shape {
  readonly name: string;
  readonly limits?: Limits;
  /** The object of one sample. */
  readonly object: (sample: PlainSample) => object;
  /** As one array, not as lines. */
  readonly array?: true;
  /** The pictures stand in the samples. */
  readonly inline?: true;
  readonly about?: { readonly format: string };
}

function jsonForm({ name, limits = {}, object, array, inline, about }: Shape): Form {
  return {
    name,
    limits,
    write(split, samples) {
      const path = `${split}.${array ? 'json' : 'jsonl'}`;
      const objects = samples.map(object);
      const files: Files = { [path]: array ? JSON.stringify(objects, null, 1) : jsonLines(objects) };
      return {
        samples: path,
        files: { ...files, ...(inline ? {} : pictureFiles(samples)) },
        ...(about && { about }),
      };
    },
  };
}

const optional = (key: string, value: readonly unknown[] | undefined) =>
  value && value.length > 0 ? { [key]: value } : {};
/** One value alone, several as a list. */
const oneOrMore = (values: readonly string[]) => (values.length === 1 ? values[0] : values);
const common = (sample: PlainSample) => ({ id: sample.id, ...optional('references', sample.references) });

const fromValue = (names: Readonly<Record<PlainTurn['role'], string>>) => (turns: readonly PlainTurn[]) =>
  turns.map(({ role, text }) => ({ from: names[role], value: text }));
const humanGpt = fromValue({ user: 'human', assistant: 'gpt', system: 'system' });

/** Text and images of a turn in their order; an image gives a marker and a line end. */
function parts(turn: PlainTurn, images: string[], part: (path: string) => object): object[] {
  return turn.text
    .split(`${MARKER}\n`)
    .flatMap((piece, i) => [
      ...(i > 0 ? [part(images.shift()!)] : []),
      ...(piece === '' ? [] : [{ type: 'text', text: piece }]),
    ]);
}

function messagesOfParts(sample: PlainSample, sources: readonly string[], part: (path: string) => object) {
  const rest = [...sources];
  return sample.turns.map((turn) => ({
    role: turn.role,
    content: turn.role === 'user' ? parts(turn, rest, part) : turn.text,
  }));
}

const rowOf = (sample: PlainSample) => pairOf(sample)!;

export const JSON_FORMS: readonly Form[] = [
  jsonForm({
    name: 'messages',
    object: (sample) => ({
      ...common(sample),
      messages: sample.turns.map(({ role, text }) => ({ role, content: text })),
      ...optional('images', picturePaths(sample)),
    }),
  }),
  jsonForm({
    name: 'messages of parts',
    array: true,
    limits: { markers: 'lines' },
    object: (sample) => ({
      ...common(sample),
      messages: messagesOfParts(sample, picturePaths(sample), (image) => ({ type: 'image', image })),
    }),
  }),
  jsonForm({
    name: 'messages with pictures in them',
    inline: true,
    limits: { markers: 'lines' },
    object: (sample) => ({
      ...common(sample),
      messages: messagesOfParts(sample, dataUris(sample), (url) => ({ type: 'image_url', image_url: { url } })),
    }),
  }),
  jsonForm({
    name: 'llava',
    array: true,
    object: (sample) => ({
      ...common(sample),
      ...(sample.pictures.length > 0 && { image: oneOrMore(picturePaths(sample)) }),
      conversations: humanGpt(sample.turns),
    }),
  }),
  jsonForm({
    name: 'sharegpt',
    object: (sample) => {
      const [first, ...rest] = sample.turns as [PlainTurn, ...PlainTurn[]];
      const isSystem = first.role === 'system';
      return {
        ...common(sample),
        ...(isSystem && { system: first.text }),
        conversations: humanGpt(isSystem ? rest : sample.turns),
        images: picturePaths(sample),
      };
    },
  }),
  jsonForm({
    name: 'rows',
    limits: { pair: true },
    object: (sample) => ({
      ...common(sample),
      ...(sample.pictures.length > 0 && { image: oneOrMore(picturePaths(sample)) }),
      ...(plainPair(sample) ?? rowOf(sample)),
    }),
  }),
  jsonForm({
    name: 'rows with pictures in them',
    array: true,
    inline: true,
    limits: { pair: true },
    object: (sample) => ({ ...common(sample), images: dataUris(sample), ...rowOf(sample) }),
  }),
];
