import { parseJson } from '../core/json.ts';
import { getVerified } from '../store/object-store.ts';
import type { FileRef } from '../workflows/contract.ts';
import type { DataContext } from './context.ts';

/** Lines of a JSONL object of the store, checked against its digest. */
export async function readLines<T>({ store }: Pick<DataContext, 'store'>, ref: FileRef): Promise<T[]> {
  const text = Buffer.from(await getVerified(store, ref.key, ref)).toString();
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line, i) => parseJson(line, `${ref.key}:${i + 1}`) as T);
}
