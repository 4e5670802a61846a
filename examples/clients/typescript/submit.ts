/** Submits a dataset, starting its stream if it does not run: `tsx submit.ts STREAM MODEL DATASET`. */
import { Client, Connection, WithStartWorkflowOperation } from '@temporalio/client';
import { loadClientConnectConfig } from '@temporalio/envconfig';
import type { StreamInput, Submission, SubmitTask } from '../../../workflows/contract.ts';

const [stream, model, dataset] = process.argv.slice(2);
if (!stream || !model || !dataset) throw new Error('usage: submit.ts STREAM MODEL DATASET');

const { connectionOptions, namespace } = loadClientConnectConfig();
const connection = await Connection.connect(connectionOptions);
const client = new Client({ connection, namespace });

const submission = await client.workflow.executeUpdateWithStart<
  (input: StreamInput) => Promise<void>,
  Submission,
  [SubmitTask]
>('submitTask', {
  args: [{ dataset }],
  startWorkflowOperation: new WithStartWorkflowOperation('stream', {
    workflowId: `lilora/${stream}`,
    taskQueue: 'lilora',
    args: [{ schema: 1, definition: { name: stream, model } }],
    workflowIdConflictPolicy: 'USE_EXISTING',
  }),
});
console.log(JSON.stringify(submission));
await connection.close();
