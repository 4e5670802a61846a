import { LiloraError } from '../../core/errors.ts';
import { IMAGE_MARKER, type Sample, type Turn } from '../../core/sample.ts';
import { toolTexts } from './chat/traces.ts';
import type { Chat } from './chat.ts';
import type { Tokens } from './tokenizer.ts';

/** Which special tokens make the structure of a conversation, and which a model may write itself. */
export interface SpecialTokens {
  /** Those that an answer may hold, where the dataset says so. */
  readonly own: ReadonlySet<string>;
  /** `BadDataset` for a text with a special token that it may not hold. */
  refuse(sample: Sample): void;
}

/**
 * The structure: tokens with a name (beginning, end, padding, …), those that `config.json` names, those that the template
 * writes, and those that an image becomes.
 * @param known further texts with structure in them
 */
export function specialTokens(tokenizer: Tokens, chat: Chat, config: unknown, known: readonly string[]): SpecialTokens {
  const named = idsOf(config).flatMap((id) => tokenizer.textOf(id) ?? []);
  const written = probes(chat);
  const structure = new Set([...Object.values(tokenizer.names), ...named]);
  for (const token of tokenizer.special)
    if ([...written, ...known].some((text) => text.includes(token))) structure.add(token);
  const own = new Set(tokenizer.special.filter((token) => !structure.has(token)));
  return {
    own,
    refuse(sample) {
      const { id, turns, tools } = sample;
      const texts = turns.flatMap(({ text, reasoning = '', toolCalls }) => [text, reasoning, ...toolTexts(toolCalls)]);
      for (const text of [...texts, ...toolTexts([], tools)])
        for (const token of tokenizer.special) {
          if (token === IMAGE_MARKER || !text.includes(token) || (sample.specialTokens && own.has(token))) continue;
          const remedy = own.has(token)
            ? 'Remove or rewrite it, or say "specialTokens": true in dataset.json if the model is to write it.'
            : 'Remove or rewrite it: it would change the structure of the conversation.';
          throw new LiloraError('BadDataset', `Sample ${id}: its text holds the special token ${token}. ${remedy}`);
        }
    },
  };
}

/** Ids under `…_token_id` and `…_token_index`. */
function idsOf(config: unknown): number[] {
  if (typeof config !== 'object' || config === null) return [];
  return Object.entries(config).flatMap(([key, value]) => {
    if (/_token_(id|index)$/.test(key)) return [value].flat().filter((id): id is number => typeof id === 'number');
    return key === 'text_config' ? idsOf(value) : [];
  });
}

/** What the template writes around conversations of all kinds; what it refuses it writes nothing for. */
function probes(chat: Chat): string[] {
  const user: Turn = { role: 'user', text: `${IMAGE_MARKER}\nhello` };
  const answer: Turn = { role: 'assistant', text: 'hello' };
  const call: Turn = { ...answer, toolCalls: [{ name: 'look', arguments: {} }] };
  const conversations: Turn[][] = [
    [user, answer],
    [{ role: 'system', text: 'hello' }, user, answer, user, answer],
    [user, { ...answer, reasoning: 'hello' }],
    [user, call, { role: 'tool', text: 'hello' }, answer],
  ];
  return conversations.flatMap((turns) => {
    try {
      return [chat(turns, false) + chat(turns.slice(0, -1), true)];
    } catch {
      return [];
    }
  });
}
