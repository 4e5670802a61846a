import * as tf from '@tensorflow/tfjs';
import { sha256 } from '../../core/digest.ts';
import { LiloraError } from '../../core/errors.ts';
import type { HostTensor, TensorMap } from '../../core/host-tensor.ts';
import { canonicalJson } from '../../core/json.ts';
import { writeSafetensors } from '../../core/safetensors.ts';
import type { Adapt, AdaptedLayer, AdaptPart, Beyond } from '../model/model.ts';
import type { Tree } from '../tensors/tree.ts';
import { MODEL } from './bank.ts';
import type { Active, Bank, Method, Trainable } from './method.ts';
import { type PlainLora, pairScale } from './ranks.ts';
import { methodNamed } from './registry.ts';

const toTensor = ({ data, shape }: HostTensor) => tf.tensor(data, [...shape]);

/** Sends each adapted layer through the method; all others pass. */
function adaptWith(method: Method, options: Record<string, unknown>, active: Active): Adapt {
  const layers = new Map(active.layers.map((layer) => [layer.name, layer]));
  const prefix = method.prefix?.(active);
  const adapt: Adapt = (name, x, base, rows) => {
    const layer = layers.get(name);
    if (!layer) return base;
    if (!method.route) return method.apply(layer, x, base, active, options);
    if (!rows) throw new Error(`${method.name} chooses by sample, and this model does not tell the samples of a layer`);
    const route = rows.chosen(name, () => method.route!(layer, x, active, options, rows));
    return method.apply(layer, x, base, active, options, route ? { route, rows } : undefined);
  };
  return Object.assign(adapt, { ...(method.route && { byRows: true }), ...(prefix && { prefix }) });
}

/** The adapter that a method makes of tensors by `<layer>/<tensor>`. */
export const adaptWithTensors = (
  method: Method,
  options: Record<string, unknown>,
  layers: readonly AdaptedLayer[],
  tensors: ReadonlyMap<string, tf.Tensor>,
): Adapt => adaptWith(method, options, activeOf(layers, tensors, new Map()));

/** Looks tensors up by `<layer>/<tensor>`. */
function activeOf(
  layers: readonly AdaptedLayer[],
  tensors: ReadonlyMap<string, tf.Tensor>,
  constants: ReadonlyMap<string, tf.Tensor>,
): Active {
  return {
    layers,
    get: (layer, tensor) => {
      const found = tensors.get(`${layer}/${tensor}`);
      if (!found) throw new Error(`${layer} has no tensor ${tensor}`);
      return found;
    },
    has: (layer, tensor) => tensors.has(`${layer}/${tensor}`),
    constant: (layer, tensor) => constants.get(`${layer}/${tensor}`),
  };
}

/** A task in training: its tensors on the engine, those that are trained as variables. Dispose when done. */
export function bindTrainable(
  method: Method,
  options: Record<string, unknown>,
  layers: readonly AdaptedLayer[],
  trainable: Trainable,
) {
  mustCover(layers, trainable);
  const variables = new Map<string, tf.Variable>();
  const tensors = new Map<string, tf.Tensor>();
  for (const [key, { start, trained }] of trainable.tensors) {
    const tensor = toTensor(start);
    if (trained) {
      const variable = tf.variable(tensor);
      tensor.dispose();
      variables.set(key, variable);
      tensors.set(key, variable);
    } else tensors.set(key, tensor);
  }
  const frozen = [...tensors].filter(([key]) => !variables.has(key));
  const constants = new Map([...trainable.constants].map(([key, tensor]) => [key, toTensor(tensor)]));
  const active = activeOf(layers, tensors, constants);
  const taught = new Map([...(trainable.teacher?.tensors ?? [])].map(([key, tensor]) => [key, toTensor(tensor)]));
  return {
    adapt: adaptWith(method, options, active),
    active,
    variables,
    /** The adapter of the teacher, where there is one. */
    teacher: trainable.teacher ? adaptWith(method, options, activeOf(layers, taught, new Map())) : null,
    /**
     * The same with other tensors in place of the variables: for functions that take what they train as an input.
     * @param inParts the adapter can be had layer by layer
     */
    at: (trained: ReadonlyMap<string, tf.Tensor>, progress?: tf.Scalar, inParts = false) => {
      const activeAt = (trained: ReadonlyMap<string, tf.Tensor>) => {
        const active = activeOf(layers, new Map([...frozen, ...trained]), constants);
        return progress ? { ...active, progress } : active;
      };
      const active = activeAt(trained);
      const adapt = adaptWith(method, options, active);
      if (!inParts) return { active, adapt };
      const part = (path: string): AdaptPart => {
        const own = [...trained].filter(([key]) => key.startsWith(path));
        const replaced = (others: readonly tf.Tensor[]) => new Map(own.map(([key], i) => [key, others[i]!]));
        return {
          tensors: own.map(([, tensor]) => tensor),
          with: (others) => adaptWith(method, options, activeAt(replaced(others))),
        };
      };
      return { active, adapt: Object.assign(adapt, { part }) };
    },
    /** Whether a tensor is shared by all tasks. */
    group: (key: string) => trainable.tensors.get(key)!.place,
    /** The trained tensors as they are now. */
    trained: (): TensorMap =>
      new Map(
        [...variables].map(([key, variable]) => [
          key,
          { shape: variable.shape, data: variable.dataSync() as Float32Array },
        ]),
      ),
    dispose: () => tf.dispose([...tensors.values(), ...constants.values(), ...taught.values()]),
  };
}

