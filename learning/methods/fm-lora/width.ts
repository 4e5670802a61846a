import { LiloraError } from '../../../core/errors.ts';
import type { AdaptedLayer } from '../../model/model.ts';

/** Layers of a decoder block that read its states, and those that add to them. */
const [READS, ADDS] = [/\.layers\.\d+\..*\b(q|k|v|gate|up)_proj$/, /\.layers\.\d+\..*\b(o|down)_proj$/];

/** Width of the language model, as its adapted layers tell it. `BadConfig` where none of them is in a block. */
export function widthOf(layers: readonly AdaptedLayer[]): number {
  const reading = layers.find(({ name }) => READS.test(name));
  const adding = layers.find(({ name }) => ADDS.test(name));
  const width = reading?.in ?? adding?.out;
  if (width !== undefined) return width;
  const problem = 'A prompt (promptTokens) has the width of the language model, and no layer of its blocks is adapted';
  throw new LiloraError('BadConfig', `${problem}. Choose targets among them, or leave the prompt out.`);
}
