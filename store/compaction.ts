import { inLanes } from '../core/lanes.ts';
import { readHead, streamKeys } from './generations.ts';
import { type ListedObject, newestFirst, type ObjectStore } from './object-store.ts';
import { addReferences, generationsOf, referencesOfAll, referencesOfStreams } from './references.ts';

/** What may go, by what it was for. */
export type RemovalKind =
  | 'generations'
  | 'checkpoints'
  | 'intermediate banks'
  | 'training rounds'
  | 'prepared data'
  | 'router statistics'
  | 'caches'
  | 'unfinished uploads'
  | 'old reports'
  | 'old records of workers'
  | 'old measurements'
  | 'removed task';

export interface Removal {
  readonly kind: RemovalKind;
  /** The object; of an unfinished upload the one that it was meant for, where that is known. */
  readonly key: string | null;
  /** Bytes. */
  readonly size: number;
  /** Of an unfinished upload: the store's name for it. */
  readonly upload?: string;
}

/**
 * What goes, in the order of its going: all of one step before any of the next. What refers to others goes first, so
 * that nothing that is left ever refers to something gone, wherever the removal stops.
 */
export type RemovalPlan = ReadonlyArray<readonly Removal[]>;

export interface StreamRetention {
  /** Newest generations that stay besides the head. */
  readonly keepGenerations: number;
  /** Only what was written before may go. */
  readonly before: Date;
  /** Tasks that are queued or running: all of theirs stays. */
  readonly openTasks: readonly string[];
  readonly reportsBefore: Date;
  /** Newest measurements of drift that stay. */
  readonly keepMeasurements: number;
}

/** Folders of a task that hold steps on the way; whatever else is there stays. */
export const STEPS: Readonly<Record<string, RemovalKind>> = {
  checkpoints: 'checkpoints',
  runs: 'intermediate banks',
  regularized: 'intermediate banks',
  banks: 'intermediate banks',
  rounds: 'training rounds',
  prepared: 'prepared data',
  routing: 'router statistics',
};

/** Objects that are removed side by side. */
const LANES = 16;
const DAY = 24 * 3600 * 1000;

/** Where reports of compactions are: of one stream, or of what streams share. */
export const reportsFolder = (stream: string | null) =>
  stream === null ? 'compactions/' : streamKeys(stream).compactions;

/** What streams share and people look back at for a while. Of a worker that lives the record is ever young. */
const RECORDS: ReadonlyArray<readonly [prefix: string, kind: RemovalKind]> = [
  [reportsFolder(null), 'old reports'],
  ['workers/', 'old records of workers'],
  ['launches/', 'old records of workers'],
];

const isMemo = ({ key }: { key: string }) => key.endsWith('.json');
export const removal = (kind: RemovalKind, { key, size }: ListedObject): Removal => ({ kind, key, size });

/**
 * Plans what may go from one stream. Stays: the head, the newest generations, the highest number (none is ever used
 * twice), whatever these refer to by manifest or evaluation, and all that is young or belongs to an open task.
 * A kept generation that cannot be read is an error: a damaged stream is mended before it is compacted.
 */
