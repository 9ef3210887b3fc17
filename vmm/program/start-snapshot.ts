/**
 * The VMM's program as a snapshot of V8's heap from which a guest is powered on: as snapshot.ts,
 * with what a power-on needs loaded, compiled and initialised. The build makes it.
 */
import { startupSnapshot } from 'node:v8';

import { monotonicNs } from '../../platform/clock.ts';
import '../vm/options.ts';
import '../vm/power-on.ts';
import { runVmm } from './run.ts';

startupSnapshot.setDeserializeMainFunction(() => {
  const firstLine = monotonicNs();
  void runVmm(process.argv.slice(2), firstLine);
});
