import * as tf from '@tensorflow/tfjs';
import { DryRun } from './dry-run.ts';
import type { Attribute, GraphNode } from './graph.ts';
import type { Tree } from './tree.ts';

/** What we use of the native addon (binding/tfjs_backend.cc of tfjs-node). Tensors are numbers there. */
export interface Binding {
  readonly TF_ATTR_STRING: number;
  readonly TF_ATTR_INT: number;
  readonly TF_ATTR_FLOAT: number;
  readonly TF_ATTR_BOOL: number;
  readonly TF_ATTR_TYPE: number;
  readonly TF_ATTR_SHAPE: number;
  readonly TF_INT32: number;
  executeOp(name: string, attributes: OpAttribute[], inputs: number[], outputs: number): TensorMetadata[];
  createTensor(shape: number[], type: number, values: ArrayBufferView): number;
  deleteTensor(id: number): void;
  tensorDataSync(id: number): ArrayBufferView;
  loadSavedModel(folder: string, tag: string): number;
  runSavedModel(session: number, inputs: number[], feeds: string, fetches: string): TensorMetadata[];
  deleteSavedModel(session: number): void;
}

export interface OpAttribute {
  readonly name: string;
  readonly type: number;
  readonly value: unknown;
}

export interface TensorMetadata {
  readonly id: number;
  readonly shape: number[];
  readonly dtype: number;
}

/** What we use of the back end of tfjs-node. */
export interface NativeBackend {
  readonly isUsingGpuDevice: boolean;
  binding: Binding;
  getInputTensorIds(tensors: tf.Tensor[]): number[];
  createOutputTensor(metadata: TensorMetadata): tf.Tensor;
  getDTypeInteger(type: tf.DataType): number;
}

/** A computation as a graph: its nodes, the placeholders to feed and the nodes to fetch. */
export interface Recording {
  readonly backend: NativeBackend;
  readonly nodes: readonly GraphNode[];
  /** First the inputs in their order, then the captured tensors. */
  readonly feeds: readonly string[];
  /** Tensors that the function used without taking them as an input. */
  readonly captured: readonly object[];
  readonly fetches: readonly string[];
  /** Puts fetched tensors where the function had its own. */
  rebuild(outputs: readonly tf.Tensor[]): Tree;
}

/** What the operations that are executed now wait for, beside their inputs. */
let awaited: tf.Tensor | null = null;

/**
 * Executes operations of which each, in a recorded graph, starts only when `after` is there, and is never merged with an
 * equal one that waits for something else. Without recording, order is what it is.
 */
export function waitingFor<T>(after: tf.Tensor, run: () => T): T {
  const outer = awaited;
  awaited = after;
  try {
    return run();
  } finally {
    awaited = outer;
  }
}

/** Why a function cannot be replayed. */
class Unrecordable extends Error {}

/**
 * Runs a function once, operation by operation, and writes down what the native back end is asked for: each record is
 * already a node of a TensorFlow graph. It is a dry run (`DryRun`): TensorFlow.js holds every tensor of a gradient until
 * that is whole, and would need several times the memory of the graph. Numbers of tensors are never given again. A text
 * instead of a recording says why there is none; the function's own errors pass through. Nothing of the run is left over.
 */
