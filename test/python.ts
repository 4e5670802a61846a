import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { sha256 } from '../core/digest.ts';
import { cacheFolder } from '../workers/config.ts';

/** Python packages of a requirements file, downloaded once beside the other downloads; the folder for `PYTHONPATH`. */
export function pythonPackages(requirements: string): string {
  const version = execFileSync('python3', ['--version'], { encoding: 'utf8' });
  const folder = join(cacheFolder(), `python-${sha256(version + readFileSync(requirements, 'utf8')).slice(0, 16)}`);
  if (existsSync(folder)) return folder;
  const draft = `${folder}.draft-${process.pid}`;
  const quiet = ['--quiet', '--disable-pip-version-check', '--root-user-action', 'ignore'];
  try {
    execFileSync('python3', ['-m', 'pip', 'install', ...quiet, '--target', draft, '-r', requirements], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    renameSync(draft, folder);
  } finally {
    rmSync(draft, { recursive: true, force: true });
  }
  return folder;
}
