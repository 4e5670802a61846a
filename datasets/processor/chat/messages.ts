import { IMAGE_MARKER, type ToolCall, type Turn } from '../../../core/sample.ts';

/** How a template takes the content of a message: as parts, or as one text. */
export type ContentFormat = 'parts' | 'text';

/** What chat templates read, as transformers gives it to them. */
export interface Message {
  readonly role: Turn['role'];
  readonly content:
    | string
    | ReadonlyArray<{ readonly type: 'image' } | { readonly type: 'text'; readonly text: string }>;
  readonly reasoning_content?: string;
  /** gpt-oss' templates read it under this name. */
  readonly thinking?: string;
  readonly tool_calls?: ReadonlyArray<{
    readonly type: 'function';
    readonly function: Pick<ToolCall, 'name' | 'arguments'>;
    readonly id?: string;
  }>;
  readonly name?: string;
  readonly tool_call_id?: string;
}

/**
 * One turn as a template reads it.
 * @param placeholder what the model family writes for an image, where the content is one text
 */
export function messageOf(turn: Turn, format: ContentFormat, placeholder: string): Message {
  const { role, reasoning, toolCalls, name, toolCallId } = turn;
  return {
    role,
    content: format === 'parts' ? partsOf(turn) : textOf(turn, placeholder),
    ...(reasoning !== undefined && { reasoning_content: reasoning, thinking: reasoning }),
    ...(toolCalls && {
      tool_calls: toolCalls.map(({ name, arguments: given, id }) => ({
        type: 'function' as const,
        ...(id !== undefined && { id }),
        function: { name, arguments: given },
      })),
    }),
    ...(name !== undefined && { name }),
    ...(toolCallId !== undefined && { tool_call_id: toolCallId }),
  };
}

/** The pieces of a turn's text between its images. White space around a marker is layout, not content. */
export function piecesOf({ role, text }: Turn): string[] {
  const pieces = role === 'user' ? text.split(IMAGE_MARKER) : [text];
  return pieces.length > 1 ? pieces.map((piece) => piece.trim()) : pieces;
}

function partsOf(turn: Turn): Message['content'] {
  return piecesOf(turn).flatMap((text, i) => [
    ...(i > 0 ? [{ type: 'image' } as const] : []),
    ...(text === '' ? [] : [{ type: 'text', text } as const]),
  ]);
}

const textOf = ({ role, text }: Turn, placeholder: string) =>
  role === 'user' ? text.replaceAll(IMAGE_MARKER, () => placeholder) : text;
