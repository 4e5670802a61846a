/**
 * The closed set of failures. Every error that crosses a module border is one of these; `retryable` is a property of
 * the name, so a retry policy can list the others. Messages say what is wrong, where, and what to do next.
 */
const RETRYABLE = {
  /** The dataset breaks a rule of the format or of the stream. */
  BadDataset: false,
  /** The base model folder is incomplete, unknown or inconsistent. */
  BadModel: false,
  /** An option, a workflow input or a command line has a wrong value. */
  BadConfig: false,
  /** A message about an object has none of the shapes that are read, or breaks a limit. */
  BadEvent: false,
  /** Bytes do not match the digest or length that was promised, or a file of ours is damaged. */
  IntegrityError: false,
  /** The object store lacks what publication needs (conditional writes). */
  UnsupportedStore: false,
  /** Somebody else wrote first, with different content. */
  Conflict: false,
  /** A named stream, task, generation or object does not exist. */
  NotFound: false,
  /** What is published scores worse on fresh data than its limit allows. */
  Drifted: false,
  /** The loss became NaN or infinite. */
  NonFiniteLoss: false,
  /** Not enough memory for this batch or this model. */
  OutOfMemory: true,
  /** The engine process died or stopped answering. */
  EngineLost: true,
  /** The object store did not answer, or not in time. */
  StoreUnavailable: true,
  /** The object store refuses: credentials, rights or the clock. Roles rotate and clocks are set, so it is asked again for a while. */
  StoreDenied: true,
  /** A compute platform that starts workers did not take a request, or not in time. */
  PlatformUnavailable: true,
  /** Work was cancelled by a person or by shutdown. */
  Cancelled: false,
} as const satisfies Record<string, boolean>;

export type ErrorName = keyof typeof RETRYABLE;

/** Names that no retry can cure: the `nonRetryableErrorTypes` of every retry policy. */
export const NON_RETRYABLE: ErrorName[] = (Object.keys(RETRYABLE) as ErrorName[]).filter((name) => !RETRYABLE[name]);

/** The one error class of the product; `name` is the member of the closed set. */
export class LiloraError extends Error {
  override readonly name: ErrorName;

  constructor(name: ErrorName, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = name;
  }

  get retryable(): boolean {
    return RETRYABLE[this.name];
  }
}

/** True for a `LiloraError`, and, when `name` is given, only for that one. */
export function isLiloraError(error: unknown, name?: ErrorName): error is LiloraError {
  return error instanceof LiloraError && (name === undefined || error.name === name);
}

/** True when `name` belongs to the closed set: for errors that crossed a process as plain data. */
export function isErrorName(name: unknown): name is ErrorName {
  return typeof name === 'string' && Object.hasOwn(RETRYABLE, name);
}
