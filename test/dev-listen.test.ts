import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { ROOT } from '../workers/runtime.ts';
import { type StreamDescription, streamWorkflowId } from '../workflows/contract.ts';
import { retry } from './servers.ts';
import { writeSmallDataset } from './small-dataset.ts';
import { uploadFolder } from './upload.ts';

/** `lilora dev --listen` as a person uses it: copying a dataset into the bucket starts learning. */
const folder = mkdtempSync(join(tmpdir(), 'lilora-listen-'));
const env: NodeJS.ProcessEnv = { ...process.env, LILORA_HOME: join(folder, 'home'), LILORA_THREADS: '1' };
let dev: ChildProcess;
let connection: Connection;
let said = '';

const RULES = {
  schema: 1,
  rules: [
    {
      bucket: 'lilora',
      prefix: 'inbox/',
      stream: 'pets',
      definition: {
        model: 's3://lilora/models/tiny',
        options: { rank: 4, alpha: 8 },
        training: { batchSize: 4, epochs: 1 },
        evaluation: { maxNewTokens: 4 },
        gate: { minimumGain: -100 },
      },
    },
  ],
};

beforeAll(async () => {
  for (const name of Object.keys(env)) if (/^(TEMPORAL|AWS)_|^LILORA_STORE$/.test(name)) delete env[name];
  writeFileSync(join(folder, 'rules.json'), JSON.stringify(RULES));
  const args = [join(ROOT, 'cli/lilora.mjs'), 'dev', '--listen', 'rules.json'];
  // A secret of the surroundings would shut out the S3 server, which knows none.
  const child = { cwd: folder, env: { ...env, LILORA_WEBHOOK_SECRET: 'a-secret-for-another-listener' } };
  dev = spawn(process.execPath, args, { ...child, stdio: ['ignore', 'pipe', 'pipe'] });
  for (const stream of [dev.stdout!, dev.stderr!]) stream.on('data', (text) => (said += text));
  await retry(async () => expect(said).toMatch(/Ctrl-C ends it/), 90);
  const running = JSON.parse(readFileSync(join(folder, 'home/running.json'), 'utf8'));
  Object.assign(process.env, running.env);
  connection = await Connection.connect({ address: running.env.TEMPORAL_ADDRESS });
});
afterAll(async () => {
  await connection?.close();
  dev.kill('SIGKILL');
  await new Promise((wake) => setTimeout(wake, 500)); // what it started ends with it
  rmSync(folder, { recursive: true, force: true });
});

const listenerLog = () => readFileSync(join(folder, 'home/dev/logs/listener.log'), 'utf8');
const tasks = async () =>
  (await new Client({ connection }).workflow.getHandle(streamWorkflowId('pets')).query<StreamDescription>('describe'))
    .tasks;

it('learns what is copied into the bucket, once, and nothing before its manifest is there', async () => {
  await uploadFolder(join(ROOT, 'test/fixtures/llava-mha/model'), 's3://lilora/models/tiny');
  const dataset = await writeSmallDataset(join(folder, 'ant'), { name: 'ant', train: 16, test: 4, seed: 1 });
  await uploadFolder(join(dataset, 'images'), 's3://lilora/inbox/ant one+two%20ü/images');
  await new Promise((wake) => setTimeout(wake, 1000));
  await expect(tasks()).rejects.toThrow(/not found/);

  await uploadFolder(dataset, 's3://lilora/inbox/ant one+two%20ü');
  await retry(async () => expect((await tasks())[0]).toMatchObject({ task: 'ant', status: 'published' }), 90);

  await uploadFolder(dataset, 's3://lilora/inbox/ant one+two%20ü');
  await retry(async () => expect(listenerLog()).toMatch(/"duplicate":true/));
  expect(await tasks()).toEqual([expect.objectContaining({ task: 'ant', status: 'published', generation: 1 })]);
});

it('ends with all that it started', async () => {
  dev.kill('SIGINT');
  expect(await new Promise((ended) => dev.once('exit', ended))).toBe(0);
  expect(listenerLog()).toMatch(/"submitted":2.*listener stops/);
});
