/**
 * What a vCPU publishes at the end of each slice: all of its machine that does not lie in shared
 * words, or that is newer there.
 */
import { einval } from '../../platform/errno.ts';
import { pack, unpack } from '../../platform/msgpack.ts';
import type { Section, Versioned } from '../../platform/section.ts';
import { flag, integer, list, object, type Shape } from '../../platform/shape.ts';
import { IMSIC_SECTION, type ImsicState } from '../machine/hart-local/imsic.ts';
import type { MachineState } from '../machine/machine.ts';
import { HART_SECTIONS, SHARED_SECTIONS } from '../machine/machine-sections.ts';

export interface PublishedVm {
  /** The machine was about to be reset: whoever goes on resets it and fills RAM. */
  readonly reset: boolean;
  readonly machine: MachineState;
  /** By hart. The pending bits are newer in shared memory. */
  readonly interruptFiles: readonly ImsicState[];
  /** Bytes of console input that the guest has taken out of the ring (ConsoleInput). */
  readonly inputTaken: number;
  /** Bytes that stdout had taken when `uart.unsent` was saved (ConsoleOutput). */
  readonly outputSent: number;
}

const section =
  <S extends Versioned>(of: Section<S>): Shape<S> =>
  (value, at) => {
    if (typeof value !== 'object' || value === null || !('version' in value)) throw einval(`${at}: no section`);
    return of.decode(value as Versioned);
  };

const shapesOf = (sections: object): Record<string, Shape<unknown>> =>
  Object.fromEntries(Object.entries(sections).map(([part, of]) => [part, section(of as Section<Versioned>)]));

const { uart, pci, ...others } = SHARED_SECTIONS; // every machine has the first two
const machine = object(
  { harts: list(object(shapesOf(HART_SECTIONS[0]!))), ...shapesOf({ uart, pci }) },
  shapesOf(others),
) as unknown as Shape<MachineState>;

const shape: Shape<PublishedVm> = object({
  reset: flag,
  machine,
  interruptFiles: list(section(IMSIC_SECTION)),
  inputTaken: integer,
  outputSent: integer,
});

export const encodePublished = (vm: PublishedVm): Uint8Array => pack(vm);

/** EINVAL: another build wrote it, and this one does not know a version or a shape in it. */
export function decodePublished(bytes: Uint8Array): PublishedVm {
  let body: unknown;
  try {
    body = unpack(bytes);
  } catch (error) {
    throw einval(`the published state is not msgpack (${(error as Error).message})`);
  }
  return shape(body, 'published state');
}
