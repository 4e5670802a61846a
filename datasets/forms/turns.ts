import { DEFAULTS } from '../../core/defaults.ts';
import { IMAGE_MARKER, type Turn } from '../../core/sample.ts';
import { refuse } from './values.ts';

/* Rules that every conversation keeps, whatever form it comes in. */

/** What a form calls the two sides of a conversation, for messages. */
export interface Words {
  readonly user: string;
  readonly assistant: string;
}

/** Refuses a conversation that is too long. */
function checkLength(turns: readonly unknown[]): void {
  const most = DEFAULTS['dataset.maxTurns'].value;
  if (turns.length > most) refuse(`${turns.length} turns, over the limit of ${most}; split the conversation`);
}

/**
 * Question and answer take turns, results follow calls, an answer that is learned is last, one marker for each image stands in
 * the questions.
 */
export function checkTurns(turns: readonly Turn[], images: number, words: Words): void {
  checkLength(turns);
  checkOrder(turns, words);
  checkLoss(turns, words);
  checkMarkers(turns, images, words);
}

function checkOrder(turns: readonly Turn[], { user, assistant }: Words): void {
  if (!turns.some(({ role }) => role === 'assistant'))
    refuse(`no ${assistant} turn, so there is nothing to learn; add the answer`);
  for (const [i, { role }] of turns.entries()) {
    const last = turns[i - 1];
    const before = last?.role ?? null;
    if (role === 'system' && i > 0) refuse(`turn ${i + 1} is a system turn; only the first turn may be one`);
    if (role === 'user' && before === 'user')
      refuse(`turns ${i} and ${i + 1} are both ${user}; join them or add the answer`);
    if (role === 'user' && (before === 'tool' || (last?.toolCalls?.length ?? 0) > 0))
      refuse(`turn ${i + 1} is a ${user} turn, but the tool of turn ${i} waits for an answer; add it`);
    if (role === 'tool' && before !== 'tool' && !last?.toolCalls?.length)
      refuse(`turn ${i + 1} is the result of a tool that no turn before it calls; add the call`);
    if (role !== 'assistant') continue;
    if (before === 'assistant') refuse(`turns ${i} and ${i + 1} are both ${assistant}; join them or add the question`);
    if (before !== 'user' && before !== 'tool')
      refuse(`the conversation begins with a ${assistant} turn; begin with the question of a ${user} turn`);
  }
  if (turns.at(-1)!.role !== 'assistant')
    refuse(`the last turn is not a ${assistant} turn; add the answer or remove the question`);
}

function checkLoss(turns: readonly Turn[], { assistant }: Words): void {
  if (turns.at(-1)!.loss === false)
    refuse(`the last ${assistant} turn is not to be learned; end the conversation with one that is`);
}

function checkMarkers(turns: readonly Turn[], images: number, { user }: Words): void {
  const asText = 'if it is text, write "marker" into dataset.json: what marks a picture in these texts';
  let markers = 0;
  for (const [i, { role, text }] of turns.entries()) {
    const found = text.split(IMAGE_MARKER).length - 1;
    if (found > 0 && role !== 'user')
      refuse(`turn ${i + 1} has an ${IMAGE_MARKER} marker; only ${user} turns may; ${asText}`);
    if (found > 0 && text.replaceAll(IMAGE_MARKER, '').trim() === '')
      refuse(`turn ${i + 1} asks nothing; add the question`);
    markers += found;
  }
  if (markers === images) return;
  if (images === 0)
    refuse(`${markers} ${IMAGE_MARKER} marker(s) but no image; name the image or remove the marker; ${asText}`);
  if (markers === 0) refuse(`${images} image(s) but no ${IMAGE_MARKER} marker; put the marker into a ${user} turn`);
  refuse(`${markers} ${IMAGE_MARKER} marker(s) but ${images} image(s); there must be one marker for each image`);
}
