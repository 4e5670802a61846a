/**
 * The option letter that an answer chooses: a letter alone, one that is marked as an option ("B.", "(B)"), else the first
 * capital that stands alone, one before a word in small letters ("A dog", "A is right") only where there is no other; null
 * without any.
 */
export function chosenLetter(text: string): string | null {
  const answer = text.trim();
  if (/^[A-Z]$/i.test(answer)) return answer.toUpperCase();
  const forms = [/^([A-Z])[.):]/, /\(([A-Z])\)/i, /\b([A-Z])\b(?! [a-z])/, /\b([A-Z])\b/];
  const found = forms.map((form) => form.exec(answer)?.[1]).find((letter) => letter !== undefined);
  return found?.toUpperCase() ?? null;
}

/**
 * The same as the released scripts of the benchmark read it: A to E alone, one of them before a full stop and a space, or
 * the first letter, digit or underscore that stands alone, as a capital. Null where nothing of A to E comes out.
 */
export function releasedLetter(text: string): string | null {
  if (/^[A-E]$/.test(text)) return text;
  const letter = /^([A-E])\. /.exec(text)?.[1] ?? /(?<![\p{L}\p{N}_])[\p{L}\p{N}_](?![\p{L}\p{N}_])/u.exec(text)?.[0];
  return letter !== undefined && /^[A-E]$/i.test(letter) ? letter.toUpperCase() : null;
}
