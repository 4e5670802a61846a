import { z } from 'zod';
import type { PriceTable } from './cost.ts';
import { LiloraError } from './errors.ts';
import { parseJson } from './json.ts';

const price = z.number().min(0);

/** A price table as people write it: in a stream's definition or in a file of its own. */
export const priceTable = z.strictObject({
  currency: z.string().min(1).max(12),
  /** Where the numbers are from: for people. */
  source: z.string().optional(),
  workers: z
    .record(
      z.string().min(1),
      z.strictObject({ perSecond: price, minimumSeconds: price.optional(), granularitySeconds: price.optional() }),
    )
    .optional(),
  storage: z
    .strictObject({
      perGigabyteMonth: price.optional(),
      perGigabyteRead: price.optional(),
      perGigabyteWritten: price.optional(),
      perThousandReads: price.optional(),
      perThousandWrites: price.optional(),
    })
    .optional(),
});

/** Reads a price table from the bytes of a JSON file; `BadConfig` says what is wrong in it. */
export function readPrices(bytes: Uint8Array, file: string): PriceTable {
  const parsed = priceTable.safeParse(parseJson(bytes, file, { errorName: 'BadConfig' }));
  if (!parsed.success)
    throw new LiloraError(
      'BadConfig',
      `${file} is no price table: ${z.prettifyError(parsed.error)}. examples/prices.json is one.`,
    );
  return parsed.data;
}
