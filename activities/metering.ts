import { hostname } from 'node:os';
import { Context } from '@temporalio/activity';
import type { Measured, StepUsage } from '../core/cost.ts';
import { MeteredStore, noTraffic } from '../store/metered.ts';
import { beat, type DataContext, type GpuContext, tellSpending } from './context.ts';
import type { Engine } from './engine.ts';
import { failureWith } from './failures.ts';

const round = (milliseconds: number) => Math.round(milliseconds) / 1000;

/** This worker process: who it is, and since when nobody pays for it. */
export class WorkerLife {
  /** The process and its start: process ids repeat. */
  static readonly id = `${process.pid}@${hostname()}/${Math.round(performance.timeOrigin)}`;
  readonly gpu: boolean;
  private running = 0;
  private freeSince = performance.timeOrigin;

  constructor({ gpu }: { gpu: boolean }) {
    this.gpu = gpu;
  }

  /** Begins a step, which pays for the milliseconds since the last one. Workers without GPU serve many at once: nobody pays. */
  begin(): number {
    const waited = this.gpu && this.running === 0 ? Math.max(0, Date.now() - this.freeSince) : 0;
    this.running++;
    return waited;
  }

  end(): void {
    this.running--;
    this.freeSince = Date.now();
  }
}

/** Measures one attempt of one step, on top of what lost attempts of it told by their heartbeats. */
class Meter {
  private readonly life: WorkerLife;
  private readonly info = Context.current().info;
  private readonly carried: Partial<Measured>;
  private readonly started = Date.now();
  private readonly waited: number;
  private readonly traffic = noTraffic();
  /** Milliseconds of the engine whose work is kept. */
  private useful = 0;

  constructor(life: WorkerLife) {
    this.life = life;
    this.waited = life.begin();
    this.carried = (this.info.heartbeatDetails as { spent?: Measured } | undefined)?.spent ?? {};
  }

  /** The worker's collaborators, with everything that goes through them counted. */
  watch<C extends DataContext>(context: C): C {
    const watched: DataContext = {
      ...context,
      store: new MeteredStore(context.store, this.traffic),
      openPlace: async (uri) => new MeteredStore(await context.openPlace(uri), this.traffic),
    };
    if (!('engine' in context)) return watched as C;
    return { ...watched, engine: this.watchEngine((context as unknown as GpuContext).engine) } as unknown as C;
  }

  /** All attempts so far, should this one be lost now. */
  spent(): Measured {
    const { carried, traffic } = this;
    return {
      seconds: (carried.seconds ?? 0) + round(Date.now() - this.started),
      waitedSeconds: (carried.waitedSeconds ?? 0) + round(this.waited),
      usefulSeconds: (carried.usefulSeconds ?? 0) + round(this.useful),
      bytesRead: (carried.bytesRead ?? 0) + traffic.bytesRead,
      bytesWritten: (carried.bytesWritten ?? 0) + traffic.bytesWritten,
      reads: (carried.reads ?? 0) + traffic.reads,
      writes: (carried.writes ?? 0) + traffic.writes,
    };
  }

  usage(): StepUsage {
    return {
      activity: this.info.activityId,
      worker: WorkerLife.id,
      queue: this.info.taskQueue,
      gpu: this.life.gpu,
      startedAt: new Date(this.started).toISOString(),
      ...this.spent(),
      seconds: round(Date.now() - this.started),
      lostSeconds: this.carried.seconds ?? 0,
    };
  }

  /** Work counts as useful when its result, or a checkpoint of it, is kept. */
  private watchEngine(engine: Engine): Engine {
    return {
      run: async (kind, job, hooks) => {
        let since: number | null = null;
        let done = 0;
        const pause = () => {
          if (since !== null) done += Date.now() - since;
          since = null;
        };
        const keep = () => {
          pause();
          this.useful += done;
          done = 0;
        };
        const { onWork, onCheckpoint } = hooks;
        const result = await engine.run(kind, job, {
          ...hooks,
          onWork: (working) => {
            pause();
            if (working) since = Date.now();
            onWork?.(working);
          },
          ...(onCheckpoint && {
            onCheckpoint: async (path: string, step: number) => {
              pause(); // the engine waits for the store
              await onCheckpoint(path, step);
              keep();
              since = Date.now();
            },
          }),
        });
        keep();
        return result;
      },
    };
  }
}

/** A result that tells what its step used. */
type Told<Result> = Result extends object ? Result & { usage?: StepUsage } : Result;

/**
 * Runs one attempt of a step and adds to its result what the step used, lost attempts included. Where it fails, the
 * failure tells it.
 */
export async function metered<C extends DataContext, T extends object | null>(
  context: C,
  life: WorkerLife,
  work: (context: C) => Promise<T>,
): Promise<Told<T>> {
  const meter = new Meter(life);
  try {
    tellSpending(() => meter.spent());
    beat(); // a later attempt must find what earlier ones spent, even if this one never speaks again
    const result = await work(meter.watch(context));
    return (result === null ? null : { ...result, usage: meter.usage() }) as unknown as Told<T>;
  } catch (error) {
    beat();
    throw failureWith(error, { usage: meter.usage() });
  } finally {
    life.end();
  }
}
