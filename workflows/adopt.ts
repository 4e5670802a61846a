import { workflowInfo } from '@temporalio/workflow';
import { data } from './activities.ts';
import type { StreamState } from './contract.ts';
import { evaluateTasks } from './evaluation.ts';

/**
 * The first generation of a stream that starts from a bank: its tasks whose datasets are named are evaluated, on the base
 * model and with the bank. From then on the gate guards them. Without datasets the bank waits for the first task.
 */
export async function adoptBank(state: StreamState): Promise<StreamState> {
  const { definition, head } = state;
  const { bank, tasks, datasets = {} } = definition.start ?? { tasks: [] };
  const named = tasks.filter((task) => datasets[task] !== undefined);
  if (head || !bank || named.length === 0) return state;
  const tests = await Promise.all(
    named.map(async (task) => {
      const { uri, digest } = await data.inspectDataset({ stream: definition.name, dataset: datasets[task]! });
      const dataset = { uri, digest };
      const { metric, test, counts } = await data.fetchDataset({ stream: definition.name, definition, task, dataset });
      return { task, dataset, metric, test, samples: counts['test'] };
    }),
  );
  const [zeroShot, evaluations] = await Promise.all([
    evaluateTasks(definition, null, tests),
    evaluateTasks(definition, bank, tests),
  ]);
  const { workflowId: id, runId } = workflowInfo();
  return data.publishStart({
    ...{ state, zeroShot, evaluations, publishedAt: new Date().toISOString(), workflow: { id, runId } },
    tests: tests.map(({ samples: _, ...test }) => test),
  });
}
