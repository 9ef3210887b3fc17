/**
 * The VM as a whole, as far as it survives an update: what it was started with, and how it stands.
 */
import { defineSection, type StateOf } from '../../platform/section.ts';
import { flag, integer, list, object, oneOf, type Shaped, text } from '../../platform/shape.ts';

/** The command line. */
const VM_OPTIONS = object(
  {
    /** Bytes of guest RAM. */
    memory: integer,
    /** Path of the guest's ELF. */
    kernel: text,
    /** Passed-through devices, in the order of their slots. */
    devices: list(text),
  },
  {
    /** UNIX socket of the host; absent without devices. */
    host: text,
    /** Path of the monitor's socket. */
    qmp: text,
    /** A fd whose end is the end of whoever started the VMM, and so the VMM's. */
    lifeline: integer,
    /**
     * A defect to show that a check finds it: after an update the guest gets fresh memory instead
     * of its own.
     */
    inject: oneOf('wrong-memfd'),
  },
);

export type VmOptions = Shaped<typeof VM_OPTIONS>;

export const VM_SECTION = defineSection('vm', 1, {
  options: VM_OPTIONS,
  /** Where the boot ROM jumps to. */
  entry: integer,
  /** Images that ran this guest before. */
  generation: integer,
  paused: flag,
});

export type VmState = StateOf<typeof VM_SECTION>;
