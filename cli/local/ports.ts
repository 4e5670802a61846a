import { createServer } from 'node:net';

/** The wanted port of this machine, or any free one when it is taken. */
export async function freePort(wanted: number): Promise<number> {
  return (await tryPort(wanted)) ?? (await tryPort(0))!;
}

function tryPort(port: number): Promise<number | null> {
  return new Promise((found) => {
    const server = createServer();
    server.once('error', () => found(null));
    server.listen(port, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => found(typeof address === 'object' && address ? address.port : null));
    });
  });
}
