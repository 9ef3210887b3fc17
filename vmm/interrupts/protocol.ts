/** What main and the interrupt worker say to each other, beside the `dispatch` word of machine/control-block.ts. */
import type { VmShared } from '../vcpu/protocol.ts';

export interface InterruptInput {
  readonly shared: VmShared;
  /** Main signals it after it changed the `dispatch` word. */
  readonly kick: number;
}

/** It has taken nothing from an eventfd that is not pending in the interrupt file, and takes nothing more until it runs again. */
export interface InterruptMessage {
  readonly kind: 'parked';
}
