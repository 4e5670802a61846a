import { type ChildProcessWithoutNullStreams, execFileSync, spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { ROOT } from '../workers/runtime.ts';

/** One line of every benchmark's `--json`: lower is better, `ratio` is ours / peer. */
export interface Row {
  readonly name: string;
  readonly ours: number;
  readonly peer: number;
  readonly ratio: number;
  readonly unit: string;
  readonly runs: number;
  /** Lowest and highest ratio of the paired runs. */
  readonly spread: readonly [number, number];
  /** Why the peer has no number: it is NaN then, null in JSON. */
  readonly problem?: string;
}

/** Python with PyTorch, transformers and PEFT, made when it is first asked for. */
export const peerPython = (): string =>
  execFileSync(join(ROOT, 'infra/python/environment.sh'), {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  }).trim();

/** A process that answers every line of input with one line of JSON, and works only when asked. */
export class Side {
  private readonly child: ChildProcessWithoutNullStreams;
  private readonly lines: AsyncIterator<string>;

  /** @param cores CPU numbers that it may use */
  constructor(cores: readonly number[], command: string, args: readonly string[], env: NodeJS.ProcessEnv = {}) {
    this.child = spawn('taskset', ['-c', cores.join(), command, ...args], {
      env: { ...process.env, BENCH_STARTED: String(Date.now() / 1000), ...env },
    });
    this.child.stderr.pipe(process.stderr);
    this.lines = createInterface({ input: this.child.stdout })[Symbol.asyncIterator]();
  }

  /** Its next answer. */
  async answer<T>(): Promise<T> {
    const { value, done } = await this.lines.next();
    if (done) throw new Error(`${this.child.spawnargs.join(' ')} ended with ${this.child.exitCode}.`);
    return JSON.parse(value) as T;
  }

  async ask<T>(line: string): Promise<T> {
    this.child.stdin.write(`${line}\n`);
    return this.answer<T>();
  }

  end(): void {
    this.child.stdin.end();
    this.child.kill();
  }
}

export const median = (values: readonly number[]): number => {
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[half]! : (sorted[half - 1]! + sorted[half]!) / 2;
};

/** A row from paired runs: each entry is one run of ours and the peer's run beside it. */
export function row(name: string, unit: string, pairs: ReadonlyArray<readonly [ours: number, peer: number]>): Row {
  const ratios = pairs.map(([ours, peer]) => ours / peer);
  return {
    name,
    ours: median(pairs.map(([ours]) => ours)),
    peer: median(pairs.map(([, peer]) => peer)),
    ratio: median(ratios),
    unit,
    runs: pairs.length,
    spread: [Math.min(...ratios), Math.max(...ratios)],
  };
}

/** A row of ours alone. @param problem why the peer has none */
export function without(name: string, ours: number, unit: string, problem: string): Row {
  return { name, ours, peer: Number.NaN, ratio: Number.NaN, unit, runs: 1, spread: [Number.NaN, Number.NaN], problem };
}

const short = (value: number) => (value >= 100 ? value.toFixed(0) : value.toPrecision(3));

/** The rows as a Markdown table. */
export function rowsTable(rows: readonly Row[]): string {
  const lines = rows.map(({ name, ours, peer, ratio, unit, runs, spread, problem }) =>
    problem !== undefined
      ? `| ${name} | ${short(ours)} | ${problem.replaceAll('|', '/')} | ${unit} | – | – | ${runs} |`
      : `| ${name} | ${short(ours)} | ${short(peer)} | ${unit} | **${ratio.toFixed(2)}** | ${spread.map((x) => x.toFixed(2)).join('–')} | ${runs} |`,
  );
  return [
    '| | ours | peer | unit | ratio | spread | runs |',
    '| --- | ---: | ---: | --- | ---: | --- | ---: |',
    ...lines,
  ].join('\n');
}
