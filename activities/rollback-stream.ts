import { readHead, rollback } from '../store/generations.ts';
import type { StreamState } from '../workflows/contract.ts';
import type { DataContext } from './context.ts';
import { readState } from './open-stream.ts';

/** Points the head at an earlier generation after checking that it is whole. Later generations stay readable. */
export async function rollbackStream(
  context: DataContext,
  { state, generation }: { state: StreamState; generation: number },
): Promise<StreamState> {
  const { definition, abilities, head } = state;
  const now = await readHead(context.store, definition.name);
  // A retry finds the head where the first attempt moved it.
  if (!(now?.generation === generation && now.epoch === (head?.epoch ?? 0) + 1))
    await rollback(context.store, definition.name, generation, head);
  return readState(context, definition, abilities, await readHead(context.store, definition.name));
}
