/**
 * The operations that are system calls on fds. They are the same for every process that plays them.
 */
import type { StepTable } from './call-context.ts';
import { eduDma } from './edu-dma.ts';
import { EMULATED_STEPS } from './emulated-steps.ts';
import { FD_STEPS } from './fd-steps.ts';
import { VFIO_STEPS } from './vfio-steps.ts';

export const CALL_STEPS: StepTable = { ...FD_STEPS, ...VFIO_STEPS, ...EMULATED_STEPS, edu_dma: eduDma };
