import { LiloraError } from '../../../core/errors.ts';
import type { Sample, Turn } from '../../../core/sample.ts';
import { Untrainable } from '../../problems.ts';
import type { Chat } from '../chat.ts';
import { mayBeChance, missingFrom, type Trace, tracesOf, unmarked, withMarks } from './traces.ts';

/** What a conversation says and the template does not write. */
export interface Dropped {
  /** Throws for everything but answers that are learned: what is served would be another conversation. */
  refuse(): void;
  /** Throws `Untrainable` for an answer that is learned. */
  refuseAnswers(): void;
}

/**
 * Compares what a template wrote with what it was given.
 * @param turns of the sample that were rendered
 * @param learns whether the answers are learned; else reasoning of earlier turns may be dropped, as it is when served
 */
export function droppedBy(
  chat: Chat,
  { id, tools }: Sample,
  turns: readonly Turn[],
  rendered: string,
  learns: boolean,
): Dropped {
  const traces = tracesOf(turns, tools).filter(({ kind }) => learns || kind !== 'reasoning');
  const isAnswer = ({ kind, turn }: Trace) =>
    learns && kind === 'text' && turns[turn!]!.role === 'assistant' && turns[turn!]!.loss !== false;
  const missing = missingFrom(rendered, traces);
  const short = traces.filter((trace) => mayBeChance(trace) && !isAnswer(trace));
  const dropped = missing.length > 0 || short.length === 0 ? missing : unmarkedOf(short);
  const refused = dropped.find((trace) => !isAnswer(trace));
  const answer = dropped.find(isAnswer);
  return {
    refuse() {
      if (refused) throw new LiloraError('BadDataset', `Sample ${id}: ${told(refused, turns)}`);
    },
    refuseAnswers() {
      if (answer) throw new Untrainable(`Sample ${id}: ${told(answer, turns)}`);
    },
  };

  function unmarkedOf(short: readonly Trace[]): Trace[] {
    try {
      return unmarked(chat(withMarks(turns), !learns, { tools }), short);
    } catch {
      // The template looks at what the texts say: marks are nothing to it.
      return [];
    }
  }
}

const OTHER = 'use a base model whose template writes it';

function told({ what, kind, turn }: Trace, turns: readonly Turn[]): string {
  const role = turn === undefined ? undefined : turns[turn]!.role;
  const remedies: Readonly<Record<string, string>> = {
    system: `Put its text before the first user turn's, or ${OTHER}.`,
    tool: `Leave such samples out, or ${OTHER}.`,
    reasoning: `Say "reasoning": "leave-out" in dataset.json, end the conversation with this turn, or ${OTHER}.`,
    call: `Leave such samples out, or ${OTHER}.`,
    tools: `Leave the tools out, or ${OTHER}.`,
  };
  const key = kind === 'tool' ? 'tools' : kind === 'text' ? role! : kind;
  const subject = kind === 'text' ? `${what} (${role})` : what;
  const remedy = remedies[key] ?? 'Rewrite it, or correct the chat template.';
  return `${subject} does not appear as it is in what the model's chat template writes. ${remedy}`;
}
