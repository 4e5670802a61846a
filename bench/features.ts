/**
 * What the kept vision features and prepared tokens save: `npm run bench:features -- [--models LLaVA-1.5-7B,SmolVLM-256M]
 * [--samples 8] [--runs 3] [--cpu] [--json]`.
 * Models of published proportions with random weights: widths of 7B divided by 8 and layers by 4, those of 256M both by 3;
 * patches, tokens and sizes of heads as published. Each run trains an epoch and evaluates on pictures that nobody saw, then both again. `--cpu` counts
 * CPU seconds, for a machine that others use. `ours` is the second time, `peer` the first; the last row of a model is
 * tokenising a sample beside a training step on it.
 */
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import sharp from 'sharp';
import { sha256 } from '../core/digest.ts';
import { sizeOf } from '../core/host-tensor.ts';
import type { Sample } from '../core/sample.ts';
import { imageSizes } from '../datasets/image.ts';
import { writeSplit } from '../datasets/prepared.ts';
import { openProcessor } from '../datasets/processor/processor.ts';
import { isDecoderMatrix } from '../learning/model/decoder.ts';
import { defineModel } from '../learning/model/registry.ts';
import { Random } from '../learning/training/random.ts';
import { MODEL_SHAPES } from '../test/model-shapes.ts';
import { cacheFolder } from '../workers/config.ts';
import { Jobs } from '../workers/engine/jobs.ts';
import { ROOT } from '../workers/runtime.ts';
import { type Row, row, rowsTable } from './paired.ts';
import { modelFolder } from './step/models.ts';

const { values } = parseArgs({
  options: {
    models: { type: 'string', default: 'LLaVA-1.5-7B,SmolVLM-256M' },
    samples: { type: 'string', default: '8' },
    runs: { type: 'string', default: '3' },
    cpu: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
  },
});
const COUNT = Number(values.samples);
const RUNS = Number(values.runs);
const MAX_NEW_TOKENS = 8;

/** A shape of its family, whose tokenizer and templates come from a fixture. */
interface Small {
  readonly fixture: string;
  readonly text: object;
  readonly vision: object;
  readonly more?: object;
  /** Settings of the image processor, and the file that holds them. */
  readonly images: object;
  readonly settings: string;
  /** Patches that go through the tower for one picture of 640 × 480, and tokens that the decoder sees of it. */
  readonly patches: number;
  readonly tokens: number;
}

const SMALL: Readonly<Record<string, Small>> = {
  'LLaVA-1.5-7B': {
    fixture: 'llava-mha',
    text: {
      ...{ hidden_size: 512, intermediate_size: 1376, num_hidden_layers: 8 },
      ...{ num_attention_heads: 4, max_position_embeddings: 4096 },
    },
    vision: {
      ...{ hidden_size: 128, intermediate_size: 512, num_hidden_layers: 6 },
      ...{ num_attention_heads: 2, image_size: 336, patch_size: 14 },
    },
    images: { crop_size: { height: 336, width: 336 }, size: { shortest_edge: 336 } },
    settings: 'preprocessor_config.json',
    patches: 577,
    tokens: 576,
  },
  'SmolVLM-256M': {
    fixture: 'smolvlm',
    text: {
      ...{ hidden_size: 192, intermediate_size: 512, num_hidden_layers: 10, head_dim: 64 },
      ...{ num_attention_heads: 3, num_key_value_heads: 1, max_position_embeddings: 8192 },
    },
    vision: {
      ...{ hidden_size: 256, intermediate_size: 1024, num_hidden_layers: 4 },
      ...{ num_attention_heads: 4, image_size: 512, patch_size: 16 },
    },
    more: { scale_factor: 4 },
    images: { max_image_size: { longest_edge: 512 }, size: { longest_edge: 2048 } },
    settings: 'processor_config.json',
    // 4 × 3 tiles and the whole.
    patches: 13 * 1024,
    tokens: 13 * 64,
  },
};

const readJson = (path: string) => JSON.parse(readFileSync(path, 'utf8'));

/** The folder of a model, with the tokenizer of its fixture. */
function makeModel(work: string, name: string): { folder: string; digest: string } {
  const { fixture, text, vision, more, images, settings } = SMALL[name]!;
  const from = join(ROOT, 'test/fixtures', fixture, 'model');
  const given = readJson(join(from, 'config.json'));
  const config = {
    ...given,
    ...more,
    text_config: { ...given.text_config, ...text },
    vision_config: { ...given.vision_config, ...vision },
  };
  const weights = modelFolder(join(cacheFolder(), 'models'), { name: `features-${name}`, config } as never);
  const folder = join(work, name);
  cpSync(from, folder, { recursive: true, filter: (path) => !/safetensors|\/config\.json$/.test(path) });
  for (const file of ['config.json', 'model.safetensors']) symlinkSync(join(weights, file), join(folder, file));
  const path = join(folder, settings);
  const found = readJson(path);
  const set = found.image_processor
    ? { ...found, image_seq_len: 64, image_processor: { ...found.image_processor, ...images } }
    : { ...found, ...images };
  writeFileSync(path, JSON.stringify(set));
  return { folder, digest: sha256(weights) };
}

