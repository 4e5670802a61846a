export function rememberFailure(cache: string, key: string, message: string): void;
export function recentFailure(cache: string, key: string, now?: number): string | undefined;
export function forgetFailure(cache: string, key: string): void;
