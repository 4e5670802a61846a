import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Problems } from '../problems.ts';
import type { Entry } from './each.ts';
import { jsonItems, jsonLines } from './json-text.ts';
import type { SamplesFile } from './reader.ts';

/** A file whose pieces end where they please. */
function file(text: string, path: string): SamplesFile {
  const bytes = new TextEncoder().encode(text);
  const slice = async (start: number, end: number) => bytes.slice(start, end);
  return { path, size: bytes.length, slice, bytes: async () => bytes, manifest: null as never };
}

async function read(entries: AsyncIterable<Entry>): Promise<Entry[]> {
  const all: Entry[] = [];
  for await (const entry of entries) all.push(entry);
  return all;
}

const values = (entries: readonly Entry[]) => entries.map(({ value }) => value);
const json = fc.array(
  fc.jsonValue({ maxDepth: 4 }).filter((value) => !Object.is(value, -0)),
  { maxLength: 8 },
);

describe('a JSON array, read item by item', () => {
  it('is what JSON.parse makes of the whole', async () => {
    await fc.assert(
      fc.asyncProperty(json, fc.constantFrom('', ' ', '\n\t'), async (items, space) => {
        const text = `${space}[${items.map((item) => `${space}${JSON.stringify(item)}${space}`).join(',')}${space}]${space}`;
        // Keys that reach a prototype are refused either way.
        fc.pre(!/"(__proto__|constructor|prototype)":/.test(text));
        const entries = await read(jsonItems(file(text, 'a.json')));
        expect(values(entries)).toEqual(JSON.parse(text));
        expect(entries.map(({ place }) => place)).toEqual(items.map((_, i) => `a.json[${i}]`));
      }),
    );
  });

  it('longer than a piece that is read at once, with items over the border', async () => {
    const items = Array.from({ length: 300 }, (_, i) => ({ i, text: `"]},\\[{ é ${'x'.repeat(10_000 + i)}` }));
    expect(values(await read(jsonItems(file(JSON.stringify(items, null, 1), 'a.json'))))).toEqual(items);
  });

  it.each([
    ['[{"a": 1},\n {"a" 2}]', /a\.json:2:7: expected ":"/],
    ['[1,]', /a\.json:1:4: /],
    ['[1 2]', /a\.json:1:4: text after the end/],
    ['[1', /a\.json:1: the array has no end/],
    ['[{"a": [1]', /a\.json:1:11: expected/],
    ['[1] 2', /a\.json:1:5: text after the end/],
    ['[1}]', /a\.json:1:3: /],
    ['{"a": 1}', /a JSON array of samples is expected/],
    ['', /is empty/],
    ['["a\nb"]', /a\.json:1:4: a control character/],
  ])('%j is refused by its place', async (text, message) => {
    await expect(read(jsonItems(file(text, 'a.json')))).rejects.toMatchObject({
      name: 'BadDataset',
      message: expect.stringMatching(message),
    });
  });
});

it('JSON lines are told by their numbers, whatever the pieces', async () => {
  const lines = Array.from({ length: 300 }, (_, i) => JSON.stringify({ i, text: 'é'.repeat(5000 + i) }));
  lines[7] = '';
  lines[8] = '{"a": ';
  const problems = new Problems();
  const entries = await read(jsonLines(file(`${lines.join('\r\n')}`, 'a.jsonl'), problems));
  expect(entries.map(({ place }) => place)).toEqual(
    lines.flatMap((_, i) => (i === 7 || i === 8 ? [] : [`a.jsonl:${i + 1}`])),
  );
  expect(values(entries).at(-1)).toEqual(JSON.parse(lines.at(-1)!));
  expect(problems.count).toBe(1);
});
