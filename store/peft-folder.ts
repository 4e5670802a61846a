import { readdir, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { LiloraError } from '../core/errors.ts';
import { readWhole } from '../core/files.ts';
import { PEFT_FILES } from './peft.ts';
import { MERGE } from './peft-config.ts';

/** Weights that some trainers save beside the adapter: it is not right without them. */
const BESIDE: Readonly<Record<string, string>> = {
  'non_lora_trainables.bin': "LLaVA's own trainer put weights of the projector there",
  'vit.safetensors': 'ms-swift put weights of the tower there',
};

const PICKLE = /\.(bin|pt|pth|ckpt)$/;

/**
 * The files of a folder with an adapter of PEFT. `NotFound` when it is no such folder, `BadModel` when it is one that is not
 * read: the message says what lies there instead, and the one command that helps.
 */
export async function readPeftFolder(folder: string): Promise<{ config: Uint8Array; weights: Uint8Array }> {
  const names = await namesIn(folder);
  if (!names.includes(PEFT_FILES.config)) throw await noConfig(folder, names);
  if (!names.includes(PEFT_FILES.weights)) throw await noWeights(folder, names);
  const beside = names.find((name) => Object.hasOwn(BESIDE, name));
  if (beside !== undefined)
    throw new LiloraError(
      'BadModel',
      `${join(folder, beside)}: ${BESIDE[beside]}, and the adapter alone is not what was trained. Merge both into the base model with the trainer's own script, and use the result as the model.`,
    );
  const [config, weights] = await Promise.all(
    [PEFT_FILES.config, PEFT_FILES.weights].map((name) => readWhole(join(folder, name))),
  );
  mustBeContent(join(folder, PEFT_FILES.config), config!);
  mustBeContent(join(folder, PEFT_FILES.weights), weights!);
  return { config: config!, weights: weights! };
}

/** Files of a folder. Says what else it is when it is none. */
async function namesIn(folder: string): Promise<readonly string[]> {
  const found = await stat(folder).catch(() => null);
  if (found?.isDirectory()) return readdir(folder);
  if (found) throw aFile(folder);
  const hub = /^(?:hf:\/\/)?[\w-]+\/[\w.-]+$/.test(folder.replace(`${process.cwd()}/`, ''));
  const how = hub ? ' One of the hub comes with: hf download ORG/NAME --local-dir DIR.' : '';
  throw new LiloraError('NotFound', `${folder} does not exist. Name a PEFT adapter folder.${how}`);
}

function aFile(path: string): LiloraError {
  const name = basename(path);
  if (name === PEFT_FILES.weights || name === PEFT_FILES.config)
    return new LiloraError('BadModel', `${path} is a file. Name the folder with both files: ${dirname(path)}`);
  const why = foreign([name], dirname(path)) ?? `it is a file. Name a folder with ${PEFT_FILES.config} in it`;
  return new LiloraError('BadModel', `${path}: ${why}.`);
}

/** What a file of another kind is, where that is known. */
function foreign(names: readonly string[], folder: string): string | null {
  const pickle = names.find((name) => name === 'adapter_model.bin') ?? names.find((name) => PICKLE.test(name));
  if (names.some((name) => name.endsWith('.gguf')))
    return 'GGUF is the form of llama.cpp, which has other names and may be rounded. Name the adapter that it was made from';
  if (names.includes('adapters.safetensors'))
    return 'adapters.safetensors is the form of MLX, which PEFT does not read either. Save it as an adapter of PEFT';
  const pieces = names.some((name) => /^adapter_model-\d+-of-\d+\.safetensors$/.test(name));
  if (pieces)
    return `the weights are in pieces. Join them: python -c "from glob import glob; from safetensors.torch import load_file, save_file; save_file({k: v for f in glob('${folder}/adapter_model-*') for k, v in load_file(f).items()}, '${folder}/${PEFT_FILES.weights}')"`;
  if (pickle === undefined) return null;
  return `${pickle} is a pickle, which may run any program when it is read, so it is not read here. Convert it, if you trust where it is from: ${converted(join(folder, pickle), join(folder, PEFT_FILES.weights))}`;
}

const converted = (from: string, to: string) =>
  `python -c "import torch; from safetensors.torch import save_file; save_file({k: v.clone() for k, v in torch.load('${from}', map_location='cpu', weights_only=True).items()}, '${to}')"`;

async function noConfig(folder: string, names: readonly string[]): Promise<LiloraError> {
  const file = join(folder, PEFT_FILES.config);
  const below = await adaptersBelow(folder, names);
  if (below.length > 0) return new LiloraError('NotFound', `${file} does not exist. ${elsewhere(folder, below)}`);
  if (names.includes(PEFT_FILES.weights))
    return new LiloraError(
      'BadModel',
      `${file} does not exist, and without r and lora_alpha the weights beside it say nothing. Copy it from where the adapter was trained.`,
    );
  if (names.includes('config.json'))
    return new LiloraError(
      'BadModel',
      `${file} does not exist; ${folder} is a whole model, not an adapter. Use it as the model (--model).`,
    );
  const other = foreign(names, folder);
  if (other) return new LiloraError('BadModel', `${file} does not exist: ${other}.`);
  return new LiloraError('NotFound', `${file} does not exist. Name a PEFT adapter folder.`);
}

async function noWeights(folder: string, names: readonly string[]): Promise<LiloraError> {
  const file = join(folder, PEFT_FILES.weights);
  const other = foreign(names, folder);
  if (other) return new LiloraError('BadModel', `${file} does not exist: ${other}.`);
  const below = await adaptersBelow(folder, names);
  if (below.length > 0) return new LiloraError('NotFound', `${file} does not exist. ${elsewhere(folder, below)}`);
  if (names.some((name) => /^(model|pytorch_model).*\.(safetensors|bin)$/.test(name)))
    return new LiloraError(
      'BadModel',
      `${file} does not exist; the weights there are those of a whole model. Save the adapter with PEFT (model.save_pretrained). ${MERGE}.`,
    );
  return new LiloraError('NotFound', `${file} does not exist. Fetch it, or name another PEFT adapter folder.`);
}

/** Folders just below, or one deeper, that hold an adapter, as paths from `folder`. */
async function adaptersBelow(folder: string, names: readonly string[], depth = 2): Promise<string[]> {
  const found: string[] = [];
  for (const name of names.slice(0, 200)) {
    const path = join(folder, name);
    if (!(await stat(path).catch(() => null))?.isDirectory()) continue;
    const inside: string[] = await readdir(path).catch(() => []);
    if (inside.includes(PEFT_FILES.config)) found.push(name);
    else if (depth > 1) found.push(...(await adaptersBelow(path, inside, depth - 1)).map((below) => join(name, below)));
  }
  return found.sort((a, b) => a.localeCompare(b, 'en', { numeric: true }));
}

/** The last is the newest where a trainer made them. */
function elsewhere(folder: string, below: readonly string[]): string {
  const last = join(folder, below.at(-1)!);
  if (below.length === 1) return `The adapter lies below: name ${last}`;
  return `There are ${below.length} adapters below (${below.slice(-5).join(', ')}): name one, for example ${last}`;
}

/** Files that stand for others. */
function mustBeContent(path: string, bytes: Uint8Array): void {
  const begins = Buffer.from(bytes.subarray(0, 64)).toString('latin1');
  if (begins.startsWith('version https://git-lfs'))
    throw new LiloraError(
      'BadModel',
      `${path} is a pointer of Git LFS, not the file. Fetch it: git -C ${dirname(path)} lfs pull`,
    );
  if (begins.startsWith('PK\u0003\u0004'))
    throw new LiloraError(
      'BadModel',
      `${path} is a pickle under another name, which is not read here. Convert it, if you trust where it is from: ${converted(path, path)}`,
    );
  if (begins.startsWith('GGUF'))
    throw new LiloraError(
      'BadModel',
      `${path} is GGUF, the form of llama.cpp. Name the adapter that it was made from.`,
    );
}
