import { billedLife, type WorkerPrice } from '../../core/cost.ts';
import type { Random } from '../../learning/training/random.ts';
import { EventHeap } from './event-heap.ts';
import type { Tasks } from './tasks.ts';

/** Seconds of what is not work: each time one of the list, each as likely as the others. */
export interface Times {
  /** From the demand to a worker that polls. */
  readonly start: readonly number[];
  /** Loading the model, before the first task of a worker's life. */
  readonly load: readonly number[];
  /** Reading and writing the store, with every task. */
  readonly transfer: readonly number[];
  /** From the end of the idle time to the end of the process. */
  readonly stop: readonly number[];
}

/** How workers come and go. */
export type Policy =
  /** A worker starts for every task that finds none, and ends after so many seconds without work. */
  | { readonly kind: 'scale-to-zero'; readonly idleSeconds: number; readonly maxWorkers?: number }
  /** So many workers live all the time, with the model loaded. */
  | { readonly kind: 'always-on'; readonly workers: number };

export interface Fleet {
  readonly policy: Policy;
  readonly times: Times;
  /** For the draws of times. */
  readonly random: Random;
  /** Workers that are always on are billed at least so long, in seconds. */
  readonly until?: number;
  readonly price?: Omit<WorkerPrice, 'perSecond'>;
}

export interface Outcome {
  readonly tasks: number;
  /** Seconds from submission to the start of the work: behind others, for a worker to start, for the model to load. */
  readonly queueing: Queueing;
  readonly coldStarts: number;
  readonly peakWorkers: number;
  readonly usefulSeconds: number;
  readonly billedSeconds: number;
  /** Billed for every useful second. */
  readonly ratio: number;
  /** Share of the workers' lives in which they had a task. */
  readonly utilisation: number;
  /** Mean number of tasks that wait or run, counted event by event over `horizon`. */
  readonly meanInSystem: number;
  /** Mean seconds from submission to end. */
  readonly meanSojourn: number;
  /** When the last task had ended; at least `until`. */
  readonly horizon: number;
}

export interface Queueing {
  readonly mean: number;
  readonly p50: number;
  readonly p95: number;
  readonly max: number;
}

interface Worker {
  readonly born: number;
  task: number;
  warm: boolean;
  /** When its idle time ends; NaN while it has none. */
  idleUntil: number;
}

/** Kinds of events; an event is the number of its worker · 4 + kind. Arrivals stand in the tasks themselves. */
const READY = 0;
const DONE = 1;
const IDLE = 2;

/**
 * Runs a fleet of workers of one class over the tasks, event by event. A stream learns one task at a time. Tasks that may
 * run wait in one queue, first come, first served; the worker that became idle last is taken first, so that others end.
 * What happens in one moment: workers become free, then tasks come.
 */
export function simulate(tasks: Tasks, fleet: Fleet): Outcome {
  return new Simulation(tasks, fleet).run();
}

class Simulation {
  private readonly tasks: Tasks;
  private readonly fleet: Fleet;
  private readonly random: Random;
  private readonly events = new EventHeap();
  private readonly workers: Worker[] = [];
  /** Numbers of workers that ended, to be given again. */
  private readonly free: number[] = [];
  /** Idle workers, in the order in which they became idle. */
  private readonly idle: number[] = [];
  /** Tasks that may run: a window of this array. */
  private readonly ready: Int32Array;
  private readyFrom = 0;
  private readyTo = 0;
  /** By task: the next one of its stream. By stream: its last task that has not ended. −1: none. */
  private readonly behind: Int32Array;
  private readonly newest: Int32Array;
  private readonly waits: Float64Array;

  private now = 0;
  private alive = 0;
  private peak = 0;
  private starting = 0;
  private coldStarts = 0;
  private inSystem = 0;
  private area = 0;
  private sojourn = 0;
  private lastDone = 0;
  private busy = 0;
  private lives = 0;
  private billed = 0;

  constructor(tasks: Tasks, fleet: Fleet) {
    const count = tasks.at.length;
    this.tasks = tasks;
    this.fleet = fleet;
    this.random = fleet.random.split('times');
    this.ready = new Int32Array(count);
    this.behind = new Int32Array(count).fill(-1);
    this.newest = new Int32Array(tasks.streams).fill(-1);
    this.waits = new Float64Array(count);
  }

  run(): Outcome {
    const { at } = this.tasks;
    const { policy } = this.fleet;
    if (policy.kind === 'always-on') for (let i = 0; i < policy.workers; i++) this.idle.push(this.spawn(true));
    for (let next = 0; next < at.length || this.events.next < Number.POSITIVE_INFINITY; ) {
      const coming = next < at.length ? at[next]! : Number.POSITIVE_INFINITY;
      const time = Math.min(coming, this.events.next);
      this.area += this.inSystem * (time - this.now);
      this.now = time;
      if (this.events.next > coming) this.arrive(next++);
      else this.happen(this.events.take());
    }
    return this.outcome();
  }

