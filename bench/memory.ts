/**
 * What a base model takes in memory, predicted and measured: `npm run bench:memory [-- --model SmolVLM-256M --tokens 512
 * --weights stored --checkpointing]`.
 * Writes a model of a published shape with random weights (BF16, shards of one part each) into a temporary folder and
 * loads it in a process of its own; then one training step on text of so many
 * tokens, none for 0 (LoRA, preset `paper`, rank 16).
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { sizeOf } from '../core/host-tensor.ts';
import { writeSafetensors } from '../core/safetensors.ts';
import { pairParameters } from '../learning/methods/lora.ts';
import { methodNamed } from '../learning/methods/registry.ts';
import { selectLayers } from '../learning/methods/targets.ts';
import { modelMemory, stepMemory } from '../learning/model/memory.ts';
import type { BaseModel } from '../learning/model/model.ts';
import { defineModel, loadModel } from '../learning/model/registry.ts';
import { startTensors } from '../learning/tensors/backend.ts';
import { trainTask } from '../learning/training/train.ts';
import { table } from '../report/terminal.ts';
import { MODEL_SHAPES } from '../test/model-shapes.ts';

const { values } = parseArgs({
  options: {
    model: { type: 'string', default: 'SmolVLM-256M' },
    tokens: { type: 'string', default: '512' },
    weights: { type: 'string', default: 'float32' },
    /** Layers are computed again on the way back. */
    checkpointing: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    /** Only for the process that is measured. */
    load: { type: 'string' },
  },
});
const tokens = Number(values.tokens);
const kept = values.weights === 'stored' ? 'stored' : 'float32';

/** Largest resident size of this process so far, and its size now, in bytes. */
function resident(): { peak: number; now: number } {
  const status = readFileSync('/proc/self/status', 'utf8');
  const field = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status)![1]) * 1024;
  return { peak: field('VmHWM'), now: field('VmRSS') };
}

/** Every tensor a file of its own: writing needs no more memory than the largest. */
function writeModel(folder: string, config: object): void {
  const definition = defineModel(config);
  const places: Record<string, string> = {};
  let x = 1;
  for (const [i, [name, shape]] of [...definition.shapes].entries()) {
    const scale = 1 / Math.sqrt(sizeOf(shape.slice(1)));
    const data = new Float32Array(sizeOf(shape));
    for (let k = 0; k < data.length; k++) {
      x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
      data[k] = shape.length === 1 ? 1 : (x / 2 ** 31 - 1) * scale;
    }
    const file = `model-${String(i + 1).padStart(5, '0')}.safetensors`;
    writeFileSync(join(folder, file), writeSafetensors(new Map([[name, { shape, data }]]), { format: 'pt' }, 'BF16'));
    places[name] = file;
  }
  writeFileSync(join(folder, 'model.safetensors.index.json'), JSON.stringify({ metadata: {}, weight_map: places }));
  writeFileSync(join(folder, 'config.json'), JSON.stringify(config));
}

async function measure(folder: string): Promise<void> {
  await startTensors();
  const before = resident().now;
  const began = performance.now();
  const model = await loadModel(folder, { weights: kept });
  const loaded = resident();
  const seconds = (performance.now() - began) / 1000;
  if (tokens > 0) await step(model);
  const measured = { before, loadPeak: loaded.peak, loaded: loaded.now, trainPeak: resident().peak, seconds };
  process.stdout.write(JSON.stringify(measured));
}

/** One training step. */
async function step(model: BaseModel): Promise<void> {
  const method = methodNamed('per-task-lora');
  const inputIds = Int32Array.from({ length: tokens }, (_, i) => 5 + (i % 100));
  const labels = inputIds.map((id, i) => (i < tokens / 2 ? -100 : id));
  await trainTask({
    model,
    method,
    options: method.options.parse({}),
    layers: selectLayers(model.layers, 'paper'),
    bank: null,
    task: 'bench',
    samples: [{ id: 'a', inputIds, labels, images: [], references: [] }],
    features: () => {
      throw new Error('text only');
    },
    training: {
      learningRate: 1e-3,
      batchSize: 1,
      microBatchSize: 1,
      epochs: 1,
      warmupRatio: 0,
      weightDecay: 0,
      clipNorm: 1,
      gradientCheckpointing: values.checkpointing,
    },
    seed: 1,
    identity: {},
    checkpointSeconds: Number.POSITIVE_INFINITY,
    signal: new AbortController().signal,
    onProgress: () => {},
  });
}

function report(): void {
  const config = MODEL_SHAPES[values.model as keyof typeof MODEL_SHAPES];
  if (!config) throw new Error(`Models: ${Object.keys(MODEL_SHAPES).join(', ')}`);
  const folder = mkdtempSync(join(tmpdir(), 'lilora-memory-'));
  try {
    writeModel(folder, config);
    const asked = ['--load', folder, '--tokens', values.tokens, '--weights', kept];
    if (values.checkpointing) asked.push('--checkpointing');
    const args = ['--import', 'tsx', import.meta.filename, ...asked];
    const found = JSON.parse(
      execFileSync(process.execPath, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] }),
    );
    const definition = defineModel(config);
    const { layers, ...predicted } = modelMemory(definition);
    const step = stepMemory(definition, {
      ...{
        rows: 1,
        length: tokens,
        answers: tokens / 2,
        stored: kept === 'stored',
        checkpointing: values.checkpointing,
      },
      trained: pairParameters(selectLayers(layers, 'paper'), { rank: 16 }),
    });
    const added = Object.values(step).reduce((a, b) => a + b, 0);
    if (values.json) {
      console.log(
        JSON.stringify({
          model: values.model,
          tokens,
          weights: kept,
          predicted: { ...predicted, step },
          measured: found,
        }),
      );
      return;
    }
    const weights = kept === 'stored' ? predicted.stored : predicted.weights;
    const gib = (bytes: number) => (bytes / 2 ** 30).toFixed(2);
    console.log(
      table([
        [values.model, 'predicted, GiB', 'measured, GiB'],
        ['weights, in the process', gib(weights), gib(found.loaded - found.before)],
        ['peak while loading', gib(weights + predicted.loading), gib(found.loadPeak - found.before)],
        ...(tokens > 0
          ? [[`peak of a training step of ${tokens} tokens`, gib(weights + added), gib(found.trainPeak - found.before)]]
          : []),
        ['seconds to load', '', found.seconds.toFixed(1)],
      ]),
    );
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

if (values.load) await measure(values.load);
else report();
