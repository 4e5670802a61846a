import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readTensorMap } from '../core/safetensors.ts';
import { bindLora, bindTrainable } from '../learning/methods/adapter.ts';
import { readBank, writeBank } from '../learning/methods/bank.ts';
import { bankOfLora } from '../learning/methods/bank-of-lora.ts';
import type { Trainable } from '../learning/methods/method.ts';
import { methodNamed } from '../learning/methods/registry.ts';
import type { Adapt, BaseModel } from '../learning/model/model.ts';
import { loadModel } from '../learning/model/registry.ts';
import { startTensors } from '../learning/tensors/backend.ts';
import { Random } from '../learning/training/random.ts';
import { PEFT_FILES, readPeft, writePeft } from '../store/peft.ts';
import { expectNear, lastTokens, NEAR, ReferenceAdamW, reference } from './reference.ts';

/* An adapter with ranks and alphas of single layers and rsLoRA, from PEFT and back: test/interop/patterns.py made it. */

const ref = reference('llava-gqa');
const folder = join(ref.folder, 'patterns');
const json = JSON.parse(readFileSync(join(folder, 'expected.json'), 'utf8'));
const logits = readTensorMap(readFileSync(join(folder, 'expected.safetensors')), 'expected');
const fileOf = (kind: string, name: string) => new Uint8Array(readFileSync(join(folder, kind, name)));
const adapterOf = (kind: string) => readPeft(fileOf(kind, PEFT_FILES.config), fileOf(kind, PEFT_FILES.weights), kind);

let model: BaseModel;
beforeAll(async () => {
  await startTensors('tensorflow');
  model = await loadModel(join(ref.folder, 'model'));
});
afterAll(() => model.dispose());

function expectLogits(adapt: Adapt): void {
  for (const at of ['one', 'pair-right'])
    tf.tidy(() => {
      const found = model.logits(ref.batch(at), ref.features(at, model)!, adapt, lastTokens(ref.batch(at)));
      expectNear(found.dataSync(), logits.get(`${at}/logits_last`)!.data, NEAR.logits, at);
    });
}

it('computes what PEFT computes with it, read and written again', () => {
  const adapter = adapterOf('adapter');
  const [config, weights] = writePeft(adapter, { name: 'base' });
  for (const each of [adapter, readPeft(config!.bytes, weights!.bytes, 'ours')]) {
    const lora = bindLora(each);
    expectLogits(lora.adapt);
    lora.dispose();
  }
  const written = JSON.parse(Buffer.from(config!.bytes).toString());
  const unlike = (value: number, common: number) => (value === common ? [] : [value]);
  const ranks = Object.entries(json.ranks as Record<string, number>).flatMap(([name, rank]) =>
    unlike(rank, 4).map((r) => [name, r]),
  );
  expect(written).toMatchObject({ r: 4, lora_alpha: 6, use_rslora: true, rank_pattern: Object.fromEntries(ranks) });
});

it('is a bank of pairs, which folds to what it was', () => {
  const adapter = adapterOf('adapter');
  for (const name of ['sequential-lora', 'per-task-lora']) {
    const bank = readBank(writeBank(bankOfLora(name, 'theirs', adapter)), name);
    expect(bank.tasks).toEqual(['theirs']);
    expect(methodNamed(name).fold!(bank, 'theirs')).toEqual(adapter);
  }
  expect(() => bankOfLora('ewc', 'theirs', adapter)).toThrow(/ewc cannot start from an adapter of PEFT/);
});

describe.each(['sequential-lora', 'per-task-lora'])('%s', (name) => {
  it('takes the ten steps that PEFT takes from it', () => {
    const method = methodNamed(name);
    const [start, end] = [adapterOf('adapter'), adapterOf('adapter-trained')];
    const options = method.options.parse({
      rank: 4,
      alpha: 6,
      useRslora: true,
      rankPattern: JSON.parse(Buffer.from(fileOf('adapter', PEFT_FILES.config)).toString()).rank_pattern,
      alphaPattern: { 'linear_[12]': 5, up_proj: 9 },
    });
    const layers = model.layers.filter((layer) => start.layers.has(layer.name));
    const begun = method.begin(method.start(layers, options, new Random(1)), 'task', options, new Random(2));
    const pairOf = (key: string, of: typeof start) => {
      const [layer, tensor] = key.split('/') as [string, string];
      return of.layers.get(layer)![tensor === 'lora_A' ? 'A' : 'B'];
    };
    const tensors = [...begun.tensors].map(([key, tensor]) => {
      expect(tensor.start.shape, key).toEqual(pairOf(key, start).shape);
      return [key, { ...tensor, start: pairOf(key, start) }] as const;
    });
    const trainable: Trainable = { ...begun, tensors: new Map(tensors) };
    const bound = bindTrainable(method, options, layers, trainable);
    expectLogits(bound.adapt);
    const [batch, features] = [ref.batch('train'), ref.features('train', model)!];
    const optimizer = new ReferenceAdamW();
    const losses: number[] = [];
    for (let step = 0; step <= 10; step++)
      tf.tidy(() => {
        const { value, grads } = tf.variableGrads(
          () => model.loss(batch, features, bound.adapt),
          [...bound.variables.values()],
        );
        losses.push(value.dataSync()[0]!);
        const gradients = [...bound.variables].map(([key, variable]) => [key, grads[variable.name]!] as const);
        if (step < 10) optimizer.apply(bound.variables, new Map(gradients));
      });
    expectNear(losses, json.losses, NEAR.loss, 'losses');
    for (const [key, { data }] of bound.trained()) expectNear(data, pairOf(key, end).data, NEAR.adapter, key);
    features.dispose();
    bound.dispose();
  });
});
