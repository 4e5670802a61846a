export { compact } from './compact.ts';
export { driftWatch } from './drift-watch.ts';
export { launcher } from './launcher.ts';
export { learnTask } from './learn-task.ts';
export { stream } from './stream.ts';
export { sweep } from './sweep.ts';
