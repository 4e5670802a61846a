import type { Turn } from '../../core/sample.ts';
import { before, finish } from './conversation.ts';
import type { Form } from './form.ts';
import { Marks } from './marks.ts';
import { thoughtOf } from './message.ts';
import { picturesOf } from './pictures.ts';
import { isObject, itemsOf, readText, refuse } from './values.ts';

const SHAPE = 'write {"images": […], "texts": [{"user": …, "assistant": …}, …]}';

/** The Cauldron and FineVision: `{images: […], texts: [{user, assistant}]}`. The images stand before the first question. */
export const texts: Form = {
  name: 'texts',
  needs: '{"user", "assistant"} in a list "texts"',
  fits(sample) {
    const value = sample.peek('texts');
    const first = Array.isArray(value) ? value[0] : value;
    return (isObject(first) && 'user' in first && 'assistant' in first) || /^\s*\[\s*\{/.test(String(value));
  },
  read(sample, at) {
    const marks = new Marks(picturesOf(sample, at), sample.manifest);
    const rounds = itemsOf(sample.take('texts'), '"texts"');
    if (!rounds || rounds.length === 0) refuse(`"texts" must be a list of rounds; ${SHAPE}`);
    const earlier = before(sample, marks);
    const said = rounds.flatMap((round, i): Turn[] => {
      if (!isObject(round)) refuse(`round ${i + 1} of "texts" must be an object; ${SHAPE}`);
      const fields = sample.inside(round, 'texts[]');
      const [user, assistant] = [`round ${i + 1} (user)`, `round ${i + 1} (assistant)`];
      const answer = marks.plain(readText(fields.take('assistant'), assistant, true), assistant);
      return [
        { role: 'user', text: marks.asked(readText(fields.take('user'), user, false), user) },
        { role: 'assistant', ...thoughtOf(fields, answer, assistant) },
      ];
    });
    return finish(sample, [...earlier, ...said], marks, at);
  },
};
