/**
 * Pre-trains the example base model from nothing: `npx tsx examples/pretrain.ts --out examples/base-model --minutes 30`.
 * Every weight learns, the tower included; what is taught stands in skills.ts. Writes the folder every few minutes.
 * `--from DIR` goes on from earlier weights; `--things N` draws at most N things into a scene.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import * as tf from '@tensorflow/tfjs';
import type { TensorMap } from '../core/host-tensor.ts';
import { openModelTensors } from '../core/model-tensors.ts';
import { writeSafetensors } from '../core/safetensors.ts';
import { canonicalName, toHubNames } from '../learning/model/llava/names.ts';
import { type BaseModel, noAdapter, type TokenBatch } from '../learning/model/model.ts';
import { buildModel, defineModel } from '../learning/model/registry.ts';
import { startTensors } from '../learning/tensors/backend.ts';
import { Random } from '../learning/training/random.ts';
import { IMAGE_PROCESSOR, writeModelFiles } from './base-model-files.ts';
import { type Digit, readDigits } from './digits.ts';
import { drawDigit, drawScene, randomScene, SIDE } from './scenes.ts';
import { digitTurn, SKILLS, type Turn, WEIGHTS } from './skills.ts';
import { NAMED_SHAPES, SHAPES } from './words.ts';

const { values } = parseArgs({
  options: {
    out: { type: 'string', default: 'examples/base-model' },
    minutes: { type: 'string', default: '30' },
    batch: { type: 'string', default: '48' },
    rate: { type: 'string', default: '0.0015' },
    seed: { type: 'string', default: '1' },
    from: { type: 'string' },
    things: { type: 'string', default: '4' },
  },
});
const minutes = Number(values.minutes);
const batchSize = Number(values.batch);
const peak = Number(values.rate);

const engine = await startTensors();
const { vocab, config, generation, tokens } = writeModelFiles(values.out);
const definition = defineModel(config, generation);
const random = new Random(Number(values.seed));
const imageTokens = (SIDE / 8) ** 2;

/** Ids of plain text, as the tokenizer has them: every word of the language is one token. */
function encode(text: string): number[] {
  const pieces = text.match(/ ?[A-Za-z]+| ?[0-9]| ?[^\sA-Za-z0-9]+|\s+/g) ?? [];
  return pieces.map((piece) => {
    const id = vocab[piece.replaceAll(' ', 'Ġ').replaceAll('\n', 'Ċ')];
    if (id === undefined) throw new Error(`"${piece}" of "${text}" is not one token`);
    return id;
  });
}

interface Row {
  readonly pixels: Uint8Array;
  readonly turns: readonly Turn[];
}

const skills = Object.entries(WEIGHTS).flatMap(([name, weight]) => Array<string>(weight).fill(name));
const digits = readDigits().pretraining;
const [heldOut, shown] = [digits.slice(0, 100), digits.slice(100)];

/** A picture and what is asked about it. Descriptions come last: they would give the other answers away. */
function makeRow(rows: readonly Digit[], asked?: string): Row {
  if (asked === 'digit' || (asked === undefined && random.below(8) === 0)) {
    const { ink, label } = rows[random.below(rows.length)]!;
    return { pixels: drawDigit(shifted(ink)), turns: [digitTurn(label)] };
  }
  for (;;) {
    // Shapes without a name are rarer than the others: they teach nothing to say.
    const pool = random.below(2) === 0 ? SHAPES : NAMED_SHAPES;
    const scene = randomScene(random, 1 + random.below(Number(values.things)), pool);
    const wanted = asked ? [asked] : Array.from({ length: 4 }, () => skills[random.below(skills.length)]!);
    const turns = [...new Set(wanted)]
      .sort((a, b) => Number(a === 'describe') - Number(b === 'describe'))
      .map((name) => SKILLS[name]!(scene, random))
      .filter((turn) => turn !== null);
    if (turns.length > 0) return { pixels: drawScene(scene, random), turns };
  }
}

/** The digit moved by up to a pixel of the small picture: four hundred rows would be learned by heart. */
function shifted(ink: readonly number[]): number[] {
  const [dx, dy] = [random.below(3) - 1, random.below(3) - 1];
  return ink.map((_, at) => {
    const [x, y] = [(at % 8) - dx, Math.floor(at / 8) - dy];
    return x < 0 || x > 7 || y < 0 || y > 7 ? 0 : ink[y * 8 + x]!;
  });
}

