import { WrittenNumber } from '../../core/json.ts';

/* Numbers of tables with typed columns, as texts that lose nothing. What has no plain number is null: NaN is no answer. */

/** A whole number of any size. */
export function wholeNumber(value: bigint): number | WrittenNumber {
  const plain = Number(value);
  return Number.isSafeInteger(plain) ? plain : new WrittenNumber(String(value));
}

/** Places of the longest decimals that are read. */
export const MOST_PLACES = 400;

/** `unscaled` · 10^−scale with all the places that the column declares: 150 at scale 2 is 1.50. */
export function decimal(unscaled: bigint, scale: number): number | WrittenNumber {
  if (scale <= 0) return wholeNumber(unscaled * 10n ** BigInt(-scale));
  const digits = String(unscaled < 0n ? -unscaled : unscaled).padStart(scale + 1, '0');
  const text = `${unscaled < 0n ? '-' : ''}${digits.slice(0, -scale)}.${digits.slice(-scale)}`;
  return String(Number(text)) === text ? Number(text) : new WrittenNumber(text);
}

/** The signed number of big-endian bytes. */
export function signedNumber(bytes: Uint8Array): bigint {
  if (bytes.length === 0) return 0n;
  return BigInt.asIntN(8 * bytes.length, BigInt(`0x${Buffer.from(bytes).toString('hex')}`));
}

/** A double that came from a double. */
export function double(value: number): number | null {
  return Number.isFinite(value) ? value : null;
}

/** The shortest double that is the same float32: 0.1, not 0.10000000149011612. */
export function float32(value: number): number | null {
  if (!Number.isFinite(value)) return null;
  for (let digits = 6; digits < 9; digits++) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === value) return short;
  }
  return Number(value.toPrecision(9));
}

/** `2024-05-06` from days since 1970; null where no calendar has it. */
export function dateText(days: number): string | null {
  return isoText(days * 86_400_000)?.slice(0, 10) ?? null;
}

/** `2024-05-06T07:08:09.000001` from nanoseconds since 1970, with as many places as it needs; null where no calendar has it. */
export function timestampText(nanoseconds: bigint): string | null {
  const second = 1_000_000_000n;
  const rest = ((nanoseconds % second) + second) % second;
  const places = rest === 0n ? '' : `.${String(rest).padStart(9, '0').replace(/0+$/, '')}`;
  const text = isoText(Number((nanoseconds - rest) / 1_000_000n));
  return text === null ? null : `${text.slice(0, 19)}${places}`;
}

function isoText(milliseconds: number): string | null {
  // Years of four digits.
  return milliseconds >= -62_167_219_200_000 && milliseconds < 253_402_300_800_000
    ? new Date(milliseconds).toISOString()
    : null;
}
