/** The activities of one worker seen from outside: how many began, for how long any ran, since when none does. */
export class Work {
  /** Activities begun so far. */
  begun = 0;
  private running = 0;
  private doneSeconds = 0;
  private busySince = 0;
  private idleSince = 0;

  /** The same activities, watched. */
  watch<Activities extends Record<string, (input: never) => Promise<unknown>>>(activities: Activities): Activities {
    const watched = Object.entries(activities).map(([name, run]) => [
      name,
      async (input: never) => {
        this.begun++;
        if (this.running++ === 0) this.busySince = performance.now();
        try {
          return await run(input);
        } finally {
          if (--this.running === 0) {
            this.idleSince = performance.now();
            this.doneSeconds += (this.idleSince - this.busySince) / 1000;
          }
        }
      },
    ]);
    return Object.fromEntries(watched) as Activities;
  }

  /** Seconds in which an activity ran, up to now. */
  get busySeconds(): number {
    return this.doneSeconds + (this.running > 0 ? (performance.now() - this.busySince) / 1000 : 0);
  }

  /** End of the last activity, or now while one runs; null when none ever began. */
  get workedUntil(): Date | null {
    if (this.begun === 0) return null;
    return new Date(performance.timeOrigin + (this.running > 0 ? performance.now() : this.idleSince));
  }

  /** Resolves after so many seconds on end without an activity, counted from now at the earliest; never without a number. */
  async idleFor(seconds: number | undefined): Promise<void> {
    if (seconds === undefined) return new Promise(() => {});
    const asked = performance.now();
    const left = () =>
      this.running > 0 ? seconds : seconds - (performance.now() - Math.max(asked, this.idleSince)) / 1000;
    for (let wait = seconds; wait > 0; wait = left()) await sleep(wait);
  }

  /** Resolves after so many seconds if not one activity has begun by then; never otherwise. */
  async unusedFor(seconds: number | undefined): Promise<void> {
    if (seconds !== undefined) await sleep(seconds);
    if (seconds === undefined || this.begun > 0) return new Promise(() => {});
  }
}

/** A wait that keeps no process alive. */
const sleep = (seconds: number) => new Promise((wake) => setTimeout(wake, seconds * 1000).unref());
