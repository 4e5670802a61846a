/**
 * `npm run test:clients`: the examples of `examples/clients/`, each against a real Temporal server with real workers. Each
 * starts a stream of its own by submitting a dataset, and submits it once more. The `temporal` command takes part where it
 * is on PATH. The last line is `N passed, N failed`.
 */
import { execFile, execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { find, thisMachine } from '../../infra/setup/choose.mjs';
import { ROOT } from '../../workers/runtime.ts';
import { type StreamDescription, type Submission, streamWorkflowId } from '../../workflows/contract.ts';
import { pythonPackages } from '../python.ts';
import { TestServers } from '../servers.ts';
import { writeSmallDataset } from '../small-dataset.ts';
import { uploadFolder } from '../upload.ts';

const CLIENTS = join(ROOT, 'examples/clients');
const MODEL = 's3://lilora-test/models/tiny';

interface Example {
  readonly name: string;
  /** Makes it ready to run; the command. */
  readonly prepare: (folder: string) => { readonly command: string[]; readonly env?: NodeJS.ProcessEnv };
  /** The submission in what it printed. */
  readonly read: (stdout: string) => Submission;
}

const printed = (stdout: string) => JSON.parse(stdout) as Submission;
const examples: Example[] = [
  {
    name: 'typescript',
    prepare: () => ({ command: [process.execPath, '--import', 'tsx', join(CLIENTS, 'typescript/submit.ts')] }),
    read: printed,
  },
  {
    name: 'go',
    prepare: (folder) => {
      const program = join(folder, 'submit');
      execFileSync('go', ['build', '-o', program, '.'], { cwd: join(CLIENTS, 'go'), stdio: 'inherit' });
      return { command: [program] };
    },
    read: printed,
  },
  {
    name: 'python',
    prepare: () => {
      const packages = pythonPackages(join(CLIENTS, 'python/requirements.txt'));
      return { command: ['python3', join(CLIENTS, 'python/submit.py')], env: { PYTHONPATH: packages } };
    },
    read: printed,
  },
];
if (find(thisMachine(), 'temporal'))
  examples.push({
    name: 'cli',
    prepare: () => ({ command: [join(CLIENTS, 'cli/submit.sh')] }),
    read: (stdout) => (JSON.parse(stdout) as { updateResult: Submission }).updateResult,
  });
else console.log('The temporal command is not on PATH: its example does not take part.');

/** Runs one example twice; what was wrong with it, or null. */
async function check(servers: TestServers, { name, prepare, read }: Example): Promise<string | null> {
  const stream = `by-${name}`;
  const folder = join(servers.folder, name);
  await writeSmallDataset(folder, { name: 'ant', train: 4, test: 2, seed: 1 });
  await uploadFolder(folder, `s3://lilora-test/${name}`);
  const { command, env } = prepare(servers.folder);
  const [program, ...args] = [...command, stream, MODEL, `s3://lilora-test/${name}`];
  const answers: Submission[] = [];
  for (let i = 0; i < 2; i++) {
    const options = { env: { ...servers.env, ...env }, cwd: ROOT, timeout: 120_000 };
    answers.push(read((await promisify(execFile)(program!, args, options)).stdout));
  }
  const [first, second] = answers;
  if (first!.task !== 'ant' || first!.duplicate || first!.workflowId !== `lilora/${stream}/ant`)
    return `the first answer is ${JSON.stringify(first)}`;
  if (!second!.duplicate || second!.datasetDigest !== first!.datasetDigest)
    return `the second answer is ${JSON.stringify(second)}`;
  const handle = servers.client.workflow.getHandle(streamWorkflowId(stream));
  const { tasks } = await handle.query<StreamDescription>('describe');
  return tasks.length === 1 ? null : `the stream has ${tasks.length} tasks`;
}

const servers = await TestServers.start();
let failed = 0;
try {
  await uploadFolder(join(ROOT, 'test/fixtures/llava-mha/model'), MODEL);
  await servers.worker('orchestrator');
  for (const example of examples) {
    const wrong = await check(servers, example).catch((error: unknown) => String(error));
    if (wrong) failed++;
    console.log(`${example.name}: ${wrong ?? 'submits, once'}`);
  }
} finally {
  await servers.stop();
}
console.log(`${examples.length - failed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
