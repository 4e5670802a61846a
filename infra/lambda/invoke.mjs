/**
 * Invokes a built function as Lambda does: `node invoke.mjs FOLDER SECONDS < event.json`. Prints the answer as JSON. Tells on stderr how long
 * the import took and, with the next line, that the handler runs.
 */
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

const [folder = '.', seconds = '30'] = process.argv.slice(2);
const event = process.stdin.isTTY ? {} : JSON.parse(readFileSync(0, 'utf8') || '{}');
const begin = performance.now();
const { handler } = await import(pathToFileURL(join(resolve(folder), 'index.mjs')).href);
process.stderr.write(`imported in ${Math.round(performance.now() - begin)} ms\n`);
const end = Date.now() + Number(seconds) * 1000;
process.stderr.write('handler runs\n');
const answer = await handler(event, {
  awsRequestId: `local-${process.pid}`,
  invokedFunctionArn: 'arn:aws:lambda:local:000000000000:function:lilora',
  functionName: 'lilora',
  getRemainingTimeInMillis: () => end - Date.now(),
});
process.stdout.write(`${JSON.stringify(answer ?? null)}\n`);
process.exit(0); // Lambda freezes what is left
