import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { readSafetensors } from '../../core/safetensors.ts';
import type { Sample, Turn } from '../../core/sample.ts';
import { startTensors } from '../../learning/tensors/backend.ts';
import { reference } from '../../test/reference.ts';
import { imageSizes } from '../image.ts';
import { openChat } from './chat.ts';
import { openProcessor } from './processor.ts';
import { openTokenizer } from './tokenizer.ts';

/** Texts, ids and pictures that transformers computed (test/fixtures/README.md). */
const FIXTURES = join(import.meta.dirname, '../../test/fixtures');

beforeAll(() => startTensors('cpu'));

describe.each(['llava-mha', 'llava-gqa', 'smolvlm', 'qwen2vl'])('%s', async (name) => {
  const folder = join(FIXTURES, name, 'model');
  const expected = JSON.parse(readFileSync(join(FIXTURES, name, 'expected.json'), 'utf8'));
  const inputs = readSafetensors(readFileSync(join(FIXTURES, name, 'inputs.safetensors')), 'inputs').tensors;
  const tokens = await openTokenizer(folder);
  const processor = await openProcessor(folder);
  const file = (image: string) => readFileSync(join(FIXTURES, 'images', image));
  const names = ['wide.png', 'tall.jpg', 'gray.png', 'alpha.png', 'exact.png'];
  const sizes = await imageSizes(new Map(names.map((image) => [image, file(image)])));
  /** Real tokens of one row of a case. */
  const row = (at: string, i: number, key = 'input_ids') => {
    const tensor = inputs.get(`${at}/${key}`)!;
    const mask = inputs.get(`${at}/attention_mask`)!.data as Int32Array;
    const length = tensor.shape[1]!;
    return [...(tensor.data as Int32Array)].filter((_, k) => mask[k] && Math.floor(k / length) === i);
  };

  it('encodes every text to the same ids', () => {
    for (const { text, ids } of expected.tokenizer.encode) {
      const bos = tokens.names['bos_token'];
      const twice = bos !== undefined && text.startsWith(bos) && ids[0] === ids[1];
      expect(tokens.encode(text), JSON.stringify(text)).toEqual(twice ? ids.slice(1) : ids);
    }
  });

  it('decodes to the same texts', () => {
    for (const { ids, text, text_skip } of expected.tokenizer.decode) {
      expect(tokens.decodeAll(ids)).toBe(text);
      expect(tokens.decode(ids)).toBe(text_skip);
    }
  });

  it('renders chats to the same texts and ids', async () => {
    for (const { messages, add_generation_prompt, template_variables, text, ids } of expected.chat) {
      const chat = await openChat(folder, { ...tokens.names, ...template_variables });
      const turns: Turn[] = messages.map(
        (message: { role: Turn['role']; content: Array<{ type: string; text?: string }> | string }) => ({
          role: message.role,
          text:
            typeof message.content === 'string'
              ? message.content
              : message.content.map((part) => (part.type === 'image' ? '<image>' : part.text)).join(''),
        }),
      );
      // Our turns hold markers in the text, so white space at a marker is not kept.
      const squeeze = (value: string) => value.replaceAll(/ +/g, ' ');
      const rendered = chat(turns, add_generation_prompt);
      expect(squeeze(rendered)).toBe(squeeze(text));
      if (rendered === text) expect(tokens.encode(rendered)).toEqual(ids);
    }
  });

  it('gives the tokens that the model was fed, every image as long as it is', () => {
    const cases = Object.entries<{ texts: string[]; images: string[][] | null }>(expected.cases);
    expect(cases.length).toBeGreaterThan(6);
    for (const [at, { texts, images }] of cases) {
      const grids: unknown[] = [];
      for (const [i, text] of texts.entries()) {
        const own = images?.[i] ?? [];
        expect(processor.countMarkers(text)).toBe(own.length);
        const encoded = processor.encodeRaw(text, own, sizes);
        expect([...encoded.inputIds], `${at} ${i}`).toEqual(row(at, i));
        grids.push(...(encoded.grids ?? []));
      }
      expect(grids).toEqual(reference(name).batch(at).grids ?? []);
    }
  });

  it('masks everything but the answer and the end token', () => {
    const { prompts, images } = expected.cases.train;
    const answers = ['A red square and a blue circle.', 'three'];
    const questions = [
      'What is shown in this image?',
      'How many shapes are there? Answer the question using a single word or phrase.',
    ];
    expect(prompts).toHaveLength(2);
    questions.forEach((question, i) => {
      const sample: Sample = {
        id: `row ${i}`,
        turns: [
          { role: 'user', text: `<image>\n${question}` },
          { role: 'assistant', text: answers[i]! },
        ],
        images: images[i],
        references: [answers[i]!],
      };
      const encoded = processor.encodeTraining(sample, sizes);
      const [ids, labels] = [row('train', i), row('train', i, 'labels')];
      const end = tokens.idOf(tokens.names['eos_token']!)!;
      const first = encoded.labels!.findIndex((label) => label !== -100);
      // The same prompt, image tokens included, and the same first token with loss.
      expect([...encoded.inputIds.slice(0, first)]).toEqual(ids.slice(0, first));
      expect(first).toBe(labels.findIndex((label) => label !== -100));
      expect([...encoded.labels!.slice(first)]).toEqual([...encoded.inputIds.slice(first)]);
      expect(encoded.inputIds.at(-1)).toBe(end);
      expect(tokens.decode([...encoded.inputIds.slice(first)]).trim()).toBe(answers[i]);
      const prompt = processor.encodePrompt(sample, sizes);
      expect([...prompt.inputIds]).toEqual([...encoded.inputIds.slice(0, first)]);
    });
  });

  it('gives the pixels that the model was fed', async () => {
    const { data } = await processor.pixels(file(expected.cases.one.images[0][0]));
    const wanted = reference(name).pixels('one')[0]!.dataSync();
    expect(data).toHaveLength(wanted.length);
    expect(data.reduce((worst, value, i) => Math.max(worst, Math.abs(value - wanted[i]!)), 0)).toBeLessThan(1e-6);
  });

  it('refuses special tokens in people’s text', () => {
    const sample: Sample = {
      id: 'x7',
      turns: [
        { role: 'user', text: `Ignore this ${tokens.names['eos_token']} and more` },
        { role: 'assistant', text: 'no' },
      ],
      images: [],
      references: ['no'],
    };
    expect(() => processor.encodeTraining(sample, sizes)).toThrow(
      `Sample x7: its text holds the special token ${tokens.names['eos_token']}`,
    );
  });

  it('takes several answers in one conversation', () => {
    const turns: Turn[] = [
      { role: 'user', text: 'first?' },
      { role: 'assistant', text: 'one' },
      { role: 'user', text: 'second?' },
      { role: 'assistant', text: 'two' },
    ];
    const { inputIds, labels } = processor.encodeTraining({ id: 'two', turns, images: [], references: ['two'] }, sizes);
    const told = tokens.decode([...inputIds].filter((_, i) => labels![i] !== -100));
    expect(told.replaceAll(/\s+/g, ' ').trim()).toMatch(/^one ?two$/);
  });
});
