import { canonicalJson, digestOf, parseJson } from '../core/json.ts';
import type { DataContext } from './context.ts';

/**
 * Runs a step once per content: its result is kept under the digest of all that goes in, so a retry after a crash, a
 * second trigger or a resumed workflow finds it instead of computing again.
 * @param prefix folder of such results
 * @param inputs everything that decides the result, as plain data
 */
export async function once<Result extends object>(
  { store }: DataContext,
  prefix: string,
  inputs: object,
  step: () => Promise<Result>,
): Promise<Result & { reused: boolean }> {
  const key = `${prefix}/${digestOf(inputs)}.json`;
  if (await store.head(key)) {
    const { bytes } = await store.get(key);
    return { ...(parseJson(bytes, key) as Result), reused: true };
  }
  const result = await step();
  await store.create(key, Buffer.from(canonicalJson(result)));
  return { ...result, reused: false };
}
