import { mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { Command } from 'commander';
import { LiloraError } from '../../core/errors.ts';
import { readBank, writeBank } from '../../learning/methods/bank.ts';
import { lilora } from '../../learning/methods/lilora/index.ts';
import { readReleasedBank, writeReleasedBank } from '../../learning/methods/lilora/released-bank.ts';
import type { Bank } from '../../learning/methods/method.ts';
import { checkBytes } from '../../store/expected.ts';
import { writePeft } from '../../store/peft.ts';
import { NAME_PATTERN } from '../../workflows/contract.ts';
import { verbStore } from '../connect.ts';
import { published } from '../generations.ts';
import { result, resultJson } from '../output.ts';
import { wholeNumber } from './create.ts';

const BANK_FILE = 'bank.safetensors';

export function addBank(program: Command): void {
  const bank = program
    .command('bank')
    .description("Banks of the authors' released code (lilora-task-bank-v2): in and out, tensors only.")
    .addHelpText(
      'after',
      `
Examples:
  $ lilora bank import bank-v2.safetensors ./vqav2
  $ lilora bank export pets bank-v2.safetensors`,
    );
  bank
    .command('import')
    .description('Makes a bank and a PEFT adapter of every task from what infra/python/released_bank.py wrote. Strict.')
    .argument('<file>', 'safetensors file that `released_bank.py import` wrote')
    .argument('<dir>', `where ${BANK_FILE} and a folder for each task are made`)
    .option('--tasks <name...>', 'names of the tasks in their order (default: task-0, task-1, …)')
    .option('--base-model <name>', 'what the adapters say they were trained on', 'llava-hf/llava-1.5-7b-hf')
    .option('--json', 'what was made, as JSON')
    .addHelpText(
      'after',
      `
Examples:
  $ python infra/python/released_bank.py import ./output/VQAv2 bank-v2.safetensors
  $ lilora bank import bank-v2.safetensors ./vqav2 --tasks scienceqa textvqa flickr30k imagenet gqa vqav2
  $ lilora predict --model ./llava-1.5-7b-hf --adapter ./vqav2/gqa --image a.jpg "Is it red?"`,
    )
    .action(importBank);
  bank
    .command('export')
    .description('Writes a bank of LiLoRA on LLaVA as a file that infra/python/released_bank.py turns into theirs.')
    .argument('<bank>', `a stream, or a ${BANK_FILE}`)
    .argument('<file>', 'where to write it')
    .option('--generation <n>', 'of a stream: not the current generation but this one', wholeNumber)
    .option('--json', 'what was written, as JSON')
    .addHelpText(
      'after',
      `
Examples:
  $ lilora bank export pets bank-v2.safetensors
  $ python infra/python/released_bank.py export bank-v2.safetensors ./output/pets`,
    )
    .action(exportBank);
}

interface ImportOptions {
  readonly tasks?: readonly string[];
  readonly baseModel: string;
  readonly json?: boolean;
}

async function importBank(file: string, dir: string, options: ImportOptions): Promise<void> {
  const strange = options.tasks?.find((name) => !NAME_PATTERN.test(name));
  if (strange !== undefined)
    throw new LiloraError('BadConfig', `"${strange}" is no name of a task: use a-z, 0-9 and -, at most 63 of them.`);
  const bank = readReleasedBank(await bytesOf(file), file, options.tasks);
  const folder = resolve(dir);
  const target = join(folder, BANK_FILE);
  if (await stat(target).catch(() => null))
    throw new LiloraError('BadConfig', `${target} is there already. Remove it, or name another folder.`);
  for (const task of bank.tasks) {
    await mkdir(join(folder, task), { recursive: true });
    for (const { path, bytes } of writePeft(lilora.fold!(bank, task), { name: options.baseModel }))
      await writeFile(join(folder, task, path), bytes);
  }
  await writeFile(target, writeBank(bank));
  tell(bank, target, options.json);
}

async function exportBank(from: string, file: string, options: { generation?: number; json?: boolean }): Promise<void> {
  const bank = from.endsWith('.safetensors')
    ? readBank(await bytesOf(from), from)
    : await publishedBank(from, options.generation);
  const target = resolve(file);
  await writeFile(target, writeReleasedBank(bank));
  tell(bank, target, options.json);
}

async function publishedBank(stream: string, wanted?: number): Promise<Bank> {
  const store = await verbStore();
  const ref = (await published(store, stream, wanted)).file(BANK_FILE);
  const { bytes } = await store.get(ref.key);
  checkBytes(bytes, ref, ref.key);
  return readBank(bytes, ref.key);
}

async function bytesOf(file: string): Promise<Uint8Array> {
  return readFile(file).catch((error: NodeJS.ErrnoException) => {
    throw new LiloraError('NotFound', `${file} cannot be read (${error.code}). Check the path.`, { cause: error });
  });
}

function tell({ layers, tasks, options }: Bank, file: string, json = false): void {
  const { rank, alpha, innerRank } = options;
  const ranks = `rank ${rank}, alpha ${alpha}, inner rank ${innerRank}`;
  if (json) resultJson({ file, tasks, layers: layers.length, rank, alpha, innerRank });
  else result(`${file}: ${layers.length} layers, ${ranks}; ${tasks.join(', ')}`);
}
