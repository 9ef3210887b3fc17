/**
 * The VMM's program. `vmm [--host SOCKET] [-m SIZE] --kernel ELF …` powers a guest on. `vmm
 * --resume STATE` takes a running guest over; STATE is a fd, and only an earlier image gives this
 * option. The program starts from this file, or from a snapshot of it (snapshot.ts).
 */
import { monotonicNs } from '../../platform/clock.ts';

const firstLine = monotonicNs(); // before any other code is loaded

void import('./run.ts').then(({ runVmm }) => runVmm(process.argv.slice(2), firstLine));