export async function planStream(store: ObjectStore, stream: string, retention: StreamRetention): Promise<RemovalPlan> {
  const { keepGenerations, before, openTasks } = retention;
  const keys = streamKeys(stream);
  const head = await readHead(store, stream);
  const generations = await generationsOf(store, stream);
  const published = [...generations.keys()].filter((n) => generations.get(n)!.published).sort((a, b) => b - a);
  const kept = new Set([
    head?.generation ?? 0,
    Math.max(0, ...generations.keys()),
    ...published.slice(0, keepGenerations),
  ]);
  for (const [n, { objects }] of generations) if (objects.some(({ modified }) => modified >= before)) kept.add(n);

  const referred = new Set<string>();
  if (head) await addReferences(store, stream, head.generation, referred, head.manifestDigest);
  for (const n of published) if (kept.has(n)) await addReferences(store, stream, n, referred);

  const [manifests, memos, rest]: [Removal[], Removal[], Removal[]] = [[], [], []];
  for (const [n, { objects }] of generations) {
    if (kept.has(n)) continue;
    for (const object of objects)
      if (!referred.has(object.key))
        (object.key === keys.manifest(n) ? manifests : rest).push(removal('generations', object));
  }
  const steps: { object: ListedObject; kind: RemovalKind }[] = [];
  for await (const object of store.list(keys.tasks)) {
    const [task, folder] = object.key.slice(keys.tasks.length).split('/') as [string, string];
    const kind = Object.hasOwn(STEPS, folder) ? STEPS[folder] : undefined;
    if (kind && !openTasks.includes(task)) steps.push({ object, kind });
  }
  const young = steps.map(({ object }) => object).filter((object) => isMemo(object) && object.modified >= before);
  for (const references of (await referencesOfAll(store, young)).values())
    for (const key of references) referred.add(key);
  for (const { object, kind } of steps) {
    if (object.modified >= before || referred.has(object.key)) continue;
    (isMemo(object) ? memos : rest).push(removal(kind, object));
  }
  rest.push(...(await oldOnes(store, 'old reports', reportsFolder(stream), retention.reportsBefore)));
  for (const measurement of (await newestFirst(store, keys.drift)).slice(retention.keepMeasurements))
    rest.push(removal('old measurements', measurement));
  return [manifests, memos, rest].filter((step) => step.length > 0);
}

export interface SharedRetention {
  /** Cached results written before go. */
  readonly cacheBefore: Date;
  /** Bytes of caches that stay; the oldest go first, but none of the last day. */
  readonly cacheBytes: number;
  readonly uploadsBefore: Date;
  readonly reportsBefore: Date;
  readonly now: Date;
}

/** Plans what may go from the caches of all streams, and uploads that never ended. */
export async function planShared(store: ObjectStore, retention: SharedRetention): Promise<RemovalPlan> {
  const [memos, rest]: [Removal[], Removal[]] = [[], []];
  const cached = await newestFirst(store, 'cache/');
  const doomed = overdue(cached, retention);
  if (doomed.size > 0) {
    const published = await referencesOfStreams(store);
    const referred = new Set(published);
    for (const [memo, references] of await referencesOfAll(store, cached.filter(isMemo))) {
      // An evaluation that a generation refers to is no mere cache: its memo stays with it.
      if (doomed.has(memo) && !references.some((key) => published.has(key))) memos.push(removal('caches', memo));
      else for (const key of references) referred.add(key);
    }
    for (const object of doomed) if (!isMemo(object) && !referred.has(object.key)) rest.push(removal('caches', object));
  }
  for await (const { key, id, size, started } of store.unfinished())
    if (started < retention.uploadsBefore) rest.push({ kind: 'unfinished uploads', key, size, upload: id });
  for (const [prefix, kind] of RECORDS) rest.push(...(await oldOnes(store, kind, prefix, retention.reportsBefore)));
  return [memos, rest].filter((step) => step.length > 0);
}

/** Removes what a plan says, step by step. What is gone already is gone: a broken-off removal is simply repeated. */
export async function carryOut(
  store: ObjectStore,
  plan: RemovalPlan,
  onRemoved: (removed: Removal) => void = () => {},
): Promise<void> {
  for (const step of plan)
    await inLanes(LANES, step, async (removed) => {
      const { key, size, upload } = removed;
      if (upload === undefined) await store.delete(key!);
      else await store.discard({ key, id: upload, size, started: new Date(0) });
      onRemoved(removed);
    });
}

/** Cached objects that are too old, or too much. @param cached the newest first */
function overdue(
  cached: readonly ListedObject[],
  { cacheBefore, cacheBytes, now }: SharedRetention,
): Set<ListedObject> {
  const doomed = new Set<ListedObject>();
  let left = cached.reduce((sum, { size }) => sum + size, 0);
  for (const object of cached.toReversed()) {
    const tooMuch = left > cacheBytes && now.getTime() - object.modified.getTime() > DAY;
    if (object.modified >= cacheBefore && !tooMuch) continue;
    doomed.add(object);
    left -= object.size;
  }
  return doomed;
}

async function oldOnes(store: ObjectStore, kind: RemovalKind, prefix: string, before: Date): Promise<Removal[]> {
  const found: Removal[] = [];
  for await (const object of store.list(prefix)) if (object.modified < before) found.push(removal(kind, object));
  return found;
}
