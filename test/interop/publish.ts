/**
 * Publishes a small stream and writes what the product computes with it, for `compare.py`: `node --import tsx publish.ts WORK [MODEL]`.
 * The numbers come from the bank by way of the method's own layers, not from the exported adapters.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { Demo, EXAMPLE_MODEL } from '../../cli/demo-run.ts';
import { published } from '../../cli/generations.ts';
import { startDeployment } from '../../cli/local/deployment.ts';
import { note } from '../../cli/output.ts';
import { runSteps } from '../../cli/steps.ts';
import { pullAdapter } from '../../cli/verbs/pull.ts';
import { sha256 } from '../../core/digest.ts';
import type { HostTensor } from '../../core/host-tensor.ts';
import { writeSafetensors } from '../../core/safetensors.ts';
import { imageSizes } from '../../datasets/image.ts';
import { openProcessor } from '../../datasets/processor/processor.ts';
import { bindAdapter } from '../../learning/methods/adapter.ts';
import { readBank } from '../../learning/methods/bank.ts';
import { loadModel } from '../../learning/model/registry.ts';
import { startTensors } from '../../learning/tensors/backend.ts';
import { padBatch } from '../../learning/training/batches.ts';
import { openStore } from '../../store/open.ts';
import { connectClient, temporalSettings } from '../../workers/config.ts';
import { Features } from '../../workers/engine/features.ts';

const TASKS = ['option', 'digit'];
const PROMPTS = 4;
const MAX_NEW_TOKENS = 12;

const work = resolve(process.argv[2]!);
const model = process.argv[3] ? resolve(process.argv[3]) : EXAMPLE_MODEL;
process.env['LILORA_HOME'] = join(work, 'home');
const datasets = join(work, 'datasets');

/** One test sample as its dataset holds it. */
interface LlavaSample {
  readonly id: string;
  readonly image: string;
  readonly conversations: ReadonlyArray<{ readonly value: string }>;
}

const deployment = await startDeployment({ folder: join(work, 'servers'), report: note });
Object.assign(process.env, deployment.env);
const client = await connectClient(temporalSettings());
try {
  const demo = new Demo({
    tasks: TASKS,
    trainSamples: 64,
    testSamples: 16,
    stream: 'interop',
    folder: datasets,
    model,
  });
  await runSteps([
    ...demo.preparation(
      () => deployment,
      () => client,
    ),
    ...demo.learning(
      () => deployment,
      () => client,
    ),
  ]);
  const store = openStore(deployment.store);
  const generation = await published(store, 'interop');
  const adapters: Record<string, string> = {};
  for (const task of TASKS)
    adapters[task] = (await pullAdapter(store, 'interop', generation, task, join(work, 'adapters'))).folder;
  const bank = generation.file('bank.safetensors');
  await store.download(bank.key, join(work, 'bank.safetensors'), bank);
  await compute(adapters);
} finally {
  await client.connection.close();
  await deployment.stop();
}

async function compute(adapters: Record<string, string>): Promise<void> {
  await startTensors();
  const [net, processor] = await Promise.all([loadModel(model), openProcessor(model)]);
  const features = new Features(net, processor, null);
  const bank = readBank(readFileSync(join(work, 'bank.safetensors')), 'bank.safetensors');
  const logits = new Map<string, HostTensor>();
  const prompts: Record<string, object[]> = {};
  for (const task of TASKS) {
    const folder = join(datasets, task);
    const samples = (JSON.parse(readFileSync(join(folder, 'test.json'), 'utf8')) as LlavaSample[]).slice(0, PROMPTS);
    const adapter = bindAdapter(bank, task);
    prompts[task] = [];
    for (const { id, image, conversations } of samples) {
      const bytes = readFileSync(join(folder, image));
      const digest = sha256(bytes);
      const text = conversations[0]!.value;
      const turns = [{ role: 'user', text }] as const;
      const images = new Map([[digest, bytes]]);
      const encoded = processor.encodePrompt({ id, turns, images: [digest], references: [] }, await imageSizes(images));
      const batch = padBatch([encoded], net.padToken);
      const seen = await features.ofBatch([digest], images);
      const found = net.logits(batch, seen, adapter.adapt);
      const [answer] = net.generate(batch, seen, adapter.adapt, MAX_NEW_TOKENS);
      logits.set(`${task}/${id}`, { shape: [...found.shape], data: found.dataSync() as Float32Array });
      prompts[task].push({
        id,
        image: join(folder, image),
        text: text.replace(/^<image>\n?/, ''),
        inputIds: [...encoded.inputIds],
        answer: answer!.ids,
        maxNewTokens: MAX_NEW_TOKENS,
      });
      for (const tensor of [seen, found]) tensor.dispose();
    }
    adapter.dispose();
  }
  mkdirSync(work, { recursive: true });
  writeFileSync(join(work, 'logits.safetensors'), writeSafetensors(logits));
  writeFileSync(join(work, 'cases.json'), JSON.stringify({ model, adapters, prompts }));
}
