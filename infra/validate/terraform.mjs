/**
 * Terraform modules: format, `validate` against the providers' schemas, and each module's own tests with mocked providers. A real provider
 * is never downloaded: schema-provider/ serves the schemas that provider-schema.mjs reads.
 */
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { find, thisMachine } from '../setup/choose.mjs';
import { command } from '../setup/command.mjs';
import { ROOT } from '../setup/places.mjs';
import { check, must, mustFail } from './checks.mjs';
import { providerSchema } from './provider-schema.mjs';
import { PROVIDERS, providerPackage, schemaProvider } from './tools.mjs';

const SOURCE = join(ROOT, 'infra', 'terraform');
const HOSTS = ['registry.terraform.io', 'registry.opentofu.org'];

export async function checkTerraform() {
  const machine = thisMachine();
  const terraform = find(machine, 'terraform') ?? find(machine, 'tofu');
  await check('terraform or tofu is on PATH', () =>
    must(terraform !== undefined, 'install Terraform 1.7 or later, or OpenTofu: neither can be built by `go install`'),
  );
  if (terraform === undefined) return;
  const work = mkdtempSync(join(tmpdir(), 'lilora-terraform-'));
  try {
    const copy = join(work, 'terraform');
    cpSync(SOURCE, copy, { recursive: true, filter: (path) => !/\.terraform/.test(path) });
    await makeMirror(join(work, 'mirror'), copy);
    writeFileSync(
      join(work, 'terraform.rc'),
      `provider_installation {\n  filesystem_mirror {\n    path = "${join(work, 'mirror')}"\n  }\n}\n`,
    );
    const env = {
      ...process.env,
      TF_CLI_CONFIG_FILE: join(work, 'terraform.rc'),
      TF_IN_AUTOMATION: '1',
      CHECKPOINT_DISABLE: '1',
    };
    const say = (/** @type {string[]} */ args, /** @type {string} */ cwd) =>
      command(terraform, [...args, '-no-color'], { cwd, env });

    const bucket = join(copy, 'modules', 'bucket', 'main.tf');
    const rewrite = (/** @type {string} */ from, /** @type {string} */ to) =>
      writeFileSync(bucket, readFileSync(bucket, 'utf8').replace(from, to));

    await check('terraform fmt', () => say(['fmt', '-check', '-recursive', '-diff'], copy));
    rewrite('prevent_destroy = true', 'prevent_destroy = false'); // a test ends by destroying what it made up
    for (const folder of roots(copy)) {
      await check(`terraform validate ${folder}`, async () => {
        await say(['init', '-backend=false', '-input=false'], join(copy, folder));
        await say(['validate'], join(copy, folder));
      });
      if (readdirSync(join(copy, folder)).includes('tests'))
        await check(`terraform test ${folder}`, () => say(['test'], join(copy, folder)));
    }
    await check('terraform validate finds a name that the provider does not have', async () => {
      rewrite('block_public_acls ', 'block_public_acl ');
      const args = [`-chdir=${join(copy, 'modules', 'bucket')}`, 'validate', '-no-color'];
      await mustFail(terraform, args, /"block_public_acl" is not expected here/);
    });
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** @param {string} copy @returns {string[]} folders with a configuration */
function roots(copy) {
  return ['modules', 'examples'].flatMap((kind) => readdirSync(join(copy, kind)).map((name) => join(kind, name)));
}

/** A folder from which `init` installs the schema provider under the names of the real ones. @param {string} mirror @param {string} copy */
async function makeMirror(mirror, copy) {
  const binary = await schemaProvider();
  const text = readdirSync(copy, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.tf'))
    .map((name) => readFileSync(join(copy, name), 'utf8'))
    .join('\n');
  const used = (/** @type {string} */ kind, /** @type {string} */ provider) => [
    ...new Set([...text.matchAll(new RegExp(`^${kind} "(${provider}_\\w+)"`, 'gm'))].map(([, type]) => type)),
  ];
  for (const [name, { provider }] of Object.entries(PROVIDERS)) {
    const archive = await providerPackage(/** @type {'aws'|'google'} */ (name));
    const schema = providerSchema(archive, name, { resources: used('resource', name), data: used('data', name) });
    const platform = `linux_${process.arch === 'arm64' ? 'arm64' : 'amd64'}`;
    for (const host of HOSTS) {
      const folder = join(mirror, host, 'hashicorp', name, provider, platform);
      mkdirSync(folder, { recursive: true });
      cpSync(binary, join(folder, `terraform-provider-${name}_v${provider}`));
      writeFileSync(join(folder, 'schema.json'), JSON.stringify(schema));
    }
  }
}
