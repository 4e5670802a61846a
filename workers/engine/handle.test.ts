import { readdirSync, readFileSync } from 'node:fs';
import { pino } from 'pino';
import { expect, it, vi } from 'vitest';
import { EngineProcess } from './handle.ts';

/** Environments of the engine processes that this one started, as the system has them. */
function environments(): string[] {
  const read = (path: string) => {
    try {
      return readFileSync(path, 'latin1');
    } catch {
      return ''; // it has ended
    }
  };
  const children = readdirSync(`/proc/${process.pid}/task`).flatMap((thread) =>
    read(`/proc/${process.pid}/task/${thread}/children`).split(' ').filter(Boolean),
  );
  return children
    .filter((pid) => read(`/proc/${pid}/cmdline`).includes('engine/process.ts'))
    .map((pid) => read(`/proc/${pid}/environ`));
}

it('the process that decodes files of others holds no credentials', async () => {
  const canaries = [
    'AWS_SECRET_ACCESS_KEY',
    'AWS_SESSION_TOKEN',
    'HF_TOKEN',
    'TEMPORAL_API_KEY',
    'LILORA_WEBHOOK_SECRET',
  ];
  for (const name of canaries) vi.stubEnv(name, `canary-${name}`);
  vi.stubEnv('LILORA_THREADS', '1');
  const engine = new EngineProcess(pino({ level: 'silent' }));
  try {
    await engine.start();
    const [environment = '', ...more] = environments();
    expect(more).toEqual([]);
    expect(environment).toContain('LILORA_THREADS=1');
    expect(environment).toContain('PATH=');
    expect(environment).not.toContain('canary');
  } finally {
    await engine.close();
    vi.unstubAllEnvs();
  }
});
