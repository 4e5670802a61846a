import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { Manifest } from '../manifest.ts';
import { Problems } from '../problems.ts';
import { Keys } from './keys.ts';
import { readSample } from './read-sample.ts';
import { NoClass, SampleProblem } from './values.ts';

const KEYS = [
  ...['messages', 'conversations', 'texts', 'prompt', 'completion', 'history', 'system', 'tools', 'references', 'id'],
  ...['question', 'instruction', 'input', 'context', 'answer', 'answers', 'label', 'caption', 'choices', 'title'],
  ...['image', 'images', 'image_1', 'image_2', 'video', 'reasoning', 'source', 'hint', 'chosen', 'metadata'],
];
const INNER = [
  ...[
    'role',
    'content',
    'from',
    'value',
    'type',
    'text',
    'image',
    'image_url',
    'url',
    'index',
    'loss',
    'weight',
    'name',
  ],
  ...['tool_calls', 'function', 'arguments', 'reasoning_content', 'user', 'assistant', 'bytes', 'path', 'label', 'A'],
];
const TEXTS = [
  'user',
  'gpt',
  'tool',
  'text',
  'image',
  '<image>',
  '<image 2>What?',
  'red',
  '',
  '[1]',
  "['a', 'b']",
  '{"name": "f"}',
];
const leaf = fc.oneof(
  fc.constantFrom<unknown>(...TEXTS, null, undefined, true, false, 0, 1, -1, 0.5, Number.NaN, 7n, new NoClass(-1)),
  fc.constantFrom<unknown>(new Uint8Array(2), new Date(0), 'i/1.png', '../x', 'data:image/png;base64,AAAA'),
  fc.string({ maxLength: 5 }),
);
const { value } = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    leaf,
    fc.array(tie('value'), { maxLength: 3 }),
    fc.dictionary(fc.constantFrom(...INNER), tie('value'), { maxKeys: 4 }),
  ),
}));
const turn = fc.record(
  { role: fc.constantFrom('user', 'assistant', 'system', 'tool'), content: value },
  { requiredKeys: [] },
);
const sample = fc.oneof(
  fc.dictionary(fc.constantFrom(...KEYS), value, { minKeys: 1, maxKeys: 6 }),
  fc.record({ messages: fc.array(turn, { maxLength: 4 }), images: value }, { requiredKeys: ['messages'] }),
  fc.record(
    { question: leaf, answer: value, choices: value, image: value, answers: value },
    { requiredKeys: ['question'] },
  ),
);
const settings = fc.record(
  {
    ignore: fc.array(fc.constantFrom(...KEYS, ...INNER), { maxLength: 3 }),
    marker: fc.constantFrom('<p>', '.*', '$&'),
    reasoning: fc.constantFrom('learn', 'leave-out'),
    question: fc.constant('What?'),
    columns: fc.dictionary(
      fc.constantFrom('image', 'answer', 'messages', 'input', 'choices'),
      fc.constantFrom(...KEYS),
    ),
  },
  { requiredKeys: [] },
);

it('whatever a sample holds, it is read with as many images as marks, or refused as a sample', () => {
  const read = fc.property(sample, settings, fc.boolean(), (given, about, isTable) => {
    const manifest = { files: [{ path: 'i/1.png' }], splits: {}, ...about } as unknown as Manifest;
    const keys = new Keys(new Problems());
    try {
      const { turns, images, references } = readSample(
        given,
        { place: 'f:1', where: 'f:1', keys, ...(isTable && { isTable }) },
        manifest,
      );
      const marks = turns.reduce((sum, { text }) => sum + text.split('<image>').length - 1, 0);
      expect(images).toHaveLength(marks);
      expect(turns.at(-1)!.role).toBe('assistant');
      for (const text of references) expect(typeof text).toBe('string');
    } catch (error) {
      if (!(error instanceof SampleProblem)) throw error;
    }
  });
  fc.assert(read, { numRuns: 5000 });
});
