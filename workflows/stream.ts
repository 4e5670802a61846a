import {
  allHandlersFinished,
  CancellationScope,
  type ChildWorkflowHandle,
  condition,
  continueAsNew,
  defineQuery,
  defineSignal,
  defineUpdate,
  isCancellation,
  ParentClosePolicy,
  patched,
  setCurrentDetails,
  setHandler,
  startChild,
  upsertSearchAttributes,
  workflowInfo,
} from '@temporalio/workflow';
import type { TaskRemoval } from '../activities/remove-task.ts';
import type { Budget } from '../core/cost.ts';
import { data, priorityOf, upkeep } from './activities.ts';
import { adoptBank } from './adopt.ts';
import { changedBudget, checkLimits } from './budget.ts';
import {
  type DecideGate,
  NAME_PATTERN,
  QUERIES,
  type RaiseBudget,
  SCHEMA,
  SIGNALS,
  type StreamDescription,
  type StreamInput,
  type StreamState,
  type Submission,
  type SubmitTask,
  type TaskLine,
  taskWorkflowId,
  UPDATES,
} from './contract.ts';
import { costLine, plain, streamAttributes, streamDetails } from './details.ts';
import { causeOf } from './failures.ts';
import { budgetSignal, gateDecisionSignal, learnTask, pauseSignal, resumeSignal } from './learn-task.ts';
import {
  checkCompaction,
  checkDecision,
  checkGeneration,
  checkSubmission,
  heard,
  isTaskUsage,
  refuse,
  taskOf,
} from './messages.ts';
import { Patience } from './patience.ts';
import type { Compacted, CompactRequest } from './schedule-contract.ts';
import { mustKnow } from './schema.ts';
import { ledger, taskUsageSignal } from './usage.ts';

export const submitTaskUpdate = defineUpdate<Submission, [SubmitTask]>(UPDATES.submitTask);
export const decideGateUpdate = defineUpdate<void, [DecideGate]>(UPDATES.decideGate);
export const cancelTaskUpdate = defineUpdate<void, [{ task: string }]>(UPDATES.cancelTask);
export const rollbackUpdate = defineUpdate<StreamDescription, [{ generation: number }]>(UPDATES.rollback);
export const removeTaskUpdate = defineUpdate<TaskRemoval, [{ task: string }]>(UPDATES.removeTask);
export const raiseBudgetUpdate = defineUpdate<Budget, [RaiseBudget]>(UPDATES.raiseBudget);
export const compactUpdate = defineUpdate<Compacted, [CompactRequest]>(UPDATES.compact);
export const describeStreamQuery = defineQuery<StreamDescription>(QUERIES.describe);
export const streamPauseSignal = defineSignal(SIGNALS.pause);
export const streamResumeSignal = defineSignal(SIGNALS.resume);

/** A run rolls over after this many tasks, or when the server suggests it. */
const TASKS_PER_RUN = 20;
/** Finished lines that are carried over and shown. */
const KEPT_LINES = 100;

/**
 * One model line. Takes datasets by update, learns them one after another in child workflows (the shared factors are one
 * thing), and rolls over by continue-as-new. What it learned is read back from the store, so it carries only its queue.
 */
