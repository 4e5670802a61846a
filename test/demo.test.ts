import type { ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sha256 } from '../core/digest.ts';
import { readPeft } from '../store/peft.ts';
import { ROOT } from '../workers/runtime.ts';
import { type Running, startLilora } from './command.ts';
import { retry } from './servers.ts';

/** The command as a newcomer meets it: `demo`, then `dev` on what it left, and the other verbs beside it. */
let folder: string;
let env: NodeJS.ProcessEnv;
const children: ChildProcess[] = [];

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'lilora-demo-'));
  env = { ...process.env, LILORA_HOME: join(folder, 'home') };
  // What the surroundings point at is not ours to write into.
  for (const name of ['TEMPORAL_ADDRESS', 'LILORA_STORE']) delete env[name];
});
afterAll(async () => {
  for (const child of children) child.kill('SIGKILL');
  await new Promise((wake) => setTimeout(wake, 500)); // what they started ends with them
  rmSync(folder, { recursive: true, force: true });
});

function start(...args: string[]): Running {
  const running = startLilora(args, { env, cwd: folder });
  children.push(running.child);
  return running;
}

async function lilora(...args: string[]) {
  const { said, ended } = start(...args);
  return { code: await ended, ...said };
}

interface DemoJson {
  readonly generation: number;
  readonly matrix: { readonly tasks: string[]; readonly zeroShot: number[]; readonly rows: number[][] };
  readonly metrics: Record<string, number | null>;
  readonly tasks: Array<{ readonly task: string; readonly adapter: { readonly uri: string; readonly sha256: string } }>;
  readonly timings: Record<string, unknown>;
}
let demo: DemoJson;

describe('lilora demo', () => {
  it('learns, publishes, and ends with one JSON object on stdout', async () => {
    const { code, stdout, stderr } = await lilora(
      ...['demo', '--json', '--tasks', 'option,digit', '--train-samples', '64', '--test-samples', '16'],
    );
    expect(stderr).toMatch(/Learning digit: done/);
    expect(code).toBe(0);
    expect(stdout.trim().split('\n')).toHaveLength(1);
    demo = JSON.parse(stdout);
    expect(demo).toMatchObject({ stream: 'demo', generation: 2, matrix: { tasks: ['option', 'digit'] } });
    expect(demo.matrix.rows.map((row) => row.length)).toEqual([1, 2]);
    expect(demo.metrics['AP']).toBeCloseTo((demo.matrix.rows[1]![0]! + demo.matrix.rows[1]![1]!) / 2);
    for (const { adapter } of demo.tasks) expect(adapter.uri).toMatch(/^s3:\/\/.*adapter_model\.safetensors$/);
    for (const name of ['servers', 'upload', 'option', 'digit']) expect(demo.timings).toHaveProperty(name);
    expect(existsSync(join(folder, 'home/running.json'))).toBe(false);
  });
});

describe('lilora dev on what the demo left', () => {
  let dev: Running;
  beforeAll(async () => {
    dev = start('dev', '--data', join(folder, 'home/demo'), '--gpu-workers', '2');
    await retry(async () => {
      if (!dev.said.stdout.includes('Ctrl-C ends it')) throw new Error(dev.said.stderr);
    }, 90);
  });

  it('finds the stream again, without any variable', async () => {
    const { code, stdout } = await lilora('status', 'demo', '--json');
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ stream: 'demo', head: { generation: 2 }, matrix: demo.matrix });
    const list = await lilora('status', '--json');
    expect(JSON.parse(list.stdout)).toMatchObject([{ stream: 'demo', state: 'running', method: 'lilora' }]);
  });

  it('answers a dataset that it knows with the first submission', async () => {
    const { code, stdout } = await lilora('submit', 'demo', join(folder, 'home/demo/datasets/digit'), '--json');
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ task: 'digit', status: 'published', duplicate: true, generation: 2 });
  });

  it('pulls adapters that are what was published, once', async () => {
    const target = join(folder, 'adapters');
    const { code, stdout } = await lilora('pull', 'demo', target, '--json');
    expect(code).toBe(0);
    const { adapters } = JSON.parse(stdout) as { adapters: Array<{ task: string; folder: string }> };
    for (const { task, folder: at } of adapters) {
      const [config, weights] = ['adapter_config.json', 'adapter_model.safetensors'].map((name) =>
        readFileSync(join(at, name)),
      );
      expect(sha256(weights!)).toBe(demo.tasks.find((t) => t.task === task)!.adapter.sha256);
      expect(readPeft(config!, weights!, at).layers.size).toBeGreaterThan(0);
    }
    expect((await lilora('pull', 'demo', target)).code).toBe(0);
    expect((await lilora('pull', 'demo', target, '--task', 'nothing')).stderr).toMatch(
      /knows no task nothing. It knows: option, digit/,
    );
  });

  it('answers a prompt in the same way from the stream and from what was pulled', async () => {
    const prompt = [
      '--image',
      join(folder, 'home/demo/datasets/digit/images/0000.png'),
      '--json',
      'which digit is written?',
    ];
    const fromStream = await lilora('predict', 'demo', '--task', 'digit', ...prompt);
    const fromFolder = await lilora(
      ...['predict', '--model', join(ROOT, 'examples/base-model'), '--adapter', join(folder, 'adapters/digit')],
      ...prompt,
    );
    expect(fromStream.code, fromStream.stderr).toBe(0);
    const answer = JSON.parse(fromStream.stdout) as { text: string; tokens: number[]; logProbabilities: number[] };
    expect(answer.tokens.length).toBe(answer.logProbabilities.length);
    for (const value of answer.logProbabilities) expect(value).toBeLessThanOrEqual(0);
    expect(JSON.parse(fromFolder.stdout)).toEqual(answer);
  });

  it('writes the report', async () => {
    const { stdout } = await lilora('report', 'demo', '--output', 'report.html');
    expect(readFileSync(stdout.trim(), 'utf8')).toMatch(
      /^<!doctype html>[\s\S]*generation 2[\s\S]*<img src="data:image\/png;base64,/,
    );
  });

  it('refuses another definition under the same name, and a second dev', async () => {
    const other = await lilora('create', 'demo', '--model', join(ROOT, 'examples/base-model'), '--seed', '7');
    expect(other).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/Conflict: Stream demo exists with another seed/),
    });
    const second = await lilora('dev');
    expect(second).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/runs `lilora dev` or `lilora demo` already/),
    });
  });

  it('runs as many gpu workers as it was told', () => {
    for (const n of [1, 2])
      expect(readFileSync(join(folder, `home/demo/logs/gpu-worker-${n}.log`), 'utf8')).toMatch(/gpu worker ready/);
  });

  it('says that all is well, and ends at Ctrl-C with all that it started', async () => {
    const doctor = await lilora('doctor', '--json');
    expect(JSON.parse(doctor.stdout).checks.filter(({ ok }: { ok: boolean }) => !ok)).toEqual([]);
    dev.child.kill('SIGINT');
    expect(await dev.ended).toBe(0);
    expect((await lilora('status')).code).toBe(1);
  });
});
