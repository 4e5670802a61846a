import { expect, it } from 'vitest';
import { canonicalJson } from '../core/json.ts';
import type { Sample } from '../core/sample.ts';
import { lineOf } from './sample-list.ts';

const SAMPLE: Sample = {
  references: ['Sunny.'],
  id: '1',
  images: [],
  turns: [
    { text: 'Weather in Rome?', role: 'user' },
    {
      role: 'assistant',
      text: '',
      toolCalls: [{ name: 'weather', id: 'c', arguments: { place: 'Rome', day: { to: 2, from: 1 } } }],
    },
    { role: 'tool', text: 'sunny', toolCallId: 'c' },
    { role: 'assistant', text: 'Sunny.' },
  ],
  tools: [{ type: 'function', function: { name: 'weather', description: 'Tells it.' } }],
};

it('tools and arguments keep the order of their keys, which templates write; all else is canonical', () => {
  const line = lineOf(SAMPLE).toString();
  expect(line).toContain('"arguments":{"place":"Rome","day":{"to":2,"from":1}},"id":"c","name":"weather"');
  expect(line).toContain('"tools":[{"type":"function","function":{"name":"weather","description":"Tells it."}}]');
  expect(canonicalJson(JSON.parse(line))).toBe(canonicalJson(SAMPLE));
  const { tools: _, turns, ...rest } = SAMPLE;
  const plain = { ...rest, turns: turns.filter(({ text, role }) => text !== '' && role !== 'tool') };
  expect(lineOf(plain).toString()).toBe(`${canonicalJson(plain)}\n`);
});
