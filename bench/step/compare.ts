import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildModel, defineModel } from '../../learning/model/registry.ts';
import { cacheFolder } from '../../workers/config.ts';
import { ROOT } from '../../workers/runtime.ts';
import { median, type Row, row, Side, without } from '../paired.ts';
import { modelFolder, type Shape } from './models.ts';
import { type Kind, lengthOf, writeWork } from './work.ts';

/**
 * How the peer computes: PyTorch eager, torch.compile (inductor), or eager in bfloat16 on an NVIDIA GPU. `folded`: the peer
 * is our own engine with the adapter folded into the weights, which answers only.
 */
export type Mode = 'eager' | 'compile' | 'cuda-bf16' | 'folded';

export interface Comparison {
  readonly shape: Shape;
  readonly kind: Kind;
  readonly cores: number;
  readonly mode: Mode;
  /** The peer's Python. */
  readonly python: string;
  readonly rounds: number;
  /** Training steps of a round; 0 leaves training out. */
  readonly steps: number;
  /** New tokens per prompt; 0 leaves generation out. */
  readonly tokens: number;
}

interface Ready {
  readonly version: string;
  /** Of the model, libraries being there. */
  readonly loadSeconds: number;
  /** From the start of the process to the loaded model. */
  readonly startSeconds: number;
}
interface Steps {
  readonly seconds: number[];
  readonly losses: number[];
  readonly peakBytes: number;
  /** Why ours ran operation by operation. */
  readonly eager?: string | null;
  /** Why the peer did not compute. */
  readonly failed?: string;
}
interface Answers {
  readonly seconds: number;
  readonly tokens: number[][];
  readonly failed?: string;
}

/** Both sides start from the same numbers, so their first losses are the same but for rounding. */
const SAME_LOSS: Record<Mode, number> = { eager: 2e-4, compile: 2e-4, 'cuda-bf16': 0.05, folded: 0 };

/** Our side alone, ready to be asked, and what frees it. */
export function oursAlone({ shape, kind, cores }: Pick<Comparison, 'shape' | 'kind' | 'cores'>) {
  const folder = modelFolder(join(cacheFolder(), 'models'), shape);
  const work = mkdtempSync(join(tmpdir(), 'lilora-bench-'));
  const model = buildModel(defineModel(shape.config), () => {
    throw new Error('Only the layers are asked for.');
  });
  writeWork(work, shape, kind, model.layers);
  const pinned = Array.from({ length: cores }, (_, i) => i);
  const command = ['--import', 'tsx', join(ROOT, 'bench/step/ours.ts'), folder, work, String(cores)];
  const side = new Side(pinned, process.execPath, command);
  const end = () => {
    side.end();
    rmSync(work, { recursive: true, force: true });
  };
  return { side, command, folder, work, pinned, end };
}

/** Rows of one shape, kind of batch, number of cores and mode of the peer. */
export async function compare(asked: Comparison, say: (text: string) => void): Promise<Row[]> {
  const { shape, kind, cores, mode, python } = asked;
  const { side: ours, command, folder, work, pinned, end } = oursAlone(asked);
  let peer: Side | null = null;
  try {
    const a = await ours.answer<Ready>();
    // One after the other: neither loads while the other one does.
    peer =
      mode === 'folded'
        ? new Side(pinned, process.execPath, [...command, mode])
        : new Side(pinned, python, [join(ROOT, 'bench/step/peer.py'), folder, work, String(cores), mode]);
    const b = await peer.answer<Ready>();
    const name = `${shape.name}, ${shape.rows} × ${lengthOf(shape, kind)}, ${kind}, ${cores} ${cores === 1 ? 'core' : 'cores'}, ${mode === 'folded' ? 'adapter apart beside folded' : `torch ${mode}`}`;
    say(`${name}: ${a.version} beside ${b.version}`);
    // Before training, while both adapters are the same.
    const decoding = asked.tokens > 0 ? await decode(asked, name, ours, peer) : [];
    const training = asked.steps > 0 && mode !== 'folded' ? await train(asked, name, ours, peer) : [];
    const loads = [
      row(`load: ${name}`, 's', [[a.loadSeconds, b.loadSeconds]]),
      row(`start of the process and load: ${name}`, 's', [[a.startSeconds, b.startSeconds]]),
    ];
    return [...training, ...loads, ...decoding];
  } finally {
    end();
    peer?.end();
  }
}

