import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Template } from '@huggingface/jinja';
import { LiloraError } from '../../core/errors.ts';
import { parseJson } from '../../core/json.ts';
import { IMAGE_MARKER, type Turn } from '../../core/sample.ts';

/** What chat templates read: parts of text and images in their order. */
interface Message {
  readonly role: Turn['role'];
  readonly content: ReadonlyArray<{ readonly type: 'image' } | { readonly type: 'text'; readonly text: string }>;
}

/** Renders a conversation as the model's own template does. */
export type Chat = (turns: readonly Turn[], answerNext: boolean) => string;

/** The text of one turn as parts. White space around a marker is layout, not content. */
function messageOf({ role, text }: Turn): Message {
  const pieces = role === 'user' ? text.split(IMAGE_MARKER) : [text];
  const content = pieces.flatMap((piece, i) => {
    const words = pieces.length > 1 ? piece.trim() : piece;
    return [
      ...(i > 0 ? [{ type: 'image' } as const] : []),
      ...(words === '' ? [] : [{ type: 'text', text: words } as const]),
    ];
  });
  return { role, content };
}

/**
 * Reads the template of a model folder, from `chat_template.jinja`, `chat_template.json` or `tokenizer_config.json`.
 * @param variables special tokens by the names that templates know (`bos_token`, `eos_token`), and whatever else a template reads
 */
export async function openChat(folder: string, variables: Readonly<Record<string, unknown>>): Promise<Chat> {
  const { source, file } = await templateOf(folder);
  let template: Template;
  try {
    // Marks of the answer for training; what is between them is rendered as it is.
    template = new Template(
      source
        .replaceAll(/\{%(-?)\s*generation\s*(-?)%\}/g, '{%$1 if true $2%}')
        .replaceAll(/\{%(-?)\s*endgeneration\s*(-?)%\}/g, '{%$1 endif $2%}'),
    );
  } catch (error) {
    throw new LiloraError('BadModel', `${file}: the chat template cannot be read: ${reason(error)}`, { cause: error });
  }
  return (turns, answerNext) => {
    const messages = turns.map(messageOf);
    try {
      return template.render({ ...variables, messages, add_generation_prompt: answerNext });
    } catch (error) {
      throw new LiloraError('BadDataset', `The chat template (${file}) refuses this conversation: ${reason(error)}`, {
        cause: error,
      });
    }
  };
}

const reason = (error: unknown) => (error instanceof Error ? error.message : String(error));

async function templateOf(folder: string): Promise<{ source: string; file: string }> {
  const text = (name: string) => readFile(join(folder, name), 'utf8').catch(() => null);
  const jinja = await text('chat_template.jinja');
  if (jinja !== null) return { source: jinja, file: 'chat_template.jinja' };
  for (const file of ['chat_template.json', 'tokenizer_config.json']) {
    const found = await text(file);
    if (found === null) continue;
    const source = (parseJson(found, file, { errorName: 'BadModel', anyKeys: true }) as { chat_template?: unknown })
      .chat_template;
    if (typeof source === 'string') return { source, file };
  }
  throw new LiloraError(
    'BadModel',
    `${folder} has no chat template. Add chat_template.jinja, as the model's authors publish it.`,
  );
}
