import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { openStore } from '../store/open.ts';
import { ROOT } from '../workers/runtime.ts';
import {
  QUEUES,
  SCHEMA,
  type StreamDefinition,
  type StreamDescription,
  type Submission,
  streamWorkflowId,
} from '../workflows/contract.ts';
import { retry, type TestServers } from './servers.ts';
import { type SmallDataset, writeSmallDataset } from './small-dataset.ts';

/** Real streams that learn within seconds: the tiny model of the fixtures, plain coloured pictures. */
const MODEL = 's3://lilora-test/models/tiny';

export const tinyStream = (name: string, more: Partial<StreamDefinition> = {}): StreamDefinition => ({
  name,
  model: MODEL,
  options: { rank: 4, alpha: 8 },
  training: { batchSize: 4, epochs: 2, learningRate: 1e-3 },
  evaluation: { maxNewTokens: 4, batchSize: 8 },
  gate: { minimumGain: -100, forgettingBudget: 100 },
  limits: { heartbeatSeconds: 5, checkpointSeconds: 0.2 },
  ...more,
});

/** Puts every file of a folder into the store, under the same names. */
export async function uploadFolder(folder: string, uri: string): Promise<void> {
  const place = await openStore(uri);
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const paths = files.map((entry) => join(entry.parentPath, entry.name));
  for (let i = 0; i < paths.length; i += 16)
    await Promise.all(paths.slice(i, i + 16).map((path) => place.upload(path.slice(folder.length + 1), path)));
}

export const uploadTinyModel = () => uploadFolder(join(ROOT, 'test/fixtures/llava-mha/model'), MODEL);

/** Where streams run, and a folder for what the test makes. */
type Servers = Pick<TestServers, 'client' | 'folder'>;

/** Makes a small dataset and gives its URI. */
export async function uploadDataset(
  servers: Servers,
  name: string,
  options: Partial<SmallDataset> = {},
): Promise<string> {
  const folder = join(servers.folder, 'datasets', name);
  await writeSmallDataset(folder, { name, train: 48, test: 8, seed: 1, ...options });
  const uri = `s3://lilora-test/datasets/${name}`;
  await uploadFolder(folder, uri);
  return uri;
}

export const startStream = (servers: Servers, definition: StreamDefinition) =>
  servers.client.workflow.start('stream', {
    workflowId: streamWorkflowId(definition.name),
    taskQueue: QUEUES.orchestrator,
    args: [{ schema: SCHEMA, definition }],
  });

const handleOf = (servers: Servers, stream: string) => servers.client.workflow.getHandle(streamWorkflowId(stream));

export const submitDataset = (servers: Servers, stream: string, dataset: string) =>
  handleOf(servers, stream).executeUpdate<Submission, [object]>('submitTask', { args: [{ dataset }] });

/** Waits until a task is neither queued nor running. */
export const untilSettled = (servers: Servers, stream: string, task: string, seconds = 150) =>
  retry(async () => {
    const found = await handleOf(servers, stream).query<StreamDescription>('describe');
    const line = found.tasks.find((t) => t.task === task);
    if (!line || line.status === 'queued' || line.status === 'running') throw new Error(`${task} is ${line?.status}`);
    return line;
  }, seconds);
