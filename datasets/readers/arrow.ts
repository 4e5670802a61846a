import { isLiloraError } from '../../core/errors.ts';
import { metadataOfSchema, rowsOfBatch } from './arrow-columns.ts';
import { messagesOf } from './arrow-messages.ts';
import { bad, type Entry, readEach, reason } from './each.ts';
import { type Features, featuresOf, readRow } from './features.ts';
import type { Reader, SamplesFile } from './reader.ts';

/**
 * Arrow, as `save_to_disk` of Hugging Face `datasets` writes it (a stream), and files with a footer (Feather 2): a row is a
 * sample, as in Parquet. Batches may be plain or packed by Zstandard. One batch is in memory at a time.
 */
export const arrow: Reader = {
  name: 'arrow',
  recognizes: ({ path }) => /\.(?:arrow|feather)$/i.test(path),
  async *read(file, problems) {
    const { manifest } = file;
    let features: Features = new Map();
    const entries = arrowRows(file, (found) => {
      features = found;
    });
    yield* readEach(entries, problems, (row, at) => readRow(row, at, manifest, features));
  },
};

/** Rows as entries, their values as they were written. @param describe is told what the file says of its columns */
export async function* arrowRows(file: SamplesFile, describe: (features: Features) => void): AsyncGenerator<Entry> {
  const { path } = file;
  let schema: Uint8Array | null = null;
  const dictionaries: Uint8Array[] = [];
  let index = 0;
  try {
    for await (const { kind, bytes } of messagesOf(file)) {
      if (kind === 'schema') {
        schema = bytes;
        describe(featuresOf(metadataOfSchema(bytes).get('huggingface'), path));
      } else if (kind === 'dictionary') dictionaries.push(bytes);
      else {
        if (schema === null) throw new Error('rows before the schema');
        for (const value of rowsOfBatch([schema, ...dictionaries, bytes]))
          yield { value, place: `${path} row ${++index}` };
      }
    }
  } catch (error) {
    if (isLiloraError(error)) throw error;
    const packed = /LZ4/.test(reason(error));
    const why = packed ? 'its batches are packed by LZ4' : reason(error);
    throw bad(
      `${path}: an Arrow file that cannot be read (${why}). Write it again, plain or packed by Zstandard, or as Parquet.`,
      error,
    );
  }
}
