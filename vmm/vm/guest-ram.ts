/** Guest RAM: a memory object that survives, and its mapping at a vaddr that does not. */
import { fstatSync } from 'node:fs';

import { einval } from '../../platform/errno.ts';
import { fd } from '../../platform/fd-shape.ts';
import { createMemory, MAX_MAPPING, Mapping, Reservation } from '../../platform/memory.ts';
import { defineSection, type StateOf } from '../../platform/section.ts';
import { integer } from '../../platform/shape.ts';
import { type RamPart, withTranslators } from '../machine/hart-local/hart-local.ts';

/** `vaddrOld` is the vaddr in the image that is gone. It must not be used again. */
export const RAM_SECTION = defineSection('ram', 1, { fd, size: integer, vaddrOld: integer });

export type RamState = StateOf<typeof RAM_SECTION>;

export interface GuestRam {
  readonly fd: number;
  readonly mapping: Mapping;
}

/**
 * Maps guest RAM. Behind it, in the same Memory, is room for the translators of the harts and for
 * their journal; with 4 GiB of RAM there is none.
 */
export function mapRam(fd: number, size: number, harts: number): Mapping {
  const most = Math.min(withTranslators(size, harts), MAX_MAPPING);
  return new Mapping(fd, size, 0, new Reservation(most));
}

/** Guest RAM for a machine. */
export const ramPart = ({ memory, buffer, length }: Mapping): RamPart => ({ memory, buffer, offset: 0, size: length });

/**
 * Maps guest RAM at another vaddr than before. The address must not matter, so RAM never gets the
 * same one. `wrong` is the injected defect: memory that is not the guest's. EINVAL: the object has
 * another size.
 */
export function remapRam({ fd, size, vaddrOld }: RamState, harts: number, wrong: boolean): GuestRam {
  const object = wrong ? createMemory('wrong-memfd', size) : fd;
  if (fstatSync(object).size !== size) throw einval(`section ram: the memory object is not ${size} bytes long`);
  const mapping = mapRam(object, size, harts);
  if (mapping.vaddr !== vaddrOld) return { fd: object, mapping };
  const elsewhere = mapRam(object, size, harts);
  mapping.release();
  return { fd: object, mapping: elsewhere };
}
