import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type RawTensor, writeSafetensors } from '../../core/safetensors.ts';
import { methodNamed } from '../../learning/methods/registry.ts';
import { selectLayers } from '../../learning/methods/targets.ts';
import type { AdaptedLayer } from '../../learning/model/model.ts';
import { Random } from '../../learning/training/random.ts';
import { writePeft } from '../../store/peft.ts';
import type { Shape } from './models.ts';

/** What both sides train: the same adapter from the same start on the same batches. */
export const LORA = { rank: 8, alpha: 16, targets: 'attention+mlp', learningRate: 1e-3 } as const;
/** Different batches; a run goes round and round. */
const BATCHES = 4;
const FIRST_WORD = 10;

/**
 * - dense: text alone, every token with loss.
 * - answers: a picture, a prompt and a short answer, which alone has loss: what instruction tuning trains.
 */
export type Kind = 'dense' | 'answers';

interface LlavaJson {
  readonly image_token_index: number;
  readonly image_seq_length: number;
  readonly text_config: { readonly vocab_size: number };
  readonly vision_config: { readonly image_size: number };
}

/** Tokens per row of one kind of batch. */
export function lengthOf(shape: Shape, kind: Kind): number {
  const { image_seq_length: image } = shape.config as unknown as LlavaJson;
  return kind === 'dense' ? shape.dense : image + shape.prompt + shape.answer;
}

/** Writes `batches.safetensors` (I32 `input_ids` and `labels` [batches, rows, length], F32 `pixel_values`) and the start of the adapter, as PEFT keeps it. */
export function writeWork(folder: string, shape: Shape, kind: Kind, layers: readonly AdaptedLayer[]): void {
  mkdirSync(folder, { recursive: true });
  const json = shape.config as unknown as LlavaJson;
  const random = new Random(7).split(kind);
  const length = lengthOf(shape, kind);
  const size = BATCHES * shape.rows * length;
  const ids = Int32Array.from({ length: size }, (_, i) =>
    kind === 'answers' && i % length < json.image_seq_length
      ? json.image_token_index
      : FIRST_WORD + random.below(json.text_config.vocab_size - FIRST_WORD),
  );
  const silent = kind === 'dense' ? 0 : length - shape.answer;
  const labels = ids.map((id, i) => (i % length < silent ? -100 : id));
  const ints = (data: Int32Array): RawTensor => ({ dtype: 'I32', shape: [BATCHES, shape.rows, length], data });
  const tensors = new Map<string, RawTensor>([
    ['input_ids', ints(ids)],
    ['labels', ints(labels)],
  ]);
  if (kind === 'answers') {
    const { image_size: side } = json.vision_config;
    const pixels = Float32Array.from({ length: BATCHES * shape.rows * 3 * side * side }, () => random.normal());
    tensors.set('pixel_values', { dtype: 'F32', shape: [BATCHES, shape.rows, 3, side, side], data: pixels });
  }
  writeFileSync(join(folder, 'batches.safetensors'), writeSafetensors(tensors));

  const { method, options } = loraMethod();
  const chosen = selectLayers(layers, LORA.targets);
  const bank = method.start(chosen, options, new Random(1));
  const trainable = method.begin(bank, 'bench', options, new Random(2));
  const starts = [...trainable.tensors].map(([key, { start }]) => [key, start] as const);
  const learned = method.finish(bank, trainable, new Map(starts));
  const adapter = join(folder, 'adapter');
  mkdirSync(adapter, { recursive: true });
  for (const { path, bytes } of writePeft(method.fold!(learned, 'bench'), { name: 'bench' }))
    writeFileSync(join(adapter, path), bytes);
}

/** One ordinary LoRA. */
export function loraMethod() {
  const method = methodNamed('per-task-lora');
  return { method, options: method.options.parse({ rank: LORA.rank, alpha: LORA.alpha }) };
}
