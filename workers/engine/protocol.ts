import type { EngineInfo, EngineJobs, EngineProgress } from '../../activities/engine.ts';

/** Messages between a worker and its engine process. Paths and small numbers only. */
export type ToEngine =
  | {
      readonly type: 'run';
      readonly id: number;
      readonly kind: keyof EngineJobs;
      readonly job: EngineJobs[keyof EngineJobs]['job'];
    }
  /** Ask the running job to checkpoint and end. */
  | { readonly type: 'stop'; readonly id: number }
  /** The checkpoint is safe in the store (or could not be stored); go on. */
  | { readonly type: 'checkpointed'; readonly id: number; readonly error?: string };

export type FromEngine =
  | { readonly type: 'ready'; readonly info: EngineInfo }
  | { readonly type: 'progress'; readonly id: number; readonly progress: EngineProgress }
  /** Work on the job itself begins or, with false, is interrupted by loading. */
  | { readonly type: 'work'; readonly id: number; readonly working: boolean }
  | { readonly type: 'checkpoint'; readonly id: number; readonly path: string; readonly step: number }
  | { readonly type: 'done'; readonly id: number; readonly result: unknown }
  | {
      readonly type: 'failed';
      readonly id: number;
      readonly error: { readonly name: string; readonly message: string };
    };
