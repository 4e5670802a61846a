import { z } from 'zod';
import { mustKnow } from '../bank.ts';
import type { Method } from '../method.ts';

const options = z.strictObject({});

/** The base model alone: the lower bound that every method is compared with. */
export const zeroShot: Method<z.output<typeof options>> = {
  name: 'zero-shot',
  title: 'Zero-shot: the base model, nothing learned',
  paper: null,
  options,
  needsTask: false,
  describe: () => ({ shared: [], perTask: [], frozenAfterTask: [], parameters: { shared: 0, perTask: 0 } }),
  start: (layers) => ({ method: 'zero-shot', options: {}, layers, tasks: [], tensors: new Map() }),
  begin: (bank, task) => ({ task, tensors: new Map(), constants: new Map(), earlierTasks: bank.tasks }),
  apply: (_layer, _x, base) => base,
  finish: (bank, { task }) => ({ ...bank, tasks: [...bank.tasks, task] }),
  activate(bank, task) {
    mustKnow(bank, task);
    return new Map();
  },
};
