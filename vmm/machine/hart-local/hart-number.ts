/**
 * Harts are numbered from 0. This file names everything that has a hart's number in its name. The
 * sections are `hart`, `clint` … for hart 0, `hart 1`, `clint 1` … for the next one (`numbered` of
 * platform/section.ts).
 */

/** The most harts of a VM: our firmware has stacks for so many (guest/firmware/layout.h). */
export const MAX_HARTS = 8;

/** The numbers of this many harts. */
export const hartNumbers = (harts: number): readonly number[] => Array.from({ length: harts }, (_, hart) => hart);

/** The hart's node below /cpus of the device tree. */
export const cpuNode = (hart: number): string => `cpu@${hart.toString(16)}`;

/** The name of the thread that runs the hart. */
export const threadName = (hart: number): string => `vcpu${hart}`;
