/**
 * Learns one dataset with the images that try.sh built: orchestrator and gpu-cpu run from their images, read-only and as nobody's user, against
 * a Temporal and an S3 server of this machine. Run as root: `npx tsx infra/containers/learn.ts`
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import type { TestServers } from '../../test/servers.ts';
import { ROOT } from '../../workers/runtime.ts';
import { learnOnce, say, variables, whenSaid } from '../learn-once.ts';

const running = new Map<string, ChildProcess>();

/** Starts a worker from its image. */
async function fromImage(servers: TestServers, target: string, ...args: string[]): Promise<void> {
  const named = Object.entries(variables(servers)).map(([name, value]) => `${name}=${value}`);
  const child = spawn(join(ROOT, 'infra/containers/enter.sh'), [target, ...named, '--', ...args], {
    stdio: ['ignore', 'inherit', 'pipe'],
  });
  running.set(target, child);
  await whenSaid(child, /(worker|orchestrator) ready/);
  say(`${target} ready`);
}

await learnOnce({
  orchestrator: (servers) => fromImage(servers, 'orchestrator', 'worker', 'orchestrator'),
  gpu: (servers) => fromImage(servers, 'gpu-cpu', 'worker', 'gpu'),
  stop: async () => {
    for (const [target, child] of [...running].reverse()) {
      const ended = new Promise((exited) => child.once('exit', exited));
      child.kill('SIGTERM');
      say(`${target} stopped with ${await ended}`);
    }
  },
});
