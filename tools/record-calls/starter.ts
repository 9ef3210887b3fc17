/** The VMM's program as one that powers a guest on, and records what it calls. */
import { recordCallsOf } from './recording.ts';

recordCallsOf('vmm-start.cjs');
