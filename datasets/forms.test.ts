import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import sharp from 'sharp';
import { beforeAll, describe, expect, it } from 'vitest';
import { sha256 } from '../core/digest.ts';
import { canonicalJson } from '../core/json.ts';
import type { Sample } from '../core/sample.ts';
import { arbitrarySamples, oddSamples } from '../test/forms/arbitrary.ts';
import { type Form, fits, MARKER, type PlainSample, sampleOf } from '../test/forms/plain.ts';
import { FORMS, writeInForm } from '../test/forms/write.ts';
import { localFolder } from './local-folder.ts';
import { writeSplit } from './prepared.ts';
import { validateDataset } from './validate.ts';

let pictures: Uint8Array[];
let ready: PlainSample;
beforeAll(async () => {
  const plain = [10, 90, 170, 250].map((r) => ({
    width: 3,
    height: 2,
    channels: 3 as const,
    background: { r, g: 20, b: 30 },
  }));
  pictures = await Promise.all(plain.map((create) => sharp({ create }).png().toBuffer()));
  ready = pair('ready', 'Ready?', 'yes', 0);
});

function pair(id: string, question: string, answer: string, ...shown: number[]): PlainSample {
  return {
    id,
    turns: [
      { role: 'user', text: `${`${MARKER}\n`.repeat(shown.length)}${question}` },
      { role: 'assistant', text: answer },
    ],
    pictures: shown.map((at) => pictures[at]!),
  };
}

/** Writes samples in a form, reads them, and packs them as training gets them. */
async function through(form: Form, train: readonly PlainSample[]) {
  const folder = mkdtempSync(join(tmpdir(), 'lilora-forms-'));
  try {
    const data = join(folder, 'data');
    await writeInForm(data, form, { train, test: [ready] });
    const images = new Map<string, Uint8Array>();
    const { splits, images: facts } = await validateDataset(localFolder(data), { images });
    const samples = splits.train!;
    const pack = (some: readonly Sample[]) => writeSplit(join(folder, 'split'), some, images, facts);
    const { sha256: prepared } = await pack(samples);
    const { sha256: preparedButIds } = await pack(samples.map((sample, i) => ({ ...sample, id: `${i}` })));
    return { samples, prepared, preparedButIds };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const named = FORMS.map((form) => [form.name, form] as const);

describe('samples come back as they were written, whatever their texts are', () => {
  it.each(named)('%s', async (_, form) => {
    const some = arbitrarySamples(form.limits, pictures);
    const check = fc.asyncProperty(some, async (written) => {
      expect(fits(form, written)).toBe(true);
      const { samples } = await through(form, written);
      const expected = written.map(sampleOf);
      // Where the reader makes the ids, it also chooses the order.
      if (form.limits.ids !== 'none') expect(samples).toEqual(expected);
      else expect(withoutIds(samples)).toEqual(withoutIds(expected));
    });
    await fc.assert(check, { numRuns: 6, examples: [[oddSamples(form.limits, pictures)]] });
  });
});

const withoutIds = (samples: readonly Sample[]) => samples.map(({ id: _, ...rest }) => canonicalJson(rest)).sort();

describe('the same samples are the same prepared bytes in every form', () => {
  /** Forms by what they were prepared to: one entry when all agree. */
  async function digests(samples: readonly PlainSample[]): Promise<Record<string, string[]>> {
    const prepared: Record<string, string[]> = {};
    for (const form of FORMS.filter((each) => fits(each, samples))) {
      const made = await through(form, samples);
      const digest = form.limits.ids === 'none' ? made.preparedButIds : made.prepared;
      prepared[digest] = [...(prepared[digest] ?? []), form.name];
    }
    return prepared;
  }
  const names = (has: (limits: Form['limits']) => boolean) =>
    FORMS.filter(({ limits }) => has(limits)).map(({ name }) => name);

  it('one picture, one question, one answer', async () => {
    const samples = [pair('0', 'Which?', '7', 0), pair('1', 'Which?', 'beagle', 1), pair('2', 'Which?', 'siamese', 2)];
    expect(Object.values(await digests(samples))).toEqual([names(() => true)]);
  });

  it('several turns and pictures, a system turn, several accepted answers, samples of text alone', async () => {
    const first = pair('0', 'How do they differ?', 'in colour', 0, 1);
    const more = pair('', 'And to this?', 'so too', 2);
    const system = { role: 'system', text: 'Be brief.' } as const;
    const samples: PlainSample[] = [
      { ...first, turns: [system, ...first.turns, ...more.turns], pictures: [...first.pictures, ...more.pictures] },
      { ...pair('1', 'Which is it?', 'cat', 3), references: ['cat', 'house cat'] },
      pair('2', 'Name a fruit.', 'apple'),
    ];
    const able = names((limits) => !limits.pair && !limits.system && !limits.pictures && !limits.references);
    expect(able.length).toBeGreaterThan(5);
    expect(Object.values(await digests(samples))).toEqual([able]);
  });
});

it('what is read in one form and written in another is the same', async () => {
  const common = { pair: true, pictures: 'at most one', markers: 'before' } as const;
  const check = fc.asyncProperty(
    arbitrarySamples(common, pictures),
    fc.constantFrom(...FORMS),
    fc.constantFrom(...FORMS),
    async (written, one, other) => {
      fc.pre(fits(one, written) && fits(other, written));
      const first = await through(one, written);
      const again = first.samples.map(
        ({ id, turns, images, references }): PlainSample => ({
          id,
          turns: turns.map(({ role, text }) => ({ role: role as PlainSample['turns'][number]['role'], text })),
          pictures: images.map((digest) => pictures.find((bytes) => sha256(bytes) === digest)!),
          references,
        }),
      );
      fc.pre(fits(other, again));
      expect(await through(other, again)).toEqual(first);
    },
  );
  await fc.assert(check, { numRuns: 12 });
});