/** A stream goes on with the layers it began with. */
function mustCover(layers: readonly AdaptedLayer[], { tensors }: Trainable): void {
  if (tensors.size === 0) return;
  const begun = new Set([...tensors.keys()].map((key) => key.slice(0, key.lastIndexOf('/'))));
  begun.delete(MODEL);
  const chosen = new Set(layers.map(({ name }) => name));
  const [more, less] = [[...chosen].filter((x) => !begun.has(x)), [...begun].filter((x) => !chosen.has(x))];
  if (more.length === 0 && less.length === 0) return;
  const differs = [...more.map((layer) => `not ${layer}`), ...less.map((layer) => `also ${layer}`)].slice(0, 3);
  throw new LiloraError(
    'BadConfig',
    `The bank adapts other layers than the targets choose: ${differs.join(', ')}. Use the targets it was started with, or start a new stream.`,
  );
}

/** A learned task on the engine. Dispose when done. */
export interface BoundAdapter {
  readonly adapt: Adapt;
  /** Its tensors, by `<layer>/<tensor>`. */
  readonly parameters: Readonly<Record<string, tf.Tensor>>;
  /** The same with other parameters: a pure function. Two adapters of one kind have the same. */
  of(parameters: Tree): Adapt;
  readonly kind: string;
  dispose(): void;
}

/** A learned task for evaluation and prediction. */
export function bindAdapter(bank: Bank, task: string): BoundAdapter {
  const method = methodNamed(bank.method);
  const options = { ...bank.options };
  const parameters = Object.fromEntries(
    [...method.activate(bank, task)].map(([key, tensor]) => [key, toTensor(tensor)]),
  );
  const of = (tensors: Tree) =>
    adaptWithTensors(method, options, bank.layers, new Map(Object.entries(tensors as typeof parameters)));
  return {
    adapt: of(parameters),
    parameters,
    of,
    kind: canonicalJson({ method: method.name, options, layers: bank.layers.map(({ name }) => name) }),
    dispose: () => tf.dispose(Object.values(parameters)),
  };
}

/** An ordinary LoRA, as PEFT publishes it: y += scale · B (A x), also in tower and head where it has layers there. Dispose when done. */
export function bindLora(lora: PlainLora): { adapt: Adapt; dispose: () => void } {
  const tensors = new Map(
    [...lora.layers].map(([layer, pair]) => {
      const [A, B] = [toTensor(pair.A) as tf.Tensor2D, toTensor(pair.B) as tf.Tensor2D];
      return [layer, { A, B, scale: pairScale(lora, pair) }];
    }),
  );
  const adapt: Beyond = (layer, x, base) => {
    const pair = tensors.get(layer);
    if (!pair) return base;
    return tf.add(base, tf.mul(tf.matMul(tf.matMul(x, pair.A, false, true), pair.B, false, true), pair.scale));
  };
  return {
    adapt: Object.assign((...of: Parameters<Beyond>) => adapt(...of), { beyond: adapt }),
    dispose: () => tf.dispose([...tensors.values()].flatMap(({ A, B }) => [A, B])),
  };
}

/** Digest of all that one task's model depends on beside the base model: equal digests compute the same. */
export function activeDigest(bank: Bank, task: string): string {
  const tensors = methodNamed(bank.method).activate(bank, task);
  const { method, options } = bank;
  return sha256(writeSafetensors(tensors, { method: canonicalJson({ method, options }) }));
}