export function record<Inputs extends Tree>(
  compute: (inputs: Inputs) => Tree,
  inputs: Inputs,
  leaves: readonly tf.Tensor[],
): Recording | string {
  const backend = tf.backend() as unknown as NativeBackend;
  const { binding } = backend;
  const graph = new GraphWriter(backend, leaves);
  const dry = new DryRun(binding);
  const watched = Object.create(binding, {
    executeOp: {
      value: (name: string, attributes: OpAttribute[], ids: number[], count: number) =>
        graph.operation(name, attributes, ids, (shapes) => dry.execute(name, attributes, ids, count, shapes)),
    },
    deleteTensor: { value: (id: number) => dry.delete(id) },
    createTensor: {
      value: (shape: number[], type: number, values: ArrayBufferView) => {
        const id = binding.createTensor(shape, type, values);
        graph.created(id, { shape, type, values });
        return id;
      },
    },
    tensorDataSync: {
      value: () => {
        throw new Unrecordable('it reads values while it computes');
      },
    },
  }) as Binding;
  // Own properties hide those of the back end while the function runs.
  const idsOf = (tensors: tf.Tensor[]) => Object.getPrototypeOf(backend).getInputTensorIds.call(backend, tensors);
  backend.getInputTensorIds = (tensors) => {
    const ids: number[] = idsOf(tensors);
    for (const [i, tensor] of tensors.entries()) graph.met(ids[i]!, tensor);
    return ids;
  };
  backend.binding = watched;
  try {
    let recording: Recording;
    tf.tidy(() => {
      recording = graph.finish(compute(inputs));
    });
    return recording!;
  } catch (error) {
    if (error instanceof Unrecordable) return error.message;
    throw error;
  } finally {
    backend.binding = binding;
    dry.dispose();
    Reflect.deleteProperty(backend, 'getInputTensorIds');
  }
}

/** A tensor of the graph: `node` or `node:output`. */
interface Source {
  readonly name: string;
  readonly shape: readonly number[];
  readonly type: number;
}

interface Constant {
  readonly shape: readonly number[];
  readonly type: number;
  readonly values: ArrayBufferView;
}

/** Collects nodes while a function runs. A tensor's number in the addon stands for it throughout. */
class GraphWriter {
  private readonly backend: NativeBackend;
  private readonly nodes: GraphNode[] = [];
  private readonly feeds: string[] = [];
  private readonly captured: object[] = [];
  /** What gives a tensor, by the tensor's number. */
  private readonly sources = new Map<number, Source>();
  private readonly constants = new Map<number, Constant>();
  /** Tensors from before the run, by number. */
  private readonly outside = new Map<number, tf.Tensor>();
  private readonly firstOwn: number;

  constructor(backend: NativeBackend, leaves: readonly tf.Tensor[]) {
    this.backend = backend;
    for (const [i, id] of backend.getInputTensorIds([...leaves]).entries()) this.feed(id, leaves[i]!);
    this.firstOwn = tf.tidy(() => tf.scalar(0).id);
  }

  /** A tensor whose values came from JavaScript. */
  created(id: number, constant: Constant): void {
    this.constants.set(id, constant);
  }

  /** A tensor that something reads, under its number. */
  met(id: number, tensor: tf.Tensor): void {
    if (tensor.id < this.firstOwn) this.outside.set(id, tensor);
  }

  /** Executes an operation, given the shapes of its inputs, and writes it down. */
  operation(
    name: string,
    attributes: readonly OpAttribute[],
    inputs: readonly number[],
    execute: (shapes: ReadonlyArray<readonly number[]>) => TensorMetadata[],
  ): TensorMetadata[] {
    const sources = inputs.map((id) => this.sourceOf(id));
    const outputs = execute(sources.map(({ shape }) => shape));
    let op = name;
    let written = Object.fromEntries(
      attributes
        .filter(({ value }) => value !== undefined && value !== null)
        .map((attribute) => [attribute.name, this.attribute(attribute)]),
    );
    if (name === 'ExpandDims') {
      // The one operation whose type tfjs-node leaves to be found from the input.
      written = { T: { kind: 'type', value: sources[0]!.type } };
    }
    if (name === 'BatchMatMulV2' && sources.every(({ shape }) => shape.length === 2)) {
      // The kernel for plain matrices is faster.
      op = 'MatMul';
      const { T, adj_x, adj_y } = written;
      written = { T: T!, transpose_a: adj_x!, transpose_b: adj_y! };
    }
    const node = this.add(op, [...sources.map((source) => source.name), ...this.order()], written);
    for (const [i, { id, shape, dtype: type }] of outputs.entries())
      this.sources.set(id, { name: i === 0 ? node : `${node}:${i}`, shape, type });
    return outputs;
  }

