/** What a test wants to be told by: an eventfd of its own as the source of a vector or line. */
import { eventfdSources } from '../../../iommu/bus/interrupts.ts';
import type { EventfdSources } from '../../../platform/eventfd-source.ts';
import { dup } from '../../../platform/libc/fd.ts';

const owners = new WeakMap<SharedArrayBuffer, EventfdSources>();

/** The one owner of the sources behind a doorbell table. */
export function ownerOf(interrupts: SharedArrayBuffer): EventfdSources {
  const owner = owners.get(interrupts) ?? eventfdSources(interrupts);
  owners.set(interrupts, owner);
  return owner;
}

/** A source that signals `fd`, which stays the test's. */
export const sourceOf = (interrupts: SharedArrayBuffer, fd: number): number => ownerOf(interrupts).open(dup(fd));
