/** What a choice depends on; `thisMachine()` looks at the real one. */
export interface World {
  root: string;
  env: Record<string, string | undefined>;
  platform: string;
  arch: string;
  /** As in "20.19.0". */
  nodeVersion: string;
  exists(path: string): boolean;
  executable(path: string): boolean;
  /** The file's text, or undefined when it cannot be read. */
  read(path: string): string | undefined;
}

/** Something that would make this machine better, and the one command that mends it. */
export interface Missing {
  what: string;
  why: string;
  mend: string;
}

export interface Choices {
  tensors: { kind: 'addon-gpu' | 'addon-cpu' | 'stock' | 'javascript'; detail: string };
  /** `cached` and `cli`: `path` takes `server start-dev …`. `download`: the SDK fetches a server at first use. */
  temporal:
    | { kind: 'address'; address: string; path?: undefined }
    | { kind: 'cached' | 'cli'; path: string; address?: undefined }
    | { kind: 'download' | 'missing'; path?: undefined; address?: undefined };
  s3:
    | { kind: 'endpoint'; endpoint: string; path?: undefined }
    | { kind: 'versitygw'; path: string; endpoint?: undefined }
    | { kind: 'folder'; path?: undefined; endpoint?: undefined };
  /** `compat`: this Node needs infra/setup/node-compat.cjs before the addon is loaded. */
  node: { version: string; supported: boolean; compat: boolean };
  /** The folder that holds downloads and builds. */
  cache: string;
  missing: Missing[];
}

export function choices(world?: World): Choices;
export function thisMachine(): World;
export function hasNvidia(world: World): boolean;
export function addonPlan(world: World): { variant: 'cpu' | 'gpu'; lacks: Missing[] } | undefined;
export function s3Endpoint(world: World): string | undefined;
export function find(world: World, name: string): string | undefined;
