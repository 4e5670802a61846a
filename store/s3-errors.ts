import { LiloraError } from '../core/errors.ts';

/** The parts of an AWS SDK error that say what happened. */
interface SdkError {
  readonly name?: string;
  readonly code?: string;
  readonly $metadata?: { readonly httpStatusCode?: number; readonly requestId?: string };
}

const CREDENTIALS = new Set([
  'AccessDenied',
  'AuthorizationHeaderMalformed',
  'CredentialsProviderError',
  'ExpiredToken',
  'ExpiredTokenException',
  'InvalidAccessKeyId',
  'InvalidToken',
  'Forbidden',
  'RequestTimeTooSkewed',
  'SignatureDoesNotMatch',
  'TokenProviderError',
  'UnrecognizedClientException',
]);

/** HTTP status of an SDK error, when the store answered at all. */
export function statusOf(error: unknown): number | undefined {
  return (error as SdkError)?.$metadata?.httpStatusCode;
}

/**
 * An SDK error as one of the closed set. Only its name, status and request id are kept: SDK errors carry the request with
 * its signature and session token, which must not reach a log.
 */
export function fromSdk(error: unknown, what: string): LiloraError {
  if (error instanceof LiloraError) return error;
  const { name = 'Error', code, $metadata } = error as SdkError;
  const status = $metadata?.httpStatusCode;
  const kind = name === 'Error' && code ? code : name;
  const id = $metadata?.requestId ? `, request ${$metadata.requestId.slice(0, 80)}` : '';
  const answer = `${what}: ${status ? `the store answers ${status} ${kind}` : kind}${id}`;
  const text = error instanceof Error ? error.message : '';

  if (name === 'NoSuchBucket')
    return new LiloraError('BadConfig', `${answer}. Create the bucket, or correct its name.`);
  if (name === 'NoSuchKey' || name === 'NotFound' || status === 404) {
    return new LiloraError('NotFound', `${what}: no such object. Check the key.`);
  }
  if (CREDENTIALS.has(name) || status === 401 || status === 403) {
    return new LiloraError(
      'StoreDenied',
      `${answer}. Check the credentials (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or the machine's role), their rights on the bucket, and the clock.`,
    );
  }
  if (/region is missing/i.test(text)) return new LiloraError('BadConfig', `${what}: no region. Set AWS_REGION.`);
  if (status === 301 || status === 307 || name === 'PermanentRedirect') {
    return new LiloraError('BadConfig', `${answer}. The bucket is in another region: set AWS_REGION.`);
  }
  if (/could not load credentials|resolved credential/i.test(text)) {
    return new LiloraError(
      'StoreDenied',
      `${what}: no credentials. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE.`,
    );
  }
  if (status === 501)
    return new LiloraError('UnsupportedStore', `${answer}. Use a store that supports this operation.`);
  if (
    status !== undefined &&
    status >= 400 &&
    status < 500 &&
    ![408, 409, 412, 425, 429].includes(status) &&
    !/Timeout|SlowDown|Throttl/.test(name)
  ) {
    return new LiloraError('BadConfig', `${answer}. Check bucket, key and endpoint.`);
  }
  return new LiloraError(
    'StoreUnavailable',
    `${answer}. Check that the store is running and reachable, then try again.`,
  );
}
