/**
 * Runs a VMM's program so that it records what it calls (main.ts). Nothing is compiled in it before
 * it is called. When it hands the guest over to the guest's threads, V8 tells what it has compiled,
 * under the snapshot's option. The threads change more of V8's flags (platform/wasm-tiers.ts), and
 * the snapshot's node would not take a later record.
 */
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as v8 from 'node:v8';
import * as threads from 'node:worker_threads';

import { type Program, snapshotProgram } from '../../platform/code-cache.ts';
import { HASH_ANEW, KEEP_HASHES } from '../../platform/v8-options.ts';

/** `name` is the file of a snapshot's program, beside this one. */
export function recordCallsOf(name: string): void {
  const path = join(dirname(fileURLToPath(import.meta.url)), name);
  const bundle = snapshotProgram(path);
  const script = bundle.script();

  /** What the program hands to node when a snapshot is made of it. */
  let start = (): void => {};
  const startupSnapshot = {
    setDeserializeMainFunction(main: () => void): void {
      start = main;
    },
  };

  let isRecorded = false;
  /** A thread of the program. Its first message gives it the guest. */
  class Worker extends threads.Worker {
    override postMessage(...message: Parameters<threads.Worker['postMessage']>): void {
      if (!isRecorded) {
        v8.setFlagsFromString(KEEP_HASHES); // startWorker has taken it back
        bundle.keep(script.createCachedData());
        v8.setFlagsFromString(HASH_ANEW);
      }
      isRecorded = true;
      super.postMessage(...message);
    }
  }

  const modules: Readonly<Record<string, unknown>> = {
    'node:v8': { ...v8, startupSnapshot },
    'node:worker_threads': { ...threads, Worker },
  };
  const program = script.runInThisContext() as Program;
  const module = {} as NodeJS.Module; // as in a snapshot's main script
  program((name) => modules[name] ?? require(name), module, path);
  start();
}
