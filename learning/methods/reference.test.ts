import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as tf from '@tensorflow/tfjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { TensorMap } from '../../core/host-tensor.ts';
import { readTensorMap } from '../../core/safetensors.ts';
import { expectNear, lastTokens, NEAR, REFERENCE_MODELS, ReferenceAdamW, reference } from '../../test/reference.ts';
import type { Adapt, AdaptedLayer, BaseModel } from '../model/model.ts';
import { loadModel } from '../model/registry.ts';
import { startTensors } from '../tensors/backend.ts';
import { Random } from '../training/random.ts';
import { bindAdapter, bindLora, bindTrainable } from './adapter.ts';
import { ownKey, sharedKey } from './bank.ts';
import { lilora } from './lilora/index.ts';
import { type LiloraOptions, liloraOptions } from './lilora/options.ts';
import type { Bank, Method, Trainable } from './method.ts';
import { methodNamed } from './registry.ts';
import { selectLayers } from './targets.ts';

/* The methods as the product runs them, against PyTorch and PEFT: see test/fixtures/README.md. */

beforeAll(() => startTensors('tensorflow'));

const options = (given: object = {}): LiloraOptions =>
  liloraOptions.parse({ variant: 'paper', rank: 4, alpha: 8, innerRank: 2, stabilityWeight: 0.1, ...given });

/**
 * The reference's second task: the bank after its first one (B0_old and the previous task's own factors), and what is
 * trained, from the reference's start.
 */
function secondTask(
  from: TensorMap,
  layers: readonly AdaptedLayer[],
  given: LiloraOptions,
  name = (layer: string, tensor: string) => `${layer}.${tensor}`,
): { bank: Bank; trainable: Trainable } {
  const tensor = (layer: string, key: string) => from.get(name(layer, key))!;
  const tensors: TensorMap = new Map();
  for (const { name: layer } of layers) {
    tensors.set(sharedKey(layer, 'A'), tensor(layer, 'A'));
    tensors.set(sharedKey(layer, 'B0'), tensor(layer, 'B0_old'));
    tensors.set(ownKey('first', layer, 'B_tilde'), tensor(layer, 'B_tilde_prev'));
    tensors.set(ownKey('first', layer, 'A_tilde'), tensor(layer, 'A_tilde_prev'));
    tensors.set(ownKey('first', layer, 'a'), { shape: [1], data: new Float32Array(1) });
  }
  const bank: Bank = { method: 'lilora', options: given, layers, tasks: ['first'], tensors };
  const begun = lilora.begin(bank, 'second', given, new Random(1));
  const started = [...begun.tensors].map(([key, { place, trained }]) => {
    const at = key.lastIndexOf('/');
    return [key, { start: tensor(key.slice(0, at), key.slice(at + 1)), place, trained }] as const;
  });
  return { bank, trainable: { ...begun, tensors: new Map(started) } };
}

