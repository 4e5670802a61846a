export function place(folder: string, make: (draft: string) => Promise<void>): Promise<boolean>;
export function lock(
  path: string,
  options?: { onWait?: (pid: number) => void; pollMs?: number },
): Promise<() => void>;
export function alive(pid: number): boolean;
export function sweep(cache: string): void;
