import { awaitDemand } from './await-demand.ts';
import type { DataContext } from './context.ts';
import { launchWorker } from './launch-worker.ts';
import type { Launcher } from './platforms.ts';

/** The activities that watch GPU task queues and start remote workers; with no launcher configured they say so. */
export function createLauncherActivities(context: DataContext, launchers: readonly Launcher[]) {
  const find = (queue: string) => launchers.find((launcher) => launcher.queue === queue);
  return {
    awaitDemand: (input: Parameters<typeof awaitDemand>[1]) => awaitDemand(find(input.queue), input),
    launchWorker: (input: Parameters<typeof launchWorker>[2]) => launchWorker(context, find(input.queue), input),
  };
}

export type LauncherActivities = ReturnType<typeof createLauncherActivities>;
