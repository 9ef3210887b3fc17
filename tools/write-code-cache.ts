/** `write-code-cache STARTER…`: writes what V8 makes of these bundles (platform/code-cache.ts). */
import { setFlagsFromString } from 'node:v8';

import { Bundle } from '../platform/code-cache.ts';

/**
 * V8 compiles every function, whether anything calls it at the start or not: reading them all takes
 * less time than compiling the few.
 */
function compiled(bundle: Bundle): Buffer {
  setFlagsFromString('--no-lazy');
  const script = bundle.script();
  setFlagsFromString('--lazy'); // V8 takes a cache only under the flags that it was made under
  return script.createCachedData();
}

for (const starter of process.argv.slice(2)) {
  const bundle = new Bundle(starter, []);
  if (!bundle.isKept) bundle.keep(compiled(bundle));
}
