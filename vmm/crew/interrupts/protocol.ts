/**
 * What main and the interrupt worker say to each other, beside the `dispatch` word of
 * machine/control/control-block.ts.
 */
import type { VmShared } from '../vm-shared.ts';

export interface InterruptInput {
  readonly shared: VmShared;
  /** Main signals it after it changed the `dispatch` word. */
  readonly kick: number;
  /** An open file of the host, on which nothing is ever sent: it hangs up when the host ends. */
  readonly hostFile: number;
}

export type InterruptMessage =
  /** The worker waits for main's word to begin, which is any message. */
  | { readonly kind: 'ready' }
  /**
   * The answer to a stop: it has taken nothing from an eventfd that is not pending in the interrupt
   * file, and takes nothing until it runs again.
   */
  | { readonly kind: 'parked'; readonly request: number }
  /** The host has ended, and with it every device. */
  | { readonly kind: 'host-gone' }
  /** The worker has crashed. */
  | { readonly kind: 'failed'; readonly reason: string };
