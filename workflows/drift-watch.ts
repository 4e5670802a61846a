import {
  ActivityFailure,
  ApplicationFailure,
  isCancellation,
  setCurrentDetails,
  upsertSearchAttributes,
} from '@temporalio/workflow';
import { data, priorityOf, upkeep } from './activities.ts';
import { costAttributes, costLine } from './details.ts';
import { noiseOf } from './drift.ts';
import { evaluateTasks, type Test } from './evaluation.ts';
import type { DriftMeasurement, DriftReport, DriftWatchInput, FreshTests } from './schedule-contract.ts';
import { driftDetails, driftMessage } from './schedule-details.ts';
import { mustKnow } from './schema.ts';
import { ledger } from './usage.ts';

type Fresh = FreshTests['fresh'][number];

/**
 * Tests the published generation of a stream on newer test data of its tasks. When a task scores worse than it did by
 * more than the limit, and by more than chance, the run fails with `Drifted`: a state that people see, filter and alert
 * on. The stream itself is never touched.
 */
export async function driftWatch(input: DriftWatchInput): Promise<DriftReport> {
  mustKnow(input?.schema);
  const { stream, prefix, limit } = input;
  upsertSearchAttributes({ LiloraStream: [stream] });
  const tests = await upkeep.findFreshTests({ stream, prefix, limit });
  let report: DriftReport = {
    generation: tests?.generation ?? null,
    limit: tests?.limit ?? limit ?? 0,
    measured: [],
    unmeasured: [],
  };
  const show = (more: Partial<DriftReport> = {}) => {
    report = { ...report, ...more };
    setCurrentDetails(driftDetails(input, report, tests, costLine(ledger.usage(), tests?.definition.prices)));
  };
  show();
  if (!tests) return report;

  const prepared = await Promise.all(tests.fresh.map((fresh) => prepare(tests, fresh)));
  show({ unmeasured: prepared.flatMap((made) => ('message' in made ? [made] : [])) });
  const usable = prepared.flatMap((made) => ('test' in made ? [made] : []));
  const { definition, bank } = tests;
  const background = priorityOf(definition, 'background');
  const evaluations = await evaluateTasks(
    definition,
    bank,
    usable.map(({ test }) => test),
    background,
  );
  show({ measured: usable.map(({ fresh }, i) => compare(tests, fresh, evaluations[i]!)) });

  const { measured } = report;
  if (measured.length === 0) return report;
  upsertSearchAttributes({
    ...costAttributes(ledger.usage(), definition.prices),
    LiloraDrift: [Math.round(Math.max(...measured.map(({ published, now }) => published - now)))],
  });
  await upkeep.recordDrift({ stream, measured });
  const over = measured.filter((measurement) => measurement.over);
  if (over.length > 0)
    throw ApplicationFailure.nonRetryable(driftMessage(stream, report.limit, over), 'Drifted', report);
  return report;
}

/** Prepares fresh data as a task would; what cannot be compared with the task is told, and others go on. */
async function prepare(
  { definition }: FreshTests,
  fresh: Fresh,
): Promise<{ fresh: Fresh; test: Test } | DriftReport['unmeasured'][number]> {
  const { learned, dataset } = fresh;
  const { task, metric } = learned;
  const refuse = (message: string) => ({ task, uri: dataset.uri, message });
  try {
    const prepared = await data.fetchDataset({ stream: definition.name, definition, task, dataset });
    if (prepared.test.sha256 === learned.test.sha256)
      return refuse('Its test split is the one that the task was tested on.');
    if (prepared.metric !== metric)
      return refuse(`It is scored by ${prepared.metric}, the task by ${metric}: they cannot be compared.`);
    return { fresh, test: { task, metric, test: prepared.test, samples: prepared.counts['test'] } };
  } catch (error) {
    if (!(error instanceof ActivityFailure) || isCancellation(error)) throw error;
    return refuse(error.cause?.message ?? error.message);
  }
}

/** Sets the score on fresh data beside the published one. */
function compare(
  { generation, limit, standardErrors }: FreshTests,
  { learned, dataset, published, count: before }: Fresh,
  { score: now, count }: { readonly score: number; readonly count: number },
): DriftMeasurement {
  const noise = noiseOf({ score: published, count: before }, { score: now, count }, standardErrors);
  const lost = published - now;
  const { uri, digest } = dataset;
  const over = lost > limit && lost > noise;
  const measuredAt = new Date().toISOString();
  return { task: learned.task, generation, dataset: { uri, digest }, published, now, count, noise, over, measuredAt };
}
