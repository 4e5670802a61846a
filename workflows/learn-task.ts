import {
  CancellationScope,
  CancelledFailure,
  condition,
  defineQuery,
  defineSignal,
  isCancellation,
  patched,
  setCurrentDetails,
  setHandler,
  upsertSearchAttributes,
  workflowInfo,
} from '@temporalio/workflow';
import type { Evaluated } from '../activities/evaluate-task.ts';
import type { Trained } from '../activities/train-task.ts';
import { type Budget, budgetReached } from '../core/cost.ts';
import { data, gpuActivities } from './activities.ts';
import {
  type FileRef,
  type GateReport,
  type LearnTaskInput,
  type LearnTaskResult,
  type Phase,
  type Progress,
  QUERIES,
  SIGNALS,
  type TaskDescription,
} from './contract.ts';
import { roundsOf } from './definition-contract.ts';
import { costAttributes, costLine, taskDetails } from './details.ts';
import { evaluateTasks, testOf } from './evaluation.ts';
import { explain, judge } from './gate.ts';
import { heard, isBudget, isDecision, isProgress } from './messages.ts';
import { trainInRounds } from './rounds.ts';
import { routeTasks } from './routing.ts';
import { mustKnow } from './schema.ts';
import { accounted, ledger, wasLost } from './usage.ts';

export const describeTaskQuery = defineQuery<TaskDescription>(QUERIES.describe);
export const pauseSignal = defineSignal(SIGNALS.pause);
export const resumeSignal = defineSignal(SIGNALS.resume);
export const progressSignal = defineSignal<[Progress]>(SIGNALS.progress);
export const gateDecisionSignal = defineSignal<[{ decision: 'approve' | 'reject'; reason?: string }]>(
  SIGNALS.gateDecision,
);
export const budgetSignal = defineSignal<[Budget]>(SIGNALS.budget);

/** Bank and scores after one way of training or regularizing. */
interface Candidate {
  readonly bank: FileRef;
  readonly evaluations: readonly Evaluated[];
  readonly report: GateReport;
}

/**
 * Learns one dataset: fetch, train, regularize, evaluate every task (and the new one on the base model), gate, publish. Child of
 * `stream`; only decides, all work is in activities. Nothing is visible to readers until `publishGeneration` moves the head.
 */
export async function learnTask(input: LearnTaskInput): Promise<LearnTaskResult> {
  mustKnow(input?.schema);
  return accounted(input.task, () => learn(input));
}

