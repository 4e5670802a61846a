import { LiloraError } from '../../core/errors.ts';
import type { FamilyFiles, ImageFamily } from './family.ts';
import { llavaImages } from './llava.ts';
import { qwen2vlImages } from './qwen2vl.ts';
import { smolvlmImages } from './smolvlm.ts';

/** One line per `model_type`; the same names as in learning/model/registry.ts. */
const FAMILIES: Readonly<Record<string, (files: FamilyFiles) => ImageFamily>> = {
  llava: llavaImages,
  smolvlm: smolvlmImages,
  idefics3: smolvlmImages,
  qwen2_vl: qwen2vlImages,
};

/** The family of a model folder; `BadModel` names one that is unknown, or what it does not support. */
export function openFamily(files: FamilyFiles): ImageFamily {
  const type = (files.config as { model_type?: unknown } | null)?.model_type;
  const open = typeof type === 'string' && Object.hasOwn(FAMILIES, type) ? FAMILIES[type] : undefined;
  if (open) return open(files);
  const known = Object.keys(FAMILIES).join(', ');
  throw new LiloraError('BadModel', `config.json: model_type is ${JSON.stringify(type)}. Supported: ${known}.`);
}
