import type { AdapterSource } from '../../activities/engine.ts';
import { readWhole } from '../../core/files.ts';
import type { TensorMap } from '../../core/host-tensor.ts';
import { openModelTensors } from '../../core/model-tensors.ts';
import { readTensorMap } from '../../core/safetensors.ts';
import { bindAdapter, bindLora } from '../../learning/methods/adapter.ts';
import { readBank } from '../../learning/methods/bank.ts';
import { linearLayers } from '../../learning/model/layers.ts';
import type { Adapt, Beyond } from '../../learning/model/model.ts';
import { type ModelDefinition, readDefinition } from '../../learning/model/registry.ts';
import { adapterOfTensors, PEFT_FILES } from '../../store/peft.ts';
import { readPeftConfig } from '../../store/peft-config.ts';
import { readPeftFolder } from '../../store/peft-folder.ts';
import { missingLayers, untrained, unwrapped } from '../../store/peft-names.ts';

/** What answers beside the base model, on the engine. Dispose when done. */
interface OpenAdapter {
  readonly adapt: Adapt;
  /** Where the adapter has layers of the tower: what one picture gives is then no other's. */
  readonly tower?: Beyond;
  dispose(): void;
}

/** Opens a PEFT adapter or a task of a bank. @param model folder of the base model */
export async function openAdapter(source: NonNullable<AdapterSource>, model: string): Promise<OpenAdapter> {
  if ('bank' in source) return bindAdapter(readBank(await readWhole(source.bank), source.bank), source.task);
  const { folder } = source;
  const [config, weights] = [`${folder}/${PEFT_FILES.config}`, `${folder}/${PEFT_FILES.weights}`];
  const files = await readPeftFolder(folder);
  const settings = readPeftConfig(files.config, config);
  const definition = await readDefinition(model);
  const { layers, frozen } = linearLayers(definition);
  const tensors = await withoutRepeated(readTensorMap(files.weights, weights), definition, model);
  const adapter = adapterOfTensors(settings, tensors, weights, { layers: [...layers, ...frozen] });
  const told = [missingLayers(adapter.layers, [...layers, ...frozen], settings), untrained(adapter.layers)];
  for (const each of told) if (each) process.stderr.write(`${each}\n`);
  const bound = bindLora(adapter);
  const sees = frozen.some(({ name }) => name !== 'lm_head' && adapter.layers.has(name));
  return { ...bound, ...(sees && { tower: bound.adapt.beyond! }) };
}

/**
 * Tensors without the embedding and the head that PEFT saves beside LoRA on either (`save_embedding_layers`), where they are
 * the model's own. Others stay, and the reader refuses them.
 */
async function withoutRepeated(tensors: TensorMap, definition: ModelDefinition, model: string): Promise<TensorMap> {
  const whole = [...tensors.keys()].flatMap((key) => {
    const [, part] = /(?:^|\.)(lm_head|embed_tokens)(?:\.base_layer)?\.weight$/.exec(unwrapped(key)) ?? [];
    return part ? [[key, part] as const] : [];
  });
  if (whole.length === 0) return tensors;
  const { family, config } = definition;
  const embedding = `${config.decoder.path}.embed_tokens.weight`;
  const left: TensorMap = new Map(tensors);
  const files = await openModelTensors(model);
  try {
    const names = new Map(files.names().map((name) => [family.canonicalName(name), name]));
    for (const [key, part] of whole) {
      const own = (part === 'lm_head' ? names.get('lm_head.weight') : undefined) ?? names.get(embedding);
      if (own === undefined) continue;
      const [theirs, ours] = [tensors.get(key)!.data, await files.readFloat(own)];
      if (theirs.length === ours.length && theirs.every((value, i) => value === ours[i])) left.delete(key);
    }
  } finally {
    await files.close();
  }
  return left;
}
