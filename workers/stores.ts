import { isAbsolute } from 'node:path';
import type { DataContext } from '../activities/context.ts';
import { LiloraError } from '../core/errors.ts';
import { openStore } from '../store/open.ts';
import type { Settings } from './config.ts';
import { codeVersion } from './runtime.ts';

/** Collaborators of data activities, from the settings of this process. */
export async function dataContext(settings: Settings, version: string = codeVersion()): Promise<DataContext> {
  const local = !settings.store.includes('://');
  return {
    store: await openStore(settings.store),
    openPlace: async (uri) => {
      // With a store in S3 a payload must not make a worker read its own disk.
      if (!local && !uri.startsWith('s3://'))
        throw new LiloraError(
          'BadConfig',
          `${uri}: this deployment reads datasets and models from s3:// only. Upload it first.`,
        );
      if (local && !uri.includes('://') && !isAbsolute(uri))
        throw new LiloraError('BadConfig', `${uri}: give an absolute path; workers have their own working folder.`);
      return openStore(uri);
    },
    localModels: local,
    cache: settings.cache,
    codeVersion: version,
  };
}