describe('one LiLoRA layer', () => {
  const folder = fileURLToPath(new URL('../../test/fixtures/lilora-layer', import.meta.url));
  const read = (file: string) => readTensorMap(readFileSync(join(folder, file)), file);
  const [inputs, expected] = [read('inputs.safetensors'), read('expected.safetensors')];
  const json = JSON.parse(readFileSync(join(folder, 'expected.json'), 'utf8'));
  const layers = [{ name: 'layer', in: 7, out: 10 }];
  const tensor = (key: string) => tf.tensor(inputs.get(key)!.data, [...inputs.get(key)!.shape]);

  it.each([
    ['grad_detached', false],
    ['grad_flow', true],
  ])('has the output, losses and gradients of the reference: %s', (prefix, similarityGradient) => {
    const given = options({ similarityGradient });
    const { trainable } = secondTask(inputs, layers, given, (_layer, key) => key);
    const bound = bindTrainable(lilora as never, given, layers, trainable);
    const x = tf.reshape(tensor('x'), [6, 7]) as tf.Tensor2D;
    const base = tf.add(tf.matMul(x, tensor('weight') as tf.Tensor2D, false, true), tensor('bias')) as tf.Tensor2D;
    const forward = () => bound.adapt('layer', x, base);
    const task = () => tf.mean(tf.square(tf.sub(forward(), tf.reshape(tensor('target'), [6, 10]))));
    const penalty = () => lilora.penalty!(bound.active, given, trainable);

    expectNear(forward().dataSync(), expected.get('y')!.data, 1e-5, 'y');
    expect(task().dataSync()[0]).toBeCloseTo(json.loss_task, 5);
    expect(penalty().dataSync()[0]).toBeCloseTo(json.stability_weight * json.loss_reg, 6);
    const { grads } = tf.variableGrads(() => tf.add(task(), penalty()) as tf.Scalar, [...bound.variables.values()]);
    expect([...bound.variables.keys()].sort()).toEqual(['A', 'A_tilde', 'B0', 'B_tilde', 'a'].map((k) => `layer/${k}`));
    for (const [key, variable] of bound.variables) {
      const wanted = expected.get(`${prefix}/${key.slice('layer/'.length)}`)!.data;
      expectNear(grads[variable.name]!.dataSync(), wanted, NEAR.gradient, `${prefix} ${key}`, true);
    }
    bound.dispose();
  });

  it('folds to the reference’s LoRA', () => {
    const { bank, trainable } = secondTask(inputs, layers, options(), (_layer, key) => key);
    const trained = new Map([...trainable.tensors].map(([key, { start }]) => [key, start]));
    const { layers: folded, rank, alpha } = lilora.fold!(lilora.finish(bank, trainable, trained), 'second');
    const { A, B } = folded.get('layer')!;
    expect([rank, alpha]).toEqual([4, 8]);
    expectNear(A.data, expected.get('folded_A')!.data, 0, 'folded A');
    expectNear(B.data, expected.get('folded_B')!.data, 1e-6, 'folded B');
  });
});