async function train({ mode, rounds, steps }: Comparison, name: string, ours: Side, peer: Side): Promise<Row[]> {
  const both = async () => [await ours.ask<Steps>(`train ${steps}`), await peer.ask<Steps>(`train ${steps}`)] as const;
  // The first round compiles and warms up on both sides; its losses must agree.
  const first = await both();
  const mean = ({ seconds }: Steps) => (1000 * seconds.reduce((x, y) => x + y, 0)) / seconds.length;
  if (first[1].failed !== undefined)
    return [without(`training step: ${name}`, mean(await ours.ask(`train ${steps}`)), 'ms', first[1].failed)];
  for (const [i, loss] of first[0].losses.entries())
    if (!(Math.abs(loss - first[1].losses[i]!) <= SAME_LOSS[mode] * (i + 1)))
      throw new Error(`${name}: losses ${first[0].losses} and ${first[1].losses} are not the same work.`);
  if (first[0].eager && mode !== 'cuda-bf16') throw new Error(`${name}: our step is not compiled: ${first[0].eager}`);
  const pairs: Array<[number, number]> = [];
  let last = first;
  for (let round = 0; round < rounds; round++) {
    last = await both();
    pairs.push([mean(last[0]), mean(last[1])]);
  }
  const mebibytes = last.map(({ peakBytes }) => peakBytes / 2 ** 20) as [number, number];
  const warmUp = first.map(({ seconds }) => seconds[0]!) as [number, number];
  return [
    row(`training step: ${name}`, 'ms', pairs),
    row(`first step, compiled within: ${name}`, 's', [warmUp]),
    row(`peak memory: ${name}`, 'MiB', [mebibytes]),
  ];
}

/** New tokens of a short answer with its end, as evaluations of the examples read. */
const ANSWER = 4;

/** One token, which is the prompt's pass, the time of each further one, and a batch of short answers, of which evaluation consists. */
async function decode({ rounds, tokens }: Comparison, name: string, ours: Side, peer: Side): Promise<Row[]> {
  const both = async (tokens: number) =>
    [await ours.ask<Answers>(`generate ${tokens}`), await peer.ask<Answers>(`generate ${tokens}`)] as const;
  // Capacity of the cache is part of a shape, so every count warms up.
  const warmUp = await both(1);
  await both(ANSWER);
  const [a, b] = await both(tokens);
  const failed = warmUp[1].failed ?? b.failed;
  if (failed === undefined && JSON.stringify(a.tokens) !== JSON.stringify(b.tokens))
    throw new Error(`${name}: other tokens.`);
  type Pairs = Array<[number, number]>;
  const [prefill, token, answers]: [Pairs, Pairs, Pairs] = [[], [], []];
  for (let round = 0; round < rounds; round++) {
    const [one, short, many] = [await both(1), await both(ANSWER), await both(tokens)];
    answers.push([1000 * short[0].seconds, 1000 * short[1].seconds]);
    prefill.push([1000 * one[0].seconds, 1000 * one[1].seconds]);
    const each = (i: 0 | 1) => (1000 * (many[i].seconds - one[i].seconds)) / (tokens - 1);
    token.push([each(0), each(1)]);
  }
  if (failed !== undefined) {
    const mean = (pairs: typeof prefill) => median(pairs.map(([ours]) => ours));
    return [
      without(`prompt: ${name}`, mean(prefill), 'ms', failed),
      without(`further token: ${name}`, mean(token), 'ms', failed),
      without(`evaluation, a batch of answers of ${ANSWER} tokens: ${name}`, mean(answers), 'ms', failed),
    ];
  }
  return [
    row(`prompt: ${name}`, 'ms', prefill),
    row(`further token: ${name}`, 'ms', token),
    row(`evaluation, a batch of answers of ${ANSWER} tokens: ${name}`, 'ms', answers),
  ];
}
