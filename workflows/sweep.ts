import { setCurrentDetails, upsertSearchAttributes } from '@temporalio/workflow';
import { upkeep } from './activities.ts';
import type { SweepInput, SweepResult, SweptDataset } from './schedule-contract.ts';
import { sweepDetails } from './schedule-details.ts';
import { mustKnow } from './schema.ts';

/**
 * Looks under a prefix for datasets that a stream has not learned, and submits them, oldest first, at most `limit` in one
 * run. A dataset version is submitted once: what was refused, rejected or cancelled is left to a person.
 */
export async function sweep(input: SweepInput): Promise<SweepResult> {
  mustKnow(input?.schema);
  const { stream, prefix, limit } = input;
  upsertSearchAttributes({ LiloraStream: [stream] });
  const { fresh, left, known } = await upkeep.findDatasets({ stream, prefix, limit });
  const datasets: SweptDataset[] = [];
  const show = () => setCurrentDetails(sweepDetails(input, { datasets, left, known }, fresh.length));
  show();
  for (const dataset of fresh) {
    datasets.push(await upkeep.submitDataset({ stream, dataset }));
    show();
  }
  return { datasets, left, known };
}
