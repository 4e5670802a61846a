import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { type GraphNode, savedModel } from './graph.ts';
import { type Binding, type NativeBackend, type Recording, record } from './record.ts';
import { signature, type Tree, tensorsOf, tidied } from './tree.ts';

/** Programs of one function that are kept; the one used longest ago goes. */
const KEPT = 64;
const TAG = 'serve';

/**
 * A pure function of tensors that runs as one call of TensorFlow. The first call with inputs of certain shapes records
 * the operations that the function executes and writes them as a graph; that call and all later ones run the graph. So
 * a result depends on the inputs only, never on how often the function was called before.
 *
 * The function must be pure: shapes and the numbers between the tensors alone decide what it does, and nothing random
 * happens in it. Tensors that it uses without taking them as an input (frozen weights) must stay as they are while the
 * compiled function lives; a `tf.Variable` among them is refused. Where recording is impossible (another back end, an
 * operation that reads values), the function runs as it is, and `whyEager` says why.
 */
export class Compiled<Inputs extends Tree, Outputs extends Tree> {
  private readonly compute: (inputs: Inputs) => Outputs;
  private readonly programs = new Map<string, Program>();
  private reason: string | null = null;

  constructor(compute: (inputs: Inputs) => Outputs) {
    this.compute = compute;
  }

  /** Why this function runs operation by operation; null while it runs as graphs. */
  get whyEager(): string | null {
    return this.reason;
  }

  /** Number of graphs made so far and still kept. */
  get size(): number {
    return this.programs.size;
  }

  /** Computes the outputs; they belong to the caller, also inside `tf.tidy`. Errors are those of the function. */
  run(inputs: Inputs): Outputs {
    if (this.reason === null) this.reason = cannotCompile();
    if (this.reason !== null) return tidied(() => this.compute(inputs));
    const key = signature(inputs) + sharing(tensorsOf(inputs));
    let program = this.programs.get(key);
    if (!program) {
      const made = Program.make(this.compute, inputs);
      if (typeof made === 'string') {
        this.reason = made;
        return tidied(() => this.compute(inputs));
      }
      program = made;
      if (this.programs.size >= KEPT) this.drop(this.programs.keys().next().value!);
    } else this.programs.delete(key);
    this.programs.set(key, program);
    return program.run(tensorsOf(inputs)) as Outputs;
  }

  /** Frees all graphs. */
  dispose(): void {
    for (const key of [...this.programs.keys()]) this.drop(key);
  }

  private drop(key: string): void {
    this.programs.get(key)!.dispose();
    this.programs.delete(key);
  }
}

/** Which inputs are the same tensor: a graph made for these has one place for all of them. Empty where all differ. */
function sharing(tensors: readonly tf.Tensor[]): string {
  const first = new Map<object, number>();
  for (const [i, { dataId }] of tensors.entries()) if (!first.has(dataId)) first.set(dataId, i);
  if (first.size === tensors.length) return '';
  return ` ${tensors.map(({ dataId }) => first.get(dataId))}`;
}

function cannotCompile(): string | null {
  if (process.env['LILORA_EAGER'] === '1') return 'LILORA_EAGER=1';
  if (tf.getBackend() !== 'tensorflow') return `the back end is ${tf.getBackend()}`;
  // What is fed goes by reference on the CPU, but through the host on a GPU: all weights, every step.
  if ((tf.backend() as unknown as NativeBackend).isUsingGpuDevice) return 'on a GPU, graphs would be fed by the host';
  return null;
}

/** One graph in a TensorFlow session of its own. Weights are fed by reference: on the CPU nothing is copied. */
class Program {
  private readonly backend: NativeBackend;
  private readonly session: number;
  private readonly captured: readonly object[];
  private readonly feeds: string;
  private readonly fetches: string;
  private readonly rebuild: (outputs: readonly tf.Tensor[]) => Tree;

  private constructor(session: number, recording: Recording) {
    this.backend = recording.backend;
    this.session = session;
    this.captured = recording.captured;
    this.feeds = recording.feeds.map((name) => `${name}:0`).join();
    this.fetches = recording.fetches.map((name) => `${name}:0`).join();
    this.rebuild = recording.rebuild;
  }

  /** Records and loads; a text says why that is impossible. */
  static make<Inputs extends Tree>(compute: (inputs: Inputs) => Tree, inputs: Inputs): Program | string {
    const recording = record(compute, inputs, tensorsOf(inputs));
    if (typeof recording === 'string') return recording;
    try {
      return new Program(load(recording.backend.binding, recording.nodes), recording);
    } catch (error) {
      return `TensorFlow does not take the graph: ${(error as Error).message}`;
    }
  }

  run(inputs: readonly tf.Tensor[]): Tree {
    const fed = [...inputs.map(({ dataId }) => dataId), ...this.captured].map((dataId) => ({ dataId }));
    const ids = this.backend.getInputTensorIds(fed as tf.Tensor[]);
    const results = this.backend.binding.runSavedModel(this.session, ids, this.feeds, this.fetches);
    return this.rebuild(results.map((result) => this.backend.createOutputTensor(result)));
  }

  dispose(): void {
    this.backend.binding.deleteSavedModel(this.session);
  }
}

/** TensorFlow loads graphs from folders only. */
function load(binding: Binding, nodes: readonly GraphNode[]): number {
  const folder = mkdtempSync(join(tmpdir(), 'lilora-graph-'));
  try {
    writeFileSync(join(folder, 'saved_model.pb'), savedModel(nodes, TAG));
    return binding.loadSavedModel(folder, TAG);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
