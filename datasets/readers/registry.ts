import { LiloraError } from '../../core/errors.ts';
import { llava } from './llava.ts';
import type { Reader } from './reader.ts';

/** Every format of samples files, by the name that `format` in dataset.json gives. */
const READERS: readonly Reader[] = [llava];

/** The reader of a format; an unknown name is `BadDataset` with the names there are. */
export function readerOf(format: string): Reader {
  const reader = READERS.find(({ name }) => name === format);
  if (reader) return reader;
  const names = READERS.map(({ name }) => name).join(', ');
  throw new LiloraError(
    'BadDataset',
    `dataset.json: format: there is no reader ${JSON.stringify(format)}. Use ${names}.`,
  );
}
