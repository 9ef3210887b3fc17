/** Steps on the recorded kvemu devices. */
import type { StepTable } from './step-context.ts';

export const EMULATED_STEPS: StepTable = {};
