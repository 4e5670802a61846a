/** The letters that stand for bytes in byte-level vocabularies: printable ones for themselves, others from U+0100 on. */
const LETTERS: readonly string[] = (() => {
  const printable = (byte: number) =>
    (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || (byte >= 0xae && byte <= 0xff);
  let next = 0x100;
  return Array.from({ length: 256 }, (_, byte) => String.fromCodePoint(printable(byte) ? byte : next++));
})();
const BYTES: ReadonlyMap<string, number> = new Map(LETTERS.map((letter, byte) => [letter, byte]));

const encoder = new TextEncoder();

/** UTF-8 of a text, a letter for each byte. */
export function bytesToText(text: string): string {
  return Array.from(encoder.encode(text), (byte) => LETTERS[byte]).join('');
}

/** Bytes of tokens; a token with a letter that is no byte's stands for itself. */
export function tokensToBytes(tokens: readonly string[]): Uint8Array {
  return Uint8Array.from(
    tokens.flatMap((token) => {
      const bytes = Array.from(token, (letter) => BYTES.get(letter));
      return bytes.includes(undefined) ? [...encoder.encode(token)] : (bytes as number[]);
    }),
  );
}
