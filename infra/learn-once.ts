import type { ChildProcess } from 'node:child_process';
import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openStore } from '../store/open.ts';
import { TestServers } from '../test/servers.ts';
import { writeSmallDataset } from '../test/small-dataset.ts';
import { ROOT } from '../workers/runtime.ts';

const OPTIONS = {
  options: { rank: 2, alpha: 4 },
  training: { batchSize: 4, epochs: 1, learningRate: 1e-3 },
  evaluation: { maxNewTokens: 2, batchSize: 4 },
  gate: { minimumGain: -100, forgettingBudget: 100 },
};

/** What somebody who tries a deployment gives: processes of it, started against these servers. */
export interface Deployment {
  orchestrator(servers: TestServers): Promise<void>;
  gpu(servers: TestServers): Promise<void>;
  /** Another way to submit the dataset, before `lilora submit` asks for it again and waits. */
  submit?(servers: TestServers): Promise<void>;
  /** Ends what was started and says how it ended. */
  stop(): Promise<void>;
}

const begun = Date.now();
/** A line of progress with the seconds since the start. */
export const say = (what: string) => console.log(`${((Date.now() - begun) / 1000).toFixed(1).padStart(6)} s  ${what}`);

/** Variables that a deployed process needs to find these servers. */
export const variables = (servers: TestServers) =>
  Object.fromEntries(Object.entries(servers.env).filter(([name]) => /^(TEMPORAL_|AWS_|LILORA_STORE)/.test(name)));

/** Learns one small dataset with a deployment, against a Temporal and an S3 server of this machine. Throws when it does not get there. */
export async function learnOnce(deployment: Deployment): Promise<void> {
  const servers = await TestServers.start();
  try {
    await upload(join(ROOT, 'test/fixtures/llava-mha/model'), 's3://lilora-test/models/tiny');
    const dataset = join(servers.folder, 'dataset');
    await writeSmallDataset(dataset, { name: 'colours', train: 16, test: 4, seed: 1 });
    await upload(dataset, 's3://lilora-test/datasets/colours');
    const options = join(servers.folder, 'options.json');
    writeFileSync(options, JSON.stringify(OPTIONS));

    await deployment.orchestrator(servers);
    await lilora(servers, 'create', 'deployed', '--model', 's3://lilora-test/models/tiny', '--options', options);
    say('stream defined');
    await deployment.gpu(servers);
    await deployment.submit?.(servers);
    await lilora(servers, 'submit', 'deployed', 's3://lilora-test/datasets/colours', '--wait');
    say('learned and published');
    await deployment.stop();
  } finally {
    await servers.stop();
  }
}

async function upload(folder: string, uri: string): Promise<void> {
  const place = openStore(uri);
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true }))
    if (entry.isFile()) {
      const path = join(entry.parentPath, entry.name);
      await place.upload(path.slice(folder.length + 1), path);
    }
}

async function lilora(servers: TestServers, ...args: string[]): Promise<void> {
  const { code, stderr } = await servers.run(...args);
  if (code !== 0) throw new Error(`lilora ${args.join(' ')} ended with ${code}:\n${stderr}`);
}

/** Resolves when the process says so on stderr. */
export function whenSaid(child: ChildProcess, said: RegExp): Promise<void> {
  return new Promise((ready, failed) => {
    let log = '';
    child.stderr!.on('data', (text: Buffer) => {
      log += text;
      if (said.test(log)) ready();
    });
    child.once('exit', (code) => failed(new Error(`it ended with ${code}:\n${log.slice(-4000)}`)));
  });
}
