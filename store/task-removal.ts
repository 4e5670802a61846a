import { dirname } from 'node:path/posix';
import { parseJson } from '../core/json.ts';
import { inLanes } from '../core/lanes.ts';
import { type Removal, type RemovalPlan, removal, STEPS } from './compaction.ts';
import { type Manifest, readGeneration, readHead, streamKeys } from './generations.ts';
import type { ListedObject, ObjectStore } from './object-store.ts';
import { addReferences, generationsOf, referencesOfStreams } from './references.ts';

/** Where answers to test splits are kept, and the memos that refer to them. */
const ANSWERS = ['cache/evaluations/', 'cache/answers/'] as const;
/** Memos that are read side by side. */
const LANES = 16;

/** The field of a memo under `ANSWERS` that names the test split. */
interface Memo {
  readonly data?: string;
  readonly predictions?: { readonly key: string };
  readonly answers?: { readonly key: string };
}

/**
 * Plans what goes with a task once the head's generation no longer holds it: every other generation that does, all of the
 * task's folder, banks and other steps on the way of the stream's tasks (later banks hold earlier tasks), adapters merged
 * with it, measurements of its drift, and cached answers to its test splits. What the head or another stream refers to
 * stays.
 */
export async function planTaskRemoval(store: ObjectStore, stream: string, task: string): Promise<RemovalPlan> {
  const keys = streamKeys(stream);
  const head = (await readHead(store, stream))!;
  const doomed = new Map<number, { objects: readonly ListedObject[]; manifest: Manifest | null }>();
  for (const [n, { objects, published }] of await generationsOf(store, stream)) {
    if (n === head.generation) continue;
    const manifest = published ? (await readGeneration(store, stream, n)).manifest : null;
    // One without a manifest was broken off; nobody can read it.
    if (manifest === null || tasksOf(manifest).includes(task)) doomed.set(n, { objects, manifest });
  }
  const kept = await referencesOfStreams(store, (name, n) => name !== stream || !doomed.has(n));
  await addReferences(store, stream, head.generation, kept, head.manifestDigest);

  const [manifests, memos, rest]: [Removal[], Removal[], Removal[]] = [[], [], []];
  const [answers, tests] = [new Set<string>(), new Set<string>()];
  for (const [n, { objects, manifest }] of doomed) {
    for (const object of objects)
      if (!kept.has(object.key))
        (object.key === keys.manifest(n) ? manifests : rest).push(removal('generations', object));
    if (manifest) for (const key of await answersOf(store, manifest, task)) answers.add(key);
  }
  for await (const object of store.list(keys.tasks)) {
    const [owner, folder] = object.key.slice(keys.tasks.length).split('/') as [string, string];
    if (owner === task) tests.add(/\/prepared\/test-([0-9a-f]{64})/.exec(object.key)?.[1] ?? '');
    const kind = owner === task ? 'removed task' : STEPS[folder] === 'prepared data' ? undefined : STEPS[folder];
    if (kind && !kept.has(object.key)) (object.key.endsWith('.json') ? memos : rest).push(removal(kind, object));
  }
  for (const object of await listed(store, keys.drift))
    if ((parseJson((await store.get(object.key)).bytes, object.key) as { task?: string }).task === task)
      rest.push(removal('removed task', object));
  for (const object of await mergedOf(store, keys.merged, task))
    (object.key.endsWith('/merge.json') ? memos : rest).push(removal('removed task', object));
  for (const prefix of ANSWERS)
    await inLanes(LANES, await listed(store, prefix), async (object) => {
      if (!object.key.endsWith('.json')) return;
      const { data, predictions, answers: shard } = parseJson((await store.get(object.key)).bytes, object.key) as Memo;
      const file = (predictions ?? shard)?.key;
      if (file === undefined || kept.has(file) || !(tests.has(data ?? 'none') || answers.has(file))) return;
      answers.add(file);
      memos.push(removal('caches', object));
    });
  for (const key of answers) {
    const found = kept.has(key) ? null : await store.head(key);
    if (found) rest.push({ kind: 'caches', key, size: found.size });
  }
  return [manifests, memos, rest].filter((step) => step.length > 0);
}

const tasksOf = ({ lineage }: Manifest) =>
  ((lineage['tasks'] ?? []) as ReadonlyArray<{ task: string }>).map(({ task }) => task);

/** The answers to a task's test split that a generation refers to. */
async function answersOf(store: ObjectStore, { files }: Manifest, task: string): Promise<string[]> {
  const at = files['evaluation.json']?.key;
  if (at === undefined) return [];
  const { predictions = [] } = parseJson((await store.get(at)).bytes, at) as {
    predictions?: ReadonlyArray<{ task: string; file: { key: string } }>;
  };
  return predictions.filter((one) => one.task === task).map(({ file }) => file.key);
}

/** Objects of the adapters that were merged of this task and others, and of merges that were broken off. */
async function mergedOf(store: ObjectStore, folder: string, task: string): Promise<ListedObject[]> {
  const objects = await listed(store, folder);
  const others = new Set<string>();
  for (const { key } of objects) {
    if (!key.endsWith('/merge.json')) continue;
    const { tasks } = parseJson((await store.get(key)).bytes, key) as { tasks: readonly string[] };
    if (!tasks.includes(task)) others.add(dirname(key));
  }
  return objects.filter(({ key }) => !others.has(dirname(key)));
}

async function listed(store: ObjectStore, prefix: string): Promise<ListedObject[]> {
  const found: ListedObject[] = [];
  for await (const object of store.list(prefix)) found.push(object);
  return found;
}
