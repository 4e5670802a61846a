import { type Form, MARKER, type PlainSample, type PlainTurn, pairOf, pictureFiles, picturePaths } from './plain.ts';

/* More forms of one JSON object per sample: as trainers and collections write them. */

const optional = (key: string, value: unknown[] | undefined) => (value && value.length > 0 ? { [key]: value } : {});
const common = (sample: PlainSample) => ({ id: sample.id, ...optional('references', sample.references as string[]) });

function form(name: string, object: (sample: PlainSample) => object, limits: Form['limits'] = {}): Form {
  return {
    name,
    limits,
    write: (split, samples) => ({
      samples: `${split}.json`,
      files: { [`${split}.json`]: JSON.stringify(samples.map(object)), ...pictureFiles(samples) },
    }),
  };
}

const chat = (turns: readonly PlainTurn[]) => turns.map(({ role, text }) => ({ role, content: text }));

/** System text, and question and answer of every round. */
function roundsOf({ turns }: PlainSample) {
  const system = turns[0]!.role === 'system' ? { system: turns[0]!.text } : {};
  const said = turns.filter(({ role }) => role !== 'system').map(({ text }) => text);
  return { system, rounds: said.flatMap((text, i) => (i % 2 === 0 ? [[text, said[i + 1]!] as const] : [])) };
}

/** Texts with marks of their own, counted over all turns. */
function marked(sample: PlainSample, mark: (number: number) => string): PlainTurn[] {
  let number = 0;
  return sample.turns.map((turn) => ({ ...turn, text: turn.text.replaceAll(MARKER, () => mark(number++)) }));
}

export const MORE_JSON_FORMS: readonly Form[] = [
  form('conversations with roles', (sample) => ({
    ...common(sample),
    conversations: chat(sample.turns),
    ...optional('image', picturePaths(sample)),
  })),
  form('conversations as JSON text', (sample) => ({
    ...common(sample),
    conversations: JSON.stringify(chat(sample.turns)),
    ...optional('images', picturePaths(sample)),
  })),
  form('conversations as lists by key', (sample) => ({
    ...common(sample),
    messages: { role: sample.turns.map(({ role }) => role), content: sample.turns.map(({ text }) => text) },
    ...optional('images', picturePaths(sample)),
  })),
  form('rows with history', (sample) => {
    const { system, rounds } = roundsOf(sample);
    const [query, response] = rounds.at(-1)!;
    return {
      ...common(sample),
      ...system,
      ...optional('history', rounds.slice(0, -1)),
      query,
      response,
      ...optional('images', picturePaths(sample)),
    };
  }),
  form('texts of users and assistants', (sample) => {
    const { system, rounds } = roundsOf(sample);
    const texts = rounds.map(([user, assistant]) => ({ user, assistant, source: 'made' }));
    return { ...common(sample), ...system, texts, ...optional('images', picturePaths(sample)) };
  }),
  form(
    'prompt and completion',
    (sample) => ({
      ...common(sample),
      prompt: chat(sample.turns.slice(0, -1)),
      completion: chat(sample.turns.slice(-1)),
      ...optional('images', picturePaths(sample)),
    }),
    { pair: true },
  ),
  form('pictures by their marks', (sample) => {
    const mark = (number: number) => `<image_${String(number).padStart(2, '0')}>`;
    return {
      ...common(sample),
      image: Object.fromEntries(picturePaths(sample).map((path, i) => [mark(i), path])),
      conversations: chat(marked(sample, mark)),
    };
  }),
  form(
    'pictures in numbered columns',
    (sample) => ({
      ...common(sample),
      ...Object.fromEntries(picturePaths(sample).map((path, i) => [`image_${i + 1}`, path])),
      ...pairOf({ ...sample, turns: marked(sample, (number) => `<image ${number + 1}>`) }),
    }),
    { pair: true },
  ),
];
