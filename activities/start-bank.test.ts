import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { sha256 } from '../core/digest.ts';
import { writeBank } from '../learning/methods/bank.ts';
import type { Bank, Method } from '../learning/methods/method.ts';
import { methodNamed } from '../learning/methods/registry.ts';
import { selectLayers } from '../learning/methods/targets.ts';
import { modelMemory } from '../learning/model/memory.ts';
import type { AdaptedLayer } from '../learning/model/model.ts';
import { readDefinition } from '../learning/model/registry.ts';
import { Random } from '../learning/training/random.ts';
import { openStore } from '../store/open.ts';
import { reference } from '../test/reference.ts';
import type { FileRef, StreamDefinition } from '../workflows/contract.ts';
import type { DataContext } from './context.ts';
import { openStream } from './open-stream.ts';

const folder = mkdtempSync(join(tmpdir(), 'lilora-start-'));
const model = `${reference('llava-mha').folder}/model`;
const options = { rank: 2, alpha: 4 };
let context: DataContext;
let layers: readonly AdaptedLayer[];
let bank: FileRef;

/** A bank of this method that knows tasks of which nothing was learned, in the store. */
async function put(name: string, on: readonly AdaptedLayer[], given: object, ...tasks: string[]): Promise<FileRef> {
  const method: Method = methodNamed(name);
  const filled = method.options.parse(given);
  let made: Bank = method.start(on, filled, new Random(1));
  for (const task of tasks) {
    const trainable = method.begin(made, task, filled, new Random(2));
    made = method.finish(made, trainable, new Map([...trainable.tensors].map(([key, { start }]) => [key, start])));
  }
  const bytes = writeBank(made);
  const ref = { key: `banks/${sha256(bytes)}.safetensors`, size: bytes.byteLength, sha256: sha256(bytes) };
  await context.store.create(ref.key, bytes);
  return ref;
}

beforeAll(async () => {
  const store = openStore(folder);
  context = { store, openPlace: async (uri) => openStore(uri), cache: join(folder, 'cache'), codeVersion: '1' };
  layers = selectLayers(modelMemory(await readDefinition(model)).layers, 'paper');
  bank = await put('lilora', layers, options, 'a', 'b');
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const open = (definition: Partial<StreamDefinition>) =>
  openStream(context, { definition: { name: 'refused', model, options, start: { bank }, ...definition } });

it('opens a stream with a bank that was learned elsewhere, again and again', async () => {
  const started = await open({ name: 'started' });
  expect(started).toMatchObject({ head: null, bank, learned: [], nextGeneration: 1 });
  expect(started.definition.start).toEqual({ bank, tasks: ['a', 'b'] });
  expect(await open({ name: 'started' })).toEqual(started);
  // As a stream is continued whose workflow is gone: by what it was resolved to.
  expect(await open({ name: 'started', start: started.definition.start! })).toEqual(started);
  const fresh = await openStream(context, { definition: { name: 'fresh', model, options } });
  expect(fresh.bank).toBe(null);
  expect(fresh.definition).not.toHaveProperty('start');
  await expect(open({ name: 'fresh' })).rejects.toThrow(/another definition \(different: start\)/);
});

it.each<[Partial<StreamDefinition>, RegExp]>([
  [{ method: 'per-task-lora' }, /it is of method lilora, not per-task-lora/],
  [{ options: { rank: 4, alpha: 4 } }, /started with rank = 2, not 4/],
  [{ options: { ...options, innerRank: 2 } }, /started with innerRank/],
  [{ targets: 'language-only' }, /multi_modal_projector\.linear_1 is not among the targets; .*linear_2 is not/],
  [{ targets: 'all-linear' }, /q_proj is not in the bank; .* and \d+ more/],
  [{ router: 'lda' }, /a router knows nothing of the tasks in it/],
  [{ method: 'replay' }, /replay learns from the data of earlier tasks again/],
])('refuses %j', async (definition, message) => {
  await expect(open(definition)).rejects.toThrow(message);
});

it('refuses banks of other shapes, without a task, and datasets of tasks that it does not know', async () => {
  const wider = layers.map((layer, i) => (i === 0 ? { ...layer, out: layer.out + 1 } : layer));
  await expect(open({ start: { bank: await put('lilora', wider, options, 'a') } })).rejects.toThrow(
    /is \[\d+, \d+\], in this model \[\d+, \d+\]/,
  );
  await expect(open({ start: { bank: await put('lilora', layers, options) } })).rejects.toThrow(/it holds no task/);
  await expect(open({ start: { bank, datasets: { c: 's3://d/c' } } })).rejects.toThrow(
    /named for "c", but its tasks are a, b/,
  );
  await expect(open({ start: { bank: { ...bank, sha256: '0'.repeat(64) } } })).rejects.toThrow(/SHA-256/);
  // A bank of another stream is not read by whoever knows its name.
  for (const key of ['streams/other/generations/1/bank.safetensors', 'banks/../streams/other/x', `${bank.key}/..`])
    await expect(open({ start: { bank: { ...bank, key } } })).rejects.toThrow(/use a bank that/);
});