export async function stream(input: StreamInput): Promise<void> {
  const name = input?.definition?.name;
  mustKnow(input?.schema);
  if (typeof name !== 'string' || !NAME_PATTERN.test(name))
    throw refuse(`"${name}" is no stream name: use a-z, 0-9 and -, at most 63 characters.`);

  let paused = input.carried?.paused ?? false;
  let tasks: TaskLine[] = [...(input.carried?.tasks ?? [])];
  let state: StreamState | null = null;
  let running: {
    task: string;
    handle: ChildWorkflowHandle<typeof learnTask> | null;
    scope: CancellationScope | null;
  } | null = null;
  let learnedInThisRun = 0;
  let busy = false; // the head is moved, or a compaction removes files: no task may start meanwhile

  let budget: Budget = input.carried?.budget ?? input.definition.budget ?? {};
  ledger.carry(input.carried?.usage);

  const cost = () => costLine(ledger.usage(), state?.definition.prices);
  const show = () =>
    setCurrentDetails(streamDetails(state, tasks, paused, running?.task ?? null, patience.trouble, cost()));
  const patience = new Patience(() => show());
  const line = (task: string) => tasks.findLast((t) => t.task === task);
  const set = (task: string, change: Partial<TaskLine>) => {
    const index = tasks.findLastIndex((t) => t.task === task);
    tasks[index] = { ...tasks[index]!, ...change };
    show();
  };
  const describe = (): StreamDescription => ({
    stream: name,
    paused,
    head: state?.head ?? null,
    tasks,
    matrix: state?.matrix ?? { tasks: [], zeroShot: [], rows: [] },
    ...(state?.routing && { routing: state.routing }),
    definition: state?.definition ?? null,
    ...(patience.trouble && { trouble: patience.trouble }),
    usage: ledger.usage(),
    budget,
  });

  setHandler(describeStreamQuery, describe);
  setHandler(streamPauseSignal, async () => {
    paused = true;
    show();
    await running?.handle?.signal(pauseSignal);
  });
  setHandler(streamResumeSignal, async () => {
    paused = false;
    patience.hurry();
    show();
    await running?.handle?.signal(resumeSignal);
  });

  setHandler(
    submitTaskUpdate,
    async ({ dataset, task: wanted }) => {
      await condition(() => state !== null);
      const found = await data.inspectDataset({ stream: name, dataset, gpuQueue: state!.definition.gpuQueue });
      const task = wanted ?? found.name;
      const open = (t: TaskLine) => t.status === 'queued' || t.status === 'running' || t.status === 'published';
      const same = tasks.findLast((t) => t.datasetDigest === found.digest && open(t));
      if (same) return { ...answer(same), duplicate: true };
      const learned = state!.learned.find((t) => t.dataset.digest === found.digest);
      if (learned)
        return {
          ...answer({
            task: learned.task,
            dataset,
            datasetDigest: found.digest,
            status: 'published',
            generation: learned.generation,
          }),
          duplicate: true,
        };
      // Written anew before its turn came: the task learns the newer version.
      const waiting = line(task)?.status === 'queued' && line(task)?.dataset === found.uri;
      if (waiting && patched('newer-version-of-a-queued-dataset')) {
        set(task, { datasetDigest: found.digest, fromZero: found.fromZero });
        return { ...answer(line(task)!), duplicate: false };
      }
      const taken = [...tasks.filter(open), ...state!.learned].some((t) => t.task === task);
      if (taken || state!.definition.start?.tasks.includes(task))
        throw refuse(
          `Stream ${name} already has a task "${task}", from another dataset. Give this one another name with --task.`,
          'Conflict',
        );
      const { uri, digest, fromZero } = found;
      const added: TaskLine = { task, dataset: uri, datasetDigest: digest, fromZero, status: 'queued' };
      tasks = [...tasks.filter((t) => t.task !== task), added];
      show();
      return { ...answer(added), duplicate: false };
    },
    { validator: checkSubmission },
  );
  const answer = (t: TaskLine) => ({
    task: t.task,
    workflowId: taskWorkflowId(name, t.task),
    datasetDigest: t.datasetDigest,
    status: t.status,
    generation: t.generation,
    message: t.message,
  });

  setHandler(
    decideGateUpdate,
    async ({ decision, reason }) => {
      await running!.handle!.signal(gateDecisionSignal, { decision, reason });
    },
    {
      validator: (made) => {
        const task = taskOf(made);
        checkDecision(made);
        if (running?.task !== task || !running?.handle)
          throw refuse(`Task "${task}" is not running: nothing waits at its gate.`, 'NotFound');
      },
    },
  );
  setHandler(
    raiseBudgetUpdate,
    async (changes) => {
      await condition(() => state !== null);
      budget = changedBudget(budget, changes, state!.definition);
      await running?.handle?.signal(budgetSignal, budget);
      return budget;
    },
    { validator: checkLimits },
  );
  // What a task used that ended without a result.
  setHandler(
    taskUsageSignal,
    heard('taskUsage', isTaskUsage, ({ task, usage }) => {
      ledger.carry(usage);
      if (line(task)) set(task, { usage });
    }),
  );
  setHandler(
    cancelTaskUpdate,
    ({ task }) => {
      if (running?.task === task) running.scope?.cancel();
      else set(task, { status: 'cancelled', message: 'Cancelled before it started.' });
    },
    {
      validator: (wanted) => {
        const task = taskOf(wanted);
        if (running?.task !== task && line(task)?.status !== 'queued')
          throw refuse(`Task "${task}" is neither queued nor running.`, 'NotFound');
      },
    },
  );
  /** Work that moves the head: no task runs or starts meanwhile. @param then what to do after what is in the way */
  async function alone<T>(then: string, work: (state: StreamState) => Promise<T>): Promise<T> {
    await condition(() => state !== null);
    if (busy) throw refuse(`The head is being moved or the stream compacted: wait, then ${then}.`, 'Conflict');
    if (running) throw refuse(`A task is running: cancel it or wait, then ${then}.`, 'Conflict');
    busy = true;
    try {
      return await work(state!);
    } finally {
      busy = false;
    }
  }

  setHandler(
    rollbackUpdate,
    ({ generation }) =>
      alone('roll back', async (before) => {
        state = await data.rollbackStream({ state: before, generation });
        const kept = new Set(state.learned.map((t) => t.task));
        tasks = tasks.map((t) =>
          t.status === 'published' && !kept.has(t.task)
            ? { ...t, status: 'rejected', message: `Rolled back to generation ${generation}.` }
            : t,
        );
        publishAttributes();
        show();
        return describe();
      }),
    { validator: checkGeneration },
  );

  setHandler(
    removeTaskUpdate,
    ({ task }) =>
      alone('remove', async (before) => {
        const { workflowId: id, runId } = workflowInfo();
        const removed = await data.removeTask({
          state: before,
          task,
          removedAt: new Date().toISOString(),
          workflow: { id, runId },
        });
        state = removed.state;
        tasks = tasks.filter((t) => t.task !== task);
        publishAttributes();
        show();
        return removed.removal;
      }),
    { validator: (wanted) => void taskOf(wanted) },
  );

  setHandler(
    compactUpdate,
    async (request) => {
      await condition(() => state !== null);
      while (busy) await condition(() => !busy);
      busy = true;
      try {
        const openTasks = tasks.filter((t) => t.status === 'queued' || t.status === 'running').map((t) => t.task);
        return await upkeep.compactStream({ stream: name, openTasks, request });
      } finally {
        busy = false;
      }
    },
    { validator: checkCompaction },
  );

  const publishAttributes = () => upsertSearchAttributes(streamAttributes(state!, ledger.usage()));

  /** Reads the stream anew after a task failed: what it began to publish, or published without our hearing of it, is there. */
  async function reopen(task: string): Promise<void> {
    state = await patience.until(() => data.openStream({ definition: input.definition }));
    const learned = state.learned.find((each) => each.task === task);
    if (learned) set(task, { status: 'published', generation: learned.generation });
  }

  /** Learns one queued task in a child workflow and files its outcome; a failure never stops the stream. */
  async function learn(next: TaskLine): Promise<void> {
    const { task } = next;
    set(task, { status: 'running' });
    const scope = new CancellationScope();
    running = { task, handle: null, scope };
    const given = budget;
    try {
      const result = await scope.run(async () => {
        const handle = await startChild(learnTask, {
          workflowId: taskWorkflowId(name, task),
          args: [
            {
              schema: SCHEMA,
              task,
              dataset: { uri: next.dataset, digest: next.datasetDigest },
              state: state!,
              fromZero: next.fromZero,
              spent: ledger.usage(),
              budget: given,
            },
          ],
          parentClosePolicy: ParentClosePolicy.REQUEST_CANCEL,
          workflowIdReusePolicy: 'ALLOW_DUPLICATE',
          priority: priorityOf(state!.definition), // its activities on the data queue inherit it
          searchAttributes: { LiloraStream: [name], LiloraTask: [task], LiloraMethod: [state!.definition.method.name] },
          staticSummary: `Learn ${task} in stream ${name}`,
          staticDetails: `Dataset ${plain(next.dataset)}, digest ${next.datasetDigest}`,
        });
        running = { task, handle, scope };
        if (paused) await handle.signal(pauseSignal);
        if (budget !== given) await handle.signal(budgetSignal, budget);
        return handle.result();
      });
      state = result.state;
      ledger.carry(result.usage);
      set(task, { usage: result.usage });
      if (result.outcome === 'published') set(task, { status: 'published', generation: state.head!.generation });
      else set(task, { status: 'rejected', message: result.reason });
    } catch (error) {
      if (isCancellation(error)) {
        set(task, { status: 'cancelled', message: 'Cancelled; nothing was published.' });
        if (CancellationScope.current().consideredCancelled) throw error;
      } else {
        running = { task, handle: null, scope: null }; // its child has ended: nobody signals or cancels it
        const { type, message } = causeOf(error);
        set(task, { status: type === 'BadDataset' ? 'refused' : 'failed', message: `${type}: ${message}` });
        // Its publication may have got as far as files under its number, or even the head.
        if (type !== 'BadDataset' && patched('reopen-after-a-failure')) await reopen(task);
      }
    } finally {
      running = null;
      learnedInThisRun++;
    }
    publishAttributes();
    show();
  }

  show();
  const open = async () => adoptBank(await data.openStream({ definition: input.definition }));
  // Whoever creates a stream hears at once what is wrong with it; one that has run before waits with its queue.
  state = await (input.carried ? patience.until(open) : open());
  if (!input.carried) ledger.carry(state.spent);
  publishAttributes();
  show();

  const next = () => tasks.find((t) => t.status === 'queued');
  const rollOver = () => learnedInThisRun >= TASKS_PER_RUN || workflowInfo().continueAsNewSuggested;
  while (!rollOver()) {
    await condition(() => (!paused && !busy && next() !== undefined) || workflowInfo().continueAsNewSuggested);
    const task = next();
    if (task && !paused && !busy) await learn(task);
  }
  await condition(allHandlersFinished);
  const queued = tasks.filter((t) => t.status === 'queued');
  const done = tasks.filter((t) => t.status !== 'queued').slice(-KEPT_LINES);
  await continueAsNew<typeof stream>({
    ...input,
    carried: { paused, tasks: [...done, ...queued], usage: ledger.usage(), budget },
  });
}
