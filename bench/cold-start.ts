/**
 * How long a gpu worker takes from nothing: `npm run bench:cold-start [-- --runs 7 --json]`. Starts it again and again on
 * servers of its own and reads its log: seconds, and processor seconds of both its processes (which other load on the
 * machine hardly changes), until it polls and until its engine computes.
 */
import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { table } from '../report/terminal.ts';
import { TestServers } from '../test/servers.ts';
import { ROOT } from '../workers/runtime.ts';
import { processorSeconds } from './processor-seconds.ts';

const { values } = parseArgs({
  options: { runs: { type: 'string', default: '7' }, json: { type: 'boolean', default: false } },
});

interface Start {
  readonly polls: number;
  readonly pollsProcessor: number;
  readonly computes: number;
  readonly computesProcessor: number;
}

/** One start, from the call to the moment when both processes are ready. */
async function once(env: NodeJS.ProcessEnv): Promise<Start> {
  const began = performance.now();
  const worker = spawn(process.execPath, [join(ROOT, 'cli/lilora.mjs'), 'worker', 'gpu'], {
    env,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const found: Partial<{ -readonly [Name in keyof Start]: number }> = {};
  for await (const line of createInterface({ input: worker.stderr })) {
    const { msg, engine } = JSON.parse(line) as { msg: string; engine?: number };
    const seconds = (performance.now() - began) / 1000;
    if (msg === 'gpu worker ready')
      Object.assign(found, { polls: seconds, pollsProcessor: processorSeconds(worker.pid!) });
    if (msg === 'engine ready')
      Object.assign(found, { computes: seconds, computesProcessor: processorSeconds(engine!) });
    if (found.polls !== undefined && found.computes !== undefined) break;
  }
  worker.kill('SIGKILL');
  await new Promise((gone) => worker.once('exit', gone));
  return found as Start;
}

const servers = await TestServers.start();
const starts: Start[] = [];
try {
  await once(servers.env); // fills caches: what is measured is a machine that ran it before
  for (let run = 0; run < Number(values.runs); run++) starts.push(await once(servers.env));
} finally {
  await servers.stop();
}
const median = (name: keyof Start) => starts.map((start) => start[name]).sort((a, b) => a - b)[starts.length >> 1]!;
const result = {
  node: process.version,
  runs: starts.length,
  worker: { seconds: median('polls'), processorSeconds: median('pollsProcessor') },
  engine: { seconds: median('computes'), processorSeconds: median('computesProcessor') },
};
writeFileSync(join(ROOT, 'bench/results/cold-start.json'), `${JSON.stringify(result, null, 2)}\n`);
if (values.json) console.log(JSON.stringify(result));
else
  console.log(
    table([
      ['median', 'seconds', 'processor seconds'],
      ['the worker polls', result.worker.seconds.toFixed(2), result.worker.processorSeconds.toFixed(2)],
      ['the engine computes', result.engine.seconds.toFixed(2), result.engine.processorSeconds.toFixed(2)],
    ]),
  );
process.exit(0);
