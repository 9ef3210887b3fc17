/** The VMM's program as a successor that records what it calls. */
import { recordCallsOf } from './recording.ts';

recordCallsOf('vmm-snapshot.cjs');
