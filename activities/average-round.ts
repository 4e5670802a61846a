import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DEFAULTS } from '../core/defaults.ts';
import type { TensorMap } from '../core/host-tensor.ts';
import { readTensorMap, writeSafetensors } from '../core/safetensors.ts';
import { readBank, writeBank } from '../learning/methods/bank.ts';
import { methodNamed } from '../learning/methods/registry.ts';
import { finishRounds, outerStep, startWeights, WeightMean } from '../learning/training/rounds.ts';
import { beginTask } from '../learning/training/train.ts';
import { streamKeys } from '../store/generations.ts';
import type { FileRef } from '../workflows/contract.ts';
import { roundsOf } from '../workflows/definition-contract.ts';
import { beat, type DataContext, storeFile } from './context.ts';
import type { EngineInfo } from './engine.ts';
import { roundFolder } from './open-rounds.ts';
import { once } from './results.ts';
import type { WorkerRound } from './train-round.ts';
import { type TrainTaskInput, trainingIdentity, trainingOptions } from './train-task.ts';

export interface AverageRoundInput extends TrainTaskInput {
  readonly run: string;
  /** From 0. */
  readonly round: number;
  readonly rounds: number;
  /** By worker. */
  readonly trained: readonly WorkerRound[];
  readonly previous: Omit<AveragedRound, 'inner'> | null;
}

/** A round after its outer step: all that the next one starts from. */
export interface AveragedRound {
  readonly round: number;
  readonly weights: FileRef;
  /** Momentum of the outer step. */
  readonly velocity: FileRef;
  /** Each worker's own. */
  readonly inner: readonly FileRef[];
  /** The bank that training began with. */
  readonly started: FileRef;
  /** Log of worker 0 so far. */
  readonly log: FileRef;
  /** Of the slowest worker, summed over rounds. */
  readonly seconds: number;
  readonly engine: EngineInfo;
  /** After the last round: the bank with the task in it. */
  readonly bank: FileRef | null;
}

/**
 * The outer step of one round: averages what the workers trained and moves the weights with momentum. Host arithmetic; a few
 * workers' weights are in memory at a time. What only earlier rounds needed is deleted then.
 */
export async function averageRound(context: DataContext, input: AverageRoundInput): Promise<AveragedRound> {
  const { run, round, rounds, trained, previous } = input;
  const identity = {
    ...trainingIdentity(context, input),
    workers: trained.map(({ weights }) => weights.sha256),
    weights: previous?.weights.sha256 ?? 'none',
    velocity: previous?.velocity.sha256 ?? 'none',
  };
  const last = round === rounds - 1;
  const averaged = await once(context, `${roundFolder(run, round)}/averaged`, identity, async () => {
    const out = await mkdtemp(join(tmpdir(), 'lilora-average-'));
    try {
      return await average(context, input, last, out);
    } finally {
      await rm(out, { recursive: true, force: true });
    }
  });
  // The record of the last round stays: it tells a repeated training where its bank is.
  if (last) await clear(context, `${run}/`, `${roundFolder(run, round)}/averaged/`);
  else if (round > 0) await clear(context, `${roundFolder(run, round - 1)}/`);
  return averaged;
}

async function average(
  context: DataContext,
  input: AverageRoundInput,
  last: boolean,
  out: string,
): Promise<AveragedRound> {
  const { definition, task, run, round, trained, previous } = input;
  const files = new ScratchFiles(context, out);
  const started = previous?.started ?? input.bank ?? trained[0]!.started!;
  const method = methodNamed(definition.method.name);
  const options = method.options.parse(trainingOptions(definition, input.safe));
  const began = async () => {
    const bank = readBank(await files.read(started), started.key);
    return { method, options, task, seed: definition.seed, bank, layers: bank.layers };
  };

  const mean = new WeightMean();
  for await (const weights of files.tensors(trained.map(({ weights }) => weights))) mean.add(weights);
  const before = previous
    ? readTensorMap(await files.read(previous.weights), previous.weights.key)
    : startWeights(beginTask(await began()).trainable);
  const velocity = previous && readTensorMap(await files.read(previous.velocity), previous.velocity.key);
  const after = outerStep(before, mean.take(), velocity, roundsOf(definition.training)!.outer);

  const logs = [previous?.log, trained[0]!.log].filter((ref) => ref !== null && ref !== undefined);
  const log = Buffer.concat(await Promise.all(logs.map((ref) => files.read(ref))));
  const folder = roundFolder(run, round);
  const home = streamKeys(definition.name).task(task);
  const bank = last ? writeBank(finishRounds(await began(), after.weights)) : null;
  return {
    round,
    weights: await files.keep(folder, writeSafetensors(after.weights), '.weights.safetensors'),
    velocity: await files.keep(folder, writeSafetensors(after.velocity), '.velocity.safetensors'),
    inner: trained.map(({ inner }) => inner),
    started,
    log: await files.keep(last ? `${home}/metrics` : folder, log, '.jsonl'),
    seconds: (previous?.seconds ?? 0) + Math.max(...trained.map(({ seconds }) => seconds)),
    engine: trained[0]!.engine,
    bank: bank && (await files.keep(`${home}/banks`, bank, '.safetensors')),
  };
}

/** Objects that are needed once, by way of a folder that goes away: they are not kept among the downloads. */
class ScratchFiles {
  private readonly context: DataContext;
  private readonly folder: string;
  private count = 0;

  constructor(context: DataContext, folder: string) {
    this.context = context;
    this.folder = folder;
  }

  /** The verified bytes. */
  async read(ref: FileRef): Promise<Buffer> {
    const path = join(this.folder, String(this.count++));
    await this.context.store.download(ref.key, path, ref);
    beat();
    const bytes = await readFile(path);
    await rm(path);
    return bytes;
  }

  /** Tensor files in this order. The next ones are on their way while one is worked on: one stream is slow. */
  async *tensors(refs: readonly FileRef[]): AsyncGenerator<TensorMap> {
    const coming: Array<Promise<Buffer>> = [];
    for (let next = 0, given = 0; given < refs.length; given++) {
      for (; next < refs.length && coming.length < DEFAULTS['rounds.downloads'].value; next++) {
        const bytes = this.read(refs[next]!);
        bytes.catch(() => {}); // thrown where it is awaited
        coming.push(bytes);
      }
      yield readTensorMap(await coming.shift()!, refs[given]!.key);
    }
  }

  async keep(prefix: string, bytes: Uint8Array, suffix: string): Promise<FileRef> {
    const path = join(this.folder, 'result');
    await writeFile(path, bytes);
    beat();
    return storeFile(this.context, prefix, path, suffix);
  }
}

/** Deletes what nobody starts from any more. */
async function clear({ store }: DataContext, prefix: string, keep?: string): Promise<void> {
  for await (const { key } of store.list(prefix)) {
    if (keep && key.startsWith(keep)) continue;
    await store.delete(key);
    beat();
  }
}
