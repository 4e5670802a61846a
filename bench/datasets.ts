/**
 * What it takes to check a dataset and to pack its training split, by its size: seconds, processor seconds and the largest
 * memory of the process, in forms of texts and of pictures that are made here.
 *
 *     npm run bench:datasets -- --kinds jsonl,parquet --gigabytes 0.5,4
 *     npm run bench:datasets -- --kinds small,parquet --gigabytes 2 --against FOLDER --rounds 3
 *
 * `--against` names a checkout of another version with its `node_modules`: both do the same work in turns. `--folder` is
 * where sets and copies lie, three times their size.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ROOT } from '../workers/runtime.ts';
import { KINDS, type Kind, makeSet, makeSmall } from './dataset-sets.ts';
import { median } from './paired.ts';

const { values } = parseArgs({
  options: {
    kinds: { type: 'string', default: 'jsonl,json,parquet,tar' },
    gigabytes: { type: 'string', default: '0.5,4' },
    images: { type: 'string', default: '10000' },
    rounds: { type: 'string', default: '1' },
    against: { type: 'string' },
    folder: { type: 'string', default: tmpdir() },
    json: { type: 'boolean', default: false },
  },
});

interface Measured {
  readonly seconds: number;
  /** User and system. */
  readonly processor: number;
  /** Bytes. */
  readonly peak: number;
  readonly packed: number;
}

/** Checks and packs in a process of its own, by the code of a checkout. */
function prepare(code: string, data: string, work: string): Measured {
  const lines = `
    import { mkdir, rm } from 'node:fs/promises';
    const [data, work] = ${JSON.stringify([data, work])};
    const from = (file) => import(${JSON.stringify(`file://${code}/datasets/`)} + file);
    const [{ localFolder }, { ImageSpool }, { writeSplit }, validate] = await Promise.all(
      ['local-folder.ts', 'images.ts', 'prepared.ts', 'validate.ts'].map(from));
    await rm(work, { recursive: true, force: true });
    await mkdir(work + '/read', { recursive: true });
    const images = await ImageSpool.create(work + '/images');
    const began = performance.now();
    const used = process.cpuUsage();
    const found = validate.checkDataset
      ? await validate.checkDataset(localFolder(data), work + '/read', { images })
      : await validate.validateDataset(localFolder(data), { images });
    const { size } = await writeSplit(work + '/train', found.splits.train, images, found.images);
    const seconds = (performance.now() - began) / 1000;
    const { user, system } = process.cpuUsage(used);
    const processor = (user + system) / 1e6;
    console.log(JSON.stringify({ seconds, processor, packed: size, peak: process.resourceUsage().maxRSS * 1024 }));`;
  const run = ['--import', join(code, 'node_modules/tsx/dist/esm/index.mjs'), '--input-type=module', '-e', lines];
  return JSON.parse(execFileSync(process.execPath, run, { encoding: 'utf8', cwd: code })) as Measured;
}

const rows: object[] = [];
for (const kind of values.kinds.split(',') as Kind[]) {
  if (!KINDS.includes(kind)) throw new Error(`There is no kind ${kind}; use ${KINDS.join(', ')}.`);
  for (const gigabytes of kind === 'small' ? ['-'] : values.gigabytes.split(',')) {
    const work = mkdtempSync(join(values.folder, 'bench-datasets-'));
    try {
      const data = join(work, 'data');
      const count = Number(values.images);
      const samples =
        kind === 'small' ? await makeSmall(data, count) : await makeSet(data, kind, Number(gigabytes) * 1e9);
      const ours: Measured[] = [];
      const others: Measured[] = [];
      for (let round = 0; round < Number(values.rounds); round++) {
        ours.push(prepare(ROOT, data, join(work, 'ours')));
        if (values.against) others.push(prepare(values.against, data, join(work, 'others')));
      }
      const said = (all: Measured[]) => ({
        seconds: Number(median(all.map(({ seconds }) => seconds)).toFixed(2)),
        runs: all.map(({ seconds }) => Number(seconds.toFixed(2))),
        processor: Number(median(all.map(({ processor }) => processor)).toFixed(2)),
        processorRuns: all.map(({ processor }) => Number(processor.toFixed(2))),
        mebibytes: Math.round(Math.max(...all.map(({ peak }) => peak)) / 2 ** 20),
      });
      const row = { kind, gigabytes, samples, ours: said(ours), ...(others.length > 0 && { before: said(others) }) };
      rows.push(row);
      if (!values.json) process.stdout.write(`${JSON.stringify(row)}\n`);
    } finally {
      rmSync(work, { recursive: true, force: true });
    }
  }
}
if (values.json) process.stdout.write(`${JSON.stringify(rows, null, 1)}\n`);
