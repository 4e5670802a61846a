#!/usr/bin/env node
// The `lilora` command. The sources are TypeScript and run as they are: tsx takes the types away while they load.
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
if (major < 20 || (major === 20 && minor < 19)) {
  console.error(`lilora needs Node 20.19 or later; this is ${process.versions.node}. See https://nodejs.org`);
  process.exit(1);
}
process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED ??= 'true'; // it speaks of a future version, not of the pinned one
const { register } = await import('tsx/esm/api').catch(() => {
  console.error('The packages of this project are not installed. Run: npm run setup');
  process.exit(1);
});
register();
// `lilora … | head` closes its end early: that is no failure.
process.stdout.on('error', (error) => process.exit(error.code === 'EPIPE' ? 0 : 1));
const { main } = await import('./main.ts');
process.exitCode = await main(process.argv.slice(2));
