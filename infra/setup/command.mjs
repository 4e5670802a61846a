import { spawn } from 'node:child_process';

/** @type {Set<import('node:child_process').ChildProcess>} */
const running = new Set();

/** A command that failed; the message ends with what it printed last. */
export class CommandFailed extends Error {}

/**
 * Runs a command to its end. Its output is kept and shown only when it fails.
 * @param {string} file
 * @param {string[]} args
 * @param {{cwd?: string, env?: NodeJS.ProcessEnv}} options
 * @returns {Promise<string>} stdout
 */
export function command(file, args, { cwd, env } = {}) {
  return new Promise((resolve, reject) => {
    // An own process group: an interrupt can end the command together with what it started.
    const child = spawn(file, args, {
      cwd,
      env: env ?? process.env,
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    running.add(child);
    let stdout = '';
    let tail = '';
    const keep = (/** @type {string} */ text) => {
      tail = (tail + text).slice(-2000);
    };
    child.stdout.setEncoding('utf8').on('data', (text) => {
      stdout += text;
      keep(text);
    });
    child.stderr.setEncoding('utf8').on('data', keep);
    child.on('error', (error) => {
      running.delete(child);
      reject(new CommandFailed(`cannot run ${file}: ${error.message}`));
    });
    child.on('close', (code, signal) => {
      running.delete(child);
      if (code === 0) resolve(stdout);
      else
        reject(
          new CommandFailed(`${file} ${args.slice(0, 3).join(' ')} … ended with ${signal ?? code}:\n${tail.trim()}`),
        );
    });
  });
}

/** Ends every command that still runs, with its children. */
export function endCommands() {
  for (const child of running) {
    if (child.pid === undefined) continue;
    try {
      process.kill(-child.pid, 'SIGKILL');
    } catch {
      // It ended just now.
    }
  }
}
