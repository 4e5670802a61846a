import { expect, it } from 'vitest';
import type { EngineProgress, TrainJob } from '../../activities/engine.ts';
import type { BaseModel } from '../../learning/model/model.ts';
import { trainingOf } from './training.ts';

it('tells that a method measures, before the steps and after them', async () => {
  const told: EngineProgress[] = [];
  const job = { task: 'dogs', method: { name: 'ewc', options: {} }, targets: 'all-linear', bank: null } as unknown;
  const model = { layers: [{ name: 'one', in: 2, out: 2 }] } as unknown as BaseModel;
  const data = { samples: [], rehearsed: [], features: () => null as never };
  const hooks = {
    signal: new AbortController().signal,
    onProgress: (progress: EngineProgress) => void told.push(progress),
  };
  const { run } = await trainingOf(job as TrainJob, model, data, hooks);
  run.onAlive!();
  run.onProgress({ step: 1, steps: 2, loss: 3 } as Parameters<typeof run.onProgress>[0]);
  run.onAlive!();
  expect(told).toEqual([
    { step: 0, steps: 0, loss: null, measuring: true },
    { step: 1, steps: 2, loss: 3 },
    { step: 1, steps: 2, loss: 3, measuring: true },
  ]);
});
