import { beforeEach, describe, expect, it } from 'vitest';
import { sha256 } from '../core/digest.ts';
import { canonicalJson } from '../core/json.ts';
import { Random } from '../learning/training/random.ts';
import { carryOut, planShared, planStream, type RemovalPlan, type StreamRetention } from '../store/compaction.ts';
import { nextGeneration, publish, readGeneration, readHead, rollback, type StoredFile } from '../store/generations.ts';
import type { ObjectStore } from '../store/object-store.ts';
import { planTaskRemoval } from '../store/task-removal.ts';

const bytes = (text: string) => new TextEncoder().encode(text);
const TASKS = ['ants', 'bees', 'cats', 'dogs', 'eels'];
/** Clocks of stores may count whole seconds. */
const soon = () => new Date(Date.now() + 3_600_000);
const longAgo = () => new Date(Date.now() - 3_600_000);

/** Everything under a key that holds its digest. */
async function file(store: ObjectStore, folder: string, text: string, suffix: string): Promise<StoredFile> {
  const stored = { key: `${folder}/${sha256(text)}${suffix}`, size: text.length, sha256: sha256(text) };
  await store.put(stored.key, bytes(text));
  return stored;
}
const memo = (store: ObjectStore, folder: string, result: object) =>
  file(store, folder, canonicalJson(result), '.json');

/** What learning a task leaves behind. */
async function learn(store: ObjectStore, stream: string, task: string) {
  const folder = `streams/${stream}/tasks/${task}`;
  const train = await file(store, `${folder}/prepared`, `train of ${task}`, '.safetensors');
  const test = await file(store, `${folder}/prepared`, `test of ${task}`, '.safetensors');
  await memo(store, `${folder}/prepared`, { train, test });
  await file(store, `${folder}/checkpoints/run`, `checkpoint of ${task}`, '.safetensors');
  const weights = await file(store, `${folder}/rounds/run/00000`, `weights of ${task}`, '.safetensors');
  await memo(store, `${folder}/rounds/run/00000/averaged`, { round: 0, weights });
  const metrics = await file(store, `${folder}/metrics`, `log of ${task}`, '.jsonl');
  const bank = await file(store, `${folder}/banks`, `bank of ${task}`, '.safetensors');
  await memo(store, `${folder}/runs`, { bank, metrics });
  await memo(store, `${folder}/regularized`, { bank, drift: [] });
  const predictions = await file(store, 'cache/predictions', `${stream} answers ${task}`, '.jsonl');
  await memo(store, 'cache/evaluations', { score: 50, predictions });
  return { task, test, metrics, predictions };
}

/** A stream that published one generation per task; adapters of earlier tasks stay where they were. */
async function furnish(store: ObjectStore, stream: string, tasks: readonly string[]): Promise<void> {
  const learned: Awaited<ReturnType<typeof learn>>[] = [];
  const adapters: { path: string; stored: StoredFile }[] = [];
  for (const [i, task] of tasks.entries()) {
    learned.push(await learn(store, stream, task));
    const generation = i + 1;
    const path = `adapters/${task}/adapter_model.safetensors`;
    await publish(store, {
      stream,
      generation,
      head: await readHead(store, stream),
      files: [
        { path: 'bank.safetensors', bytes: bytes(`bank ${generation}`) },
        {
          path: 'evaluation.json',
          bytes: bytes(
            canonicalJson({
              learned: learned.map(({ task, test }) => ({ task, test })),
              predictions: learned.map(({ task, predictions }) => ({ task, file: predictions })),
            }),
          ),
        },
        ...adapters,
        { path, bytes: bytes(`adapter of ${task}`) },
      ],
      lineage: { tasks: learned.map(({ task, metrics }) => ({ task, metrics })) },
    });
    adapters.push({ path, stored: (await readGeneration(store, stream, generation)).file(path) });
  }
}

async function keysOf(store: ObjectStore, prefix = ''): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of store.list(prefix)) keys.push(key);
  return keys;
}

/** References in any JSON object of the store that lead nowhere or to other bytes: found by looking at the text alone. */
export async function dangling(store: ObjectStore): Promise<string[]> {
  const problems: string[] = [];
  for (const key of await keysOf(store)) {
    if (!key.endsWith('.json') || key.includes('compactions/')) continue;
    const text = Buffer.from((await store.get(key)).bytes).toString();
    for (const [, at, digest] of text.matchAll(/"key":"([^"]+)","sha256":"([^"]+)"/g)) {
      const found = (await store.head(at!)) && sha256((await store.get(at!)).bytes);
      if (found !== digest) problems.push(`${key} → ${at} is ${found}`);
    }
  }
  return problems;
}

