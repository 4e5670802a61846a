import { readdirSync, readFileSync } from 'node:fs';

/** User and system seconds of a process so far; the kernel counts in hundredths. */
export function processorSeconds(pid: number): number {
  const fields = statOf(pid);
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

/** What `/proc/<pid>/stat` says behind the name: state, parent, and so on. */
function statOf(pid: number): string[] {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
}

/** Kinds of processes of a measurement, by their command lines. */
const KINDS = {
  engines: /engine\/process\.ts/,
  'gpu workers': /worker gpu/,
  orchestrator: /worker orchestrator/,
  Temporal: /server start-dev/,
  S3: /versitygw/,
} as const;
export type ProcessKind = keyof typeof KINDS | 'this process';

/** Processor seconds so far of this process and of all that it started and that still live, by what they are. */
export function familySeconds(): Record<ProcessKind, number> {
  const sums: Record<ProcessKind, number> = {
    ...{ engines: 0, 'gpu workers': 0, orchestrator: 0, Temporal: 0, S3: 0 },
    'this process': processorSeconds(process.pid),
  };
  const parents = new Map<number, number>();
  for (const name of readdirSync('/proc'))
    if (/^\d+$/.test(name)) unlessGone(() => parents.set(Number(name), Number(statOf(Number(name))[1])));
  const isOurs = (pid: number): boolean => {
    const parent = parents.get(pid);
    return parent === process.pid || (parent !== undefined && parent > 1 && isOurs(parent));
  };
  for (const pid of parents.keys())
    if (isOurs(pid))
      unlessGone(() => {
        const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
        for (const [kind, pattern] of Object.entries(KINDS))
          if (pattern.test(command)) sums[kind as ProcessKind] += processorSeconds(pid);
      });
  return sums;
}

function unlessGone(look: () => void): void {
  try {
    look();
  } catch {
    // it ended meanwhile
  }
}
