import * as fc from 'fast-check';
import { type Limits, MARKER, type PlainSample, type PlainTurn } from './plain.ts';

/** Texts that people and programs write: other scripts, quotes, ends of lines of every kind, numbers, what looks like markup. */
const ODD = [
  ...['"', '""', "'", '\\', '\\n', '`', ',', ';', '|', '#', '=1+1', '<', '>', '<image', '< image >', '&lt;', '{', '}'],
  ...['\n', '\r\n', '\r', '\t', ' ', '  ', '\u00a0', '\u0085', '\ufeff', '\u2028', '\u200b', '\u202e', '\u00ad'],
  ...['null', 'NaN', '-0', '1.50', '007', '12345678901234567890', '1e5', '[1, 2]', 'true', 'constructor', '__proto__'],
  ...['e\u0301', 'é', 'ß', 'ﬁ', '犬', 'ไทย', 'עברית', '👩‍👩‍👧', '\u{10ffff}', '\ufffd'],
];

const text = fc
  .array(fc.oneof(fc.constantFrom(...ODD), fc.string({ unit: 'grapheme', maxLength: 8 }), fc.lorem({ maxCount: 3 })), {
    minLength: 1,
    maxLength: 6,
  })
  .map((pieces) => pieces.join('').replaceAll('\0', ''))
  .filter((joined) => joined.trim() !== '' && !/<image>|<\|?image[ _-]?\d+\|?>/i.test(joined));

/** Answers lose the white space around them. */
const trimmed = text.map((joined) => joined.trim());
const name = fc.constantFrom('beagle', 'tabby_cat', '7', '007', 'no', 'null', 'a-b');

/** A question with its markers in it. */
function question(markers: number, where: Limits['markers']): fc.Arbitrary<string> {
  const before = text.map((words) => `${`${MARKER}\n`.repeat(markers)}${words}`);
  if (where === 'before') return before;
  const texts = fc.array(text, { minLength: markers + 1, maxLength: markers + 1 });
  const lines = texts.map((all) => all.join(`${MARKER}\n`));
  return where === 'lines'
    ? fc.oneof(before, lines)
    : fc.oneof(
        before,
        lines,
        texts.map((all) => all.join(MARKER)),
      );
}

function body(limits: Limits, pictures: readonly Uint8Array[]): fc.Arbitrary<Omit<PlainSample, 'id'>> {
  const markers = limits.pictures === 'one' ? fc.constant(1) : fc.nat(limits.pictures === undefined ? 2 : 1);
  const round = markers.chain((count) =>
    fc.record({
      asked: question(count, limits.markers),
      said: limits.answers === 'names' ? name : trimmed,
      shown: fc.array(fc.constantFrom(...pictures), { minLength: count, maxLength: count }),
    }),
  );
  return fc
    .record({
      system: limits.pair || limits.system ? fc.constant(undefined) : fc.option(text, { nil: undefined, freq: 2 }),
      rounds: fc.array(round, { minLength: 1, maxLength: limits.pair ? 1 : 3 }),
      references: references(limits),
    })
    .map(({ system, rounds, references: others }) => {
      const turns = rounds.flatMap(({ asked, said }): PlainTurn[] => [
        { role: 'user', text: asked },
        { role: 'assistant', text: said },
      ]);
      return {
        turns: system === undefined ? turns : [{ role: 'system', text: system }, ...turns],
        pictures: rounds.flatMap(({ shown }) => shown),
        ...(others && { references: limits.references === 'listed' ? listed(turns, others) : others }),
      };
    });
}

function references(limits: Limits): fc.Arbitrary<string[] | undefined> {
  if (limits.references === 'none') return fc.constant(undefined);
  const some = fc.array(trimmed, { minLength: 1, maxLength: 4 });
  return limits.references === 'listed' ? some : fc.option(some, { nil: undefined, freq: 2 });
}

const listed = (turns: readonly PlainTurn[], others: readonly string[]) => [
  ...new Set([turns.at(-1)!.text, ...others]),
];

/** The first question; in dataset.json it loses the white space around it. */
const sharedQuestion = ([first]: readonly PlainTurn[]): PlainTurn => {
  const [marker, ...lines] = first!.text.split('\n');
  return { role: 'user', text: `${marker}\n${lines.join('\n').trim()}` };
};

/** Samples that a form of these limits can say. @param pictures that they may show */
export function arbitrarySamples(limits: Limits, pictures: readonly Uint8Array[]): fc.Arbitrary<PlainSample[]> {
  const end = limits.ids === 'names' ? fc.constantFrom('', '-a', '_') : fc.constantFrom('', ' ä', '/x', '.1', '"', ',');
  return fc.array(fc.tuple(body(limits, pictures), end), { minLength: 1, maxLength: 5 }).map((all) =>
    all.map(([sample, ending], i): PlainSample => {
      const turns =
        limits.questions === 'same' ? [sharedQuestion(all[0]![0].turns), ...sample.turns.slice(1)] : sample.turns;
      return { id: `s${i}${ending}`, ...sample, turns };
    }),
  );
}

/** One sample for each of the odd texts, at the beginning, in the middle and at the end of question and answer. */
export function oddSamples(limits: Limits, pictures: readonly Uint8Array[]): PlainSample[] {
  return ODD.map((odd, i): PlainSample => {
    const said = `${odd}a${odd}b${odd}`.trim();
    const asked = limits.questions === 'same' ? 'Which?' : `${odd}Which${odd}?${odd}`;
    const turns: PlainTurn[] = [
      { role: 'user', text: `${MARKER}\n${asked}` },
      { role: 'assistant', text: limits.answers === 'names' ? 'beagle' : said },
    ];
    const accepted = limits.references === 'listed' && { references: listed(turns, [`${odd}.`.trim()]) };
    return { id: `odd-${i}`, turns, pictures: [pictures[i % pictures.length]!], ...accepted };
  });
}
