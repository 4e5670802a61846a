import type { ResolvedStream } from '../workflows/contract.ts';
import { beat, cancellation, type GpuContext } from './context.ts';
import { engineModel } from './model-folder.ts';

/** Has this worker's engine load the base model of a stream, so that the step after it need not. */
export async function warmModel(
  context: GpuContext,
  { definition }: { definition: ResolvedStream },
): Promise<{ digest: string }> {
  const model = await engineModel(context, definition);
  await context.engine.run('warm', { model }, { signal: cancellation(context), onProgress: beat });
  return { digest: model.digest };
}