/** Rows as tokens; without answers for generation, then padded left. */
function makeBatch(rows: readonly Row[], generate = false): { batch: TokenBatch; pixels: tf.Tensor4D } {
  const encoded = rows.map(({ turns }) => {
    const ids = [tokens.BOS, ...encode('USER: '), ...Array<number>(imageTokens).fill(tokens.IMAGE)];
    const labels = ids.map(() => -100);
    turns.forEach(([prompt, answer], i) => {
      const asked = encode(`${i === 0 ? '\n' : 'USER: '}${prompt} ASSISTANT:`);
      const told = generate ? [] : [...encode(` ${answer}`), tokens.EOS];
      ids.push(...asked, ...told);
      labels.push(...asked.map(() => -100), ...told);
    });
    return { ids, labels };
  });
  const length = Math.ceil(Math.max(...encoded.map(({ ids }) => ids.length)) / 4) * 4;
  const batch = {
    rows: rows.length,
    length,
    inputIds: new Int32Array(rows.length * length).fill(tokens.PAD),
    attentionMask: new Int32Array(rows.length * length),
    labels: new Int32Array(rows.length * length).fill(-100),
  };
  encoded.forEach(({ ids, labels }, row) => {
    const start = row * length + (generate ? length - ids.length : 0);
    batch.inputIds.set(ids, start);
    batch.attentionMask.fill(1, start, start + ids.length);
    batch.labels.set(labels, start);
  });
  const plane = SIDE * SIDE;
  const pixels = new Float32Array(rows.length * 3 * plane);
  rows.forEach((row, r) => {
    for (let at = 0; at < plane; at++)
      for (let c = 0; c < 3; c++)
        pixels[(r * 3 + c) * plane + at] =
          (row.pixels[at * 3 + c]! / 255 - IMAGE_PROCESSOR.image_mean[c]!) / IMAGE_PROCESSOR.image_std[c]!;
  });
  return { batch, pixels: tf.tensor4d(pixels, [rows.length, 3, SIDE, SIDE]) };
}

/** Normal 0.02 for matrices (output projections of the residual stream smaller), ones for norms, zeros for biases. */
function initial(name: string, shape: readonly number[]): tf.Tensor {
  const size = shape.reduce((a, b) => a * b, 1);
  if (shape.length === 1 && /norm.*\.weight$/.test(name)) return tf.ones([...shape]);
  if (/bias$/.test(name)) return tf.zeros([...shape]);
  const residual = /(o_proj|down_proj|out_proj|fc2)\.weight$/.test(name) ? 0.4 : 1;
  const fanIn = shape.length > 1 ? size / shape[0]! : shape[0]!;
  const deviation = /embed_tokens|position_embedding|class_embedding/.test(name) ? 0.05 : residual / Math.sqrt(fanIn);
  return tf.tensor(
    Float32Array.from({ length: size }, () => random.normal() * deviation),
    [...shape],
  );
}

const weights = new Map(
  [...definition.shapes].map(([name, shape]) => [name, tf.variable(initial(name, shape), true, name)]),
);
if (values.from) {
  const earlier = await openModelTensors(values.from);
  for (const name of earlier.names()) {
    const weight = weights.get(canonicalName(name))!;
    const data = tf.tensor(await earlier.readFloat(name), weight.shape);
    weight.assign(data);
    data.dispose();
  }
  await earlier.close();
}
const model: BaseModel = buildModel(definition, (name) => weights.get(name)!);

function save(): void {
  const tensors: TensorMap = new Map(
    [...weights].map(([name, weight]) => [name, { shape: weight.shape, data: weight.dataSync() as Float32Array }]),
  );
  writeFileSync(join(values.out, 'model.safetensors'), writeSafetensors(toHubNames(tensors), { format: 'pt' }, 'F16'));
}

