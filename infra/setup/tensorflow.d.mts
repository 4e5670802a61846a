export function installedAddon(
  root: string,
  files?: { exists(path: string): boolean; read(path: string): string | undefined },
): { kind: 'addon'; variant: 'cpu' | 'gpu' } | { kind: 'stock' } | { kind: 'none' };
export function linkAddon(root: string, variant: 'cpu' | 'gpu', deps: string, binding: string): void;
export function smokeTest(root: string, node?: string): Promise<{ version: string; gpu: boolean }>;
