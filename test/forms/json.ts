import {
  bareTurns,
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
  sampleOf,
} from './plain.ts';

/* Forms of one JSON object per sample. */

interface Shape {
  readonly name: string;
  readonly limits?: Limits;
  /** The object of one sample. */
  readonly object: (sample: PlainSample) => object;
  /** As one array, not as lines; and how the file is called, where not accordingly. */
  readonly array?: true;
  readonly called?: 'json' | 'jsonl';
  /** The pictures stand in the samples. */
  readonly inline?: true;
  readonly about?: { readonly format: string };
}

function jsonForm({ name, limits = {}, object, array, called, inline, about }: Shape): Form {
  return {
    name,
    limits,
    write(split, samples) {
      const path = `${split}.${called ?? (array ? 'json' : 'jsonl')}`;
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

/** Question by question, as The Cauldron has them. */
const rounds = (turns: readonly PlainTurn[]) =>
  turns.flatMap(({ role, text }, i) =>
    role === 'user' ? [{ user: text, assistant: turns[i + 1]!.text, source: 'tests' }] : [],
  );

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
  jsonForm({
    name: 'rows, one per line in a file called json',
    called: 'json',
    limits: { pair: true },
    object: (sample) => ({ ...common(sample), images: picturePaths(sample), ...rowOf(sample) }),
  }),
  jsonForm({
    name: 'alpaca',
    array: true,
    limits: { pair: true, markers: 'before' },
    object: (sample) => {
      const { question, answer } = plainPair(sample)!;
      const [instruction, ...lines] = question.split('\n');
      const input = lines.join('\n');
      const isTwo = instruction!.trim() !== '' && input.trim() !== '';
      const asked = isTwo ? { instruction, input } : { instruction: question, input: '' };
      return { ...common(sample), ...asked, output: answer, ...optional('images', picturePaths(sample)) };
    },
  }),
  jsonForm({
    name: 'query and response with a history',
    object: (sample) => {
      const system = sample.turns.find(({ role }) => role === 'system');
      const said = sample.turns.filter(({ role }) => role !== 'system').map(({ text }) => text);
      const rounds = said.flatMap((text, i) => (i % 2 === 0 ? [[text, said[i + 1]!] as const] : []));
      const [query, response] = rounds.at(-1)!;
      const row = { ...common(sample), system: system?.text ?? '', query, response, images: picturePaths(sample) };
      return { ...row, history: rounds.slice(0, -1) };
    },
  }),
  jsonForm({
    name: 'prompt and completion',
    limits: { pair: true },
    object: (sample) => {
      const { question, answer } = rowOf(sample);
      return { ...common(sample), prompt: question, completion: ` ${answer}`, images: picturePaths(sample) };
    },
  }),
  jsonForm({
    name: 'prompt and completion of messages',
    limits: { pair: true },
    object: (sample) => {
      const messages = sample.turns.map(({ role, text }) => ({ role, content: text }));
      const [prompt, completion] = [messages.slice(0, -1), messages.slice(-1)];
      return { ...common(sample), prompt, completion, images: picturePaths(sample) };
    },
  }),
  jsonForm({
    name: 'texts',
    limits: { system: 'none' },
    object: (sample) => ({
      ...common(sample),
      images: picturePaths(sample),
      texts: rounds(bareTurns(sample) ?? sample.turns),
    }),
  }),
  jsonForm({
    name: 'captions',
    limits: { pair: true, pictures: 'one', markers: 'before', references: 'listed' },
    object: (sample) => ({
      id: sample.id,
      image: picturePaths(sample)[0],
      question: plainPair(sample)!.question,
      captions: sampleOf(sample).references,
    }),
  }),
  jsonForm({
    name: 'conversations as JSON text',
    object: (sample) => ({
      ...common(sample),
      images: JSON.stringify(picturePaths(sample)),
      conversations: JSON.stringify(humanGpt(sample.turns)),
    }),
  }),
];