/** A split of noise: every picture is new to everybody. */
async function makeSplit(path: string, random: Random) {
  const pictures = new Map<string, Uint8Array>();
  const samples: Sample[] = [];
  for (let i = 0; i < COUNT; i++) {
    const raw = Buffer.from(Uint8Array.from({ length: 3 * 80 * 60 }, () => random.below(256)));
    const bytes = await sharp(raw, { raw: { width: 80, height: 60, channels: 3 } })
      .resize(640, 480)
      .jpeg()
      .toBuffer();
    const digest = sha256(bytes);
    pictures.set(digest, bytes);
    const text = '<image>\nWhat is shown in this picture, where does it stand, and which colours has it?';
    const turns = [
      { role: 'user', text },
      { role: 'assistant', text: 'A red cup on a table.' },
    ] as const;
    samples.push({ id: `${i}`, turns, images: [digest], references: ['A red cup on a table.'] });
  }
  const sizes = await imageSizes(pictures);
  await writeSplit(
    path,
    samples,
    pictures,
    new Map([...pictures].map(([digest, b]) => [digest, { ...sizes.get(digest)!, bytes: b.byteLength }])),
  );
  return { path, samples, sizes };
}

/** Seconds that some work takes: of the clock, or of the CPU. */
async function timed(work: () => Promise<unknown>): Promise<number> {
  const [began, cpu] = [performance.now(), process.cpuUsage()];
  await work();
  const { user, system } = process.cpuUsage(cpu);
  return values.cpu ? (user + system) / 1e6 : (performance.now() - began) / 1000;
}

/**
 * What share of a first epoch the tower has in the published model, by the multiplications of its matrices: once over all
 * patches, against the decoder's forward and backward pass over all tokens.
 */
function towerShare(name: string): number {
  const { config, shapes } = defineModel(MODEL_SHAPES[name as keyof typeof MODEL_SHAPES]);
  let [tower, decoder] = [0, 0];
  for (const [key, shape] of shapes)
    if (/vision/.test(key) && shape.length === 2 && !/embedding/.test(key)) tower += sizeOf(shape);
    else if (isDecoderMatrix(key, config.decoder) && !/embed/.test(key)) decoder += sizeOf(shape);
  const { patches, tokens } = SMALL[name]!;
  const seen = tower * patches;
  return seen / (seen + 2 * decoder * (tokens + 40));
}

async function measure(jobs: Jobs, work: string, name: string): Promise<{ rows: Row[]; share: number }> {
  const model = { ...makeModel(work, name), features: join(work, `${name}-features`) };
  const hooks = { signal: new AbortController().signal, onProgress: () => {} };
  const training = {
    ...{ learningRate: 1e-4, batchSize: 2, microBatchSize: 2, epochs: 1 },
    ...{ warmupRatio: 0, weightDecay: 0, clipNorm: 1, dropout: 0 },
  };
  const out = join(work, `${name}-out`);
  mkdirSync(out);
  const common = { model, method: { name: 'per-task-lora', options: {} }, targets: 'paper', task: 'bench' };
  const train = (samples: string) =>
    jobs.run(
      'train',
      { ...common, bank: null, samples, training, seed: 1, identity: {}, resume: null, checkpointSeconds: 1e6, out },
      hooks,
    );
  const evaluation = { maxNewTokens: MAX_NEW_TOKENS, batchSize: 4 };
  const evaluate = (samples: string) =>
    jobs.run(
      'evaluate',
      { ...common, bank: join(out, 'bank.safetensors'), samples, evaluation, metric: 'exact', out },
      hooks,
    );

  const random = new Random(1).split(name);
  const warm = await makeSplit(join(work, `${name}-warm`), random);
  await train(warm.path);
  await evaluate(warm.path);
  const processor = await openProcessor(model.folder);
  const [epochs, evaluations, tokens]: [number, number][][] = [[], [], []];
  for (let run = 0; run < RUNS; run++) {
    const [learned, asked] = await Promise.all(
      ['train', 'test'].map((split) =>
        makeSplit(join(work, `${name}-${split}-${run}`), random.split(`${split} ${run}`)),
      ),
    );
    const first = await timed(() => train(learned!.path));
    const again = await timed(() => train(learned!.path));
    epochs!.push([again, first]);
    const unseen = await timed(() => evaluate(asked!.path));
    evaluations!.push([await timed(() => evaluate(asked!.path)), unseen]);
    const encoding = await timed(async () => {
      for (let k = 0; k < 20; k++)
        for (const sample of learned!.samples) processor.encodeTraining(sample, learned!.sizes);
    });
    tokens!.push([encoding / (20 * COUNT), again / COUNT]);
    process.stderr.write(`${name}, run ${run + 1}: epochs ${first.toFixed(1)} s, then ${again.toFixed(1)} s\n`);
  }
  const unit = values.cpu ? 'CPU s' : 's';
  const rows = [
    row(`${name}: epoch`, unit, epochs!),
    row(`${name}: evaluation`, unit, evaluations!),
    row(`${name}: tokenising a sample, beside its step`, unit, tokens!),
  ];
  return { rows, share: towerShare(name) };
}

const work = mkdtempSync(join(tmpdir(), 'lilora-features-'));
try {
  const jobs = await Jobs.open();
  const rows: Row[] = [];
  const shares: Record<string, number> = {};
  for (const name of values.models.split(',')) {
    if (!SMALL[name]) throw new Error(`Models: ${Object.keys(SMALL).join(', ')}`);
    const found = await measure(jobs, work, name);
    rows.push(...found.rows);
    shares[name] = found.share;
  }
  const share = Object.entries(shares).map(([name, x]) => `${name} ${(100 * x).toFixed(1)} %`);
  process.stdout.write(
    values.json
      ? `${JSON.stringify({ rows, towerShares: shares })}\n`
      : `${rowsTable(rows)}\n\nThe tower's share of a first epoch of the published model, by its matrices: ${share.join(', ')}\n`,
  );
} finally {
  rmSync(work, { recursive: true, force: true });
}
process.exit(0);
