import { CancelledFailure, Context } from '@temporalio/activity';
import { z } from 'zod';
import { DEFAULTS } from '../core/defaults.ts';
import { LiloraError } from '../core/errors.ts';
import { canonicalJson, parseJson } from '../core/json.ts';
import {
  carryOut,
  planShared,
  planStream,
  type Removal,
  type RemovalPlan,
  reportsFolder,
} from '../store/compaction.ts';
import { streamsIn } from '../store/references.ts';
import { NAME_PATTERN, UPDATES } from '../workflows/contract.ts';
import type { Compacted, CompactRequest, RetentionSettings } from '../workflows/schedule-contract.ts';
import { askStream } from './ask-stream.ts';
import { beat, beating, type DataContext } from './context.ts';

const DAY = 24 * 3600 * 1000;
/** Objects that one run removes from one place at most; the rest goes next time. */
const MOST = 50_000;

/** Streams of the store by name, a page at a time. */
export async function listStreams(
  { store }: DataContext,
  { after, most }: { after: string; most: number },
): Promise<string[]> {
  const streams = (await streamsIn(store)).filter((name) => name > after && NAME_PATTERN.test(name));
  return streams.sort().slice(0, most);
}

const amount = z.number().min(0);
const Settings = z.object({
  keepGenerations: amount.int().default(DEFAULTS['compact.keepGenerations'].value),
  taskDays: amount.default(DEFAULTS['compact.taskDays'].value),
  cacheDays: amount.default(DEFAULTS['compact.cacheDays'].value),
  cacheBytes: amount.default(DEFAULTS['compact.cacheBytes'].value),
  uploadDays: amount.default(DEFAULTS['compact.uploadDays'].value),
});

/** What compaction keeps, checked, with every default filled in. */
export async function retentionSettings(_: DataContext, given: Partial<RetentionSettings>): Promise<RetentionSettings> {
  const checked = Settings.safeParse(given);
  if (!checked.success) throw new LiloraError('BadConfig', `Compaction: ${z.prettifyError(checked.error)}`);
  return checked.data;
}

/** Asks a stream to compact itself: only it can tell that no task begins and no rollback comes in between. */
export async function requestCompaction(
  _: DataContext,
  { stream, request }: { stream: string; request: CompactRequest },
): Promise<Compacted> {
  const answer = await askStream<Compacted, CompactRequest>(
    stream,
    UPDATES.compact,
    request,
    `compact-${request.run.id}`,
  );
  const message = 'The stream does not run: nothing of it was looked at.';
  return answer ?? { stream, removed: [], report: null, message };
}

/** Compacts one stream; the stream's own workflow calls it. */
export async function compactStream(
  context: DataContext,
  { stream, openTasks, request }: { stream: string; openTasks: readonly string[]; request: CompactRequest },
): Promise<Compacted> {
  const { keepGenerations, taskDays } = request.settings;
  return perform(context, stream, request, () =>
    planStream(context.store, stream, {
      keepGenerations,
      before: daysBefore(request, taskDays),
      openTasks,
      keepMeasurements: DEFAULTS['drift.history'].value,
      reportsBefore: daysBefore(request, DEFAULTS['compact.reportDays'].value),
    }),
  );
}

/** Compacts what all streams share: caches, and uploads that never ended. */
export async function compactShared(
  context: DataContext,
  { request }: { request: CompactRequest },
): Promise<Compacted> {
  const { cacheDays, cacheBytes, uploadDays } = request.settings;
  return perform(context, null, request, () =>
    planShared(context.store, {
      cacheBefore: daysBefore(request, cacheDays),
      cacheBytes,
      uploadsBefore: daysBefore(request, uploadDays),
      reportsBefore: daysBefore(request, DEFAULTS['compact.reportDays'].value),
      now: new Date(request.run.startedAt),
    }),
  );
}

const daysBefore = ({ run }: CompactRequest, days: number) => new Date(Date.parse(run.startedAt) - days * DAY);

/** What a compaction removes, and by whose order: in the store before the first object goes. */
interface Report {
  readonly schema: 1;
  readonly stream: string | null;
  readonly applied: boolean;
  readonly request: CompactRequest;
  readonly plan: RemovalPlan;
}

async function perform(
  { store }: DataContext,
  stream: string | null,
  request: CompactRequest,
  makePlan: () => Promise<RemovalPlan>,
): Promise<Compacted> {
  const { apply, run } = request;
  const key = `${reportsFolder(stream)}${run.startedAt.replaceAll(':', '')}-${run.id}.json`;
  // A repeated attempt carries out the plan of the first one, so that the report tells all that went.
  const earlier = (await store.head(key)) && (parseJson((await store.get(key)).bytes, key) as Report);
  const plan = earlier ? earlier.plan : cut(await beating(makePlan));
  if (plan.length === 0) return { stream, removed: [], report: null };
  const report: Report = { schema: 1, stream, applied: apply, request, plan };
  if (!earlier) await store.create(key, Buffer.from(canonicalJson(report)));
  let gone = 0;
  if (apply)
    await carryOut(store, plan, ({ key: removed }) => {
      beat({ gone: ++gone, removed });
      stopIfCancelled();
    });
  return { stream, removed: totals(plan.flat()), report: key };
}

/** The first so many removals: those that are left out only go later. */
function cut(plan: RemovalPlan): RemovalPlan {
  let left = MOST;
  const steps = plan.map((step) => {
    const taken = step.slice(0, left);
    left -= taken.length;
    return taken;
  });
  return steps.filter((step) => step.length > 0);
}

function totals(removals: readonly Removal[]): Compacted['removed'] {
  const found = new Map<string, { kind: string; count: number; bytes: number }>();
  for (const { kind, size } of removals) {
    const { count, bytes } = found.get(kind) ?? { count: 0, bytes: 0 };
    found.set(kind, { kind, count: count + 1, bytes: bytes + size });
  }
  return [...found.values()];
}

/** A stream that was terminated must not lose objects to an activity that it left behind. */
function stopIfCancelled(): void {
  let cancelled = false;
  try {
    cancelled = Context.current().cancellationSignal.aborted;
  } catch {
    // not inside an activity
  }
  if (cancelled) throw new CancelledFailure('Compaction was cancelled; what went before is in its report.');
}
