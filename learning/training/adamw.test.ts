import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { expectNear, NEAR, REFERENCE_MODELS, ReferenceAdamW, reference } from '../../test/reference.ts';
import { loadModel } from '../model/registry.ts';
import { startTensors } from '../tensors/backend.ts';
import { AdamW, type AdamWOptions, type Moments } from './adamw.ts';
import { Random } from './random.ts';

const SHAPES: Record<string, number[]> = { matrix: [3, 4], vector: [5], one: [1] };

/** Variables with random numbers, and random gradients for them. */
function problem(seed: number) {
  const random = new Random(seed);
  const numbers = (shape: number[]) =>
    tf.tensor(
      Array.from({ length: tf.util.sizeFromShape(shape) }, () => random.normal()),
      shape,
    );
  const each = <T>(make: (shape: number[]) => T) =>
    new Map(Object.entries(SHAPES).map(([key, shape]) => [key, make(shape)]));
  const variables = each((shape) => tf.tidy(() => tf.variable(numbers(shape))));
  return { variables, gradients: () => each(numbers) };
}

const read = (variables: Map<string, tf.Variable>) => [...variables.values()].flatMap((v) => [...v.dataSync()]);
const weightsOf = (optimizer: AdamW) => [...optimizer.moments.weights.dataSync()];

/** One step, operation by operation. */
function apply(optimizer: AdamW, gradient: tf.Tensor1D, learningRate: number): void {
  const rates = optimizer.rates(learningRate);
  optimizer.accept(tf.tidy(() => optimizer.next(optimizer.moments, gradient, rates) as tf.TensorContainer) as Moments);
  tf.dispose(Object.values(rates));
}

describe.each(['cpu', 'tensorflow'] as const)('on %s', (engine) => {
  beforeAll(async () => {
    await startTensors(engine);
  });

  function steps(count: number, options: AdamWOptions, rate = 1e-3) {
    const { variables, gradients } = problem(1);
    const optimizer = new AdamW(variables, options);
    for (let step = 0; step < count; step++) {
      const all = gradients();
      const flat = optimizer.flat.join((key) => all.get(key));
      apply(optimizer, flat, rate);
      tf.dispose([flat, ...all.values()]);
    }
    return { optimizer, dispose: () => [optimizer, ...variables.values()].forEach((x) => void x.dispose()) };
  }

  test('twenty steps are those of float64', () => {
    const { variables, gradients } = problem(1);
    const wanted = new ReferenceAdamW();
    for (let step = 0; step < 20; step++) {
      const all = gradients();
      wanted.apply(variables, all);
      tf.dispose([...all.values()]);
    }
    const ours = steps(20, { weightDecay: 0.01 });
    expectNear(weightsOf(ours.optimizer), read(variables), 2e-6, 'weights');
    ours.dispose();
    tf.dispose([...variables.values()]);
  });

  test('the first step is the learning rate, whatever the size of the gradient', () => {
    const start = problem(1);
    const before = read(start.variables);
    const sized = steps(1, { multiplier: (key) => (key === 'vector' ? 0.5 : 1) }, 0.01);
    const moved = weightsOf(sized.optimizer).map((x, i) => Math.abs(x - before[i]!));
    expectNear(moved.slice(0, 12), Array(12).fill(0.01), 1e-6, 'matrix');
    expectNear(moved.slice(12, 17), Array(5).fill(0.005), 1e-6, 'vector at half the rate');
    sized.dispose();
    tf.dispose([...start.variables.values()]);
  });

  test('goes on bit-equal from a saved state, and makes no tensors', () => {
    const whole = steps(7, { weightDecay: 0.1 });
    const part = steps(4, { weightDecay: 0.1 });
    const { variables, gradients } = problem(1);
    const optimizer = new AdamW(variables, { weightDecay: 0.1 });
    for (let step = 0; step < 4; step++) tf.dispose([...gradients().values()]);
    optimizer.restore(part.optimizer.state());
    expect(weightsOf(optimizer)).toEqual(weightsOf(part.optimizer));
    const count = tf.memory().numTensors;
    for (let step = 0; step < 3; step++) {
      const all = gradients();
      const flat = optimizer.flat.join((key) => all.get(key));
      apply(optimizer, flat, 1e-3);
      tf.dispose([flat, ...all.values()]);
    }
    expect(tf.memory().numTensors).toBe(count);
    expect(weightsOf(optimizer)).toEqual(weightsOf(whole.optimizer));
    expect(optimizer.step).toBe(7);
    const missing = part.optimizer.state();
    missing.first.delete('one');
    expect(() => optimizer.restore(missing)).toThrow(/other tensors/);
    expect(tf.memory().numTensors).toBe(count);
    whole.dispose();
    part.dispose();
    tf.dispose([...variables.values()]);
    optimizer.dispose();
  });
});

describe.each(REFERENCE_MODELS)('%s', (name) => {
  const ref = reference(name);
  afterAll(() => tf.disposeVariables());

  test('ten steps on LoRA end where PyTorch ends', async () => {
    await startTensors('tensorflow');
    const model = await loadModel(join(ref.folder, 'model'));
    const features = ref.features('train', model)!;
    const layers = new Set<string>(ref.json.lora.modules);
    const variables = new Map<string, tf.Variable>();
    for (const [key, { shape, data }] of ref.tensors('adapter/adapter_model.safetensors')) {
      const start = tf.tensor(data, [...shape]);
      variables.set(key, tf.variable(start));
      start.dispose();
    }
    const get = (layer: string, part: string) => variables.get(`base_model.model.${layer}.lora_${part}.weight`)!;
    const loss = () =>
      model.loss(ref.batch('train'), features, (layer, x, base) => {
        if (!layers.has(layer)) return base;
        const z = tf.matMul(x, get(layer, 'A'), false, true);
        return tf.add(base, tf.mul(tf.matMul(z, get(layer, 'B'), false, true), 2)) as tf.Tensor2D;
      });
    const optimizer = new AdamW(variables, { weightDecay: 0.01 });
    const losses: number[] = [];
    for (let step = 0; step <= 10; step++) {
      for (const [key, tensor] of optimizer.flat.split(optimizer.moments.weights)) {
        variables.get(key)!.assign(tensor);
        tensor.dispose();
      }
      const { value, grads } = tf.variableGrads(loss, [...variables.values()]);
      losses.push(value.dataSync()[0]!);
      const flat = optimizer.flat.join((key) => grads[variables.get(key)!.name]);
      if (step < 10) apply(optimizer, flat, 1e-3);
      tf.dispose([value, flat, ...Object.values(grads)]);
    }
    expectNear(losses, ref.json.lora.losses, NEAR.loss, 'losses');
    for (const [key, { data }] of ref.tensors('adapter-trained/adapter_model.safetensors')) {
      expectNear(variables.get(key)!.dataSync(), data, NEAR.adapter, key);
    }
    optimizer.dispose();
    features.dispose();
    model.dispose();
  });
});
