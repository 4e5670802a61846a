import { DEFAULTS } from '../../core/defaults.ts';
import { checkedHeader } from './arrow-header.ts';
import { bad } from './each.ts';
import type { SamplesFile } from './reader.ts';

/** One message of an Arrow stream, whole, as it stands in its file. */
export interface ArrowMessage {
  readonly kind: 'schema' | 'dictionary' | 'rows';
  readonly bytes: Uint8Array;
}

/** A message begins with it since Arrow 0.15. */
const CONTINUATION = 0xffffffff;

/**
 * The messages of an Arrow file, one after another: of a stream, as `datasets` writes it, or of a file with a footer
 * (Feather), which holds a stream after its first eight bytes. `BadDataset` for one that is not whole or over the limits.
 */
export async function* messagesOf(file: SamplesFile): AsyncGenerator<ArrowMessage> {
  const { path, size } = file;
  const broken = () => bad(`${path}: not an Arrow file that can be read, or not whole. Copy it again.`);
  const start = Buffer.from(await file.slice(0, Math.min(8, size)));
  if (start.toString('latin1', 0, 5) === 'FEA1') throw broken();
  const hasFooter = start.toString('latin1', 0, 6) === 'ARROW1';
  if (hasFooter && Buffer.from(await file.slice(size - 6, size)).toString('latin1') !== 'ARROW1') throw broken();
  let at = hasFooter ? 8 : 0;
  while (at < size) {
    const head = await wordsAt(file, at);
    const prefix = head[0] === CONTINUATION ? 8 : 4;
    const length = head[prefix / 4 - 1];
    // An empty message ends a stream; so does the end of the file.
    if (length === 0) return;
    if (length === undefined || length > 2 ** 26 || at + prefix + length > size) throw broken();
    const { kind, body } = checkedHeader(await file.slice(at + prefix, at + prefix + length));
    const most = DEFAULTS['dataset.maxUnpackedBytes'].value;
    if (body > most)
      throw bad(
        `${path}: a batch of ${body} bytes, over the limit of ${most}. Write it in smaller batches, for example with \`save_to_disk(…, max_shard_size="500MB")\`.`,
      );
    const end = at + prefix + length + body;
    if (!(body >= 0) || end > size) throw broken();
    // What is read must begin where numbers of 8 bytes may.
    if (kind) yield { kind, bytes: new Uint8Array(await file.slice(at, end)) };
    at = end;
  }
  if (at === 0) throw broken();
}

async function wordsAt(file: SamplesFile, at: number): Promise<number[]> {
  const bytes = await file.slice(at, Math.min(file.size, at + 8));
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return [0, 4].flatMap((from) => (from + 4 <= bytes.length ? [view.getUint32(from, true)] : []));
}
