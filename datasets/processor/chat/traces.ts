import type { ToolCall, Turn } from '../../../core/sample.ts';
import { piecesOf } from './messages.ts';

/** A text that must appear in what the template writes. */
export interface Trace {
  /** What it is, for messages: `turn 2`, `the reasoning of turn 2`. */
  readonly what: string;
  readonly text: string;
  /** The turn, from 0; absent for tools. */
  readonly turn?: number;
  readonly kind: 'text' | 'reasoning' | 'call' | 'tool';
}

/** Every text of a conversation: of turns, reasoning, tool calls and tools. */
export function tracesOf(turns: readonly Turn[], tools: readonly object[] = []): Trace[] {
  const ofTurns = turns.flatMap((turn, k) => {
    const at = `turn ${k + 1}`;
    const texts = piecesOf(turn).map((text): Trace => ({ what: at, text, turn: k, kind: 'text' }));
    const { reasoning = '' } = turn;
    const thought: Trace = { what: `the reasoning of ${at}`, text: reasoning, turn: k, kind: 'reasoning' };
    const calls = (turn.toolCalls ?? []).flatMap((call) =>
      [call.name, ...leavesOf(call.arguments)].map(
        (text): Trace => ({ what: `the tool call ${call.name} of ${at}`, text, turn: k, kind: 'call' }),
      ),
    );
    return [...texts, thought, ...calls];
  });
  const ofTools = tools.map(nameOf).map((name): Trace => ({ what: `the tool ${name}`, text: name, kind: 'tool' }));
  return [...ofTurns, ...ofTools].filter(({ text }) => text.trim() !== '');
}

function leavesOf(value: unknown): string[] {
  if (typeof value === 'string') return [value];
  if (Array.isArray(value)) return value.flatMap(leavesOf);
  return typeof value === 'object' && value !== null ? Object.values(value).flatMap(leavesOf) : [];
}

/** `{"type": "function", "function": {"name": …}}`, or the function itself. */
function nameOf(tool: object): string {
  const { function: inner, name } = tool as { function?: { name?: unknown }; name?: unknown };
  return String(inner?.name ?? name ?? '');
}

const TAKEN = '\ufdd2';
/** Templates trim, indent and break lines: white space is layout. */
const squashed = (text: string) => text.replaceAll(/\s+/g, '');
const asJson = (text: string) => JSON.stringify(text).slice(1, -1);

/**
 * The texts that do not appear, white space aside, in what a template wrote, or within JSON there. Each stands for itself:
 * of two equal ones, two must appear.
 */
export function missingFrom(rendered: string, traces: readonly Trace[]): Trace[] {
  let rest = squashed(rendered);
  return traces
    .toSorted((a, b) => b.text.length - a.text.length)
    .filter(({ text, kind }) => {
      const wanted = [text, asJson(text)].map(squashed).find((form) => rest.includes(form));
      if (wanted === undefined) return true;
      // A tool's name may stand once for its description and for every call.
      if (kind === 'text' || kind === 'reasoning') rest = rest.replace(wanted, () => TAKEN);
      return false;
    });
}

/** Longer texts do not appear in a prompt by chance. In letters other than white space. */
const BY_CHANCE = 16;

/** Whether a text that appears may be another one's. */
export const mayBeChance = ({ text }: Trace) => squashed(text).length < BY_CHANCE;

/** Noncharacters around a number: what a template writes has none by chance. */
const markOf = (k: number) => `\ufdd3${k}\ufdd4`;

/** The turns with a mark after every text and every thought: what is short appears in a prompt by chance, a mark does not. */
export function withMarks(turns: readonly Turn[]): Turn[] {
  return turns.map((turn, k) => ({
    ...turn,
    ...(turn.text.trim() !== '' && { text: turn.text.trimEnd() + markOf(2 * k) }),
    ...(turn.reasoning && { reasoning: turn.reasoning + markOf(2 * k + 1) }),
  }));
}

/** The traces whose mark does not appear. */
export function unmarked(rendered: string, traces: readonly Trace[]): Trace[] {
  return traces.filter(({ kind, turn = 0 }) => {
    if (kind === 'call' || kind === 'tool') return false;
    return !rendered.includes(markOf(2 * turn + (kind === 'reasoning' ? 1 : 0)));
  });
}

/** Texts of tool calls and tools, which people wrote as well. */
export function toolTexts(calls: readonly ToolCall[] = [], tools: readonly object[] = []): string[] {
  return [...calls.flatMap((call) => [call.name, ...leavesOf(call.arguments)]), ...leavesOf(tools)];
}
