import * as tf from '@tensorflow/tfjs';
import type { LoraPair } from '../../learning/methods/method.ts';
import type { BaseModel } from '../../learning/model/model.ts';
import { buildModel, readDefinition } from '../../learning/model/registry.ts';
import { readWeights } from '../../learning/model/weights.ts';

/** A model whose weights hold an adapter: W + scale · B A. It owns its weights. */
export async function foldedModel(
  folder: string,
  pairs: ReadonlyMap<string, LoraPair>,
  scale: number,
): Promise<BaseModel> {
  const definition = await readDefinition(folder);
  const { family, config, shapes } = definition;
  const weights = await readWeights(
    folder,
    shapes,
    family.canonicalName,
    (name) => family.unused(name, config),
    (name) => family.allowed(name, config),
    () => false,
  );
  const folded = new Map(
    [...pairs].map(([layer, { A, B }]) => {
      const [a, b] = [A, B].map(({ data, shape }) => tf.tensor2d(data, shape as [number, number]));
      const sum = tf.tidy(() => tf.add(weights.get(`${layer}.weight`), tf.mul(tf.matMul(b!, a!), scale)));
      tf.dispose([a!, b!]);
      return [`${layer}.weight`, sum];
    }),
  );
  return buildModel(definition, (name) => folded.get(name) ?? weights.get(name));
}
