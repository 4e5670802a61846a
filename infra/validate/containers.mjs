/** Dockerfiles by hadolint, shell scripts by shellcheck, Python of the launchers by its own compiler. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { command } from '../setup/command.mjs';
import { ROOT } from '../setup/places.mjs';
import { check } from './checks.mjs';
import { hadolint as makeHadolint, shellcheck as makeShellcheck, needed } from './tools.mjs';

const INFRA = join(ROOT, 'infra');

export async function checkContainers() {
  const files = readdirSync(INFRA, { recursive: true, encoding: 'utf8' })
    .filter((path) => !/(^|\/)(node_modules|dist)\//.test(path))
    .sort();
  const hadolint = await makeHadolint();
  for (const file of files.filter((path) => /(^|[/.])Dockerfile$/.test(path)))
    await check(`hadolint ${file}`, () =>
      command(hadolint, ['--config', join(INFRA, 'containers', 'hadolint.yaml'), join(INFRA, file)]),
    );
  const shellcheck = await makeShellcheck();
  for (const file of files.filter((path) => path.endsWith('.sh')))
    await check(`shellcheck ${file}`, () => command(shellcheck, [join(INFRA, file)]));
  const python = needed('python3', 'it compiles the Python files');
  for (const file of files.filter((path) => path.endsWith('.py')))
    await check(`python ${file}`, () =>
      command(python, ['-c', 'import ast, sys; ast.parse(open(sys.argv[1]).read(), sys.argv[1])', join(INFRA, file)]),
    );
}
