import { expect, it } from 'vitest';
import type { Manifest } from '../manifest.ts';
import { csvRows } from './csv.ts';
import type { SamplesFile } from './reader.ts';

async function rows(text: string | Uint8Array, path = 'a.csv') {
  const bytes = typeof text === 'string' ? new TextEncoder().encode(text) : text;
  const file: SamplesFile = {
    path,
    size: bytes.length,
    slice: async (start, end) => bytes.slice(start, end),
    bytes: async () => bytes,
    manifest: {} as Manifest,
  };
  const found: unknown[] = [];
  const places: string[] = [];
  for await (const { value, place } of csvRows(file)) {
    found.push(value);
    places.push(place);
  }
  return { found, places };
}

const expected = [
  { question: 'a, b; c', answer: '1.50' },
  { question: 'two\nlines "q"', answer: null },
];

it.each([
  ['commas', 'question,answer\n"a, b; c",1.50\n"two\nlines ""q""",\n'],
  ['semicolons, as European spreadsheets write them', 'question;answer\r\n"a, b; c";1.50\r\n"two\nlines ""q""";\r\n'],
  ['tabs', 'question\tanswer\na, b; c\t1.50\n"two\nlines ""q"""\t\n'],
  ['a byte order mark', '\ufeffquestion,answer\n"a, b; c",1.50\n"two\nlines ""q""",\n'],
  ['a byte order mark and semicolons', '\ufeffquestion;answer\n"a, b; c";1.50\n"two\nlines ""q""";\n'],
])('%s', async (_, text) => {
  const { found, places } = await rows(text);
  expect(found).toEqual(expected);
  expect(places).toEqual(['a.csv:2', 'a.csv:4']);
});

it('of a .tsv the tab stands between columns, whatever else its first line has', async () => {
  expect((await rows('a,b\tc\n1\t2\n', 'a.tsv')).found).toEqual([{ 'a,b': '1', c: '2' }]);
});

it('a text that is cut between two pieces is whole', async () => {
  const long = '\u00e9\ud83d\ude00'.repeat(200_000);
  expect((await rows(`q,a\nx,1\n${long},2\n`)).found).toEqual([
    { q: 'x', a: '1' },
    { q: long, a: '2' },
  ]);
});

it.each<[string, string | Uint8Array, RegExp]>([
  ['a quote that never ends', 'a,b\n"1,2\n', /a\.csv: not a CSV file that can be read .*Correct it/],
  ['rows of another length', 'a,b\n1,2\n3\n', /a\.csv: not a CSV file/],
  ['a column twice', 'a,b,a\n1,2,3\n', /a\.csv:1: a column stands there twice/],
  ['Latin-1', Uint8Array.from([0x61, 0x0a, 0xe9, 0x0a]), /a\.csv: not valid UTF-8\. Save the file as UTF-8/],
  ['UTF-16', Uint8Array.from([0xff, 0xfe, 0x61, 0x00]), /UTF-16 text.*UTF-8/],
])('%s is refused', async (_, text, message) => {
  await expect(rows(text)).rejects.toMatchObject({ name: 'BadDataset', message: expect.stringMatching(message) });
});
