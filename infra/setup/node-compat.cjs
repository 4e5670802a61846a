/**
 * Lets @tensorflow/tfjs-node-gpu 4.22 run on Node 23 and later, which removed a `util` function that it calls, and keeps Node 22 from
 * warning about it. Load it before the package: `node --require ./infra/setup/node-compat.cjs`, or as the first import of a program.
 */
const util = require('node:util');

util.isNullOrUndefined = (value) => value === null || value === undefined;
util.isArray = Array.isArray;
