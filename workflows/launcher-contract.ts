/** What crosses a process for the launcher workflow; its name is in contract.ts. Imports types only. */

import type { SCHEMA } from './contract.ts';

/** A request that a platform took, in milliseconds of the epoch; forgotten once its worker was seen or given up. */
export type Launch = number;

/** Input of the launcher workflow of one GPU task queue. Where and how it starts workers is the orchestrator's configuration. */
export interface LauncherInput {
  readonly schema: typeof SCHEMA;
  readonly queue: string;
  readonly carried?: { readonly count: number; readonly pending: readonly Launch[] };
}

/** What a look at a GPU task queue says: start one more worker, look again, or nobody is configured to start any. */
export interface Demand {
  readonly verdict: 'launch' | 'none' | 'closed';
  readonly backlog: number;
  readonly workers: number;
  readonly pending: readonly Launch[];
}
