/**
 * Training steps and greedy generation beside PyTorch, transformers and PEFT: the same weights, adapter, batches and number
 * of threads, in turn (A B A B …), each on its own pinned cores while the other waits. `npm run bench:decode` is generation
 * alone. A prompt's pass takes our features of its picture from the cache, as evaluation does; the peer has none.
 * `npm run bench:step -- [--shapes small,d384] [--kinds dense,answers] [--cores 1,2] [--modes eager,compile] [--rounds 5] [--steps 4] [--tokens 32] [--json]`
 * Under `compile` the peer's forward and backward passes go through torch.compile (inductor, which needs g++), and its
 * tokens come from a static cache with a compiled pass; where that is impossible, the row says why. `--modes folded` compares
 * ours with itself: the adapter apart, as it is evaluated, beside the adapter folded into the weights.
 */
import { parseArgs } from 'node:util';
import { peerPython, type Row, rowsTable } from './paired.ts';
import { compare, type Mode } from './step/compare.ts';
import { SHAPES } from './step/models.ts';
import type { Kind } from './step/work.ts';

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
const python = peerPython();
const common = {
  python,
  rounds: Number(values.rounds),
  steps: values.decode ? 0 : Number(values.steps),
  tokens: Number(values.tokens),
};
const rows: Row[] = [];
for (const shape of SHAPES.filter(({ name }) => values.shapes.split(',').includes(name)))
  for (const kind of values.kinds.split(',') as Kind[])
    for (const cores of values.cores.split(',').map(Number))
      for (const mode of values.modes.split(',') as Mode[])
        rows.push(...(await compare({ ...common, shape, kind, cores, mode }, say)));
if (values.json) process.stdout.write(`${JSON.stringify(rows, null, 1)}\n`);
else process.stdout.write(`${rowsTable(rows)}\n`);
