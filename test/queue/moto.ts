import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import {
  CreateQueueCommand,
  GetQueueAttributesCommand,
  ReceiveMessageCommand,
  SendMessageCommand,
  SQSClient,
} from '@aws-sdk/client-sqs';
import { pythonPackages } from '../python.ts';
import { freePort, retry } from '../servers.ts';

/** A server that speaks SQS: moto, which boto3's own users test against. */
export class QueueServer {
  readonly client: SQSClient;
  private readonly process: ChildProcess;

  private constructor(process: ChildProcess, endpoint: string) {
    this.process = process;
    const credentials = { accessKeyId: 'test', secretAccessKey: 'test' };
    this.client = new SQSClient({ endpoint, region: 'us-east-1', credentials });
  }

  static async start(): Promise<QueueServer> {
    const packages = pythonPackages(fileURLToPath(new URL('requirements.txt', import.meta.url)));
    const port = await freePort();
    const child = spawn('python3', ['-m', 'moto.server', '-H', '127.0.0.1', '-p', String(port)], {
      env: { ...process.env, PYTHONPATH: packages },
      stdio: 'ignore',
    });
    const server = new QueueServer(child, `http://127.0.0.1:${port}`);
    // Its first start compiles some hundred Python files.
    await retry(() => server.client.send(new CreateQueueCommand({ QueueName: 'first' })), 90);
    return server;
  }

  /** A queue and its dead-letter queue, to which a message goes after so many receipts. */
  async create(name: string, receipts: number): Promise<{ url: string; dead: string }> {
    const make = async (QueueName: string, Attributes: Record<string, string> = {}) =>
      (await this.client.send(new CreateQueueCommand({ QueueName, Attributes }))).QueueUrl!;
    const dead = await make(`${name}-dead`);
    const { Attributes } = await this.client.send(
      new GetQueueAttributesCommand({ QueueUrl: dead, AttributeNames: ['QueueArn'] }),
    );
    const policy = { deadLetterTargetArn: Attributes!.QueueArn, maxReceiveCount: receipts };
    return { url: await make(name, { RedrivePolicy: JSON.stringify(policy) }), dead };
  }

  async send(url: string, body: string): Promise<void> {
    await this.client.send(new SendMessageCommand({ QueueUrl: url, MessageBody: body }));
  }

  /** Messages in the queue, hidden ones among them. */
  async count(url: string): Promise<number> {
    const names = ['ApproximateNumberOfMessages', 'ApproximateNumberOfMessagesNotVisible'] as const;
    const { Attributes } = await this.client.send(
      new GetQueueAttributesCommand({ QueueUrl: url, AttributeNames: [...names] }),
    );
    return names.reduce((sum, name) => sum + Number(Attributes![name]), 0);
  }

  async bodies(url: string): Promise<string[]> {
    const { Messages } = await this.client.send(new ReceiveMessageCommand({ QueueUrl: url, MaxNumberOfMessages: 10 }));
    return (Messages ?? []).map(({ Body }) => Body!);
  }

  stop(): void {
    this.client.destroy();
    this.process.kill();
  }
}
