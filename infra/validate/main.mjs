/**
 * Validates everything in infra/ that no server here can run: images, charts, modules, functions.
 *
 *   node infra/validate/main.mjs [PART]…        PART: terraform, helm, containers, lambda
 *
 * The validators are kept in the cache by version: about five minutes on a fresh machine, a minute afterwards. The last line of the output is
 * `N passed, N failed`.
 */
import { counts } from './checks.mjs';
import { checkContainers } from './containers.mjs';
import { checkHelm } from './helm.mjs';
import { checkLambda } from './lambda.mjs';
import { checkTerraform } from './terraform.mjs';

const PARTS = { containers: checkContainers, helm: checkHelm, terraform: checkTerraform, lambda: checkLambda };

const named = process.argv.slice(2);
const unknown = named.find((name) => !Object.hasOwn(PARTS, name));
if (unknown !== undefined) {
  process.stderr.write(`there is no part ${unknown}: ${Object.keys(PARTS).join(', ')}\n`);
  process.exit(2);
}
for (const [name, part] of Object.entries(PARTS)) {
  if (named.length > 0 && !named.includes(name)) continue;
  process.stdout.write(`-- ${name}\n`);
  try {
    await part();
  } catch (error) {
    counts.failed++;
    process.stdout.write(`FAILED  ${name}: ${error instanceof Error ? error.message : error}\n`);
  }
}
process.stdout.write(`${counts.passed} passed, ${counts.failed} failed\n`);
process.exitCode = counts.failed === 0 ? 0 : 1;
