/**
 * Makes a snapshot of snapshot.ts, the bundle beside this one: `node --snapshot-blob FILE
 * --build-snapshot vmm-build-snapshot.cjs`. Every function in it is compiled, although nothing has
 * called it. That saves half of the work after the successor's first line.
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { setFlagsFromString } from 'node:v8';
import { Script } from 'node:vm';

const path = fileURLToPath(new URL('./vmm-snapshot.cjs', import.meta.url));
const text = readFileSync(path, 'latin1').replace(/^#!.*/, '');

setFlagsFromString('--no-lazy');
const script = new Script(`(function (require, __filename) {${text}\n})`, { filename: path });
setFlagsFromString('--lazy'); // node takes a snapshot only under the flags that it was made under

const program = script.runInThisContext() as (require: NodeJS.Require, filename: string) => void;
program(require, path); // `require` is the one that only a snapshot's main script has
