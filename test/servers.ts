import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import { Client, Connection } from '@temporalio/client';
import { SERVER_FLAGS } from '../cli/local/deployment.ts';
import { choices } from '../infra/setup/choose.mjs';
import { ROOT } from '../workers/runtime.ts';

/** The real servers of one integration test: Temporal, S3 and worker processes, on free ports, in a folder of their own. */
export class TestServers {
  readonly folder = mkdtempSync(join(tmpdir(), 'lilora-test-'));
  readonly env: NodeJS.ProcessEnv;
  readonly address: string;
  client!: Client;
  private readonly ports: { temporal: number; s3: number };
  private readonly children = new Set<ChildProcess>();

  private constructor(ports: { temporal: number; s3: number }) {
    this.ports = ports;
    this.address = `127.0.0.1:${ports.temporal}`;
    this.env = {
      ...process.env,
      TEMPORAL_ADDRESS: this.address,
      TEMPORAL_NAMESPACE: 'default',
      AWS_ENDPOINT_URL: `http://127.0.0.1:${ports.s3}`,
      AWS_ACCESS_KEY_ID: 'test-access',
      AWS_SECRET_ACCESS_KEY: 'test-secret-of-this-run',
      AWS_REGION: 'us-east-1',
      LILORA_STORE: 's3://lilora-test/product',
      LILORA_CACHE: join(this.folder, 'cache'),
    };
  }

  /** @param parts `s3: false` leaves the object store out, `temporal: false` the Temporal server. */
  static async start(parts: { s3?: boolean; temporal?: boolean } = {}): Promise<TestServers> {
    const servers = new TestServers({ temporal: await freePort(), s3: await freePort() });
    const temporal = parts.temporal === false ? null : servers.startTemporal();
    await Promise.all([parts.s3 === false ? null : servers.startS3(), temporal]);
    return servers;
  }

  private async startS3(): Promise<void> {
    const { s3 } = choices();
    if (s3.kind !== 'versitygw') throw new Error('These tests need versitygw: run `npm run setup`.');
    const [data, versions] = [join(this.folder, 's3'), join(this.folder, 's3-versions')];
    for (const folder of [data, versions]) mkdirSync(folder);
    const { AWS_ACCESS_KEY_ID: access, AWS_SECRET_ACCESS_KEY: secret } = this.env;
    const args = [
      '--access',
      access!,
      '--secret',
      secret!,
      '--port',
      `127.0.0.1:${this.ports.s3}`,
      '--quiet',
      '--keep-alive',
    ];
    const start = () =>
      this.keep(spawn(s3.path!, [...args, 'posix', '--versioning-dir', versions, data], { stdio: 'ignore' }));
    let child = start();
    Object.assign(process.env, pick(this.env, /^AWS_/));
    const client = new S3Client({ forcePathStyle: true });
    await retry(() => {
      // Another process may have taken the port that was free a moment ago.
      if (child.exitCode !== null) child = start();
      return client.send(new CreateBucketCommand({ Bucket: 'lilora-test' }));
    });
    client.destroy();
  }

  /** Starts, or after a kill restarts, the server on the same SQLite file. */
  async startTemporal(): Promise<ChildProcess> {
    const { temporal } = choices();
    if (temporal.kind !== 'cached') throw new Error('These tests need the Temporal server: run `npm run setup`.');
    const args = ['server', 'start-dev', '--ip', '127.0.0.1', '--port', String(this.ports.temporal), '--headless'];
    args.push(
      '--compute-command',
      this.computeCommand,
      '--log-level',
      'error',
      ...SERVER_FLAGS,
      '--db-filename',
      join(this.folder, 'temporal.db'),
    );
    const start = () => this.keep(spawn(temporal.path!, args, { stdio: 'ignore' }));
    let child = start();
    const connection = await retry(async () => {
      // As above, of any of its ports.
      if (child.exitCode !== null) child = start();
      const made = await Connection.connect({ address: this.address });
      await made.workflowService.describeNamespace({ namespace: 'default' });
      return made;
    });
    this.client = new Client({ connection, namespace: 'default' });
    return child;
  }

  /** The program that Temporal's worker controller may start; a test writes it. */
  get computeCommand(): string {
    return join(this.folder, 'worker.sh');
  }

  /** A worker process; resolves when it says that it is ready. */
  worker(role: 'orchestrator' | 'gpu', ...args: string[]): Promise<ChildProcess> {
    const child = this.lilora('worker', role, ...args);
    return new Promise((ready, failed) => {
      let log = '';
      child.stderr!.on('data', (text: Buffer) => {
        log += text;
        if (log.includes(`${role} ready`) || log.includes(`${role} worker ready`)) ready(child);
      });
      child.once('exit', (code) => failed(new Error(`worker ${role} ended with ${code}:\n${log.slice(-4000)}`)));
    });
  }

  /** Runs the command in a process group of its own, so that a kill takes its engine too. */
  lilora(...args: string[]): ChildProcess {
    const child = spawn(process.execPath, [join(ROOT, 'cli/lilora.mjs'), ...args], {
      env: this.env,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    return this.keep(child);
  }

  /** Runs the command to its end. */
  async run(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
    const child = this.lilora(...args);
    let [stdout, stderr] = ['', ''];
    child.stdout!.on('data', (text) => (stdout += text));
    child.stderr!.on('data', (text) => (stderr += text));
    const code = await new Promise<number>((ended) => child.once('close', (status) => ended(status ?? -1)));
    return { code, stdout, stderr };
  }

  private keep(child: ChildProcess): ChildProcess {
    this.children.add(child);
    child.once('exit', () => this.children.delete(child));
    return child;
  }

  async stop(): Promise<void> {
    await this.client?.connection.close();
    const gone = [...this.children].map((child) => new Promise((exited) => child.once('exit', exited)));
    for (const child of this.children) child.kill('SIGKILL');
    await Promise.all(gone);
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Tries until it works, at most 60 seconds. */
export async function retry<T>(attempt: () => Promise<T>, seconds = 60): Promise<T> {
  const end = Date.now() + seconds * 1000;
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (Date.now() > end) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

export function freePort(): Promise<number> {
  return new Promise((found, failed) => {
    const server = createServer();
    server.once('error', failed);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => found(port));
    });
  });
}

function pick(env: NodeJS.ProcessEnv, pattern: RegExp): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => pattern.test(name)));
}
