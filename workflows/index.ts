export { launcher } from './launcher.ts';
export { learnTask } from './learn-task.ts';
export { stream } from './stream.ts';
