import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { LiloraError } from '../../../core/errors.ts';
import { parseJson } from '../../../core/json.ts';

/** A template and the file that it stands in. */
export interface FoundTemplate {
  readonly source: string;
  readonly file: string;
}

const MORE = 'additional_chat_templates';

/**
 * The chat template of a model folder, from the first of these that has one, as transformers' processors take it: the key
 * of `processor_config.json`, `chat_template.json`, `chat_template.jinja`, the key of `tokenizer_config.json`. Of several
 * named ones, "default".
 */
export async function findTemplate(folder: string): Promise<FoundTemplate> {
  const text = (name: string) => readFile(join(folder, name), 'utf8').catch(() => null);
  const ofJson = async (file: string) => {
    const found = await text(file);
    const json = found === null ? null : parseJson(found, file, { errorName: 'BadModel', anyKeys: true });
    return chosen((json as { chat_template?: unknown } | null)?.chat_template, file);
  };
  const processor = (await ofJson('processor_config.json')) ?? (await ofJson('chat_template.json'));
  if (processor) return processor;
  const jinja = await text('chat_template.jinja');
  if (jinja !== null) return { source: jinja, file: 'chat_template.jinja' };
  const names = (await readdir(join(folder, MORE)).catch(() => [])).filter((name) => name.endsWith('.jinja'));
  const named = names.length > 0 ? await text(join(MORE, 'default.jinja')) : null;
  if (named !== null) return { source: named, file: `${MORE}/default.jinja` };
  if (names.length > 0)
    throw new LiloraError(
      'BadModel',
      `${folder} has ${MORE}/${names.join(', ')}, but no chat_template.jinja. Copy the one to use to chat_template.jinja.`,
    );
  const tokenizer = await ofJson('tokenizer_config.json');
  if (tokenizer) return tokenizer;
  throw new LiloraError(
    'BadModel',
    `${folder} has no chat template. Add chat_template.jinja, as the model's authors publish it.`,
  );
}

/** A template, or "default" of a list of named ones or of an object by name. */
function chosen(value: unknown, file: string): FoundTemplate | null {
  if (value === undefined || value === null) return null;
  if (typeof value === 'string') return { source: value, file };
  const named: ReadonlyArray<readonly [unknown, unknown]> = Array.isArray(value)
    ? (value as Array<{ name?: unknown; template?: unknown } | null>).map((one) => [one?.name, one?.template])
    : Object.entries(value);
  const found = named.findLast(([name]) => name === 'default')?.[1];
  if (typeof found === 'string') return { source: found, file: `${file}, template "default"` };
  const names = named.map(([name]) => JSON.stringify(name)).join(', ');
  throw new LiloraError(
    'BadModel',
    `${file}: of its chat templates (${names}) none is called "default". Write the one to use to chat_template.jinja.`,
  );
}
