import { canonicalJson, digestOf, parseJson } from '../core/json.ts';
import type { DataContext } from './context.ts';

/** Where the result of a step is kept. */
const keyOf = (prefix: string, inputs: object) => `${prefix}/${digestOf(inputs)}.json`;

/** The result of a step that ran before with the same inputs; null when there is none. */
export async function known<Result extends object>(
  { store }: DataContext,
  prefix: string,
  inputs: object,
): Promise<(Result & { reused: boolean }) | null> {
  const key = keyOf(prefix, inputs);
  if (!(await store.head(key))) return null;
  const { bytes } = await store.get(key);
  return { ...(parseJson(bytes, key) as Result), reused: true };
}

/**
 * Runs a step once per content: its result is kept under the digest of all that goes in, so a retry after a crash, a
 * second trigger or a resumed workflow finds it instead of computing again.
 * @param prefix folder of such results
 * @param inputs everything that decides the result, as plain data
 */
export async function once<Result extends object>(
  context: DataContext,
  prefix: string,
  inputs: object,
  step: () => Promise<Result>,
): Promise<Result & { reused: boolean }> {
  const found = await known<Result>(context, prefix, inputs);
  if (found) return found;
  const result = await step();
  await context.store.create(keyOf(prefix, inputs), Buffer.from(canonicalJson(result)));
  return { ...result, reused: false };
}
