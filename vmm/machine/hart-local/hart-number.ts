/**
 * Harts are numbered from 0, and what bears a hart's number is named here. Its sections are `hart`,
 * `clint` … for hart 0, `hart 1`, `clint 1` … for the next one (`numbered` of platform/section.ts).
 */

/**
 * Harts of a VM. NOT MODELLED: more than one, which the machine could have; vCPU threads run hart 0
 * only.
 */
export const HARTS = 1;

/** Numbers of so many harts. */
export const hartNumbers = (harts: number): readonly number[] => Array.from({ length: harts }, (_, hart) => hart);

/** The node below /cpus of the device tree. */
export const cpuNode = (hart: number): string => `cpu@${hart.toString(16)}`;

/** The thread that runs it. */
export const threadName = (hart: number): string => `vcpu${hart}`;
