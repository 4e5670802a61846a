import type { SearchAttributes } from '@temporalio/common';
import { costNumbers, type PriceTable, type Usage } from '../core/cost.ts';
import type { GateReport, Matrix, Phase, Progress, StreamState, TaskLine, Trouble } from './contract.ts';

/** Markdown for the Temporal UI. Kept here because workflows import nothing but the contract. */

/** Text of others (file names, ids, addresses, answers), on one line, that becomes neither markup nor a link. */
export const plain = (text: string) =>
  text
    .replace(/\s+/g, ' ')
    .replace(/[\\`*_{}[\]<>#|~&]/g, '\\$&')
    .replace(/\b(?:https?|ftp):(?=\/\/)|\bwww(?=\.)/gi, '$&\\');

const PHASES: Record<Phase, string> = {
  'fetch-dataset': 'Checking and preparing the dataset',
  'score-base-model': 'Scoring the base model on it',
  train: 'Training the task’s own factors',
  'regularize-shared': 'Regularizing the shared factors',
  evaluate: 'Evaluating every task learned',
  gate: 'At the gate',
  'waiting-for-person': '**Waiting for a person**',
  publish: 'Publishing the generation',
  paused: '**Paused**',
  idle: 'Idle: waiting for a dataset',
};

/** The accuracy matrix as a table: one row per generation, one column per task, then its average. */
export function matrixTable(matrix: Matrix): string {
  if (matrix.rows.length === 0) return '_Nothing learned yet._';
  // The UI shows tables without space between columns: the heads bring it along.
  const head = `| after learning | ${[...matrix.tasks, 'average'].map((name) => `\u2003${name}`).join(' | ')} |`;
  const rule = `| --- |${' ---: |'.repeat(matrix.tasks.length + 1)}`;
  const cells = (row: readonly number[]) => matrix.tasks.map((_, j) => row[j]?.toFixed(1) ?? '').join(' | ');
  const average = (row: readonly number[]) => (row.reduce((a, b) => a + b, 0) / row.length).toFixed(1);
  const lines = matrix.rows.map((row, i) => `| ${matrix.tasks[i]} | ${cells(row)} | ${average(row)} |`);
  return [head, rule, `| _base model_ | ${cells(matrix.zeroShot)} | ${average(matrix.zeroShot)} |`, ...lines].join(
    '\n',
  );
}

/** What was used so far, in a line; empty before anything was measured. */
export function costLine(usage: Usage, prices: PriceTable | undefined): string {
  const { billedSeconds, usefulSeconds, bytesRead, bytesWritten, money } = costNumbers(usage, prices);
  if (billedSeconds === 0) return '';
  return [
    `${billedSeconds.toFixed(1)} GPU-seconds, ${usefulSeconds.toFixed(1)} of them useful`,
    `${(bytesRead / 1e9).toFixed(3)} GB read, ${(bytesWritten / 1e9).toFixed(3)} GB written`,
    ...(money === null ? [] : [`about ${Number(money.toPrecision(3))} ${prices?.currency}`]),
  ].join('; ');
}

/** What a usage adds to the search attributes of a workflow. */
export function costAttributes(usage: Usage, prices: PriceTable | undefined): Record<string, number[]> {
  const { billedSeconds, money } = costNumbers(usage, prices);
  if (billedSeconds === 0) return {};
  return { LiloraGpuSeconds: [Math.round(billedSeconds)], ...(money === null ? {} : { LiloraCost: [money] }) };
}

/** Search attributes of a stream that waits for a dataset. */
export function streamAttributes({ definition, matrix: { rows } }: StreamState, usage: Usage): SearchAttributes {
  const mean = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length;
  const last = rows.at(-1);
  const lost = last?.slice(0, -1).map((now, j) => Math.max(...rows.slice(j).map((row) => row[j]!)) - now);
  return {
    LiloraStream: [definition.name],
    LiloraMethod: [definition.method.name],
    LiloraPhase: ['idle'],
    ...(last && { LiloraAverageAccuracy: [mean(last)] }),
    ...costAttributes(usage, definition.prices),
    ...(lost?.length && { LiloraForgetting: [mean(lost)] }),
  };
}

/** Current details of a stream. */
export function streamDetails(
  state: StreamState | null,
  tasks: readonly TaskLine[],
  paused: boolean,
  running: string | null,
  trouble: Trouble | null,
  cost = '',
): string {
  const status = running ? `Learning **${running}**` : paused ? PHASES.paused : PHASES.idle;
  const waiting = tasks.filter(({ status }) => status === 'queued').map(({ task }) => task);
  const troubles = tasks.filter(({ message }) => message).slice(-5);
  return [
    `${status}${paused && running ? ' (**paused**)' : ''}${waiting.length > 0 ? `; waiting: ${waiting.join(', ')}` : ''}`,
    trouble && `**Waiting since ${trouble.since.slice(0, 16)}Z** and trying again: ${plain(trouble.message)}`,
    state?.head ? `Published: **generation ${state.head.generation}**` : 'Nothing published yet.',
    state ? matrixTable(state.matrix) : '',
    cost && `Used so far: ${cost}`,
    ...troubles.map(({ task, status, message }) => `- **${task}** ${status}: ${plain(message!)}`),
  ]
    .filter((part) => part)
    .join('\n\n');
}

const scoreText = ({ now, sampled }: GateReport['scores'][number]) =>
  `${now.toFixed(1)}${sampled ? ` ± ${sampled.standardError.toFixed(1)}` : ''}`;

const roundText = ({ round, rounds }: Progress) => (round === undefined ? '' : `round ${round} of ${rounds}, `);

/** Current details of a learn-task workflow. */
export function taskDetails(
  task: string,
  phase: Phase,
  progress: Progress | null,
  gate: readonly GateReport[],
  matrix: Matrix,
  note: string | null,
  cost = '',
): string {
  const loss = progress?.loss == null ? '' : `, loss ${progress.loss.toFixed(4)}`;
  const measuring = progress?.measuring ? ', measuring' : '';
  const steps = progress ? `${roundText(progress)}step ${progress.step} of ${progress.steps}${loss}${measuring}` : '';
  const gates = gate.map(
    (report) =>
      `| ${report.attempt} | ${report.scores.map(scoreText).join(' | ')} | ${report.worstLoss.toFixed(1)} | ${report.gain.toFixed(1)} | ${report.verdict} |`,
  );
  const names = gate[0]?.scores.map(({ task: name }) => name) ?? [];
  return [
    `Task **${task}**: ${PHASES[phase]}${steps ? ` (${steps})` : ''}`,
    note ?? '',
    gate.length > 0
      ? [
          `| gate | ${names.join(' | ')} | worst loss | gain | verdict |`,
          `| --- |${' ---: |'.repeat(names.length + 2)} --- |`,
          ...gates,
        ].join('\n')
      : '',
    cost && `Used so far: ${cost}`,
    matrix.rows.length > 0 ? `Published so far:\n\n${matrixTable(matrix)}` : '',
  ]
    .filter((part) => part !== '')
    .join('\n\n');
}
