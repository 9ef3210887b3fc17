/**
 * The VMM's program. `vmm [--host SOCKET] [-m SIZE] --kernel ELF …` powers a guest on; `vmm --resume FD`, which only the image
 * before this one says, takes a running one over.
 *
 * This bundle is small, and all else is in another: in a resume the start of the vCPU thread is what takes longest (36 ms), so
 * it begins before anything is loaded that it does not need.
 */
import { monotonicNs } from '../platform/clock.ts';
import { entryUrl } from '../platform/thread.ts';
import { VcpuThread } from './vcpu/thread.ts';

const firstLine = monotonicNs();
const [option, stateFd, ...rest] = process.argv.slice(2);
const resume = option === '--resume' && rest.length === 0;
const vcpu = resume ? new VcpuThread() : undefined;

const input = vcpu ? { vcpu, stateFd: Number(stateFd), firstLine } : process.argv.slice(2);
void (import(entryUrl('vmm/process').pathname) as Promise<typeof import('./process.ts')>).then(({ runVmm }) =>
  runVmm(input),
);
