import { visible } from '../report/markup.ts';

/** A result for people or programs: the only thing that goes to stdout. */
export function result(text: string): void {
  process.stdout.write(`${visible(text)}\n`);
}

/** A result as one line of JSON. */
export function resultJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

/** Something to know, beside the result: on stderr. */
export function note(text: string): void {
  process.stderr.write(`${visible(text)}\n`);
}

/** Seconds between two lines of the same step where there is no terminal. */
const QUIET_SECONDS = 15;

/** One line of progress on stderr: rewritten on a terminal, else a new line for a new step or now and then. */
export class LiveLine {
  private readonly out: NodeJS.WriteStream;
  private shown = '';
  private step = '';
  private printed = 0;

  constructor(out: NodeJS.WriteStream = process.stderr) {
    this.out = out;
  }

  /** @param step what is going on; @param detail how far it is */
  update(step: string, detail = ''): void {
    const text = visible(detail ? `${step}: ${detail}` : step);
    if (text === this.shown) return;
    this.shown = text;
    if (this.out.isTTY) {
      this.out.write(`\r\u001b[2K${text.slice(0, (this.out.columns ?? 80) - 1)}`);
    } else if (step !== this.step || Date.now() - this.printed > QUIET_SECONDS * 1000) {
      this.printed = Date.now();
      this.out.write(`${text}\n`);
    }
    this.step = step;
  }

  /** Leaves the line, so that other output starts on one of its own. */
  end(): void {
    if (this.out.isTTY && this.shown) this.out.write('\r\u001b[2K');
    this.shown = '';
  }
}
