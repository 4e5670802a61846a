/**
 * Every comparison with a peer in one run, one after another: `npm run bench:all [-- --json]`. Takes about an hour on two
 * quiet cores. The rows go to bench/results/all.json, with the versions that made them.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ROOT } from '../workers/runtime.ts';
import { type Row, rowsTable } from './paired.ts';

const { values } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    out: { type: 'string', default: join(ROOT, 'bench/results/all.json') },
  },
});

/** Rows of one benchmark, in a process of its own. */
function rowsOf(file: string, ...args: string[]): Row[] {
  process.stderr.write(`bench/${file} ${args.join(' ')}\n`);
  const told = execFileSync(process.execPath, ['--import', 'tsx', join(ROOT, 'bench', file), ...args, '--json'], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const parsed = JSON.parse(told) as Row[] | { rows: Row[] };
  return 'rows' in parsed ? parsed.rows : parsed;
}

const rows = [
  ...rowsOf('step.ts', '--modes', 'eager,compile', '--tokens', '0'),
  ...rowsOf('step.ts', '--decode', '--kinds', 'answers'),
  ...rowsOf('fetch.ts'),
];
const python = readFileSync(join(ROOT, 'infra/python/requirements.txt'), 'utf8').trim().split('\n');
const s5cmd = readFileSync(join(ROOT, 'bench/requirements.txt'), 'utf8').trim();
const made = { machine: `${cpus().length} × ${cpus()[0]!.model}`, peers: [...python, s5cmd], rows };
writeFileSync(values.out, `${JSON.stringify(made, null, 1)}\n`);
process.stdout.write(values.json ? readFileSync(values.out, 'utf8') : `${rowsTable(rows)}\n`);
