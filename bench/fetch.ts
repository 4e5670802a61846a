/**
 * How fast a dataset of many small images comes from S3: `npm run bench:fetch [-- --images 10000 --rounds 3 --json]`. Ours
 * is the path of `fetchDataset`: every file is read, checked against its SHA-256 and decoded once. The peer is s5cmd, which
 * copies the same objects into a folder and checks neither. Both talk to one local S3 server, in turns.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import sharp from 'sharp';
import { openDataset } from '../activities/dataset-place.ts';
import { sha256 } from '../core/digest.ts';
import { inLanes } from '../core/lanes.ts';
import { readImages } from '../datasets/files.ts';
import { FoundImages } from '../datasets/found-images.ts';
import { Problems } from '../datasets/problems.ts';
import { openStore } from '../store/open.ts';
import { pythonPackages } from '../test/python.ts';
import { TestServers } from '../test/servers.ts';
import { ROOT } from '../workers/runtime.ts';
import { row, rowsTable } from './paired.ts';

const { values } = parseArgs({
  options: {
    images: { type: 'string', default: '10000' },
    rounds: { type: 'string', default: '3' },
    json: { type: 'boolean', default: false },
  },
});
const peer = join(pythonPackages(join(ROOT, 'bench/requirements.txt')), 's5cmd/bin/s5cmd');
const version = execFileSync(peer, ['version'], { encoding: 'utf8' }).trim();
const servers = await TestServers.start({ temporal: false });
const seconds = async (work: () => unknown): Promise<number> => {
  const began = performance.now();
  await work();
  return (performance.now() - began) / 1000;
};

/** 32 × 32 pixels of a colour and a gradient that no other image has: about 200 bytes. */
async function image(i: number): Promise<Buffer> {
  const data = Buffer.alloc(32 * 32 * 3, Buffer.from([i & 255, (i >> 8) & 255, 128]));
  return sharp(data, { raw: { width: 32, height: 32, channels: 3 } })
    .png()
    .toBuffer();
}

try {
  const place = 's3://lilora-test/many';
  const store = openStore(place);
  const files: { path: string; size: number; sha256: string }[] = [];
  await inLanes(16, Array(Number(values.images)).keys(), async (i) => {
    const bytes = await image(i);
    const path = `images/${i}.png`;
    files.push({ path, size: bytes.length, sha256: sha256(bytes) });
    await store.put(path, bytes);
  });
  const used = new Set(files.map(({ path }) => path));

  async function ours(): Promise<void> {
    const problems = new Problems();
    const source = await openDataset({ openPlace: async () => openStore(place) }, place);
    const kept = new Map<string, Uint8Array>();
    await readImages(source, files, used, new FoundImages(kept), problems, join(servers.folder, 'file'));
    if (problems.count > 0 || kept.size !== files.length) throw new Error('The images did not come as they were.');
  }
  function copy(): void {
    const folder = join(servers.folder, 'copied');
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder);
    const { AWS_ENDPOINT_URL: endpoint } = servers.env;
    execFileSync(peer, ['--endpoint-url', endpoint!, '--log', 'error', 'cp', `${place}/*`, `${folder}/`], {
      env: servers.env,
    });
  }

  await ours();
  copy();
  const pairs: [number, number][] = [];
  for (let round = 0; round < Number(values.rounds); round++) pairs.push([await seconds(ours), await seconds(copy)]);
  const rows = [row(`fetch of ${files.length} small images`, 's', pairs)];
  process.stdout.write(values.json ? `${JSON.stringify({ peer: version, rows }, null, 1)}\n` : `${rowsTable(rows)}\n`);
  if (!values.json) process.stdout.write(`\npeer: s5cmd ${version}\n`);
} finally {
  await servers.stop();
}