async function learn(input: LearnTaskInput): Promise<LearnTaskResult> {
  const { task, dataset, state, spent = {} } = input;
  const { definition, learned, matrix } = state;
  const stream = definition.name;
  const gpu = gpuActivities(definition);
  const root = CancellationScope.current();

  let phase: Phase = 'fetch-dataset';
  let progress: Progress | null = null;
  let note: string | null = null;
  let remark: string | null = null;
  let paused = false;
  let decision: { decision: 'approve' | 'reject'; reason?: string } | null = null;
  let budget = input.budget ?? {};
  let interrupt = () => {};
  const gate: GateReport[] = [];

  const cost = () => costLine(ledger.usage(), definition.prices);
  const show = () =>
    setCurrentDetails(taskDetails(task, paused ? 'paused' : phase, progress, gate, matrix, note ?? remark, cost()));
  const enter = (next: Phase) => {
    phase = next;
    progress = null;
    upsertSearchAttributes({ LiloraPhase: [next], ...costAttributes(ledger.usage(), definition.prices) });
    show();
  };
  setHandler(describeTaskQuery, () => {
    const usage = ledger.usage();
    return { stream, task, phase: paused ? 'paused' : phase, progress, gate, note: note ?? remark, usage };
  });
  setHandler(
    progressSignal,
    heard('progress', isProgress, (latest) => {
      progress = latest;
      ledger.hear(latest);
      if (overBudget()) interrupt();
      show();
    }),
  );
  setHandler(
    budgetSignal,
    heard('budget', isBudget, (raised) => {
      budget = raised;
      if (overBudget()) interrupt();
    }),
  );
  setHandler(
    gateDecisionSignal,
    heard('gateDecision', isDecision, (made) => {
      decision = made;
    }),
  );
  setHandler(pauseSignal, () => {
    paused = true;
    interrupt();
    show();
  });
  setHandler(resumeSignal, () => {
    paused = false;
    show();
  });

  const overBudget = () => budgetReached(budget, ledger.usage(), spent, definition.prices);

  /** Waits for a person while a budget is used up: it is raised, or the task is cancelled. */
  async function withinBudget(): Promise<void> {
    const why = overBudget();
    if (why === null) return;
    const before = phase;
    note = `${why} Raise it with \`lilora budget ${stream}\`, or cancel with \`lilora cancel ${stream} ${task}\`.`;
    enter('waiting-for-person');
    await condition(() => overBudget() === null);
    note = null;
    enter(before);
  }

  /** Runs GPU work; a pause or a used-up budget stops it at its last checkpoint, and it goes on from there. */
  async function pausable<T>(work: () => Promise<T>): Promise<T> {
    for (;;) {
      await condition(() => !paused);
      await withinBudget();
      let interrupted = false;
      try {
        return await CancellationScope.cancellable(() => {
          const scope = CancellationScope.current();
          interrupt = () => {
            interrupted = true;
            scope.cancel();
          };
          return work();
        });
      } catch (error) {
        // A worker that died does not confirm that it stops: its silence does.
        const stopped = isCancellation(error) || ((interrupted || root.consideredCancelled) && wasLost(error));
        if (!stopped) throw error;
        if (root.consideredCancelled) throw new CancelledFailure('Cancelled; nothing was published.');
      } finally {
        interrupt = () => {};
      }
    }
  }

  /** From zero, a gpu worker starts and loads the model while the dataset is fetched. */
  const starting = new CancellationScope();
  let started: Promise<unknown> = Promise.resolve();

  enter('fetch-dataset');
  const fetching = data.fetchDataset({ stream, definition, task, dataset });
  // What fails here fails once more in training, which says so.
  if (input.fromZero && !paused && overBudget() === null)
    started = starting.run(() => gpu.warmModel({ definition })).catch(() => undefined);
  const prepared = await fetching.catch((error) => {
    starting.cancel();
    throw error;
  });

  const { test, metric, counts } = prepared;
  const leftOut = counts['left out'] ?? 0;
  if (leftOut > 0)
    remark = `${leftOut} training sample(s) are left out: their answers carry no loss with this model. \`lilora validate --model\` names them.`;
  const own = { task, test, metric, samples: counts['test'] };
  const tests = [...learned.map((earlier) => testOf(earlier, definition)), own];

  const scoreBaseModel = async () => (await evaluateTasks(definition, null, [own]))[0]!;
  let zeroShot: Evaluated | null = null;
  // Nothing but the gate asks for it; older versions had it before training.
  if (!patched('train-before-the-base-model-is-scored')) {
    enter('score-base-model');
    zeroShot = await pausable(scoreBaseModel);
  }

  /** Evaluates every task on a bank, side by side, and once the new one on the base model, and puts the scores before the gate. */
  async function assess(attempt: string, bank: FileRef): Promise<Candidate> {
    enter('evaluate');
    // By itself: a second task in the queue starts a second worker where workers start by themselves.
    zeroShot ??= await pausable(scoreBaseModel);
    const evaluations = await pausable(() => evaluateTasks(definition, bank, tests));
    const report = judge(attempt, definition.gate, learned, matrix, evaluations, task, zeroShot.score);
    gate.push(report);
    enter('gate');
    return { bank, evaluations, report };
  }

  /** What earlier tasks learned from, where the method learns from it again. */
  function rehearsed() {
    if (!state.abilities.rehearses) return {};
    return { rehearsed: learned.map(({ task, train }) => ({ task, train: train! })) };
  }

  async function train(safe: boolean): Promise<Trained> {
    enter('train');
    // Another task in the queue of a worker that is yet to come, or loads, would start a second one.
    await started;
    const input = { definition, bank: state.bank, task, train: prepared.train, safe, ...rehearsed() };
    if (!roundsOf(definition.training)) return pausable(() => gpu.trainTask(input));
    return trainInRounds({ ...input, samples: prepared.counts['train']! }, gpu, pausable, (latest) => {
      progress = latest;
      show();
    });
  }

  async function regularize(trained: FileRef, strength: number): Promise<FileRef> {
    const first = learned.length === 0 && !definition.start;
    if (!state.abilities.consolidates || first) return trained;
    enter('regularize-shared');
    const { bank } = await pausable(() =>
      gpu.regularizeShared({ definition, before: state.bank!, after: trained, task, train: prepared.train, strength }),
    );
    return bank;
  }

  let trained = await train(false);
  let candidate = await assess('trained', await regularize(trained.bank, 0));
  const over = () => candidate.report.verdict === 'over-budget';
  if (state.abilities.consolidates)
    for (const strength of definition.gate.consolidations)
      if (over()) candidate = await assess(`consolidated ${strength}`, await regularize(trained.bank, strength));
  if (over() && definition.gate.whenOver === 'safe' && state.abilities.hasSafeMode) {
    trained = await train(true);
    candidate = await assess('safe', trained.bank);
  }

  if (candidate.report.verdict !== 'pass') {
    const why = explain(candidate.report, definition.gate);
    let made: { decision: 'approve' | 'reject'; reason?: string } = { decision: 'reject', reason: why };
    if (definition.gate.whenOver === 'ask') {
      note = `${why} Approve with \`lilora approve ${stream} ${task}\`, or reject.`;
      enter('waiting-for-person');
      await condition(() => decision !== null);
      made = decision!;
      note = null;
    }
    if (made.decision === 'reject') {
      enter('idle');
      return { task, outcome: 'rejected', state, reason: made.reason ?? why };
    }
  }

  const { bank, evaluations } = candidate;
  const { router } = definition;
  if (router !== undefined) enter('evaluate');
  const routing =
    router &&
    (await pausable(() =>
      routeTasks(definition, router, bank, learned, { ...own, train: prepared.train }, evaluations),
    ));

  enter('publish');
  const published = await CancellationScope.nonCancellable(() =>
    data.publishGeneration({
      state,
      task,
      dataset,
      metric,
      test,
      ...(state.abilities.rehearses && { train: prepared.train }),
      metrics: trained.metrics,
      engine: trained.engine,
      bank,
      zeroShot: zeroShot!,
      evaluations,
      ...(routing && { routing }),
      gate,
      publishedAt: new Date().toISOString(),
      workflow: { id: workflowInfo().workflowId, runId: workflowInfo().runId },
      usage: { task: ledger.usage(), before: spent },
    }),
  );
  enter('idle');
  return { task, outcome: 'published', state: published };
}
