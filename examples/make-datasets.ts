/**
 * Makes the six example datasets, in the answer formats of the paper's benchmark, in the LLaVA layout:
 * `npx tsx examples/make-datasets.ts --out DIR [--tasks option,digit] [--instructions single|five] [--train 1200] [--test 200]`.
 * The same options give the same bytes.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import sharp from 'sharp';
import { sha256 } from '../core/digest.ts';
import { LiloraError } from '../core/errors.ts';
import { Random } from '../learning/training/random.ts';
import { readDigits } from './digits.ts';
import {
  captionQuestion,
  classQuestion,
  colourQuestion,
  INSTRUCTIONS,
  openQuestion,
  optionQuestion,
  type Question,
  relationQuestion,
} from './questions.ts';
import { drawDigit, drawScene, randomScene, type Scene, SIDE } from './scenes.ts';
import { VARIATIONS } from './variations.ts';
import { NAMED_SHAPES, SHAPES } from './words.ts';

export interface DatasetOptions {
  /** Samples of the training split. */
  readonly train: number;
  readonly test: number;
  readonly seed: number;
  readonly instructions: 'single' | 'five';
}

interface Picture {
  readonly pixels: Uint8Array;
  readonly questions: readonly Question[];
}

interface Recipe {
  readonly title: string;
  readonly kind: string;
  readonly metric: string;
  /** The first alone, or one of all at random. */
  readonly instructions: readonly string[];
  readonly licence?: string;
  readonly source?: string;
  /** A picture with at least one question. */
  readonly picture: (random: Random, index: number) => Picture;
}

/** A picture with up to `count` different questions about one scene. */
function ask(
  things: (random: Random) => Scene,
  question: (scene: Scene, random: Random) => Question | null,
  count: number,
): Recipe['picture'] {
  return (random) => {
    for (;;) {
      const scene = things(random);
      const asked = new Map<string, Question>();
      for (let i = 0; i < count; i++) {
        const made = question(scene, random);
        if (made) asked.set(made.text, made);
      }
      if (asked.size > 0) return { pixels: drawScene(scene, random), questions: [...asked.values()] };
    }
  };
}

const digits = readDigits().task;

/** The tasks in the order of the benchmark that they stand for: ScienceQA, TextVQA, Flickr30k, ImageNet, GQA, VQAv2. */
const RECIPES: Readonly<Record<string, Recipe>> = {
  option: {
    title: 'Multiple choice about a scene',
    kind: 'option',
    metric: 'option-letter',
    instructions: INSTRUCTIONS.letter,
    picture: ask((random) => randomScene(random, 1 + random.below(3), NAMED_SHAPES), optionQuestion, 3),
  },
  digit: {
    title: 'Reading handwritten digits',
    kind: 'short-answer',
    metric: 'exact',
    instructions: INSTRUCTIONS.word,
    licence: 'CC-BY-4.0',
    source:
      'Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak, UCI Machine Learning Repository, 1998; enlarged to 32 by 32',
    picture: (_random, index) => {
      const { ink, label } = digits[index]!;
      return { pixels: drawDigit(ink), questions: [{ text: 'which digit is written?', answer: String(label) }] };
    },
  },
  caption: {
    title: 'Describing a scene in one sentence',
    kind: 'caption',
    metric: 'cider-relative',
    instructions: INSTRUCTIONS.sentence,
    picture: ask((random) => randomScene(random, 1 + random.below(2), NAMED_SHAPES), captionQuestion, 1),
  },
  class: {
    title: 'Naming the object, four kinds of which the base model has no name for',
    kind: 'classification',
    metric: 'containment',
    instructions: INSTRUCTIONS.object,
    picture: ask((random) => randomScene(random, 1, SHAPES), classQuestion, 1),
  },
  relation: {
    title: 'How two things lie to each other',
    kind: 'relation',
    metric: 'exact',
    instructions: INSTRUCTIONS.word,
    picture: ask((random) => randomScene(random, 2 + random.below(2), NAMED_SHAPES), relationQuestion, 2),
  },
  open: {
    title: 'Open questions about a scene',
    kind: 'open',
    metric: 'exact',
    instructions: INSTRUCTIONS.word,
    picture: ask((random) => randomScene(random, 1 + random.below(3), NAMED_SHAPES), openQuestion, 3),
  },
};

/** Names of the example tasks, in order. */
export const TASKS = Object.keys(RECIPES);

const COLOUR: Recipe['picture'] = ask(
  (random) => randomScene(random, 1 + random.below(3), NAMED_SHAPES),
  colourQuestion,
  3,
);

