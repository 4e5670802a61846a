import { type Client, defaultPayloadConverter, WorkflowNotFoundError } from '@temporalio/client';
import {
  type Phase,
  type Progress,
  QUERIES,
  type StreamDescription,
  type TaskDescription,
  type TaskLine,
  taskWorkflowId,
} from '../workflows/contract.ts';
import { describeStream } from './connect.ts';

/** How long between two looks, in milliseconds. */
const INTERVAL = 700;

/** What is going on in a stream at one moment. */
export interface Moment {
  readonly stream: StreamDescription;
  /** The task that runs, with its phase and how far it is. */
  readonly running: (TaskDescription & { readonly phase: Phase }) | null;
}

export const PHASE_TEXT: Readonly<Record<Phase, string>> = {
  'fetch-dataset': 'checking and preparing the dataset',
  'score-base-model': 'scoring the base model',
  train: 'training',
  'regularize-shared': 'regularizing the shared factors',
  evaluate: 'evaluating every task',
  gate: 'at the gate',
  'waiting-for-person': 'waiting for a person',
  publish: 'publishing',
  paused: 'paused',
  idle: 'done',
};

/** Whether a task's outcome is known. */
export const settled = ({ status }: Pick<TaskLine, 'status'>) => status !== 'queued' && status !== 'running';

/** Looks once: the stream, its running task, and the newest heartbeat of the work that goes on. */
export async function look(client: Client, name: string): Promise<Moment> {
  const stream = await describeStream(client, name);
  const line = stream.tasks.find(({ status }) => status === 'running');
  return { stream, running: line ? await lookAtTask(client, name, line.task) : null };
}

async function lookAtTask(client: Client, stream: string, task: string): Promise<TaskDescription | null> {
  const handle = client.workflow.getHandle(taskWorkflowId(stream, task));
  try {
    const [description, { raw }] = await Promise.all([
      handle.query<TaskDescription>(QUERIES.describe),
      handle.describe(),
    ]);
    const beats = (raw.pendingActivities ?? []).map(({ heartbeatDetails }) =>
      progressOf(heartbeatDetails?.payloads?.[0]),
    );
    return { ...description, progress: beats.find((beat) => beat !== null) ?? description.progress };
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return null; // between two tasks
    throw error;
  }
}

function progressOf(payload: Parameters<typeof defaultPayloadConverter.fromPayload>[0] | undefined): Progress | null {
  if (!payload) return null;
  const beat = defaultPayloadConverter.fromPayload<Partial<Progress>>(payload);
  if (typeof beat?.step !== 'number' || typeof beat.steps !== 'number' || beat.steps === 0) return null;
  const { step, steps, round, rounds, measuring } = beat;
  const loss = typeof beat.loss === 'number' ? beat.loss : null;
  return {
    step,
    steps,
    loss,
    ...(measuring && { measuring }),
    ...(round !== undefined && rounds !== undefined && { round, rounds }),
  };
}

/** Looks again and again until `enough`; gives every moment. */
export async function* follow(
  client: Client,
  stream: string,
  enough: (moment: Moment) => boolean,
): AsyncGenerator<Moment> {
  for (;;) {
    const moment = await look(client, stream);
    yield moment;
    if (enough(moment)) return;
    await new Promise((wake) => setTimeout(wake, INTERVAL));
  }
}

/** A moment of a task in a few words. */
export function progressText({
  phase,
  progress,
  note,
}: Pick<TaskDescription, 'phase' | 'progress' | 'note'>): [string, string] {
  if (phase === 'waiting-for-person' && note) return [PHASE_TEXT[phase], note];
  if (!progress) return [PHASE_TEXT[phase], ''];
  const loss = progress.loss === null ? '' : `, loss ${progress.loss.toFixed(4)}`;
  const round = progress.round === undefined ? '' : `round ${progress.round} of ${progress.rounds}, step `;
  const measuring = progress.measuring ? ', measuring' : '';
  return [PHASE_TEXT[phase], `${round}${progress.step} of ${progress.steps}${loss}${measuring}`];
}

/** How a task ended, in one line. */
export function outcomeText({ task, status, generation, message }: TaskLine): string {
  const where = generation === undefined ? '' : ` as generation ${generation}`;
  return `${task}: ${status}${where}${message ? `: ${message}` : ''}`;
}
