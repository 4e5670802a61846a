export const ROOT: string;
export const ADDON_PACKAGE: string;
export function cacheRoot(env?: Record<string, string | undefined>): string;
export function temporalFolder(root?: string): string;
export function versitygwFolder(): string;
export function tensorflowFolder(variant: 'cpu' | 'gpu'): string;
export function addonFolder(variant: 'cpu' | 'gpu'): string;