  private arrive(task: number): void {
    const stream = this.tasks.stream[task]!;
    const before = this.newest[stream]!;
    this.newest[stream] = task;
    this.inSystem++;
    if (before >= 0) {
      this.behind[before] = task;
      return;
    }
    const worker = this.idle.pop();
    if (worker !== undefined) this.begin(worker, task);
    else {
      this.ready[this.readyTo++] = task;
      this.startOne();
    }
  }

  /** Starts a worker if more tasks wait than workers start, and the fleet may grow. */
  private startOne(): void {
    const { policy, times } = this.fleet;
    if (policy.kind === 'always-on' || this.alive >= (policy.maxWorkers ?? Number.POSITIVE_INFINITY)) return;
    if (this.starting >= this.readyTo - this.readyFrom) return;
    this.starting++;
    this.coldStarts++;
    this.events.add(this.now + this.draw(times.start), this.spawn(false) * 4 + READY);
  }

  private spawn(warm: boolean): number {
    const number = this.free.pop() ?? this.workers.length;
    this.workers[number] = { born: this.now, task: -1, warm, idleUntil: Number.NaN };
    this.peak = Math.max(this.peak, ++this.alive);
    return number;
  }

  private happen(event: number): void {
    const kind = event % 4;
    const number = (event - kind) / 4;
    const worker = this.workers[number]!;
    if (kind === IDLE) {
      if (worker.idleUntil === this.now) this.end(number, worker);
      return;
    }
    if (kind === READY) this.starting--;
    else this.finish(worker);
    if (this.readyFrom < this.readyTo) this.begin(number, this.ready[this.readyFrom++]!);
    else this.rest(number, worker);
  }

  private begin(number: number, task: number): void {
    const worker = this.workers[number]!;
    const { times } = this.fleet;
    const load = (worker.warm ? 0 : this.draw(times.load)) + this.draw(times.transfer);
    const run = this.tasks.run[task]!;
    worker.task = task;
    worker.warm = true;
    worker.idleUntil = Number.NaN;
    this.waits[task] = this.now + load - this.tasks.at[task]!;
    this.busy += load + run;
    this.events.add(this.now + load + run, number * 4 + DONE);
  }

  private finish(worker: Worker): void {
    const { task } = worker;
    const stream = this.tasks.stream[task]!;
    worker.task = -1;
    this.inSystem--;
    this.sojourn += this.now - this.tasks.at[task]!;
    this.lastDone = this.now;
    if (this.newest[stream] === task) this.newest[stream] = -1;
    else this.ready[this.readyTo++] = this.behind[task]!;
  }

  private rest(number: number, worker: Worker): void {
    const { policy } = this.fleet;
    this.idle.push(number);
    if (policy.kind === 'always-on') return;
    worker.idleUntil = this.now + policy.idleSeconds;
    this.events.add(worker.idleUntil, number * 4 + IDLE);
  }

  private end(number: number, worker: Worker): void {
    this.idle.splice(this.idle.indexOf(number), 1); // the first: it has been idle longest
    this.free.push(number);
    worker.idleUntil = Number.NaN;
    this.alive--;
    this.bill(this.now + this.draw(this.fleet.times.stop) - worker.born);
  }

  private bill(life: number): void {
    this.lives += life;
    this.billed += billedLife(life, this.fleet.price);
  }

  private draw(list: readonly number[]): number {
    return list.length > 1 ? list[this.random.below(list.length)]! : (list[0] ?? 0);
  }

  private outcome(): Outcome {
    const { policy, until = 0 } = this.fleet;
    const horizon = Math.max(this.lastDone, until);
    if (policy.kind === 'always-on') for (let i = 0; i < policy.workers; i++) this.bill(horizon);
    const count = this.waits.length;
    const usefulSeconds = this.tasks.run.reduce((sum, run) => sum + run, 0);
    return {
      tasks: count,
      queueing: queueingOf(this.waits),
      coldStarts: this.coldStarts,
      peakWorkers: this.peak,
      usefulSeconds,
      billedSeconds: this.billed,
      ratio: this.billed / usefulSeconds,
      utilisation: this.busy / this.lives,
      meanInSystem: this.area / horizon,
      meanSojourn: this.sojourn / count,
      horizon,
    };
  }
}

/** Mean, nearest-rank percentiles and maximum. */
function queueingOf(waits: Float64Array): Queueing {
  const sorted = waits.slice().sort();
  const rank = (share: number) => sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? 0;
  const mean = sorted.length === 0 ? 0 : sorted.reduce((a, b) => a + b, 0) / sorted.length;
  return { mean, p50: rank(0.5), p95: rank(0.95), max: rank(1) };
}
