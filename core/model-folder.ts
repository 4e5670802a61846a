import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { LiloraError } from './errors.ts';

/* What people have in the place of a model folder that can be read, and the one step that helps. */

/** How a published model is fetched whole. */
export const FETCH = 'hf download ORG/NAME --local-dir FOLDER';

/** A line of Python that has transformers read a folder and write it again, in safetensors. */
export function rewritten(from: string, to: string, more = ''): string {
  const model = `AutoModelForImageTextToText.from_pretrained('${from}')`;
  return `python -c "from transformers import AutoModelForImageTextToText; ${model}${more}.save_pretrained('${to}')"`;
}

/** A folder without weights in safetensors: says what is there instead. */
export async function noWeights(folder: string): Promise<LiloraError> {
  const names = await namesIn(folder);
  const bad = (problem: string) => new LiloraError('BadModel', `${folder}: ${problem}.`);
  if (names.includes('adapter_config.json')) return bad(ADAPTER);
  const pickled = names.find((name) => /^(pytorch_model.*\.bin|.*\.(pth?|ckpt))(\.index\.json)?$/.test(name));
  if (pickled) {
    const problem = `the weights are pickled (${pickled}), and a pickle can run code, so it is never read`;
    return bad(`${problem}. Write them as safetensors once: ${rewritten(folder, folder)}`);
  }
  const gguf = names.find((name) => name.endsWith('.gguf'));
  if (gguf) return bad(`${gguf} holds weights in GGUF, which is not read. ${ORIGINAL}: ${FETCH}`);
  const foreign = names.find((name) => /\.(h5|msgpack|onnx|npz)$/.test(name));
  if (foreign) return bad(`${foreign} holds weights of another program, which are not read. ${ORIGINAL}: ${FETCH}`);
  const other = names.find((name) => name.endsWith('.safetensors'));
  const problem = 'neither model.safetensors nor model.safetensors.index.json';
  if (other)
    return bad(`${problem}, only ${other}. Rename it to model.safetensors if it holds the whole model, or: ${FETCH}`);
  return bad(`${problem}. Fetch the model: ${FETCH}`);
}

/** A folder without `config.json`: says what it is instead. */
export async function noConfig(folder: string): Promise<LiloraError> {
  const names = await namesIn(folder);
  const bad = (problem: string) => new LiloraError('BadModel', `${folder}/config.json: no such file${problem}.`);
  if (names.includes('adapter_config.json')) return bad(`; ${ADAPTER}`);
  const gguf = names.find((name) => name.endsWith('.gguf'));
  if (gguf) return bad(`; ${gguf} is in GGUF, which is not read. ${ORIGINAL}: ${FETCH}`);
  const below = await Promise.all(
    names.map(async (name) => ((await namesIn(join(folder, name))).includes('config.json') ? name : [])),
  );
  const models = below.flat();
  if (models.length > 0) return bad(`; there is one in ${models.slice(0, 3).join(', ')}. Name that folder`);
  if (names.includes('snapshots')) return bad("; this is a folder of the hub's cache. Name the one below snapshots/");
  const inner = names.includes('params.json') ? "; the weights are in the layout of their authors' own code" : '';
  return bad(`${inner}. Check the model folder, or fetch the model: ${FETCH}`);
}

const ORIGINAL = 'Fetch the model that it was made from';
const ADAPTER =
  'this is an adapter, not a model. Give its base model with --model, and this folder with --adapter (predict) or --start (create)';

async function namesIn(folder: string): Promise<string[]> {
  return readdir(folder).catch(() => []);
}

const FAMILIES: Readonly<Record<string, string>> = {
  llava: 'LLaVA-1.5',
  idefics3: 'Idefics3 and SmolVLM',
  smolvlm: 'SmolVLM and SmolVLM2',
  qwen2_vl: 'Qwen2-VL',
};

/** What is read, in words. */
const SUPPORTED = Object.entries(FAMILIES)
  .map(([type, models]) => `${type} (${models})`)
  .join(', ');

/**
 * Refuses a `config.json` of another kind than is read, with what it is and what helps: the original code of LLaVA,
 * quantized weights, code of its own, another family. What passes is checked by its family.
 * @param json parsed `config.json`
 * @param file path for messages
 */
export function refuseOtherKinds(json: unknown, file: string): void {
  const bad = (problem: string): never => {
    throw new LiloraError('BadModel', `${file}: ${problem}.`);
  };
  const isObject = typeof json === 'object' && json !== null && !Array.isArray(json);
  if (!isObject) bad(`it is no JSON object. Fetch the model again: ${FETCH}`);
  const config = json as Record<string, unknown>;
  const type = config['model_type'];
  const classes = [config['architectures'] ?? []].flat().filter((name) => typeof name === 'string');
  const own = Object.keys(config).find((key) => key.startsWith('mm_'));
  if (/^llava/.test(`${type}`) && (own !== undefined || classes.some((name) => /^Llava.*ForCausalLM$/.test(name)))) {
    const problem = `a checkpoint of the original LLaVA code (${classes[0] ?? own}), laid out otherwise than transformers has it`;
    const remedy = `Fetch the converted one (hf download llava-hf/llava-1.5-7b-hf --local-dir FOLDER), or convert a model of your own with convert_llava_weights_to_hf.py of transformers 4`;
    bad(`${problem}. ${remedy}`);
  }
  for (const part of ['', 'text_config', 'vision_config']) {
    const value = (part === '' ? config : config[part]) as Record<string, unknown> | null | undefined;
    const how = value?.['quantization_config'] ?? value?.['compression_config'] ?? value?.['quantization'];
    if (how !== undefined && how !== null)
      bad(quantized(`${part && `${part}.`}quantization_config: ${methodOf(how)}`, folderOf(file)));
  }
  if (typeof type === 'string' && Object.hasOwn(FAMILIES, type)) return;
  const named = `model_type is ${type === undefined ? 'absent' : JSON.stringify(type)}${classes[0] ? ` (${classes[0]})` : ''}`;
  const code = config['auto_map'] ? ', and its code comes with it (auto_map); code of models is never run' : '';
  bad(`${named}${code}. Supported: ${SUPPORTED}`);
}

/**
 * That weights are quantized, and how to get others.
 * @param how where it shows
 * @param folder where transformers knows the kind, so that it can undo it
 */
export function quantized(how: string, folder?: string): string {
  const next = 'Use the checkpoint that it was made from, in BF16, F16 or F32';
  const undo = folder && `; of kinds that transformers can undo: ${rewritten(folder, 'OUT', '.dequantize()')}`;
  return `the weights are quantized (${how}), which is not computed. ${next}${undo ?? `: ${FETCH}`}`;
}

const folderOf = (file: string) => file.replace(/[/\\]?config\.json$/, '') || '.';

function methodOf(how: unknown): string {
  const given = typeof how === 'object' && how !== null ? (how as Record<string, unknown>) : {};
  const bits = given['load_in_4bit'] || given['bits'] === 4 ? ', 4 bits' : given['load_in_8bit'] ? ', 8 bits' : '';
  return `${typeof given['quant_method'] === 'string' ? given['quant_method'] : 'no method named'}${bits}`;
}
