import type { Turn } from '../../core/sample.ts';
import { before, finish } from './conversation.ts';
import type { Fields } from './fields.ts';
import type { At, Form } from './form.ts';
import { Marks } from './marks.ts';
import { readMessage } from './message.ts';
import { picturesOf } from './pictures.ts';
import { isObject, itemsOf, readText, refuse } from './values.ts';

/**
 * TRL's prompt and completion: `{prompt, completion, images?}`, each a text or a list of messages. Only the completion is learned,
 * as TRL does it.
 */
export const promptCompletion: Form = {
  name: 'prompt-completion',
  needs: '"prompt" and "completion"',
  fits: (sample) => sample.has('prompt') && sample.has('completion'),
  read(sample, at) {
    const marks = new Marks(picturesOf(sample, at), sample.manifest);
    const earlier = before(sample, marks);
    const prompt = side(sample, 'prompt', 'user', marks, at);
    const completion = side(sample, 'completion', 'assistant', marks, at);
    const context = [...earlier, ...prompt].map(
      (turn): Turn => (turn.role === 'assistant' ? { ...turn, loss: false } : turn),
    );
    return finish(sample, [...context, ...completion], marks, at);
  },
};

function side(sample: Fields, key: string, role: 'user' | 'assistant', marks: Marks, at: At): Turn[] {
  const value = sample.take(key);
  if (typeof value === 'string') {
    const text = readText(value, `"${key}"`, role === 'assistant');
    return [{ role, text: role === 'user' ? marks.asked(text, `"${key}"`) : marks.plain(text, `"${key}"`) }];
  }
  const items = itemsOf(value, `"${key}"`);
  if (!items?.every(isObject)) refuse(`"${key}" must be a text or a list of messages`);
  return items.map((item, i) =>
    readMessage(sample.inside(item as Record<string, unknown>, `${key}[]`), i + 1, marks, at.where),
  );
}
