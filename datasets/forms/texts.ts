import { before, finish } from './conversation.ts';
import type { Form } from './form.ts';
import { Marks } from './marks.ts';
import { picturesOf } from './pictures.ts';
import { isRound, readRound } from './rounds.ts';
import { isObject, itemsOf, refuse } from './values.ts';

const SHAPE = 'write {"images": […], "texts": [{"user": …, "assistant": …}, …]}';

/** The Cauldron and FineVision: `{images: […], texts: [{user, assistant}]}`. The images stand before the first question. */
export const texts: Form = {
  name: 'texts',
  needs: '{"user", "assistant"} in a list "texts"',
  fits(sample) {
    const value = sample.peek('texts');
    const first: unknown = Array.isArray(value) ? value[0] : value;
    return isRound(first) || (typeof value === 'string' && /^\s*\[\s*\{/.test(value));
  },
  read(sample, at) {
    const marks = new Marks(picturesOf(sample, at), sample.manifest);
    const rounds = itemsOf(sample.take('texts'), '"texts"');
    if (!rounds || rounds.length === 0) refuse(`"texts" must be a list of rounds; ${SHAPE}`);
    const earlier = before(sample, marks);
    const said = rounds.flatMap((round, i) => {
      if (!isObject(round) || !isRound(round)) refuse(`round ${i + 1} of "texts" has no user and assistant; ${SHAPE}`);
      return readRound(sample.inside(round, 'texts[]'), i + 1, marks);
    });
    return finish(sample, [...earlier, ...said], marks, at);
  },
};
