import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as tf from '@tensorflow/tfjs';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { EncodedSample } from '../core/sample.ts';
import { openProcessor, type Processor } from '../datasets/processor/processor.ts';
import { type BaseModel, noAdapter } from '../learning/model/model.ts';
import { loadModel } from '../learning/model/registry.ts';
import { startTensors } from '../learning/tensors/backend.ts';
import { padBatch } from '../learning/training/batches.ts';
import { Random } from '../learning/training/random.ts';
import { writeModelFiles } from './base-model-files.ts';
import { readDigits } from './digits.ts';
import { drawDigit, drawScene, randomScene, SIDE } from './scenes.ts';
import { digitTurn, SKILLS, type Turn } from './skills.ts';

const FOLDER = fileURLToPath(new URL('./base-model', import.meta.url));
const FILES = [
  'config.json',
  'generation_config.json',
  'tokenizer.json',
  'tokenizer_config.json',
  'preprocessor_config.json',
  'processor_config.json',
  'chat_template.jinja',
];

/** Exact answers on new pictures, in percent, that the model must reach; guessing reaches none of them. */
const BARS: Readonly<Record<string, number>> = { name: 50, locate: 55, count: 60, copy: 80, digit: 50 };

const COUNT = 32;
let model: BaseModel;
let processor: Processor;

beforeAll(async () => {
  await startTensors(undefined, { threads: 1 });
  model = await loadModel(FOLDER);
  processor = await openProcessor(FOLDER);
});

afterAll(() => model.dispose());

interface Asked {
  readonly pixels: Uint8Array;
  readonly turn: Turn;
}

/** Questions of one skill about pictures of up to three things; digits from rows that pre-training put aside. */
function ask(name: string, random: Random): Asked[] {
  if (name === 'digit') {
    const aside = readDigits().pretraining.slice(0, COUNT);
    return aside.map(({ ink, label }) => ({ pixels: drawDigit(ink), turn: digitTurn(label) }));
  }
  const asked: Asked[] = [];
  while (asked.length < COUNT) {
    const scene = randomScene(random, 1 + random.below(3));
    const turn = SKILLS[name]!(scene, random);
    if (turn) asked.push({ pixels: drawScene(scene, random), turn });
  }
  return asked;
}

/** Greedy answers by way of PNG, processor and chat template: the path of every sample of a dataset. */
async function answer(asked: readonly Asked[]): Promise<string[]> {
  const raw = { width: SIDE, height: SIDE, channels: 3 } as const;
  const pictures = await Promise.all(
    asked.map(async ({ pixels }) => processor.pixels(new Uint8Array(await sharp(pixels, { raw }).png().toBuffer()))),
  );
  const samples = asked.map(
    ({ turn: [prompt] }, i): EncodedSample =>
      processor.encodePrompt(
        {
          id: String(i),
          turns: [
            { role: 'user', text: `<image>\n${prompt}` },
            { role: 'assistant', text: 'x' },
          ],
          images: [String(i)],
          references: ['x'],
        },
        new Map([[String(i), { width: SIDE, height: SIDE }]]),
      ),
  );
  const flat = new Float32Array(pictures.flatMap(({ data }) => [...data]));
  const pixels = tf.tensor4d(flat, [asked.length, 3, SIDE, SIDE]);
  const features = tf.tidy(() => model.encodeImages(pixels));
  const batch = padBatch(samples, model.padToken, { side: 'left' });
  const generated = model.generate(batch, features, noAdapter, 36);
  tf.dispose([pixels, features]);
  return generated.map(({ ids }) => processor.decode(ids.filter((id) => !model.endTokens.includes(id))).trim());
}

describe('the example base model', () => {
  it('is small, and every file beside its weights is what its maker writes', () => {
    expect(statSync(join(FOLDER, 'model.safetensors')).size).toBeLessThan(4e6);
    const fresh = mkdtempSync(join(tmpdir(), 'lilora-model-'));
    writeModelFiles(fresh);
    for (const file of FILES)
      expect(readFileSync(join(FOLDER, file), 'utf8'), file).toBe(readFileSync(join(fresh, file), 'utf8'));
    rmSync(fresh, { recursive: true });
  });

  it('is a LLaVA with the sixteen features of a 32-pixel picture', () => {
    expect(model.family).toBe('llava');

    const image = { id: 'x', turns: [{ role: 'user', text: '<image>' }], images: ['a'], references: [] } as const;
    const { inputIds } = processor.encodePrompt(image, new Map([['a', { width: 5, height: 90 }]]));
    expect(inputIds.filter((id) => id === model.imageToken)).toHaveLength(16);
    expect(model.contextLength).toBe(processor.contextLength);
  });

  it.each(Object.keys(BARS))('sees and speaks before it learns any task: %s', async (name) => {
    const asked = ask(name, new Random(2024));
    const answers = await answer(asked);
    const right = answers.filter((text, i) => text === asked[i]!.turn[1]).length;
    expect((100 * right) / COUNT, `for example "${answers[0]}" for "${asked[0]!.turn[1]}"`).toBeGreaterThan(
      BARS[name]!,
    );
  });

  it('looks at the picture: with the pictures of others, most answers are wrong', async () => {
    const asked = ask('locate', new Random(5));
    const shifted = asked.map(({ turn }, i) => ({ turn, pixels: asked[(i + 7) % COUNT]!.pixels }));
    const answers = await answer(shifted);
    const right = answers.filter((text, i) => text === asked[i]!.turn[1]).length;
    expect((100 * right) / COUNT).toBeLessThan(35);
  });
});
