import { z } from 'zod';
import { LiloraError } from '../core/errors.ts';
import { canonicalJson, parseJson } from '../core/json.ts';
import { nameOf, type ObjectStore } from './object-store.ts';

/** Where a stream's head points. `epoch` grows by one with every move, so a stale writer is recognised. */
export interface Head {
  readonly generation: number;
  /** SHA-256 of the generation's manifest. */
  readonly manifestDigest: string;
  readonly epoch: number;
}

const headSchema = z.strictObject({
  generation: z.int().min(1),
  manifestDigest: z.string().regex(/^[0-9a-f]{64}$/),
  epoch: z.int().min(1),
});

/** The head under this key, or null before the first publication. A damaged one is an `IntegrityError`. */
export async function readHeadObject(store: ObjectStore, key: string): Promise<{ head: Head; etag: string } | null> {
  if ((await store.head(key)) === null) return null;
  const { bytes, etag } = await store.get(key);
  const parsed = headSchema.safeParse(parseJson(bytes, nameOf(store, key)));
  if (parsed.success) return { head: parsed.data, etag };
  throw new LiloraError(
    'IntegrityError',
    `${nameOf(store, key)} is no head: ${z.prettifyError(parsed.error)}. Restore it from a copy.`,
  );
}

/**
 * Moves the head from where the caller saw it to `target`, by compare-and-swap. Done already (by an attempt whose answer
 * was lost) is done; anything else in between is a `Conflict`.
 */
export async function moveHead(
  store: ObjectStore,
  key: string,
  seen: Head | null,
  target: Omit<Head, 'epoch'>,
): Promise<Head> {
  const next: Head = { ...target, epoch: (seen?.epoch ?? 0) + 1 };
  const bytes = Buffer.from(canonicalJson(next));
  for (let attempt = 0; attempt < 2; attempt++) {
    const now = await readHeadObject(store, key);
    if (now && canonicalJson(now.head) === canonicalJson(next)) return next;
    if (canonicalJson(now?.head ?? null) !== canonicalJson(seen)) break;
    const answer = now ? await store.replace(key, bytes, now.etag) : await store.create(key, bytes);
    if (answer === 'created' || answer === 'replaced') return next;
    // Somebody was faster, or it was us and the answer was lost: look again.
  }
  throw new LiloraError(
    'Conflict',
    `${nameOf(store, key)} was moved by somebody else meanwhile. Read the stream's state and decide again.`,
  );
}
