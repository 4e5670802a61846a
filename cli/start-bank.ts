import { readFile, stat } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { sha256 } from '../core/digest.ts';
import { isLiloraError, LiloraError } from '../core/errors.ts';
import { readBank, writeBank } from '../learning/methods/bank.ts';
import { bankOfLora } from '../learning/methods/bank-of-lora.ts';
import type { Bank } from '../learning/methods/method.ts';
import { selectLayers } from '../learning/methods/targets.ts';
import { linearLayers } from '../learning/model/layers.ts';
import type { AdaptedLayer } from '../learning/model/model.ts';
import { createOrSame } from '../store/object-store.ts';
import { openStore } from '../store/open.ts';
import { PEFT_FILES, type PeftAdapter, readPeft } from '../store/peft.ts';
import { readPeftConfig } from '../store/peft-config.ts';
import { readPeftFolder } from '../store/peft-folder.ts';
import { missingLayers, untrained } from '../store/peft-names.ts';
import { NAME_PATTERN, type StreamDefinition } from '../workflows/contract.ts';
import { definitionOf } from './base-model.ts';
import { otherBase } from './other-base.ts';
import { note } from './output.ts';
import { type OnFile, reachableDataset } from './upload.ts';

const BANK_FILE = 'bank.safetensors';

export interface StartOptions {
  /** A bank, or the folder of a bank or of an adapter of PEFT. */
  readonly start: string;
  /** Name of the task that an adapter is; that of its folder when absent. */
  readonly startTask?: string;
  /** `task=dataset`, as often as wanted. */
  readonly startData?: readonly string[];
}

/** The model of the stream. */
export interface BaseModelOf {
  /** Where it is: a path or a URI. */
  readonly uri: string;
  /** As the person named it. */
  readonly named: string;
  /** Its commit, where it is of a hub. */
  readonly revision?: string;
}

type Started = Pick<StreamDefinition, 'method' | 'options' | 'targets' | 'start'>;

/**
 * What `lilora create --start` names, put into the store as a bank, and what follows from it for the definition: its
 * method and options where nothing else is said, for an adapter its layers. Whether a bank fits the model is checked when
 * the stream is opened.
 */
export async function startFrom(
  { start, startTask, startData = [] }: StartOptions,
  given: Pick<StreamDefinition, 'method' | 'options' | 'targets'>,
  model: BaseModelOf,
  store: string,
  onFile: OnFile,
): Promise<Started> {
  const path = resolve(start);
  const isBank = await bankAt(path);
  const { bank, targets } = isBank
    ? { bank: await ofBank(isBank), targets: undefined }
    : await ofAdapter(path, model, given.method ?? 'sequential-lora', startTask ?? basename(path));
  if (given.method !== undefined && given.method !== bank.method)
    throw new LiloraError('BadConfig', `${start}: it is of method ${bank.method}, not ${given.method}.`);
  if (isBank && startTask !== undefined)
    throw new LiloraError('BadConfig', `--start-task names the task of a PEFT adapter; ${start} is a bank.`);

  const datasets: Record<string, string> = {};
  for (const text of startData) {
    const [, task, dataset] = /^([^=]+)=(.+)$/.exec(text) ?? [];
    if (!task || !dataset || !bank.tasks.includes(task))
      throw new LiloraError(
        'BadConfig',
        `--start-data "${text}": give TASK=DATASET with a task of the bank (${bank.tasks.join(', ')}).`,
      );
    datasets[task] = await reachableDataset(dataset, store, onFile);
  }
  const bytes = writeBank(bank);
  const digest = sha256(bytes);
  const key = `banks/${digest}.safetensors`;
  await createOrSame(openStore(store), key, bytes);
  return {
    method: given.method ?? bank.method,
    options: { ...bank.options, ...given.options },
    ...(given.targets === undefined && targets !== undefined ? { targets } : {}),
    start: {
      bank: { key, size: bytes.byteLength, sha256: digest },
      ...(startData.length > 0 && { datasets }),
    },
  };
}

/** Looks at what `--start` names before a large model is copied: a folder whose adapter is not read is refused. */
export async function checkReadable(start: string): Promise<void> {
  const path = resolve(start);
  if (await bankAt(path)) return;
  readPeftConfig((await readPeftFolder(path)).config, join(path, PEFT_FILES.config));
}

/** The file of the bank that a path is or holds; null for another folder, which is then read as an adapter. */
async function bankAt(path: string): Promise<string | null> {
  if (!(await stat(path).catch(() => null))?.isDirectory()) return path;
  const holds = async (name: string) => (await stat(join(path, name)).catch(() => null)) !== null;
  return !(await holds(PEFT_FILES.config)) && (await holds(BANK_FILE)) ? join(path, BANK_FILE) : null;
}

async function ofBank(file: string): Promise<Bank> {
  const bytes = await readFile(file).catch((error: NodeJS.ErrnoException) => {
    throw new LiloraError(
      'NotFound',
      `${file} cannot be read (${error.code}). Name a ${BANK_FILE}, or a folder with it or with an adapter of PEFT.`,
      { cause: error },
    );
  });
  return readBank(bytes, file);
}

/**
 * The bank of an adapter, its layers called as the model calls them, and the targets that choose them: the adapter's own
 * `target_modules` where they do, else the layers in full.
 */
async function ofAdapter(folder: string, { uri, named, revision }: BaseModelOf, method: string, task: string) {
  if (!NAME_PATTERN.test(task))
    throw new LiloraError('BadConfig', `"${task}" is no name of a task: name it with --start-task (a-z, 0-9 and -).`);
  const { config, weights } = await readPeftFolder(folder);
  const { layers, frozen } = linearLayers(await definitionOf(uri));
  const others = { layers: frozen, why: 'streams learn layers of projector and decoder alone' };
  const adapter = readPeft(config, weights, folder, { layers, others });
  const settings = readPeftConfig(config, join(folder, PEFT_FILES.config));
  const other = otherBase(settings, named, revision);
  if (other) note(other);
  for (const told of [missingLayers(adapter.layers, layers, settings), untrained(adapter.layers)]) if (told) note(told);
  mustScale(adapter, folder);
  const names = [...adapter.layers.keys()];
  const { targetModules } = settings;
  return {
    bank: bankOfLora(method, task, adapter),
    targets: targetModules !== null && chooses(targetModules, layers, names) ? targetModules : names,
  };
}

/** What is trained on has scales above 0. */
function mustScale({ alpha, layers }: PeftAdapter, folder: string): void {
  const least = Math.min(alpha, ...[...layers.values()].map((pair) => pair.alpha ?? alpha));
  if (least > 0) return;
  throw new LiloraError(
    'BadModel',
    `${join(folder, PEFT_FILES.config)}: lora_alpha is ${least}, and a stream goes on from scales above 0. Turn the sign of every lora_B instead, or leave the adapter out.`,
  );
}

/** Whether targets choose just these layers. */
function chooses<Targets>(targets: Targets, layers: readonly AdaptedLayer[], names: readonly string[]): boolean {
  try {
    const chosen = selectLayers(layers, targets as string | readonly string[]);
    return chosen.length === names.length && chosen.every(({ name }) => names.includes(name));
  } catch (error) {
    if (isLiloraError(error)) return false;
    throw error;
  }
}
