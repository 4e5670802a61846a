import { readFile, stat } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { sha256 } from '../core/digest.ts';
import { LiloraError } from '../core/errors.ts';
import { parseJson } from '../core/json.ts';
import { readBank, writeBank } from '../learning/methods/bank.ts';
import { bankOfLora } from '../learning/methods/bank-of-lora.ts';
import type { Bank } from '../learning/methods/method.ts';
import { createOrSame } from '../store/object-store.ts';
import { openStore } from '../store/open.ts';
import { PEFT_FILES, readPeft } from '../store/peft.ts';
import { NAME_PATTERN, type StreamDefinition } from '../workflows/contract.ts';
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

type Started = Pick<StreamDefinition, 'method' | 'options' | 'targets' | 'start'>;

/**
 * What `lilora create --start` names, put into the store as a bank, and what follows from it for the definition: its
 * method and options where nothing else is said, for an adapter its layers. Whether it fits the model is checked when the
 * stream is opened.
 */
export async function startFrom(
  { start, startTask, startData = [] }: StartOptions,
  given: Pick<StreamDefinition, 'method' | 'options' | 'targets'>,
  store: string,
  onFile: OnFile,
): Promise<Started> {
  const path = resolve(start);
  const folder = (await stat(path).catch(() => null))?.isDirectory() ?? false;
  const config = folder ? await readFile(join(path, PEFT_FILES.config)).catch(() => null) : null;
  const { bank, targets } = config
    ? await ofAdapter(path, config, given.method ?? 'sequential-lora', startTask ?? basename(path))
    : { bank: await ofBank(folder ? join(path, BANK_FILE) : path), targets: undefined };
  if (given.method !== undefined && given.method !== bank.method)
    throw new LiloraError('BadConfig', `${start}: it is of method ${bank.method}, not ${given.method}.`);
  if (!config && startTask !== undefined)
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

/** The layers of an adapter are those that its own `target_modules` choose. */
async function ofAdapter(folder: string, config: Uint8Array, method: string, task: string) {
  if (!NAME_PATTERN.test(task))
    throw new LiloraError('BadConfig', `"${task}" is no name of a task: name it with --start-task (a-z, 0-9 and -).`);
  const adapter = readPeft(config, await readFile(join(folder, PEFT_FILES.weights)), folder);
  const { target_modules } = parseJson(config, folder) as { target_modules?: string | string[] };
  return { bank: bankOfLora(method, task, adapter), targets: target_modules };
}
