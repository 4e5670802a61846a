/**
 * Training steps and greedy generation beside PyTorch, transformers and PEFT: the same weights, adapter, batches and number
 * of threads, in turn (A B A B …), each on its own pinned cores while the other waits. `npm run bench:decode` is generation
 * alone. A prompt's pass takes our features of its picture from the cache, as evaluation does; the peer has none.
 * `npm run bench:step -- [--shapes small,d384] [--kinds dense,answers] [--cores 1,2] [--modes eager,compile] [--rounds 5] [--steps 4] [--tokens 32] [--json]`
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { buildModel, defineModel } from '../learning/model/registry.ts';
import { cacheFolder } from '../workers/config.ts';
import { ROOT } from '../workers/runtime.ts';
import { type Row, row, rowsTable, Side } from './paired.ts';
import { modelFolder, SHAPES, type Shape } from './step/models.ts';
import { type Kind, lengthOf, writeWork } from './step/work.ts';

const { values } = parseArgs({
  options: {
    shapes: { type: 'string', default: 'small,d384,smolvlm-256m' },
    kinds: { type: 'string', default: 'dense,answers' },
    cores: { type: 'string', default: '1,2' },
    modes: { type: 'string', default: 'eager' },
    rounds: { type: 'string', default: '5' },
    steps: { type: 'string', default: '4' },
    /** New tokens per prompt; 0 leaves generation out. */
    tokens: { type: 'string', default: '32' },
    /** Leaves training out. */
    decode: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
  },
});
const say = (text: string) => process.stderr.write(`${text}\n`);
/** Both sides start from the same numbers, so their first losses are the same but for rounding. */
const SAME_LOSS = 2e-4;

interface Ready {
  readonly version: string;
  readonly loadSeconds: number;
}
interface Steps {
  readonly seconds: number[];
  readonly losses: number[];
  readonly peakBytes: number;
  readonly eager?: string | null;
}

async function compare(shape: Shape, kind: Kind, cores: number, mode: string, python: string): Promise<Row[]> {
  const folder = modelFolder(join(cacheFolder(), 'models'), shape);
  const work = mkdtempSync(join(tmpdir(), 'lilora-bench-'));
  const model = buildModel(defineModel(shape.config), () => {
    throw new Error('Only the layers are asked for.');
  });
  writeWork(work, shape, kind, model.layers);
  const pinned = Array.from({ length: cores }, (_, i) => i);
  const ours = new Side(pinned, process.execPath, [
    ...['--import', 'tsx', join(ROOT, 'bench/step/ours.ts')],
    ...[folder, work, String(cores)],
  ]);
  const peer = new Side(pinned, python, [join(ROOT, 'bench/step/peer.py'), folder, work, String(cores), mode]);
  try {
    const [a, b] = [await ours.answer<Ready>(), await peer.answer<Ready>()];
    const name = `${shape.name}, ${shape.rows} × ${lengthOf(shape, kind)}, ${kind}, ${cores} ${cores === 1 ? 'core' : 'cores'}, torch ${mode}`;
    say(`${name}: ${a.version} beside ${b.version}`);
    const count = values.steps;
    // Before training, while both adapters are the same.
    const decoding = values.tokens === '0' ? [] : await decode(name, ours, peer);
    const loaded = row(`load: ${name}`, 's', [[a.loadSeconds, b.loadSeconds]]);
    if (values.decode) return [loaded, ...decoding];
    // The first round compiles and warms up on both sides; its losses must agree.
    const first = [await ours.ask<Steps>(`train ${count}`), await peer.ask<Steps>(`train ${count}`)] as const;
    for (const [i, loss] of first[0].losses.entries())
      if (!(Math.abs(loss - first[1].losses[i]!) <= SAME_LOSS * (i + 1)))
        throw new Error(`${name}: losses ${first[0].losses} and ${first[1].losses} are not the same work.`);
    if (first[0].eager) throw new Error(`${name}: our step is not compiled: ${first[0].eager}`);
    const pairs: Array<[number, number]> = [];
    let last: readonly [Steps, Steps] = first;
    for (let round = 0; round < Number(values.rounds); round++) {
      last = [await ours.ask<Steps>(`train ${count}`), await peer.ask<Steps>(`train ${count}`)];
      const mean = ({ seconds }: Steps) => (1000 * seconds.reduce((x, y) => x + y, 0)) / seconds.length;
      pairs.push([mean(last[0]), mean(last[1])]);
    }
    const mebibytes = last.map(({ peakBytes }) => peakBytes / 2 ** 20) as [number, number];
    return [
      row(`training step: ${name}`, 'ms', pairs),
      row(`peak memory: ${name}`, 'MiB', [mebibytes]),
      loaded,
      ...decoding,
    ];
  } finally {
    ours.end();
    peer.end();
    rmSync(work, { recursive: true, force: true });
  }
}

interface Answers {
  readonly seconds: number;
  readonly tokens: number[][];
}

/** One token, which is the prompt's pass, and the time of each further one. */
async function decode(name: string, ours: Side, peer: Side): Promise<Row[]> {
  const count = Number(values.tokens);
  const both = async (tokens: number) =>
    [await ours.ask<Answers>(`generate ${tokens}`), await peer.ask<Answers>(`generate ${tokens}`)] as const;
  // Capacity of the cache is part of a shape, so both counts warm up.
  await both(1);
  const [a, b] = await both(count);
  if (JSON.stringify(a.tokens) !== JSON.stringify(b.tokens)) throw new Error(`${name}: other tokens.`);
  const [prefill, token]: [Array<[number, number]>, Array<[number, number]>] = [[], []];
  for (let round = 0; round < Number(values.rounds); round++) {
    const [one, many] = [await both(1), await both(count)];
    prefill.push([1000 * one[0].seconds, 1000 * one[1].seconds]);
    const each = (i: 0 | 1) => (1000 * (many[i].seconds - one[i].seconds)) / (count - 1);
    token.push([each(0), each(1)]);
  }
  return [row(`prompt: ${name}`, 'ms', prefill), row(`further token: ${name}`, 'ms', token)];
}

const python = execFileSync(join(ROOT, 'infra/python/environment.sh'), {
  encoding: 'utf8',
  stdio: ['ignore', 'pipe', 'inherit'],
}).trim();
const rows: Row[] = [];
for (const shape of SHAPES.filter(({ name }) => values.shapes.split(',').includes(name)))
  for (const kind of values.kinds.split(',') as Kind[])
    for (const cores of values.cores.split(',').map(Number))
      for (const mode of values.modes.split(',')) rows.push(...(await compare(shape, kind, cores, mode, python)));
if (values.json) process.stdout.write(`${JSON.stringify(rows, null, 1)}\n`);
else process.stdout.write(`${rowsTable(rows)}\n`);
