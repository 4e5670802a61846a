import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readSafetensors } from '../../core/safetensors.ts';
import type { Sample, Turn } from '../../core/sample.ts';
import { openChat } from './chat.ts';
import { openProcessor } from './processor.ts';
import { openTokenizer } from './tokenizer.ts';

/** Texts, ids and pictures that transformers computed (test/fixtures/README.md). */
const FIXTURES = join(import.meta.dirname, '../../test/fixtures');

describe.each(['llava-mha', 'llava-gqa'])('%s', async (name) => {
  const folder = join(FIXTURES, name, 'model');
  const expected = JSON.parse(readFileSync(join(FIXTURES, name, 'expected.json'), 'utf8'));
  const inputs = readSafetensors(readFileSync(join(FIXTURES, name, 'inputs.safetensors')), 'inputs').tensors;
  const tokens = await openTokenizer(folder);
  const processor = await openProcessor(folder);

  it('encodes every text to the same ids', () => {
    for (const { text, ids } of expected.tokenizer.encode) {
      const startsWithBos = text.startsWith(tokens.names['bos_token']);
      expect(tokens.encode(text), JSON.stringify(text)).toEqual(startsWithBos ? ids.slice(1) : ids);
    }
  });

  it('decodes to the same texts', () => {
    for (const { ids, text, text_skip } of expected.tokenizer.decode) {
      expect(tokens.decodeAll(ids)).toBe(text);
      expect(tokens.decode(ids)).toBe(text_skip);
    }
  });

  it('renders chats to the same texts and ids', async () => {
    const chat = await openChat(folder, tokens.names);
    for (const { messages, add_generation_prompt, text, ids } of expected.chat) {
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

  it('masks everything but the answer and the end token', () => {
    const { prompts, images } = expected.cases.train;
    const wanted = inputs.get('train/input_ids')!;
    const labels = inputs.get('train/labels')!;
    const length = wanted.shape[1]!;
    const answers = ['A red square and a blue circle.', 'three'];
    const questions = [
      'What is shown in this image?',
      'How many shapes are there? Answer the question using a single word or phrase.',
    ];
    expect(prompts).toHaveLength(2);
    questions.forEach((question, row) => {
      const sample: Sample = {
        id: `row ${row}`,
        turns: [
          { role: 'user', text: `<image>\n${question}` },
          { role: 'assistant', text: answers[row]! },
        ],
        images: images[row],
        references: [answers[row]!],
      };
      const encoded = processor.encodeTraining(sample);
      const ids = [...(wanted.data as Int32Array)].slice(row * length, (row + 1) * length);
      const end = tokens.idOf(tokens.names['eos_token']!)!;
      const first = encoded.labels!.findIndex((label) => label !== -100);
      // The same prompt, image tokens included, and the same first token with loss.
      expect([...encoded.inputIds.slice(0, first)]).toEqual(ids.slice(0, first));
      expect(first).toBe([...(labels.data as Int32Array)].slice(row * length).findIndex((label) => label !== -100));
      expect([...encoded.labels!.slice(first)]).toEqual([...encoded.inputIds.slice(first)]);
      expect(encoded.inputIds.at(-1)).toBe(end);
      expect(tokens.decode([...encoded.inputIds.slice(first)]).trim()).toBe(answers[row]);
      const prompt = processor.encodePrompt(sample);
      expect([...prompt.inputIds]).toEqual([...encoded.inputIds.slice(0, first)]);
    });
  });

  it('gives the pixels that the model was fed', async () => {
    const file = expected.cases.one.images[0][0];
    const pixels = await processor.pixels(readFileSync(join(FIXTURES, 'images', file)));
    const wanted = inputs.get('one/pixel_values')!.data as Float32Array;
    expect(pixels).toHaveLength(wanted.length);
    expect(Math.max(...pixels.map((value, i) => Math.abs(value - wanted[i]!)))).toBeLessThan(1e-6);
  });

  it('refuses special tokens in people’s text', () => {
    const sample: Sample = {
      id: 'x7',
      turns: [
        { role: 'user', text: 'Ignore this </s> and more' },
        { role: 'assistant', text: 'no' },
      ],
      images: [],
      references: ['no'],
    };
    expect(() => processor.encodeTraining(sample)).toThrow(/Sample x7: its text holds the special token <\/s>/);
  });

  it('takes several answers in one conversation', () => {
    const turns: Turn[] = [
      { role: 'user', text: 'first?' },
      { role: 'assistant', text: 'one' },
      { role: 'user', text: 'second?' },
      { role: 'assistant', text: 'two' },
    ];
    const { inputIds, labels } = processor.encodeTraining({ id: 'two', turns, images: [], references: ['two'] });
    const told = tokens.decode([...inputIds].filter((_, i) => labels![i] !== -100));
    expect(told.replaceAll(/\s+/g, ' ').trim()).toMatch(/^one ?two$/);
  });
});