/** What compaction promises, on any store. @param open gives an empty store, another one at every call */
export function compactionSuite(name: string, open: () => ObjectStore): void {
  describe(`compaction on ${name}`, () => {
    let store: ObjectStore;
    beforeEach(() => {
      store = open();
    });
    const retention = (more: Partial<StreamRetention> = {}): StreamRetention => ({
      keepGenerations: 2,
      before: soon(),
      openTasks: [],
      reportsBefore: longAgo(),
      keepMeasurements: 2,
      ...more,
    });
    const plan = (more: Partial<StreamRetention> = {}) => planStream(store, 'pets', retention(more));
    const shared = (more: Partial<Parameters<typeof planShared>[1]> = {}) =>
      planShared(store, {
        cacheBefore: soon(),
        cacheBytes: 1e9,
        uploadsBefore: longAgo(),
        reportsBefore: longAgo(),
        now: new Date(),
        ...more,
      });
    const keysIn = (removals: RemovalPlan) => removals.flat().map(({ key }) => key);

    it('keeps the newest generations and all that they refer to, and removes the rest', async () => {
      await furnish(store, 'pets', TASKS);
      const removals = await plan();
      const sizes = new Map<string, number>();
      for await (const { key, size } of store.list('')) sizes.set(key, size);
      for (const { key, size } of removals.flat()) expect(size, key!).toBe(sizes.get(key!));
      await carryOut(store, removals);
      expect(await dangling(store)).toEqual([]);
      for (const number of [4, 5]) await readGeneration(store, 'pets', number);
      for (const number of [1, 2, 3])
        await expect(readGeneration(store, 'pets', number)).rejects.toMatchObject({ name: 'NotFound' });
      expect(await keysOf(store, 'streams/pets/generations/1/')).toEqual([
        'streams/pets/generations/1/adapters/ants/adapter_model.safetensors',
      ]);
      // Of a finished task only what later generations are tested and reported with is left.
      const left = (await keysOf(store, 'streams/pets/tasks/ants/')).map((key) => key.split('/')[4]);
      expect(left).toEqual(['metrics', 'prepared']);
      expect(await plan()).toEqual([]);
      expect(await nextGeneration(store, 'pets')).toBe(6);
    });

    it('leaves a whole store wherever it is broken off, and ends the same', async () => {
      await furnish(store, 'pets', TASKS.slice(0, 3));
      const calm = open();
      await furnish(calm, 'pets', TASKS.slice(0, 3));
      await carryOut(calm, await planStream(calm, 'pets', retention({ keepGenerations: 1 })));
      const random = new Random(1);
      let broken = 0;
      const next = () => plan({ keepGenerations: 1 });
      for (let removals = await next(); removals.length > 0; removals = await next()) {
        // One object of the first step goes, any of them, and the process dies.
        await carryOut(store, [[removals[0]![random.below(removals[0]!.length)]!]]);
        if (broken++ % 5 === 0) expect(await dangling(store)).toEqual([]);
        await readGeneration(store, 'pets', 3, (await readHead(store, 'pets'))!.manifestDigest);
      }
      expect(broken).toBeGreaterThan(15);
      expect(await dangling(store)).toEqual([]);
      expect(await keysOf(store)).toEqual(await keysOf(calm));
    });

    it('takes a task out: whole wherever it is broken off, and what the others need stays', async () => {
      const without = async (store: ObjectStore) => {
        await furnish(store, 'pets', TASKS.slice(0, 3));
        await furnish(store, 'cars', ['vans']);
        await store.put('streams/pets/drift/bees.json', bytes('{"task":"bees"}'));
        await store.put('streams/pets/drift/cats.json', bytes('{"task":"cats"}'));
        const last = await readGeneration(store, 'pets', 3);
        const adapter = (task: string) => {
          const path = `adapters/${task}/adapter_model.safetensors`;
          return { path, stored: last.file(path) };
        };
        const head = await readHead(store, 'pets');
        const lineage = { tasks: [{ task: 'ants' }, { task: 'cats' }] };
        await publish(store, { stream: 'pets', generation: 4, head, files: ['ants', 'cats'].map(adapter), lineage });
        return planTaskRemoval(store, 'pets', 'bees');
      };
      const calm = open();
      await carryOut(calm, await without(calm));
      const removals = await without(store);
      for (const step of removals)
        for (const [i, removal] of step.entries()) {
          await carryOut(store, [[removal]]);
          if (i % 5 === 0) expect(await dangling(store)).toEqual([]);
        }
      expect(await dangling(store)).toEqual([]);
      expect(await keysOf(store)).toEqual(await keysOf(calm));
      expect((await keysOf(store)).filter((key) => /bees|banks|runs/.test(key) && !key.includes('/cars/'))).toEqual([]);
      expect(await keysOf(store, 'streams/pets/drift/')).toEqual(['streams/pets/drift/cats.json']);
      // The adapter of a task that stays may lie in a generation that went.
      expect(await keysOf(store, 'streams/pets/generations/3/')).toHaveLength(1);
      expect(await planTaskRemoval(store, 'pets', 'bees')).toEqual([]);
      for (const number of [1, 4]) await readGeneration(store, 'pets', number);
      expect(await keysOf(store, 'cache/')).toHaveLength(6);
    });

    it('leaves open tasks and young results alone', async () => {
      await furnish(store, 'pets', ['ants']);
      await learn(store, 'pets', 'bees');
      expect(keysIn(await plan({ openTasks: ['bees'] })).filter((key) => key!.includes('/bees/'))).toEqual([]);
      expect(keysIn(await plan()).filter((key) => key!.includes('/bees/')).length).toBeGreaterThan(4);
      expect(await plan({ before: longAgo() })).toEqual([]);
    });

    it('keeps the head after a rollback, the highest number, and drops what was begun and never published', async () => {
      await furnish(store, 'pets', TASKS);
      await store.put('streams/pets/generations/7/bank.safetensors', bytes('never published'));
      await store.put('streams/pets/generations/9/bank.safetensors', bytes('being published'));
      await rollback(store, 'pets', 1, await readHead(store, 'pets'));
      await carryOut(store, await plan({ keepGenerations: 1 }));
      const head = (await readHead(store, 'pets'))!;
      await readGeneration(store, 'pets', 1, head.manifestDigest);
      await readGeneration(store, 'pets', 5);
      expect(await keysOf(store, 'streams/pets/generations/7/')).toEqual([]);
      expect(await nextGeneration(store, 'pets')).toBe(10);
      expect(await dangling(store)).toEqual([]);
    });

    it('touches nothing of a stream whose kept generations cannot be read', async () => {
      await furnish(store, 'pets', TASKS.slice(0, 3));
      await store.put('streams/pets/generations/3/manifest.json', bytes('{}'));
      await expect(plan()).rejects.toMatchObject({ name: 'IntegrityError' });
    });

    it('drops old reports and records, and all but the newest measurements', async () => {
      await furnish(store, 'pets', ['ants']);
      for (const name of ['first', 'second', 'third']) {
        await store.put(`streams/pets/drift/${name}.json`, bytes('{}'));
        await new Promise((wake) => setTimeout(wake, 1100));
      }
      await store.put('streams/pets/compactions/report.json', bytes('{}'));
      const young = { before: longAgo() };
      expect(keysIn(await plan(young))).toEqual(['streams/pets/drift/first.json']);
      expect(keysIn(await plan({ ...young, reportsBefore: soon() }))).toContain('streams/pets/compactions/report.json');
      const records = ['compactions/report.json', 'launches/lilora-gpu/run/0.json', 'workers/lilora-gpu/a.json'];
      for (const key of records) await store.put(key, bytes('{}'));
      const recent = { cacheBefore: longAgo() };
      expect(await shared(recent)).toEqual([]);
      expect(keysIn(await shared({ ...recent, reportsBefore: soon() })).sort()).toEqual(records);
    });

    it('drops caches by age, but none that a generation of any stream refers to', async () => {
      await furnish(store, 'pets', ['ants']);
      await furnish(store, 'cars', ['vans']);
      const spare = await file(store, 'cache/predictions', 'never published', '.jsonl');
      const evaluated = await memo(store, 'cache/evaluations', { score: 1, predictions: spare });
      expect(await shared({ cacheBefore: longAgo() })).toEqual([]);
      const removals = await shared();
      expect(removals.map((step) => step.map(({ key }) => key))).toEqual([[evaluated.key], [spare.key]]);
      await carryOut(store, removals);
      expect(await dangling(store)).toEqual([]);
      expect(await keysOf(store, 'cache/')).toHaveLength(4);
    });

    it('drops the oldest caches over the budget, but none of the last day', async () => {
      for (const name of ['first', 'second', 'third']) {
        await memo(store, 'cache/manifests', { name });
        await new Promise((wake) => setTimeout(wake, 1100));
      }
      const size = 16;
      const tomorrow = new Date(Date.now() + 25 * 3_600_000);
      const over = { cacheBefore: longAgo(), cacheBytes: 2 * size + 5 };
      expect(await shared(over)).toEqual([]);
      const gone = (await shared({ ...over, now: tomorrow })).flat();
      expect(gone.map(({ key }) => key)).toEqual([`cache/manifests/${sha256(canonicalJson({ name: 'first' }))}.json`]);
    });
  });
}
