/**
 * Our side of bench/step.ts: loads a model and the work folder, then does what each line of standard input says
 * (`train STEPS`, `generate TOKENS`) and answers with one line of JSON. Started by the harness, not by hand. With `folded`
 * the adapter is part of the weights where tokens are generated.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import * as tf from '@tensorflow/tfjs';
import { readSafetensors } from '../../core/safetensors.ts';
import type { EncodedSample } from '../../core/sample.ts';
import { bindAdapter } from '../../learning/methods/adapter.ts';
import { selectLayers } from '../../learning/methods/targets.ts';
import { noAdapter } from '../../learning/model/model.ts';
import { loadModel } from '../../learning/model/registry.ts';
import { startTensors } from '../../learning/tensors/backend.ts';
import { padBatch } from '../../learning/training/batches.ts';
import { Random } from '../../learning/training/random.ts';
import { TrainingStep } from '../../learning/training/step.ts';
import { foldedModel } from './folded.ts';
import { LORA, loraMethod } from './work.ts';

const [modelFolder, work, threads, mode] = process.argv.slice(2) as [string, string, string, 'folded'?];
const engine = await startTensors('tensorflow', { threads: Number(threads) });
// As the peer: libraries are there, the model is not.
const began = performance.now();
const model = await loadModel(modelFolder);
const loadSeconds = (performance.now() - began) / 1000;
const startSeconds = Date.now() / 1000 - Number(process.env['BENCH_STARTED']);

const file = join(work, 'batches.safetensors');
const { tensors } = readSafetensors(readFileSync(file), file);
const [ids, labels] = ['input_ids', 'labels'].map((name) => tensors.get(name)!);
const [batches, rows, length] = ids!.shape as [number, number, number];
const pixels = tensors.get('pixel_values');
// The tower is frozen: the pipeline computes its features once per image, before training.
const features =
  pixels &&
  tf.tidy(() =>
    model.encodeImages(
      tf.tensor(
        pixels.data as Float32Array,
        [batches * rows, ...pixels.shape.slice(2)] as [number, number, number, number],
      ),
    ),
  );

const row = (data: unknown, i: number) => (data as Int32Array).slice(i * length, (i + 1) * length);
const samples = Array.from({ length: batches * rows }, (_, i): EncodedSample => {
  const images = features ? [String(i)] : [];
  return { id: String(i), inputIds: row(ids!.data, i), labels: row(labels!.data, i), images, references: [] };
});

const { method, options } = loraMethod();
const layers = selectLayers(model.layers, LORA.targets);
const bank = method.start(layers, options, new Random(1));
const trainable = method.begin(bank, 'bench', options, new Random(2));
const step = new TrainingStep(
  {
    model,
    method,
    options,
    layers,
    trainable,
    features: (digests) => tf.gather(features!, tf.tensor1d(digests.map(Number), 'int32')) as tf.Tensor3D,
    training: {
      learningRate: LORA.learningRate,
      batchSize: rows,
      microBatchSize: rows,
      epochs: 1,
      warmupRatio: 0,
      weightDecay: 0,
      clipNorm: 0,
    },
    penalty: false,
  },
  1,
);

const learned = method.finish(bank, trainable, new Map([...trainable.tensors].map(([key, { start }]) => [key, start])));
const adapter = bindAdapter(learned, 'bench');
const { layers: pairs, alpha, rank } = method.fold!(learned, 'bench');
const answering = mode === 'folded' ? await foldedModel(modelFolder, pairs, alpha / rank) : model;
// No token ends an answer here: both sides make as many as they are asked for.
Object.defineProperty(answering, 'endTokens', { value: [] });
const generator = answering.generator(mode === 'folded' ? () => noAdapter : adapter.of);

const answer = (value: object) => process.stdout.write(`${JSON.stringify(value)}\n`);
answer({ version: engine.version, loadSeconds, startSeconds });
let done = 0;
for await (const line of createInterface({ input: process.stdin })) {
  const [what, count] = line.split(' ');
  answer(what === 'train' ? train(Number(count)) : generate(Number(count)));
}
process.exit(0);

function train(count: number) {
  const result = { seconds: [] as number[], losses: [] as number[] };
  for (let i = 0; i < count; i++) {
    const at = (done++ % batches) * rows;
    const start = performance.now();
    const { loss } = step.take([samples.slice(at, at + rows)], LORA.learningRate, new Random(0));
    result.seconds.push((performance.now() - start) / 1000);
    result.losses.push(loss);
  }
  return { ...result, eager: step.whyEager, peakBytes: peak() };
}

/** Greedy tokens after the prompts of the first batch. */
function generate(count: number) {
  const prompts = samples.slice(0, rows).map(({ inputIds, labels, ...sample }) => {
    const end = features ? labels!.findIndex((label) => label !== -100) : -1;
    return { ...sample, labels: null, inputIds: end > 0 ? inputIds.slice(0, end) : inputIds };
  });
  const seen = features && tf.slice(features, 0, rows);
  const start = performance.now();
  const rowsOf = generator.generate(
    padBatch(prompts, model.padToken, { side: 'left' }),
    seen as tf.Tensor3D | null,
    count,
    mode === 'folded' ? null : adapter.parameters,
  );
  const seconds = (performance.now() - start) / 1000;
  seen?.dispose();
  return { seconds, tokens: rowsOf.map(({ ids }) => ids) };
}

/** Most memory that this process ever had, from the kernel. */
function peak(): number {
  const [, kibibytes] = /VmHWM:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))!;
  return Number(kibibytes) * 1024;
}
