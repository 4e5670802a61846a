import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { DEFAULTS } from '../core/defaults.ts';
import { canonicalJson, parseJson } from '../core/json.ts';
import { streamKeys } from '../store/generations.ts';
import type { ObjectStore } from '../store/object-store.ts';
import { openStore } from '../store/open.ts';
import { reference } from '../test/reference.ts';
import { QUEUES, type ResolvedStream } from '../workflows/contract.ts';
import { roundsOf } from '../workflows/definition-contract.ts';
import type { DataContext } from './context.ts';
import { openStream } from './open-stream.ts';

const folder = mkdtempSync(join(tmpdir(), 'lilora-open-'));
const model = `${reference('llava-mha').folder}/model`;
let store: ObjectStore;
let context: DataContext;

beforeAll(async () => {
  store = openStore(folder);
  context = { store, openPlace: async (uri) => openStore(uri), cache: join(folder, 'cache'), codeVersion: '1' };
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const stored = async (name: string) => {
  const key = streamKeys(name).definition;
  return parseJson((await store.get(key)).bytes, key) as ResolvedStream;
};

it('fills in who shares workers with whom, and where evaluations run', async () => {
  await openStream(context, { definition: { name: 'plain', model } });
  expect(await stored('plain')).toMatchObject({
    gpuQueue: QUEUES.gpu,
    evaluationQueue: QUEUES.gpu,
    fairness: { key: 'plain', weight: 1 },
  });
  const definition = { name: 'tenant', model, gpuQueue: 'h100', fairness: { key: 'acme', weight: 2 } };
  const { definition: resolved } = await openStream(context, { definition });
  expect(resolved).toMatchObject({ evaluationQueue: 'h100', fairness: { key: 'acme', weight: 2 } });
});

it('goes on with a stream of an older version, which did not know some settings', async () => {
  const definition = { name: 'older', model, evaluation: { batchSize: 7 } };
  await openStream(context, { definition });
  const { evaluation, fairness: _, evaluationQueue: __, ...rest } = await stored('older');
  const { shardSamples: ___, ...known } = evaluation;
  const older = canonicalJson({ ...rest, evaluation: known });
  const key = streamKeys('older').definition;
  await store.delete(key);
  await store.create(key, Buffer.from(older));

  const { definition: opened } = await openStream(context, { definition });
  expect(opened.evaluation).toEqual({ ...known, shardSamples: 500 });
  expect(canonicalJson(await stored('older'))).toBe(older);
  const other = { ...definition, evaluation: { batchSize: 7, shardSamples: 100 } };
  await expect(openStream(context, { definition: other })).rejects.toThrow(
    /another definition \(different: evaluation\)/,
  );
});

it('takes several workers with all that their rounds need, and one worker as if nothing had been said', async () => {
  const { definition } = await openStream(context, {
    definition: { name: 'four', model, training: { workers: 4, roundSteps: 10 } },
  });
  expect(roundsOf(definition.training)).toEqual({
    workers: 4,
    roundSteps: 10,
    outer: {
      learningRate: DEFAULTS['training.outerLearningRate'].value,
      momentum: DEFAULTS['training.outerMomentum'].value,
    },
  });
  const one = { name: 'one', model };
  await openStream(context, { definition: { ...one, training: { workers: 1 } } });
  const text = canonicalJson((await stored('one')).training);
  expect(text).not.toMatch(/workers|round|outer/);
  await openStream(context, { definition: one });
  await expect(
    openStream(context, { definition: { name: 'refused', model, method: 'ewc', training: { workers: 2 } } }),
  ).rejects.toThrow(/^Stream definition: method ewc looks at all data .* Leave training.workers out\./);
  const refused = (training: object) => openStream(context, { definition: { name: 'refused', model, training } });
  await expect(refused({ roundSteps: 10 })).rejects.toThrow(/for several workers: set workers to 2 or more/);
  await expect(refused({ workers: 65 })).rejects.toThrow(/workers/);
  await expect(refused({ workers: 2, outerMomentum: 1 })).rejects.toThrow(/outerMomentum/);
});

it('takes a router where the method needs the task, and none as if nothing had been said', async () => {
  const routed = { name: 'routed', model, router: 'centroid' } as const;
  expect((await openStream(context, { definition: routed })).definition.router).toBe('centroid');
  const unrouted = { name: 'unrouted', model };
  await openStream(context, { definition: { ...unrouted, router: 'none' } });
  expect(await stored('unrouted')).not.toHaveProperty('router');
  await openStream(context, { definition: unrouted });
  await expect(openStream(context, { definition: { ...routed, name: 'refused', method: 'replay' } })).rejects.toThrow(
    /method replay answers all tasks with the same numbers.* Leave router out\./,
  );
});

it('keeps what the base is called; a stream from before it had a name may be defined again with one', async () => {
  const base = { name: 'org/tiny', revision: 'c0ffee' };
  await openStream(context, { definition: { name: 'named', model, base } });
  expect((await stored('named')).base).toEqual(base);
  await expect(openStream(context, { definition: { name: 'named', model, base: { name: 'other' } } })).rejects.toThrow(
    /different: base/,
  );
  await openStream(context, { definition: { name: 'unnamed', model } });
  expect((await openStream(context, { definition: { name: 'unnamed', model, base } })).definition.base).toEqual(base);
  await expect(
    openStream(context, { definition: { name: 'odd', model, base: { name: 's3://bucket/models/x' } } }),
  ).rejects.toThrow(/use org\/name/);
});

it('refuses numbers that no one means, by name', async () => {
  const absurd: Array<[object, RegExp]> = [
    [{ options: { rank: 1e9 } }, /rank/],
    [{ training: { epochs: 1e15 } }, /epochs/],
    [{ training: { batchSize: 1e9 } }, /batchSize/],
    [{ evaluation: { maxNewTokens: 1e15 } }, /maxNewTokens/],
    [{ limits: { trainHours: 1e9 } }, /trainHours/],
    [{ limits: { heartbeatSeconds: 1e-9 } }, /heartbeatSeconds/],
    [{ gpuQueue: 'any queue at all\n' }, /gpuQueue/],
  ];
  for (const [change, named] of absurd)
    await expect(openStream(context, { definition: { name: 'absurd', model, ...change } })).rejects.toThrow(named);
});