describe.each(REFERENCE_MODELS)('%s', (name) => {
  const ref = reference(name);
  const batch = ref.batch('train');
  let model: BaseModel;
  let features: tf.Tensor3D;
  let layers: AdaptedLayer[];

  beforeAll(async () => {
    model = await loadModel(join(ref.folder, 'model'));
    features = ref.features('train', model)!;
    layers = selectLayers(model.layers, 'paper');
    expect(layers.map((layer) => layer.name).sort()).toEqual([...ref.json.lora.modules].sort());
  });
  afterAll(() => {
    features.dispose();
    model.dispose();
  });

  /** Eleven losses: before every one of ten steps, and after the last; and what was trained. */
  function train<Options extends Record<string, unknown>>(
    method: Method<Options>,
    given: Options,
    trainable: Trainable,
    withPenalty = true,
  ) {
    const bound = bindTrainable(method as never, given, layers, trainable);
    const optimizer = new ReferenceAdamW();
    const losses: { task: number; penalty: number }[] = [];
    const variables = [...bound.variables.values()];
    for (let step = 0; step <= 10; step++) {
      tf.tidy(() => {
        const parts = { task: 0, penalty: 0 };
        const { grads } = tf.variableGrads(() => {
          const task = model.loss(batch, features, bound.adapt);
          const penalty = withPenalty ? method.penalty?.(bound.active, given, trainable) : undefined;
          parts.task = task.dataSync()[0]!;
          parts.penalty = penalty?.dataSync()[0] ?? 0;
          return (penalty ? tf.add(task, penalty) : task) as tf.Scalar;
        }, variables);
        losses.push(parts);
        if (step === 10) return;
        optimizer.apply(
          bound.variables,
          new Map([...bound.variables].map(([key, variable]) => [key, grads[variable.name]!])),
        );
      });
    }
    const trained = bound.trained();
    bound.dispose();
    return { losses, trained };
  }

  function expectLogits(prefix: string, adapt: Adapt): void {
    for (const at of ['one', 'pair-right']) {
      tf.tidy(() => {
        const seen = ref.features(at, model)!;
        const logits = model.logits(ref.batch(at), seen, adapt, lastTokens(ref.batch(at)));
        expectNear(logits.dataSync(), ref.numbers(`${prefix}/${at}/logits_last`), NEAR.logits, `${prefix} ${at}`);
      });
    }
  }

  /** A LoRA of the reference in a bank of one of the LoRA methods. */
  const peft = (path: string) => {
    const tensors = ref.tensors(`${path}/adapter_model.safetensors`);
    return (layer: string, tensor: string) => tensors.get(`base_model.model.${layer}.${tensor}.weight`)!;
  };

  describe.each(['sequential-lora', 'per-task-lora'])('%s', (methodName) => {
    const method = methodNamed(methodName);
    const given = method.options.parse({ rank: 4, alpha: 8 });

    it('ten steps of AdamW, as PEFT takes them, to the same adapter and logits', () => {
      const [start, end] = [peft('adapter'), peft('adapter-trained')];
      const bank = method.start(layers, given, new Random(1));
      const begun = method.begin(bank, 'task', given, new Random(2));
      const tensors = [...begun.tensors].map(([key, { place, trained }]) => {
        const [layer, tensor] = key.split('/') as [string, string];
        return [key, { start: start(layer, tensor), place, trained }] as const;
      });
      const trainable = { ...begun, tensors: new Map(tensors) };
      const { losses, trained } = train(method, given, trainable);
      expectNear(
        losses.map(({ task }) => task),
        ref.json.lora.losses,
        NEAR.loss,
        'losses',
      );
      for (const [key, { data }] of trained) {
        const [layer, tensor] = key.split('/') as [string, string];
        expectNear(data, end(layer, tensor).data, NEAR.adapter, key);
      }

      const learned = method.finish(bank, trainable, new Map(tensors.map(([key, { start }]) => [key, start])));
      const adapter = bindAdapter(learned, 'task');
      expectLogits('lora', adapter.adapt);
      adapter.dispose();
      const lora = bindLora(method.fold!(learned, 'task'));
      expectLogits('lora', lora.adapt);
      lora.dispose();
    });
  });

  describe('LiLoRA', () => {
    const { lilora: expected } = ref.json;
    const start = () => ref.tensors('lilora/start.safetensors');

    it('logits, as LiLoRA and folded, and the fold itself', () => {
      const { bank, trainable } = secondTask(start(), layers, options());
      const trained = new Map([...trainable.tensors].map(([key, tensor]) => [key, tensor.start]));
      const learned = lilora.finish(bank, trainable, trained);
      const before = tf.memory().numTensors;
      const adapter = bindAdapter(learned, 'second');
      expectLogits('lilora', adapter.adapt);
      adapter.dispose();
      const folded = lilora.fold!(learned, 'second');
      const lora = bindLora(folded);
      expectLogits('lilora', lora.adapt);
      lora.dispose();
      expect(tf.memory().numTensors).toBe(before);
      const wanted = peft('lilora/folded-adapter');
      for (const [layer, { A, B }] of folded.layers) {
        expectNear(A.data, wanted(layer, 'lora_A').data, 0, `${layer} A`);
        expectNear(B.data, wanted(layer, 'lora_B').data, 1e-6, `${layer} B`);
      }
    });

    it('ten steps of AdamW on all five tensors', () => {
      const given = options();
      const { losses, trained } = train(lilora, given, secondTask(start(), layers, given).trainable);
      const wanted = expected.trajectory as { task: number; reg: number }[];
      expectNear(
        losses.map(({ task }) => task),
        wanted.map(({ task }) => task),
        NEAR.loss,
        'task losses',
      );
      expectNear(
        losses.map(({ penalty }) => penalty / expected.stability_weight),
        wanted.map(({ reg }) => reg),
        NEAR.loss,
        'stability losses',
      );
      const end = ref.tensors('lilora/after-10-steps.safetensors');
      expect(trained.size).toBe(end.size);
      for (const [key, { data }] of trained) expectNear(data, end.get(key.replace('/', '.'))!.data, NEAR.adapter, key);
    });

    it('ten steps on the own tensors alone, as safe mode takes them', () => {
      const given = lilora.safe!(options());
      const { trainable } = secondTask(start(), layers, given);
      const { losses, trained } = train(lilora, given, trainable);
      expect([...trained.keys()].every((key) => /\/(B_tilde|A_tilde|a)$/.test(key))).toBe(true);
      expectNear(
        losses.map(({ task }) => task),
        expected.split_own_losses,
        NEAR.loss,
        'losses',
      );
      expect(losses.every(({ penalty }) => penalty === 0)).toBe(true);
    });
  });
});
