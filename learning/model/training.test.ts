import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { TensorMap } from '../../core/host-tensor.ts';
import { openModelTensors } from '../../core/model-tensors.ts';
import {
  type Candidate,
  expectNear,
  lastTokens,
  NEAR,
  REFERENCE_MODELS,
  ReferenceAdamW,
  reference,
} from '../../test/reference.ts';
import { startTensors } from '../tensors/backend.ts';
import { type AdaptedLayer, type BaseModel, noAdapter } from './model.ts';
import { buildModel, loadModel, readDefinition } from './registry.ts';

/* Gradients and training through the whole model against PyTorch and PEFT. */

const mm = (a: tf.Tensor, b: tf.Tensor, transposeB = false) => tf.matMul(a, b, false, transposeB) as tf.Tensor2D;

const lora = (scale: number, adapted: ReadonlySet<string>): Candidate => ({
  adapt: (get) => (layer, x, base) => {
    if (!adapted.has(layer)) return base;
    const z = mm(x, get(`${layer}.lora_A`), true);
    return tf.add(base, tf.mul(mm(z, get(`${layer}.lora_B`), true), scale)) as tf.Tensor2D;
  },
});

/** LiLoRA as the reference defines it: ΔW = s (σ(a) B0 + (1 − σ(a)) B̃ Ã) A, and the stability loss. */
const lilora = (scale: number, weight: number, cosineFlows: boolean, adapted: ReadonlySet<string>): Candidate => ({
  adapt: (get) => (layer, x, base) => {
    if (!adapted.has(layer)) return base;
    const share = tf.sigmoid(get(`${layer}.a`));
    const own = mm(get(`${layer}.B_tilde`), get(`${layer}.A_tilde`));
    const B = tf.add(tf.mul(share, get(`${layer}.B0`)), tf.mul(tf.sub(1, share), own));
    return tf.add(base, tf.mul(mm(mm(x, get(`${layer}.A`), true), B, true), scale)) as tf.Tensor2D;
  },
  penalty: (get, layers) => {
    const each = layers.map(({ name }) => {
      const now = mm(get(`${name}.B_tilde`), get(`${name}.A_tilde`));
      const before = mm(get(`${name}.B_tilde_prev`), get(`${name}.A_tilde_prev`));
      const norms = tf.mul(tf.norm(now), tf.norm(before));
      const zero = norms.dataSync()[0]! < 1e-12;
      let cosine: tf.Tensor = zero ? tf.scalar(0) : tf.div(tf.sum(tf.mul(now, before)), norms);
      if (!cosineFlows) cosine = tf.scalar(cosine.dataSync()[0]!);
      const moved = tf.sum(tf.square(tf.sub(get(`${name}.B0`), get(`${name}.B0_old`))));
      return tf.mul(tf.sub(1, cosine), moved);
    });
    return tf.mul(tf.div(tf.addN(each), each.length), weight) as tf.Scalar;
  },
});

/** Tensors of an adapter in the engine; those in `trained` are variables. */
class Tensors {
  readonly all = new Map<string, tf.Tensor>();
  readonly trained = new Map<string, tf.Variable>();

  constructor(tensors: TensorMap, rename: (name: string) => string, trained: (name: string) => boolean) {
    for (const [key, { shape, data }] of tensors) {
      const name = rename(key);
      const tensor = tf.tensor(data, [...shape]);
      if (!trained(name)) this.all.set(name, tensor);
      else {
        const variable = tf.variable(tensor);
        tensor.dispose();
        this.all.set(name, variable);
        this.trained.set(name, variable);
      }
    }
  }

  readonly get = (name: string): tf.Tensor => this.all.get(name)!;

  dispose(): void {
    tf.dispose([...this.all.values()]);
  }
}

const peftName = (key: string) => key.replace(/^base_model\.model\./, '').replace(/\.weight$/, '');

