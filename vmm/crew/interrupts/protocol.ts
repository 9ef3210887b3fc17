/**
 * The messages between main and the interrupt thread. Requests go by the `dispatch` word of
 * machine/control/control-block.ts instead.
 */
import type { VmShared } from '../vm-shared.ts';

/** The shared memory that the thread reaches. */
export type InterruptShared = Pick<VmShared, 'control' | 'imsic' | 'routes'>;

export interface InterruptInput {
  readonly shared: InterruptShared;
  /** An eventfd. Main signals it after it changed the `dispatch` word. */
  readonly kick: number;
  /**
   * An open file of the host, on which nothing is ever sent: it hangs up when the host ends. Absent
   * without devices.
   */
  readonly hostFile?: number;
  /**
   * Eventfds that main reads when it is told of them. It is told again only after the thread has
   * been at rest. −1: none.
   */
  readonly notices?: readonly number[];
  /** An epoll instance: on news of its edge-triggered sockets, their owner is woken. */
  readonly news?: number;
}

export type InterruptMessage =
  /** The worker waits for main's word to begin, which is any message. */
  | { readonly kind: 'ready' }
  /**
   * The answer to a stop. Every interrupt that the worker has taken from an eventfd is pending in
   * the interrupt file, and it takes no more until it runs again.
   */
  | { readonly kind: 'parked'; readonly request: number }
  /** `notice` of the notices has a count. */
  | { readonly kind: 'notice'; readonly notice: number }
  /** The host has ended, and every device with it. */
  | { readonly kind: 'host-gone' }
  /** The worker has crashed. */
  | { readonly kind: 'failed'; readonly reason: string };
