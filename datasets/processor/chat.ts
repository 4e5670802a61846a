import { LiloraError } from '../../core/errors.ts';
import { IMAGE_MARKER, type Turn } from '../../core/sample.ts';
import { Endless, parseTemplate } from './chat/jinja.ts';
import { type ContentFormat, messageOf } from './chat/messages.ts';
import { findTemplate } from './chat/templates.ts';

/** What the template is told besides the turns. */
export interface About {
  /** The sample's id, for messages. */
  readonly id?: string;
  /** JSON schemas of tools. */
  readonly tools?: readonly object[] | undefined;
}

/** Renders a conversation as the model's own template does. `BadDataset` where the template refuses it. */
export type Chat = (turns: readonly Turn[], answerNext: boolean, about?: About) => string;

/**
 * Reads and parses the template of a model folder.
 * @param variables special tokens by the names that templates know (`bos_token`, `eos_token`), and whatever else a template reads
 * @param placeholder what stands for an image, for templates that take a message's content as one text
 */
export async function openChat(
  folder: string,
  variables: Readonly<Record<string, unknown>>,
  placeholder = IMAGE_MARKER,
): Promise<Chat> {
  const { source, file } = await findTemplate(folder);
  const tried = <T>(run: () => T): T => {
    try {
      return run();
    } catch (error) {
      const problem = `the chat template cannot be used: ${reason(error)}. Correct it, or use another base model`;
      throw new LiloraError('BadModel', `${file}: ${problem}.`, { cause: error });
    }
  };
  const render = tried(() => parseTemplate(source));
  const rendered = (turns: readonly Turn[], formats: Formats, answerNext: boolean, tools?: readonly object[]) =>
    render({
      ...variables,
      messages: turns.map((turn) => messageOf(turn, formats[turn.role] ?? 'parts', placeholder)),
      tools: tools ?? null,
      documents: null,
      add_generation_prompt: answerNext,
    });
  const formats = tried(() => formatsOf((turns, chosen) => rendered(turns, chosen, false)));
  return (turns, answerNext, { id, tools } = {}) => {
    try {
      return rendered(turns, formats, answerNext, tools);
    } catch (error) {
      const where = id === undefined ? 'this conversation' : `sample ${id}`;
      throw new LiloraError('BadDataset', `The chat template (${file}) refuses ${where}: ${reason(error)}`, {
        cause: error,
      });
    }
  };
}

type Formats = Readonly<Partial<Record<Turn['role'], ContentFormat>>>;

/**
 * How the template takes the content of each role: as text where parts come out as a list, or not at all, and text comes
 * out as it is.
 */
function formatsOf(render: (turns: readonly Turn[], formats: Formats) => string): Formats {
  const probe = 'lilora-probe';
  const user: Turn = { role: 'user', text: 'hello' };
  const call = { name: 'look', arguments: {} };
  const before: Record<Turn['role'], readonly Turn[]> = {
    user: [],
    system: [],
    assistant: [user],
    tool: [user, { role: 'assistant', text: '', toolCalls: [call] }],
  };
  const takes = (role: Turn['role'], formats: Formats) => {
    const turns = [...before[role], { role, text: probe }, ...(role === 'system' ? [user] : [])];
    try {
      const text = render(turns, formats);
      return text.includes(probe) && !/['"]text['"]: ?['"]lilora-probe/.test(text);
    } catch (error) {
      if (error instanceof Endless) throw error;
      return false;
    }
  };
  const formats: { -readonly [role in Turn['role']]?: ContentFormat } = {};
  for (const role of ['user', 'assistant', 'system', 'tool'] as const) {
    // What it takes of no kind stays as it is: the conversation itself will be told.
    const found = (['parts', 'text'] as const).find((format) => takes(role, { ...formats, [role]: format }));
    formats[role] = found ?? 'parts';
  }
  return formats;
}

const reason = (error: unknown) => (error instanceof Error ? error.message : String(error));
