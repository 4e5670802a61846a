import { timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { Webhook } from 'standardwebhooks';
import { sha256 } from '../core/digest.ts';
import { LiloraError } from '../core/errors.ts';

/** Shorter secrets could be guessed. */
const SHORTEST = 16;

/** Refuses a secret that could be guessed or that no URL and no header carries. */
export function checkSecret(secret: string, where: string): string {
  if (secret.length < SHORTEST || secret.length > 512 || !/^[A-Za-z0-9_+/=.~-]+$/.test(secret))
    throw new LiloraError(
      'BadConfig',
      `The webhook secret in ${where} must have ${SHORTEST} to 512 letters, digits and _ + / = . ~ -. Make one: openssl rand -hex 32`,
    );
  return secret;
}

/** Compares in a time that does not depend on where two texts differ. */
function equal(given: string, wanted: string): boolean {
  return timingSafeEqual(Buffer.from(sha256(given)), Buffer.from(sha256(wanted)));
}

/** `Authorization: Bearer SECRET`, as MinIO sends it when its token says so, or the secret alone. */
export function hasBearer(headers: IncomingHttpHeaders, secret: string): boolean {
  const given = headers.authorization ?? '';
  return given !== '' && equal(given.replace(/^Bearer +/i, ''), secret);
}

/** The last segment of `/s3/SECRET`, for senders that can set no header. */
export function isSecretSegment(segment: string, secret: string): boolean {
  return equal(segment, encodeURIComponent(secret)) || equal(segment, secret);
}

/**
 * A signature of the body by the Standard Webhooks scheme: HMAC-SHA256 over `id.timestamp.body` in `webhook-signature`,
 * refused when the timestamp is over five minutes off. A replay within them is the same event, hence the same update.
 * A secret that starts with `whsec_` is base64 behind it, any other counts as it stands.
 */
export function isSigned(headers: IncomingHttpHeaders, body: Buffer, secret: string): boolean {
  const pick = (name: string) => String(headers[name] ?? '');
  const names = ['webhook-id', 'webhook-timestamp', 'webhook-signature'] as const;
  if (names.some((name) => pick(name) === '')) return false;
  try {
    const webhook = secret.startsWith('whsec_') ? new Webhook(secret) : new Webhook(secret, { format: 'raw' });
    webhook.verify(body, Object.fromEntries(names.map((name) => [name, pick(name)])), { jsonParse: false });
    return true;
  } catch {
    return false;
  }
}

/** True when such headers are there at all: then the body is worth reading. */
export const mayBeSigned = (headers: IncomingHttpHeaders) => headers['webhook-signature'] !== undefined;
