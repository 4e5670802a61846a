import type { GetObjectCommand, S3Client } from '@aws-sdk/client-s3';
import type { ByteStream } from './bodies.ts';

/** Where a request goes. */
interface Address {
  readonly protocol: string;
  readonly hostname: string;
  readonly port?: number | undefined;
  /** Before the key. */
  readonly path: string;
}

/** An answer that came directly. */
export interface DirectBody {
  readonly body: ByteStream;
  readonly size: number;
  readonly etag: string;
}

/** A key as S3 wants it in a path. */
const encoded = (key: string) =>
  key
    .split('/')
    .map((part) =>
      encodeURIComponent(part).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`),
    )
    .join('/');

/**
 * Reads of objects past the SDK's pipeline, which for small objects takes several times the processor time of the request
 * itself: signed by the SDK's signer, sent by its handler over its connections to where it sends its own requests. The
 * store's own checksum is not looked at: for bytes whose digest the caller checks. Whatever is not answered as it should
 * be is left to the SDK, to its retries and errors.
 */
export class DirectReads {
  private readonly client: S3Client;
  /** Null before the SDK's first read showed it; false where the store refuses such requests. */
  private address: Address | null | false = null;

  constructor(client: S3Client) {
    this.client = client;
  }

  /** Looks where the SDK sends a read. @param key with the prefix of its store */
  watch(command: GetObjectCommand, key: string): void {
    if (this.address !== null) return;
    command.middlewareStack.add(
      (next) => (args) => {
        const { protocol, hostname, port, path } = args.request as Address;
        const end = encoded(key);
        this.address = path.endsWith(end) && { protocol, hostname, port, path: path.slice(0, -end.length) };
        return next(args);
      },
      { step: 'finalizeRequest', priority: 'low', name: 'watchAddress' },
    );
  }

  /** The object, or null when the SDK has to read it. */
  async open(key: string): Promise<DirectBody | null> {
    if (!this.address) return null;
    const { protocol, hostname, port, path } = this.address;
    const host = port === undefined ? hostname : `${hostname}:${port}`;
    const request = { protocol, hostname, method: 'GET', path: path + encoded(key), query: {}, headers: { host } };
    try {
      const signer = await this.client.config.signer();
      const signed = await signer.sign(port === undefined ? request : { ...request, port });
      const { response } = await this.client.config.requestHandler.handle(signed as never);
      const { 'content-length': length, etag } = response.headers;
      const body = response.body as ByteStream;
      if (response.statusCode === 200 && length !== undefined && etag !== undefined)
        return { body, size: Number(length), etag };
      body.destroy();
      if (response.statusCode === 403) this.address = false;
    } catch {
      // the SDK tries again, and says what is wrong
    }
    return null;
  }
}
