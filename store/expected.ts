import { sha256 } from '../core/digest.ts';
import { LiloraError } from '../core/errors.ts';

/** What bytes must be; what is left out is not checked. */
export interface Expected {
  readonly size?: number;
  readonly sha256?: string;
}

/** Fails with `IntegrityError` unless the bytes are as expected. `what` names them. */
export function checkBytes(bytes: Uint8Array, expected: Expected, what: string): void {
  checkSummary({ size: bytes.byteLength, sha256: sha256(bytes) }, expected, what);
}

/** As `checkBytes`, for bytes that were counted and hashed on their way. */
export function checkSummary(found: Required<Expected>, expected: Expected, what: string): void {
  if (expected.size !== undefined && expected.size !== found.size) {
    const problem = `${what} has ${found.size} bytes instead of ${expected.size}`;
    throw new LiloraError('IntegrityError', `${problem}. It is damaged or was replaced: restore it from a copy.`);
  }
  if (expected.sha256 !== undefined && expected.sha256 !== found.sha256) {
    const problem = `${what} has the SHA-256 ${found.sha256} instead of ${expected.sha256}`;
    throw new LiloraError('IntegrityError', `${problem}. It is damaged or was replaced: restore it from a copy.`);
  }
}
