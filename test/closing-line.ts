import type { Reporter, SerializedError, TestModule } from 'vitest/node';

/** Ends the run's output with the line `N passed, N failed`. A file that does not load and an error outside tests count as failures. */
export default class ClosingLine implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandled: readonly SerializedError[]): void {
    let passed = 0;
    let failed = unhandled.length;
    for (const module of modules) {
      const tests = [...module.children.allTests()];
      passed += tests.filter((test) => test.ok() && test.result().state === 'passed').length;
      const broken = tests.filter((test) => test.result().state === 'failed').length;
      failed += broken;
      if (!module.ok() && broken === 0) failed += Math.max(1, module.errors().length);
    }
    if (passed + failed === 0) failed = 1; // no tests at all is not a success
    process.once('exit', () => process.stdout.write(`${passed} passed, ${failed} failed\n`));
  }
}
