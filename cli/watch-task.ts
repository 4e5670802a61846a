import type { Client } from '@temporalio/client';
import { LiloraError } from '../core/errors.ts';
import type { TaskLine } from '../workflows/contract.ts';
import { follow, type Moment, progressText, settled } from './follow.ts';
import { LiveLine } from './output.ts';

/** Shows a task's progress on stderr until its outcome is known. */
export async function watchTask(
  client: Client,
  stream: string,
  task: string,
  onMoment: (moment: Moment) => void = () => {},
  live: Pick<LiveLine, 'update' | 'end'> = new LiveLine(),
): Promise<TaskLine> {
  const lineOf = ({ stream: { tasks } }: Moment) => tasks.findLast((line) => line.task === task);
  let last: TaskLine | undefined;
  try {
    const enough = (moment: Moment) => {
      const line = lineOf(moment);
      return line === undefined || settled(line);
    };
    for await (const moment of follow(client, stream, enough)) {
      onMoment(moment);
      last = lineOf(moment);
      if (moment.running?.task === task)
        live.update(`${task}, ${progressText(moment.running)[0]}`, progressText(moment.running)[1]);
      else if (last?.status === 'queued')
        live.update(`${task} waits${moment.stream.paused ? ' (the stream is paused)' : ''}`);
    }
  } finally {
    live.end();
  }
  if (!last)
    throw new LiloraError('NotFound', `Stream ${stream} knows no task ${task}. See \`lilora status ${stream}\`.`);
  return last;
}
