import { cpSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { readTensorMap, writeSafetensors } from '../core/safetensors.ts';
import { noAdapter } from '../learning/model/model.ts';
import { type LoadOptions, loadModel } from '../learning/model/registry.ts';
import { lastTokens, type REFERENCE_MODELS, reference } from './reference.ts';

/** What a tiny model of the fixtures makes of their batches. */
export interface ReferenceAnswers {
  /** After the last real token of every row of every case. */
  readonly logits: Float32Array;
  readonly loss: number;
  /** Greedy answers. */
  readonly tokens: readonly number[];
}

type Name = (typeof REFERENCE_MODELS)[number];

interface Generation {
  readonly case: string;
  readonly max_new_tokens: number;
  readonly ids: number[][];
  readonly eos_token_id?: number[];
}

const generations = (name: Name) =>
  (reference(name).json.generate as Generation[]).filter(({ eos_token_id }) => !eos_token_id);

const joined = (parts: readonly Float32Array[]) => Float32Array.from(parts.flatMap((part) => [...part]));

/** A copy of a model of the fixtures with its weights in 16 bits a number, in a folder below `root`. */
export function halvedReference(root: string, name: Name, type: 'F16' | 'BF16'): string {
  const folder = join(root, `${name}-${type}`);
  cpSync(join(reference(name).folder, 'model'), folder, { recursive: true });
  for (const file of readdirSync(folder).filter((file) => file.endsWith('.safetensors'))) {
    const path = join(folder, file);
    writeFileSync(path, writeSafetensors(readTensorMap(readFileSync(path), path), { format: 'pt' }, type));
  }
  return folder;
}

/** What PyTorch made of them. */
export function expectedAnswers(name: Name): ReferenceAnswers {
  const ref = reference(name);
  return {
    logits: joined(Object.keys(ref.json.cases).map((at) => ref.numbers(`${at}/logits_last`))),
    loss: ref.json.cases.train.loss,
    tokens: generations(name).flatMap(({ ids }) => ids.flat()),
  };
}

/** What the engine makes of them now. @param folder another folder of the same model */
export async function referenceAnswers(
  name: Name,
  { folder = join(reference(name).folder, 'model'), load }: { folder?: string; load?: LoadOptions } = {},
): Promise<ReferenceAnswers> {
  const ref = reference(name);
  const model = await loadModel(folder, load);
  try {
    return tf.tidy(() => {
      const logits = Object.keys(ref.json.cases).map((at) => {
        const batch = ref.batch(at);
        return model.logits(batch, ref.features(at, model), noAdapter, lastTokens(batch)).dataSync() as Float32Array;
      });
      const loss = model.loss(ref.batch('train'), ref.features('train', model), noAdapter).dataSync()[0]!;
      const tokens = generations(name).flatMap(({ case: at, max_new_tokens: count }) =>
        model.generate(ref.batch(at), ref.features(at, model), noAdapter, count).flatMap(({ ids }) => ids),
      );
      return { logits: joined(logits), loss, tokens } as unknown as tf.TensorContainer;
    }) as unknown as ReferenceAnswers;
  } finally {
    model.dispose();
  }
}

/** How far one is from the other. */
export function apart(a: ReferenceAnswers, b: ReferenceAnswers) {
  return {
    /** Largest difference of two logits. */
    logits: a.logits.reduce((most, x, i) => Math.max(most, Math.abs(x - b.logits[i]!)), 0),
    loss: Math.abs(a.loss - b.loss),
    /** Tokens of greedy answers that are other ones. */
    tokens: a.tokens.filter((id, i) => id !== b.tokens[i]).length,
  };
}