/** AdamW on all trained weights as one long vector: few operations, whatever the number of tensors. */
function optimizer(trained: tf.Variable[]) {
  const sizes = trained.map((weight) => weight.size);
  const total = sizes.reduce((a, b) => a + b, 0);
  const decayed = tf.concat(
    trained.map((weight) => (weight.rank > 1 ? tf.ones([weight.size]) : tf.zeros([weight.size]))),
  );
  let [m, v]: tf.Tensor1D[] = [tf.zeros([total]), tf.zeros([total])];
  let step = 0;
  return (gradients: tf.NamedTensorMap, rate: number) => {
    step++;
    const [m1, v1] = tf.tidy(() => {
      let g = tf.concat(trained.map((weight) => gradients[weight.name]!.reshape([-1]))) as tf.Tensor1D;
      g = g.mul(tf.minimum(1, tf.div(1, g.norm().add(1e-6))));
      const [nextM, nextV] = [m!.mul(0.9).add(g.mul(0.1)), v!.mul(0.98).add(g.square().mul(0.02))];
      const update = nextM.div(1 - 0.9 ** step).div(
        nextV
          .div(1 - 0.98 ** step)
          .sqrt()
          .add(1e-8),
      );
      const flat = tf.concat(trained.map((weight) => weight.reshape([-1])));
      const moved = flat.sub(update.add(flat.mul(decayed).mul(0.02)).mul(rate));
      tf.split(moved, sizes).forEach((part, i) => {
        trained[i]!.assign(part.reshape(trained[i]!.shape));
      });
      return [nextM, nextV] as tf.Tensor1D[];
    });
    tf.dispose([m!, v!]);
    [m, v] = [m1, v1];
  };
}

/** Exact answers on new scenes, by skill, in percent. */
function report(count: number): string {
  return [...Object.keys(SKILLS), 'digit']
    .map((name) => {
      const rows = Array.from({ length: count }, () => makeRow(heldOut, name));
      const { batch, pixels } = makeBatch(rows, true);
      const features = tf.tidy(() => model.encodeImages(pixels));
      const answers = model.generate(batch, features, noAdapter, 34);
      tf.dispose([pixels, features]);
      const right = answers.filter(({ ids }, i) => {
        const wanted = [...encode(` ${rows[i]!.turns[0]![1]}`), tokens.EOS];
        return wanted.length === ids.length && wanted.every((id, at) => id === ids[at]);
      });
      return `${name} ${Math.round((100 * right.length) / count)}`;
    })
    .join('  ');
}

const unusedLayer = `model.vision_tower.encoder.layers.${definition.shapes.size && 3}.`;
const trained = [...weights.values()].filter(
  ({ name }) => !name.startsWith(unusedLayer) && !name.includes('post_layernorm'),
);
const update = optimizer(trained);
const count = [...weights.values()].reduce((sum, weight) => sum + weight.size, 0);
console.log(
  `${engine.name} ${engine.version}: ${count} weights, ${Object.keys(vocab).length} tokens, batch ${batchSize}, peak rate ${peak}`,
);

const start = Date.now();
const length = minutes * 60_000;
let [step, saved, shownAt, reportedAt, mean] = [0, start, 0, start, 0];
while (Date.now() - start < length) {
  const share = (Date.now() - start) / length;
  const rate = peak * Math.min(1, share / 0.02 + 0.02) * (0.03 + 0.97 * (0.5 + 0.5 * Math.cos(Math.PI * share)));
  const { batch, pixels } = makeBatch(Array.from({ length: batchSize }, () => makeRow(shown)));
  const { value, grads } = tf.variableGrads(() => model.loss(batch, model.encodeImages(pixels), noAdapter), trained);
  update(grads, rate);
  const loss = value.dataSync()[0]!;
  tf.dispose([value, pixels]);
  tf.dispose(grads);
  if (!Number.isFinite(loss)) throw new Error(`The loss is ${loss} at step ${step}.`);
  mean = step === 0 ? loss : mean * 0.98 + loss * 0.02;
  step++;
  const now = Date.now();
  if (now - shownAt > 15_000) {
    console.log(
      `${((now - start) / 60_000).toFixed(1)} min  step ${step}  loss ${mean.toFixed(4)}  rate ${rate.toExponential(2)}  tensors ${tf.memory().numTensors}`,
    );
    shownAt = now;
  }
  if (now - reportedAt > 150_000) {
    console.log(`  exact: ${report(48)}`);
    reportedAt = Date.now();
  }
  if (now - saved > 180_000) {
    save();
    saved = now;
  }
}
save();
console.log(`done after ${step} steps; exact: ${report(200)}`);
