export function packagesInstalled(root: string, production?: boolean): boolean;
