import { command } from '../setup/command.mjs';

/** What was checked so far. */
export const counts = { passed: 0, failed: 0 };

/**
 * One check: passes when `work` does not throw. Says what it is and, when it failed, why.
 * @param {string} what
 * @param {() => unknown} work
 */
export async function check(what, work) {
  const begin = Date.now();
  try {
    await work();
    counts.passed++;
    process.stdout.write(`ok      ${what} (${((Date.now() - begin) / 1000).toFixed(1)} s)\n`);
  } catch (error) {
    counts.failed++;
    const why = error instanceof Error ? error.message : String(error);
    process.stdout.write(`FAILED  ${what}\n${why.replace(/^/gm, '        ')}\n`);
  }
}

/**
 * Passes when the command fails and its output tells why as expected: a check that checks the checker.
 * @param {string} file @param {string[]} args @param {RegExp} why
 */
export async function mustFail(file, args, why) {
  const said = await command(file, args).then(
    () => undefined,
    (error) => String(error.message),
  );
  if (said === undefined) throw new Error(`${file} ${args.join(' ')} found nothing wrong`);
  if (!why.test(said)) throw new Error(`expected ${why}, got:\n${said}`);
}

/** @param {boolean} holds @param {string} otherwise */
export function must(holds, otherwise) {
  if (!holds) throw new Error(otherwise);
}
