export function newEnough(version: string): boolean;
export function buildTemporal(cache: string, go: string): Promise<string>;
export function buildVersitygw(cache: string, go: string): Promise<string>;
