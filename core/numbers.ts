/** Numbers in a typed array that grows: 8 bytes for each, to twice that while it has just grown. */
export class Numbers {
  length = 0;
  private values = new Float64Array(64);

  push(value: number): void {
    if (this.length === this.values.length) {
      const larger = new Float64Array(2 * this.length);
      larger.set(this.values);
      this.values = larger;
    }
    this.values[this.length++] = value;
  }

  /** The number at a place that was pushed before. */
  at(i: number): number {
    return this.values[i]!;
  }

  set(i: number, value: number): void {
    this.values[i] = value;
  }

  /** All of them; a view that stays as it is only until the next push. */
  all(): Float64Array {
    return this.values.subarray(0, this.length);
  }
}
