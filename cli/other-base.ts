import { readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { parseJson } from '../core/json.ts';
import type { PeftSettings } from '../store/peft-config.ts';

/** The name of a model without where it is: of `org/name@revision`, of a folder, of a snapshot in the cache of the hub. */
function nameOf(model: string): { name: string; revision: string | undefined } {
  const [, cached, commit] = /models--(?:[^/]+?--)?([^/]+)\/snapshots\/([^/]+)/.exec(model) ?? [];
  if (cached) return { name: cached.toLowerCase(), revision: commit };
  const [path = '', revision] = model.includes('://') ? [model] : model.split('@');
  return { name: basename(path.replace(/\/+$/, '')).toLowerCase(), revision };
}

/**
 * What to tell where an adapter says that it was trained on another model than the one in use, or on another revision of it;
 * null where nothing speaks for that. Names may be of folders, so it is no error.
 * @param model as the person named it
 * @param commit of it, where it is known
 */
export function otherBase(
  { baseModel, revision }: Pick<PeftSettings, 'baseModel' | 'revision'>,
  model: string,
  commit?: string,
): string | null {
  if (baseModel === null) return null;
  const [theirs, ours] = [nameOf(baseModel), nameOf(model)];
  const wanted = revision ?? theirs.revision;
  const said = `The adapter says that its base model is ${baseModel}${revision ? ` at revision ${revision}` : ''}`;
  if (theirs.name !== ours.name) return `${said}; it is used with ${model}.`;
  const known = [ours.revision, commit].filter((each) => each !== undefined);
  if (wanted === undefined || wanted === 'main' || known.includes(wanted)) return null;
  return known.length === 0
    ? `${said}; whether ${model} is that revision is not known.`
    : `${said}; it is used with revision ${known.join(', ')}.`;
}

/**
 * What to tell where a trainer left another chat template beside the adapter than the model has: the model's is used, and
 * the adapter may expect the other; null where there is none.
 */
export async function otherTemplate(adapter: string, model: string): Promise<string | null> {
  const [theirs, ours] = await Promise.all([adapter, model].map(templateIn));
  if (!theirs || !ours || theirs.trim() === ours.trim()) return null;
  return `${adapter} has a chat template of its own, which is not used: the model's is. If the adapter was trained with it, copy it to ${join(model, 'chat_template.jinja')}.`;
}

async function templateIn(folder: string): Promise<string | null> {
  const read = (name: string) => readFile(join(folder, name), 'utf8').catch(() => null);
  const jinja = await read('chat_template.jinja');
  if (jinja !== null) return jinja;
  for (const name of ['chat_template.json', 'tokenizer_config.json']) {
    const text = await read(name);
    if (text === null) continue;
    try {
      const fields = parseJson(text, name, { anyKeys: true, nonFinite: true }) as { chat_template?: unknown };
      if (typeof fields?.chat_template === 'string') return fields.chat_template;
    } catch {
      // Whoever uses the file says what is wrong with it.
    }
  }
  return null;
}
