/**
 * The VMM's program as a snapshot of V8's heap. The snapshot has everything loaded, compiled and
 * initialised that the guest's next instruction needs, and a successor begins where this file ends.
 * `node --build-snapshot` runs this file. A module that this file imports must not make objects
 * that a snapshot cannot hold: shared buffers, WebAssembly memories, foreign functions. Node's own
 * worker_threads and net make such objects, too.
 */
import { startupSnapshot } from 'node:v8';

import { monotonicNs } from '../../platform/clock.ts';
import '../live-update/resume.ts';
import { runVmm } from './run.ts';

startupSnapshot.setDeserializeMainFunction(() => {
  const firstLine = monotonicNs();
  const args = process.argv.slice(2);
  void runVmm(args, firstLine);
});