  /** Control inputs: what `waitingFor` was given. */
  private order(): string[] {
    if (!awaited) return [];
    const [id] = this.backend.getInputTensorIds([awaited]);
    return [`^${this.sourceOf(id!).name.split(':')[0]}`];
  }

  /** The recording, given what the function returned. */
  finish(result: Tree): Recording {
    const fetches: string[] = [];
    const rebuild = this.output(result, fetches);
    const { backend, nodes, feeds, captured } = this;
    return { backend, nodes, feeds, captured, fetches, rebuild };
  }

  private output(tree: Tree, fetches: string[]): (outputs: readonly tf.Tensor[]) => Tree {
    if (tree instanceof tf.Tensor) {
      const [id] = this.backend.getInputTensorIds([tree]);
      const at = fetches.length;
      const { name, type } = this.sourceOf(id!);
      fetches.push(this.add('Identity', [name], { T: { kind: 'type', value: type } }));
      return (outputs) => outputs[at]!;
    }
    if (tree === null || typeof tree !== 'object') return () => tree;
    const parts = Object.entries(tree as Record<string, Tree>).map(
      ([name, part]) => [name, this.output(part, fetches)] as const,
    );
    if (Array.isArray(tree)) return (outputs) => parts.map(([, part]) => part(outputs));
    return (outputs) => Object.fromEntries(parts.map(([name, part]) => [name, part(outputs)]));
  }

  private sourceOf(id: number): Source {
    const known = this.sources.get(id);
    if (known !== undefined) return known;
    const tensor = this.outside.get(id);
    if (tensor) {
      if (tensor instanceof tf.Variable)
        throw new Unrecordable(`it uses the variable ${tensor.name} without taking it as an input`);
      this.captured.push(tensor.dataId);
      return this.feed(id, tensor);
    }
    const constant = this.constants.get(id);
    if (!constant) throw new Unrecordable(`it uses tensor ${id}, which nothing in it made`);
    const { shape, type, values } = constant;
    const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength).slice();
    const dtype: Attribute = { kind: 'type', value: type };
    const name = this.add('Const', [], { dtype, value: { kind: 'tensor', type, shape, bytes } });
    return this.known(id, { name, shape, type });
  }

  /** A placeholder for a tensor from outside. */
  private feed(id: number, { shape, dtype }: tf.Tensor): Source {
    const type = this.backend.getDTypeInteger(dtype);
    const name = this.add('Placeholder', [], {
      dtype: { kind: 'type', value: type },
      shape: { kind: 'shape', value: shape },
    });
    this.feeds.push(name);
    return this.known(id, { name, shape, type });
  }

  private known(id: number, source: Source): Source {
    this.sources.set(id, source);
    return source;
  }

  private add(op: string, inputs: readonly string[], attributes: Readonly<Record<string, Attribute>>): string {
    const name = `n${this.nodes.length}`;
    this.nodes.push({ name, op, inputs, attributes });
    return name;
  }

  private attribute({ name, type, value }: OpAttribute): Attribute {
    const { binding } = this.backend;
    switch (type) {
      case binding.TF_ATTR_TYPE:
        return { kind: 'type', value: value as number };
      case binding.TF_ATTR_INT:
        return { kind: 'int', value: value as number };
      case binding.TF_ATTR_FLOAT:
        return { kind: 'float', value: value as number };
      case binding.TF_ATTR_BOOL:
        return { kind: 'bool', value: value as boolean };
      case binding.TF_ATTR_STRING:
        return { kind: 'string', value: value as string };
      case binding.TF_ATTR_SHAPE:
        return { kind: 'shape', value: value as number[] };
      default:
        throw new Unrecordable(`attribute ${name} has the unknown type ${type}`);
    }
  }
}
