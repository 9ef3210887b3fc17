/**
 * The file and the identity that an interrupt leads to, as one number: routes
 * (shared/interrupt-routes.ts) and the journal have it in shared memory. 0: it leads nowhere. For
 * the M-level file of hart 0 it equals the identity.
 */

/** The privilege levels that have an interrupt file (AIA 1.0 §3.1). */
export const LEVELS = ['machine', 'supervisor'] as const;
export type Level = (typeof LEVELS)[number];

/** Bits 15:0 are the identity, 29:16 the hart. */
const HART_SHIFT = 16;
const HART_MASK = 0x3fff;
const IDENTITY_MASK = 0xffff;
const SUPERVISOR = 1 << 30;

/** What fits. An interrupt file has at most 2047 identities (AIA §3.1). */
export const MOST_IDENTITY = IDENTITY_MASK;

export const interruptTarget = (hart: number, identity: number, level: Level = 'machine'): number =>
  (level === 'supervisor' ? SUPERVISOR : 0) | (hart << HART_SHIFT) | identity;

export const targetLevel = (target: number): Level => ((target & SUPERVISOR) === 0 ? 'machine' : 'supervisor');
export const targetHart = (target: number): number => (target >>> HART_SHIFT) & HART_MASK;
export const targetIdentity = (target: number): number => target & IDENTITY_MASK;
