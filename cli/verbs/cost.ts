import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { readEvaluation } from '../../activities/evaluation-file.ts';
import { type Budget, costNumbers, type PriceTable, storagePerMonth, sumUsage, type Usage } from '../../core/cost.ts';
import { LiloraError } from '../../core/errors.ts';
import { readPrices } from '../../core/prices.ts';
import { COST_HEADS, costCells, moneyText } from '../../report/cost.ts';
import { bytes, fixed } from '../../report/generation-view.ts';
import { table } from '../../report/terminal.ts';
import { headGeneration, streamKeys } from '../../store/generations.ts';
import type { ObjectStore } from '../../store/object-store.ts';
import { verbStore, withClient } from '../connect.ts';
import { type FleetCost, fleetCosts, idleShares } from '../fleet-cost.ts';
import { look, type Moment } from '../follow.ts';
import { result, resultJson } from '../output.ts';

export function addCost(program: Command): void {
  program
    .command('cost')
    .description('What a stream used and what that costs: GPU-seconds, bytes, money, task by task.')
    .argument('<stream>')
    .option('--prices <file>', 'a price table other than the one in the definition of the stream')
    .option('--json', 'as JSON')
    .addHelpText(
      'after',
      `
Examples:
  $ lilora cost pets
  $ lilora cost pets --prices examples/prices.json --json | jq .total.money`,
    )
    .action(async (stream: string, options: { prices?: string; json?: boolean }) => {
      const given = options.prices === undefined ? undefined : await pricesFrom(options.prices);
      const store = await verbStore();
      const moment = await withClient((client) => look(client, stream));
      const cost = await costOf(store, moment, given);
      if (options.json) resultJson(cost);
      else result(costText(cost));
    });
}

async function pricesFrom(path: string): Promise<PriceTable> {
  const content = await readFile(path).catch((error: Error) => {
    throw new LiloraError('BadConfig', `${path} cannot be read (${error.message}). Name a JSON file.`);
  });
  return readPrices(content, path);
}

/** What `lilora cost` tells. */
export interface StreamCost {
  readonly stream: string;
  readonly prices: PriceTable | null;
  /** Published tasks in the order of learning, then the others that the stream still lists. */
  readonly tasks: ReadonlyArray<TaskLineCost>;
  /** Everything: the tasks, tasks that are no longer listed, and steps of the stream itself. */
  readonly total: ReturnType<typeof costNumbers> & { readonly usage: Usage };
  /** Whole lives of the workers of every GPU class, for all streams, where they left leases. */
  readonly fleets: readonly FleetCost[];
  /** Money of `total`, and of the stream's share in what no step pays for; null when it is not known. */
  readonly estimated: number | null;
  /** Bytes that the stream keeps in the store now, and what they cost in a month. */
  readonly storedBytes: number;
  readonly storagePerMonth: number | null;
  readonly budget: Budget;
}

interface TaskLineCost {
  readonly task: string;
  readonly status: string;
  readonly usage: Usage;
  readonly money: number | null;
  /** By queue: its share in what no step pays for. Not in `money`. */
  readonly idleSeconds: Readonly<Record<string, number>>;
  readonly storedBytes: number;
}

async function costOf(store: ObjectStore, { stream, running }: Moment, given?: PriceTable): Promise<StreamCost> {
  const prices = given ?? stream.definition?.prices ?? null;
  const sizes = await storedSizes(store, stream.stream);
  const lines = new Map<string, { status: string; usage: Usage; generation?: number }>();
  for (const { task, usage, generation } of await publishedTasks(store, stream))
    lines.set(task, { status: 'published', usage, generation });
  for (const { task, status, usage, generation } of stream.tasks)
    lines.set(task, { status, usage: usage ?? lines.get(task)?.usage ?? {}, generation });
  if (running) lines.set(running.task, { status: 'running', usage: running.usage ?? {} });
  const usage = sumUsage(stream.usage ?? {}, running?.usage ?? {});
  const fleets = await fleetCosts(store, usage, prices);
  const numbers = costNumbers(usage, prices);
  const idle = Object.entries(idleShares(fleets, usage)).reduce(
    (sum, [queue, seconds]) => sum + seconds * (prices?.workers?.[queue]?.perSecond ?? 0),
    0,
  );
  return {
    stream: stream.stream,
    prices,
    tasks: [...lines].map(([task, line]) => ({
      task,
      status: line.status,
      usage: line.usage,
      money: costNumbers(line.usage, prices).money,
      idleSeconds: idleShares(fleets, line.usage),
      storedBytes: sizes(`tasks/${task}/`) + (line.generation ? sizes(`generations/${line.generation}/`) : 0),
    })),
    total: { usage, ...numbers },
    fleets,
    estimated: numbers.money === null ? null : numbers.money + idle,
    storedBytes: sizes(''),
    storagePerMonth: storagePerMonth(sizes(''), prices),
    budget: stream.budget ?? {},
  };
}

/** Tasks of the head's generation, as it tells them. */
async function publishedTasks(store: ObjectStore, { stream, head }: Moment['stream']) {
  if (!head) return [];
  const { learned, cost } = await readEvaluation(store, await headGeneration(store, stream, head));
  return learned.map(({ task, generation }) => ({
    task,
    generation,
    usage: cost?.tasks.find((line) => line.task === task)?.usage ?? {},
  }));
}

/** Sizes of what a stream keeps, by prefix below its root. */
async function storedSizes(store: ObjectStore, stream: string): Promise<(prefix: string) => number> {
  const root = `${streamKeys(stream).root}/`;
  const found: Array<[key: string, size: number]> = [];
  for await (const { key, size } of store.list(root)) found.push([key.slice(root.length), size]);
  return (prefix) => found.reduce((sum, [key, size]) => sum + (key.startsWith(prefix) ? size : 0), 0);
}

function costText({ tasks, total, prices, fleets, estimated, storedBytes, ...rest }: StreamCost): string {
  const currency = prices?.currency ?? null;
  const rows = (usage: Usage, head: readonly string[], stored: string) =>
    Object.entries(usage).map(([queue, used], i) => [
      ...(i === 0 ? head : head.map(() => '')),
      queue,
      ...costCells(costNumbers({ [queue]: used }, prices), currency),
      fixed(idleShares(fleets, usage)[queue]),
      i === 0 ? stored : '',
    ]);
  const limits = Object.entries(rest.budget).map(([name, limit]) => `${name} ${limit}`);
  return [
    table([
      ['task', 'status', 'queue', ...COST_HEADS, 'idle share', 'stored'],
      ...tasks.flatMap((line) => rows(line.usage, [line.task, line.status], bytes(line.storedBytes))),
      ...rows(total.usage, ['(all)', ''], bytes(storedBytes)),
    ]),
    ...fleets.map(
      ({ queue, lives, billedSeconds, busySeconds, idleSeconds }) =>
        `Workers of ${queue}, for all streams: ${lives} lives, ${fixed(billedSeconds)} s billed, ${fixed(busySeconds)} s with a step; ${fixed(idleSeconds)} s that no step pays for are shared out.`,
    ),
    `Estimated in all: ${moneyText(estimated, currency)}, and ${moneyText(rest.storagePerMonth, currency)} a month for what is stored.`,
    `Budget: ${limits.length > 0 ? limits.join(', ') : 'none'}.`,
    ...(prices ? [] : ['No price table: see `lilora cost --help` and docs/cost.md.']),
  ].join('\n');
}