describe.each(REFERENCE_MODELS)('%s', (name) => {
  const ref = reference(name);
  const batch = ref.batch('train');
  let model: BaseModel;
  let features: tf.Tensor3D;
  let adapted: AdaptedLayer[];
  let paths: ReadonlySet<string>;

  beforeAll(async () => {
    await startTensors('tensorflow');
    model = await loadModel(join(ref.folder, 'model'));
    features = ref.features('train', model)!;
    paths = new Set<string>(ref.json.lora.modules);
    adapted = model.layers.filter((layer) => paths.has(layer.name));
    expect(adapted.length).toBe(paths.size);
  });

  afterAll(() => {
    tf.dispose(features);
    model.dispose();
  });

  function differentiate(tensors: Tensors, candidate: Candidate) {
    const parts = { task: 0, penalty: 0 };
    const variables = [...tensors.trained.values()];
    const result = tf.variableGrads(() => {
      const task = model.loss(batch, features, candidate.adapt(tensors.get));
      const penalty = candidate.penalty?.(tensors.get, adapted);
      parts.task = task.dataSync()[0]!;
      parts.penalty = penalty?.dataSync()[0] ?? 0;
      return penalty ? tf.add(task, penalty) : task;
    }, variables);
    const gradients = new Map([...tensors.trained].map(([key, variable]) => [key, result.grads[variable.name]!]));
    result.value.dispose();
    return { ...parts, gradients };
  }

  /** Eleven losses: before every one of ten steps, and after the last. */
  function train(tensors: Tensors, candidate: Candidate) {
    const optimizer = new ReferenceAdamW();
    const losses: { task: number; penalty: number }[] = [];
    let count = 0;
    for (let step = 0; step <= 10; step++) {
      const { gradients, task, penalty } = differentiate(tensors, candidate);
      losses.push({ task, penalty });
      if (step < 10) optimizer.apply(tensors.trained, gradients);
      tf.dispose([...gradients.values()]);
      if (step > 0) expect(tf.memory().numTensors, `tensors after step ${step}`).toBe(count);
      count = tf.memory().numTensors;
    }
    return losses;
  }

  function expectLogits(prefix: string, tensors: Tensors, candidate: Candidate): void {
    for (const at of ['one', 'pair-right']) {
      tf.tidy(() => {
        const seen = ref.features(at, model)!;
        const logits = model.logits(ref.batch(at), seen, candidate.adapt(tensors.get), lastTokens(ref.batch(at)));
        expectNear(logits.dataSync(), ref.numbers(`${prefix}/${at}/logits_last`), NEAR.logits, `${prefix} ${at}`);
      });
    }
  }

  test('LoRA: logits, gradients, ten steps of AdamW, the adapter at the end', () => {
    const start = ref.tensors('adapter/adapter_model.safetensors');
    const tensors = new Tensors(start, peftName, () => true);
    const candidate = lora(2, paths);
    expectLogits('lora', tensors, candidate);

    const { gradients } = differentiate(tensors, candidate);
    for (const key of ref.json.lora.gradient_tensors as string[]) {
      const actual = gradients.get(peftName(key.replace('lora/grad/', '')))!;
      expectNear(actual.dataSync(), ref.numbers(key), NEAR.gradient, key, true);
    }
    for (const [key, l2] of Object.entries(ref.json.lora.gradient_l2_of_every_tensor as Record<string, number>)) {
      const actual = Math.hypot(...gradients.get(peftName(key))!.dataSync());
      expect(Math.abs(actual - l2), key).toBeLessThan(NEAR.gradient * l2);
    }
    tf.dispose([...gradients.values()]);

    const losses = train(tensors, candidate).map(({ task }) => task);
    expectNear(losses, ref.json.lora.losses, NEAR.loss, 'losses');
    for (const [key, { data }] of ref.tensors('adapter-trained/adapter_model.safetensors')) {
      expectNear(tensors.get(peftName(key)).dataSync(), data, NEAR.adapter, key);
    }
    tensors.dispose();
  });

  describe('LiLoRA', () => {
    const { lilora: expected } = ref.json;
    const start = () => ref.tensors('lilora/start.safetensors');
    const trained = (key: string) => /\.(A|B0|B_tilde|A_tilde|a)$/.test(key);
    const own = (key: string) => /\.(B_tilde|A_tilde|a)$/.test(key);
    const candidate = (flows = false) => lilora(expected.scale, expected.stability_weight, flows, paths);

    test('logits, and the same from the folded adapter', () => {
      const tensors = new Tensors(start(), (key) => key, trained);
      expectLogits('lilora', tensors, candidate());
      tensors.dispose();
      const folded = new Tensors(ref.tensors('lilora/folded-adapter/adapter_model.safetensors'), peftName, trained);
      expectLogits('lilora', folded, lora(2, paths));
      folded.dispose();
    });

    test.each([
      ['grad_total', false, true],
      ['grad_total_flow', true, true],
      ['grad_task', false, false],
    ] as const)('%s', (prefix, flows, withPenalty) => {
      const tensors = new Tensors(start(), (key) => key, trained);
      const { adapt, penalty } = candidate(flows);
      const { gradients, ...loss } = differentiate(tensors, withPenalty ? { adapt, penalty: penalty! } : { adapt });
      expect(Math.abs(loss.task - expected.loss_task)).toBeLessThan(NEAR.loss);
      if (withPenalty) {
        expect(Math.abs(loss.penalty / expected.stability_weight - expected.loss_reg)).toBeLessThan(NEAR.loss);
      }
      const keys = [...ref.expected.keys()].filter((key) => key.startsWith(`lilora/${prefix}/`));
      expect(keys.length).toBeGreaterThan(5);
      for (const key of keys) {
        const actual = gradients.get(key.slice(`lilora/${prefix}/`.length))!.dataSync();
        expectNear(actual, ref.numbers(key), NEAR.gradient, key, true);
      }
      tf.dispose([...gradients.values()]);
      tensors.dispose();
    });

    test('ten steps of AdamW on all five tensors', () => {
      const tensors = new Tensors(start(), (key) => key, trained);
      const losses = train(tensors, candidate());
      const wanted = expected.trajectory as { task: number; reg: number }[];
      expectNear(
        losses.map((l) => l.task),
        wanted.map((l) => l.task),
        NEAR.loss,
        'task losses',
      );
      const reg = losses.map((l) => l.penalty / expected.stability_weight);
      expectNear(
        reg,
        wanted.map((l) => l.reg),
        NEAR.loss,
        'stability losses',
      );
      for (const [key, { data }] of ref.tensors('lilora/after-10-steps.safetensors')) {
        expectNear(tensors.get(key).dataSync(), data, NEAR.adapter, key);
      }
      tensors.dispose();
    });

    test('ten steps on the own tensors alone', () => {
      const tensors = new Tensors(start(), (key) => key, own);
      const losses = train(tensors, { adapt: candidate().adapt }).map((l) => l.task);
      expectNear(losses, expected.split_own_losses, NEAR.loss, 'losses');
      tensors.dispose();
    });
  });

  test('every weight can be trained: gradients agree with the change of the loss', async () => {
    const definition = await readDefinition(join(ref.folder, 'model'));
    const files = await openModelTensors(join(ref.folder, 'model'));
    const variables = new Map<string, tf.Variable>();
    for (const key of files.names()) {
      const weight = tf.tensor(await files.readFloat(key), [...files.info(key).shape]);
      variables.set(definition.family.canonicalName(key), tf.variable(weight));
      weight.dispose();
    }
    await files.close();
    expect([...variables.keys()].sort()).toEqual([...definition.shapes.keys()].sort());
    const own = buildModel(definition, (key) => variables.get(key)!);
    const pixels = ref.pixels('train');
    const loss = () => own.loss(batch, tf.concat(pixels.map((picture) => own.encodeImages(picture))), noAdapter);
    const { value, grads } = tf.variableGrads(loss, [...variables.values()]);
    const unused: string[] = [];
    for (const [key, variable] of variables) {
      const gradient = grads[variable.name];
      if (!gradient) {
        unused.push(key);
        continue;
      }
      const norm = Math.hypot(...gradient.dataSync());
      // softmax(q (k + b)) does not depend on b where positions do not turn keys: that gradient is zero.
      if (/vision_(tower|model).*k_proj\.bias/.test(key)) {
        expect(norm, key).toBeLessThan(1e-3);
        continue;
      }
      // Along the gradient the loss changes by its norm.
      const step = Math.min(0.02 / norm, 0.02);
      const moved = (sign: number) =>
        tf.tidy(() => {
          const before = variable.clone();
          variable.assign(tf.add(variable, tf.mul(gradient, (sign * step) / norm)) as tf.Tensor);
          const after = loss().dataSync()[0]!;
          variable.assign(before);
          return after;
        });
      const slope = (moved(1) - moved(-1)) / (2 * step);
      expect(Math.abs(slope - norm), `${key}: ${slope}, not ${norm}`).toBeLessThan(0.02 * norm + 5e-4);
    }
    const { family, config, shapes } = definition;
    expect(unused.sort()).toEqual([...shapes.keys()].filter((key) => family.unused(key, config)).sort());
    expect(unused.length).toBe(name.startsWith('llava') ? 18 : 0);
    tf.dispose([value, ...pixels, ...Object.values(grads), ...variables.values()]);
    own.dispose();
  });

  test('training is bit-equal from run to run', () => {
    const run = () => {
      const tensors = new Tensors(ref.tensors('adapter/adapter_model.safetensors'), peftName, () => true);
      train(tensors, lora(2, paths));
      const numbers = [...tensors.trained.values()].map((variable) => variable.dataSync().slice());
      tensors.dispose();
      return numbers;
    };
    expect(run()).toEqual(run());
  });
});
