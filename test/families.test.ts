import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readGeneration } from '../store/generations.ts';
import { openStore } from '../store/open.ts';
import { readPeft } from '../store/peft.ts';
import { ROOT } from '../workers/runtime.ts';
import { reference } from './reference.ts';
import { TestServers } from './servers.ts';
import type { LlavaSample } from './small-dataset.ts';
import { startStream, submitDataset, tinyStream, untilSettled, uploadDataset, uploadFolder } from './tiny-stream.ts';

/** Every family of base models from its own folder: answers with no server, and a stream of two tasks on real parts. */
let servers: TestServers;

beforeAll(async () => {
  servers = await TestServers.start();
  await servers.worker('orchestrator');
  await servers.worker('gpu');
});
afterAll(() => servers.stop());

/** One sample without an image, and one with two. */
function mixed(samples: LlavaSample[], split: string): void {
  const [first, second, third] = samples as [LlavaSample, LlavaSample, LlavaSample];
  delete first.image;
  first.conversations[0]!.value = `Which colour has the sky of ${split}?`;
  (second as { image: unknown }).image = [second.image, third.image];
  second.conversations[0]!.value = '<image>\n<image>\nWhich colours are these?';
}

interface Generation {
  readonly case: string;
  readonly max_new_tokens: number;
  readonly ids: number[][];
}

// LLaVA's streams are those of pipeline.test.ts.
describe.each(['smolvlm', 'qwen2vl'])('%s', (family) => {
  const ref = reference(family);
  const model = join(ref.folder, 'model');

  it('answers a prompt as PyTorch does, from nothing but a folder', async () => {
    const { max_new_tokens, ids } = (ref.json.generate as Generation[]).find((g) => g.case === 'one')!;
    const { images, texts } = ref.json.cases.one as { images: string[][]; texts: string[] };
    const image = join(ROOT, 'test/fixtures/images', images[0]![0]!);
    const common = ['predict', '--model', model, '--image', image, '--json', '--max-new-tokens', `${max_new_tokens}`];
    for (const prompt of [['What is shown in this image?'], ['--raw', texts[0]!]]) {
      const { code, stdout, stderr } = await servers.run(...common, ...prompt);
      expect(code, stderr).toBe(0);
      expect(JSON.parse(stdout).tokens).toEqual(ids[0]);
    }
  });

  it('learns two tasks and publishes an adapter for each', async () => {
    const uri = `s3://lilora-test/models/${family}`;
    await uploadFolder(model, uri);
    const training = { batchSize: 4, epochs: 1, learningRate: 1e-3 };
    await startStream(servers, tinyStream(family, { model: uri, training }));
    for (const [i, task] of ['first', 'second'].entries()) {
      const dataset = await uploadDataset(servers, `${family}-${task}`, {
        train: 12,
        test: 4,
        seed: 10 + i,
        spoil: mixed,
        // The second one comes in tar files.
        shards: i === 1,
      });
      await submitDataset(servers, family, dataset);
      const line = await untilSettled(servers, family, `${family}-${task}`);
      expect(line.message ?? '').toBe('');
      expect(line).toMatchObject({ status: 'published', generation: i + 1 });
    }
    const store = await openStore('s3://lilora-test/product');
    const generation = await readGeneration(store, family, 2);
    // Servers that adapt the language model alone lack just the projector.
    const projector = (ref.json.lora.modules as string[]).filter((name) => !/\.layers\.\d+\./.test(name));
    const { otherLayers } = generation.manifest.lineage['capabilities'] as { otherLayers: string[] };
    expect([...otherLayers].sort()).toEqual(projector.sort());
    for (const task of ['first', 'second']) {
      const [config, weights] = await Promise.all(
        ['adapter_config.json', 'adapter_model.safetensors'].map(async (name) => {
          const { key } = generation.file(`adapters/${family}-${task}/${name}`);
          return (await store.get(key)).bytes;
        }),
      );
      const { layers } = readPeft(config!, weights!, task);
      expect([...layers.keys()].sort()).toEqual([...ref.json.lora.modules].sort());
    }
  });
});
