import { LiloraError } from '../../core/errors.ts';
import { cLora } from './c-lora/index.ts';
import { dac } from './dac/index.ts';
import { ewc } from './ewc/index.ts';
import { fmLora } from './fm-lora/index.ts';
import { icmLora } from './icm-lora/index.ts';
import { joint } from './joint/index.ts';
import { lilora } from './lilora/index.ts';
import { lines } from './lines/index.ts';
import { loda } from './loda/index.ts';
import { lwf } from './lwf/index.ts';
import type { Method } from './method.ts';
import { mixlora } from './mixlora/index.ts';
import { moelora } from './moelora/index.ts';
import { mtlLora } from './mtl-lora/index.ts';
import { oLora } from './o-lora/index.ts';
import { orthoLora } from './ortho-lora/index.ts';
import { perTaskLora } from './per-task-lora/index.ts';
import { replay } from './replay/index.ts';
import { sequentialLora } from './sequential-lora/index.ts';
import { slao } from './slao/index.ts';
import { treelora } from './treelora/index.ts';
import { zeroShot } from './zero-shot/index.ts';

// Each method knows its own options; callers hand back what its own schema gave.
const METHODS = [
  lilora,
  // In the order of their names.
  cLora,
  dac,
  ewc,
  fmLora,
  icmLora,
  joint,
  lines,
  loda,
  lwf,
  mixlora,
  moelora,
  mtlLora,
  oLora,
  orthoLora,
  perTaskLora,
  replay,
  sequentialLora,
  slao,
  treelora,
  zeroShot,
] as unknown as readonly Method[];

/** Names of all methods. */
export const methodNames = (): string[] => METHODS.map(({ name }) => name);

/** The method of this name. */
export function methodNamed(name: string): Method {
  const found = METHODS.find((method) => method.name === name);
  if (!found)
    throw new LiloraError('BadConfig', `There is no method "${name}". Choose from ${methodNames().join(', ')}.`);
  return found;
}
