import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import type { EncodedSample } from '../core/sample.ts';
import type { AdaptedLayer, BaseModel } from '../learning/model/model.ts';
import { type LoadOptions, loadModel } from '../learning/model/registry.ts';
import { type REFERENCE_MODELS, reference, rowFeatures } from './reference.ts';

/* Learning on the tiny models of the fixtures: what tests of training and of methods have in common. */

export interface SmallLearning {
  readonly model: BaseModel;
  readonly layers: readonly AdaptedLayer[];
  /** The rows of the reference batch, with one image each, as samples, each so many times: many steps on little data. */
  samples(times: number): EncodedSample[];
  /** As a training run wants them. */
  readonly features: (digests: readonly string[]) => tf.Tensor3D;
  dispose(): void;
}

/** @param of another folder of the same model, and how it is loaded */
export async function smallLearning(
  name: (typeof REFERENCE_MODELS)[number],
  of: { readonly folder?: string; readonly load?: LoadOptions } = {},
): Promise<SmallLearning> {
  const ref = reference(name);
  const model = await loadModel(of.folder ?? join(ref.folder, 'model'), of.load);
  const features = ref.features('train', model)!;
  const batch = ref.batch('train');
  const { rows, length, inputIds, attentionMask, labels, grids } = batch;
  const sample = (i: number): EncodedSample => {
    const row = i % rows;
    const real = (values: Int32Array) =>
      values.slice(row * length, (row + 1) * length).filter((_, k) => attentionMask[row * length + k]);
    const own = { inputIds: real(inputIds), labels: real(labels!), images: [String(row)], references: [] };
    return { id: `${i}`, ...own, ...(grids && { grids: [grids[row]!] }) };
  };
  return {
    model,
    layers: model.layers.filter((layer) => ref.json.lora.modules.includes(layer.name)),
    samples: (times) => Array.from({ length: rows * times }, (_, i) => sample(i)),
    features: (digests) => tf.concat(digests.map((row) => rowFeatures(features, batch, Number(row), model.imageToken))),
    dispose: () => {
      features.dispose();
      model.dispose();
    },
  };
}

/** The same samples without their answers, for evaluation. */
export const prompts = (samples: readonly EncodedSample[]): EncodedSample[] =>
  samples.map(({ labels, inputIds, ...sample }) => {
    const answer = labels!.findIndex((label) => label !== -100);
    return { ...sample, inputIds: inputIds.slice(0, answer), labels: null };
  });

/** Options of what a method may have besides rank and alpha, small enough for the tiny models. */
const MORE: Readonly<Record<string, object>> = {
  'icm-lora': { snapshots: 2, channels: [4], steps: 3, vectorSize: 8 },
  moelora: { experts: 2 },
  mixlora: { experts: 6 },
};

/** Options under which a method of the registry learns on tiny models. */
export const smallOptions = (name: string): object =>
  name === 'zero-shot' ? {} : { rank: 4, alpha: 8, ...MORE[name] };
