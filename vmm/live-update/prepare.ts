/**
 * `vmm --prepare`: compiles the VMM's code for an update (code.ts). Functions are compiled although nobody has called them yet; V8's
 * flag for that is one reason why a process of its own does this, the other that it must be the new image's node and build.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { Script } from 'node:vm';

import { encodeCode } from './code.ts';

export const CODE_FD = 3;

/** The code of the CommonJS file `path` goes to CODE_FD. */
export function prepare(path: string): void {
  const text = readFileSync(path, 'latin1').replace(/^#!.*/, '');
  const source = `(function (exports, require, module, __filename, __dirname) {${text}\n})`;
  setFlagsFromString('--no-lazy');
  const script = new Script(source, { filename: path });
  setFlagsFromString('--lazy'); // V8 takes cached data only under the flags it was made under
  writeFileSync(CODE_FD, encodeCode({ source, cachedData: script.createCachedData() }));
}
