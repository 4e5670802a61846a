import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Sample } from '../core/sample.ts';
import { localFolder } from './local-folder.ts';
import { Untrainable } from './problems.ts';
import { openProcessor } from './processor/processor.ts';
import { validateDataset } from './validate.ts';
import { writeManifest } from './write-manifest.ts';

/* What becomes of answers that a chat template drops or changes, with a real model folder. */

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'lilora-left-out-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const MODEL = fileURLToPath(new URL('../test/fixtures/llava-mha/model', import.meta.url));

/** The fixture's model with another chat template. */
async function processorWith(template: string) {
  const model = join(folder, 'model');
  cpSync(MODEL, model, { recursive: true });
  // The fixture's own, which would win.
  rmSync(join(model, 'chat_template.json'));
  writeFileSync(join(model, 'chat_template.jinja'), template);
  return openProcessor(model);
}

// Blanks stand before words, as this tokenizer joins them.
const SAY = " {{ m['role'] | upper }}:{% for c in m['content'] %} {{ c['text'] }}{% endfor %}";
const NEXT = '{% if add_generation_prompt %} ASSISTANT:{% endif %}';
const templates = {
  plain: `{% for m in messages %}${SAY}{% endfor %}${NEXT}`,
  /** As templates that drop what a model thought. */
  drops: `{% for m in messages %}{% if m['content'][0]['text'] != 'well' %}${SAY}{% endif %}{% endfor %}`,
  /** As templates that add a system prompt to one of both. */
  changes: `{% if add_generation_prompt %}Answer briefly. {% endif %}{% for m in messages %}${SAY}{% endfor %}${NEXT}`,
};
const talk = (...texts: string[]): Sample => ({
  id: 'x',
  turns: texts.map((text, i) => ({ role: i % 2 === 0 ? 'user' : 'assistant', text })),
  images: [],
  references: [texts.at(-1)!],
});

describe('an answer', () => {
  const noImages = new Map();

  it('carries loss wherever it stands', async () => {
    const { encodeTraining, decode } = await processorWith(templates.plain);
    const { inputIds, labels } = encodeTraining(talk('a b', 'well', 'b c', 'two'), noImages);
    expect(
      decode([...inputIds].filter((_, i) => labels![i] !== -100))
        .replaceAll(/\s+/g, ' ')
        .trim(),
    ).toMatch(/well.*two/);
  });

  it('that the template drops is untrainable', async () => {
    const { encodeTraining } = await processorWith(templates.drops);
    expect(() => encodeTraining(talk('a b', 'well', 'b c', 'two'), noImages)).toThrow(Untrainable);
    expect(() => encodeTraining(talk('a b', 'well', 'b c', 'two'), noImages)).toThrow(
      /x: no token of the answer in turn 2 carries loss/,
    );
  });

  it('whose prompt changes when it follows is untrainable', async () => {
    const { encodeTraining } = await processorWith(templates.changes);
    expect(() => encodeTraining(talk('a b', 'two'), noImages)).toThrow(Untrainable);
    expect(() => encodeTraining(talk('a b', 'two'), noImages)).toThrow(/x: the chat template .* changes the prompt/);
  });
});

describe('a dataset', () => {
  async function dataset(lost: number) {
    const data = join(folder, 'data');
    rmSync(data, { recursive: true, force: true });
    cpSync(MODEL, data, { recursive: true, filter: (path) => path === MODEL });
    const lines = (split: string, count: number) =>
      Array.from({ length: count }, (_, i) => {
        const turns = i < lost && split === 'train' ? ['a b', 'well', `c ${i}`, 'two'] : [`${split} ${i}`, 'two'];
        const messages = turns.map((content, k) => ({ role: k % 2 === 0 ? 'user' : 'assistant', content }));
        return `${JSON.stringify({ id: `${split}-${i}`, messages })}\n`;
      }).join('');
    writeFileSync(join(data, 'train.jsonl'), lines('train', 200));
    writeFileSync(join(data, 'test.jsonl'), lines('test', 3));
    const splits = { train: { samples: 'train.jsonl' }, test: { samples: 'test.jsonl' } };
    await writeManifest(data, {
      name: 'd',
      kind: 'open',
      metric: 'exact',
      splits,
      licence: 'CC0-1.0',
      source: 'tests',
    });
    return validateDataset(localFolder(data), { processor: await processorWith(templates.drops) });
  }

  it('is learned without the few of them, which are named, and refused with more', async () => {
    const { splits, leftOut } = await dataset(2);
    expect(splits.train).toHaveLength(198);
    expect(leftOut.map(({ id, where }) => [id, where])).toEqual([
      ['train-0', 'train.jsonl:1 (id "train-0")'],
      ['train-1', 'train.jsonl:2 (id "train-1")'],
    ]);
    await expect(dataset(3)).rejects.toMatchObject({
      name: 'BadDataset',
      message: expect.stringMatching(
        /3 of 200 training samples have an answer that cannot be learned, over the limit of 1 %/,
      ),
    });
  });
});
