import { vi } from 'vitest';

/** What is said on both outputs from now on, in place of saying it; `vi.restoreAllMocks` ends it. */
export function listen(): { stdout: string; stderr: string } {
  const said = { stdout: '', stderr: '' };
  for (const to of ['stdout', 'stderr'] as const)
    vi.spyOn(process[to], 'write').mockImplementation((text) => {
      said[to] += text;
      return true;
    });
  return said;
}
