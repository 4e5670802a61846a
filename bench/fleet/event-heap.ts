/** The events of a simulation by time; those of one moment come in the order in which they were added. */
export class EventHeap {
  private times = new Float64Array(1024);
  private order = new Float64Array(1024);
  private values = new Float64Array(1024);
  private size = 0;
  private added = 0;

  /** Time of the next event; Infinity when there is none. */
  get next(): number {
    return this.size > 0 ? this.times[0]! : Number.POSITIVE_INFINITY;
  }

  /** @param value a whole number that tells the event */
  add(time: number, value: number): void {
    if (this.size === this.times.length) this.grow();
    let at = this.size++;
    const order = this.added++;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (this.times[parent]! <= time) break; // what was added earlier stays in front
      this.move(parent, at);
      at = parent;
    }
    this.put(at, time, order, value);
  }

  /** Removes the next event and gives its value. */
  take(): number {
    const first = this.values[0]!;
    const last = --this.size;
    const [time, order, value] = [this.times[last]!, this.order[last]!, this.values[last]!];
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= last) break;
      if (child + 1 < last && this.before(child + 1, this.times[child]!, this.order[child]!)) child++;
      if (!this.before(child, time, order)) break;
      this.move(child, at);
      at = child;
    }
    this.put(at, time, order, value);
    return first;
  }

  private before(at: number, time: number, order: number): boolean {
    return this.times[at]! < time || (this.times[at] === time && this.order[at]! < order);
  }

  private move(from: number, to: number): void {
    this.put(to, this.times[from]!, this.order[from]!, this.values[from]!);
  }

  private put(at: number, time: number, order: number, value: number): void {
    this.times[at] = time;
    this.order[at] = order;
    this.values[at] = value;
  }

  private grow(): void {
    for (const name of ['times', 'order', 'values'] as const) {
      const larger = new Float64Array(2 * this[name].length);
      larger.set(this[name]);
      this[name] = larger;
    }
  }
}
