/**
 * The VMM's program. `vmm [--host SOCKET] [-m SIZE] --kernel ELF …` powers a guest on. What else it can be told only images of
 * itself say: `vmm --prepare` writes compiled code to fd 3, `vmm --resume STATE [CODE]` takes a running guest over (two fds).
 */
import { monotonicNs } from '../platform/clock.ts';

const firstLine = monotonicNs(); // before any other code is loaded

void import('./launch.ts').then(({ launch }) => launch(process.argv.slice(2), firstLine));