/** The short tasks for long streams (variations.ts). */
const VARIED: Readonly<Record<string, Recipe>> = Object.fromEntries(
  VARIATIONS.map(({ name, kind, instruction, of }) => {
    const picture = kind === 'colour' ? COLOUR : RECIPES[kind]!.picture;
    const varied: Recipe['picture'] = (random, index) => {
      const { pixels, questions } = picture(random, index);
      return { pixels, questions: questions.map(of) };
    };
    const { licence, source } = RECIPES[kind] ?? {};
    const facts = { title: `Variation: ${name}`, kind: 'short-answer', metric: 'exact' };
    const asked = { instructions: [instruction], picture: varied };
    return [name, { ...facts, ...asked, ...(licence ? { licence } : {}), ...(source ? { source } : {}) }];
  }),
);

/** Writes one dataset into `folder` and gives the number of samples per split. */
export async function makeDataset(
  name: string,
  options: DatasetOptions,
  folder: string,
): Promise<{ train: number; test: number }> {
  const recipe = RECIPES[name] ?? VARIED[name];
  if (!recipe)
    throw new LiloraError('BadConfig', `There is no example task "${name}". Choose from ${TASKS.join(', ')}.`);
  const random = new Random(options.seed).split(name);
  const files: { path: string; size: number; sha256: string }[] = [];
  const write = (path: string, bytes: Uint8Array | string) => {
    const data = typeof bytes === 'string' ? Buffer.from(bytes) : bytes;
    writeFileSync(join(folder, path), data);
    files.push({ path, size: data.length, sha256: sha256(data) });
  };
  mkdirSync(join(folder, 'images'), { recursive: true });

  const counts = { train: 0, test: 0 };
  let pictures = 0;
  // The test split comes first: it stays the same whatever the size of the training split.
  for (const split of ['test', 'train'] as const) {
    const left = name === 'digit' ? digits.length - pictures : Number.POSITIVE_INFINITY;
    const wanted = Math.min(options[split], left);
    const samples: object[] = [];
    while (samples.length < wanted) {
      const { pixels, questions } = recipe.picture(random, pictures);
      const image = `images/${String(pictures++).padStart(4, '0')}.png`;
      const raw = { width: SIDE, height: SIDE, channels: 3 } as const;
      write(image, await sharp(pixels, { raw }).png({ compressionLevel: 9 }).toBuffer());
      for (const { text, answer, others } of questions.slice(0, wanted - samples.length)) {
        const { instructions } = recipe;
        const instruction = instructions[options.instructions === 'five' ? random.below(instructions.length) : 0];
        samples.push({
          id: `${name}-${split}-${samples.length}`,
          image,
          conversations: [
            { from: 'human', value: `<image>\n${[text, instruction].filter(Boolean).join(' ')}` },
            { from: 'gpt', value: answer },
          ],
          ...(others ? { references: [answer, ...others] } : {}),
        });
      }
    }
    counts[split] = samples.length;
    write(`${split}.json`, `${JSON.stringify(samples, null, 1)}\n`);
  }
  const manifest = {
    schema: 1,
    name,
    title: recipe.title,
    kind: recipe.kind,
    metric: recipe.metric,
    instructionFormat: recipe.instructions[0],
    splits: { train: { samples: 'train.json' }, test: { samples: 'test.json' } },
    files,
    licence: recipe.licence ?? 'CC0-1.0',
    source: recipe.source ?? 'rendered by examples/make-datasets.ts',
  };
  writeFileSync(join(folder, 'dataset.json'), `${JSON.stringify(manifest, null, 1)}\n`);
  return counts;
}

/** Writes several datasets, each into a folder of its name, and gives the folders. */
export async function makeDatasets(
  folder: string,
  options: Partial<DatasetOptions> & { names?: readonly string[]; onDataset?: (name: string) => void } = {},
): Promise<Record<string, string>> {
  const { names = TASKS, onDataset, ...sizes } = options;
  const made: Record<string, string> = {};
  for (const name of names) {
    onDataset?.(name);
    made[name] = resolve(folder, name);
    await makeDataset(name, { train: 1200, test: 200, seed: 0, instructions: 'single', ...sizes }, made[name]);
  }
  return made;
}

if (process.argv[1] && import.meta.url.endsWith(process.argv[1].split('/').at(-1)!)) {
  const { values } = parseArgs({
    options: {
      out: { type: 'string', default: 'datasets-made' },
      tasks: { type: 'string', default: TASKS.join(',') },
      instructions: { type: 'string', default: 'single' },
      train: { type: 'string', default: '1200' },
      test: { type: 'string', default: '200' },
      seed: { type: 'string', default: '0' },
    },
  });
  const options = {
    train: Number(values.train),
    test: Number(values.test),
    seed: Number(values.seed),
    instructions: values.instructions === 'five' ? 'five' : 'single',
  } as const;
  for (const task of values.tasks.split(',')) {
    const counts = await makeDataset(task, options, join(values.out, task));
    console.log(`${join(values.out, task)}: ${counts.train} training and ${counts.test} test samples`);
  }
}
