/** Lines on stderr: one per part when it is done, and a heartbeat while something takes long. */
export class Progress {
  #started = performance.now();
  /** @type {Map<string, string>} */
  #doing = new Map();
  /** @type {NodeJS.Timeout | undefined} */
  #timer;
  #quiet;

  /** @param {boolean} quiet says only what goes wrong, and what takes long */
  constructor(quiet, heartbeatMs = 15_000) {
    this.#quiet = quiet;
    this.#timer = setInterval(() => {
      const busy = [...this.#doing].map(([part, what]) => `${part}: ${what}`);
      if (busy.length) this.#line(`still at work. ${busy.join('; ')}`);
    }, heartbeatMs);
    this.#timer.unref();
  }

  /** @param {string} part @param {string} what */
  begin(part, what) {
    this.#doing.set(part, what);
    this.#line(`${part.padEnd(9)} ${what} …`);
  }

  /** @param {string} part @param {string} result */
  done(part, result) {
    this.#doing.delete(part);
    if (!this.#quiet) this.#line(`${part.padEnd(9)} ${result}`);
  }

  /** @param {string} part @param {string} text */
  warn(part, text) {
    this.#line(`${part.padEnd(9)} ! ${text}`);
  }

  end() {
    clearInterval(this.#timer);
  }

  #line(text) {
    const seconds = ((performance.now() - this.#started) / 1000).toFixed(1);
    process.stderr.write(`set-up ${seconds.padStart(6)} s  ${text}\n`);
  }
}
