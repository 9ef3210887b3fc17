/**
 * A wire to another process: each Ethernet frame is a datagram, as QEMU's `-netdev dgram` sends
 * it. Frames that nobody has taken wait in the socket, so they outlive an exec.
 */
import { fd } from '../../platform/fd-shape.ts';
import { receiveDatagram, sendDatagram } from '../../platform/libc/unix-datagram.ts';
import { unixAddress } from '../../platform/libc/unix-socket.ts';
import { object, type Shaped, text } from '../../platform/shape.ts';
import { MAX_FRAME, type NetPort } from '../virtio/net.ts';

/** An open socket, bound to `local`. It survives an update. */
export const DATAGRAM_DESCRIPTION = object({ fd, local: text, remote: text });

export type DatagramDescription = Shaped<typeof DATAGRAM_DESCRIPTION>;

export class DatagramPort implements NetPort {
  readonly #fd: number;
  readonly #remote: Uint8Array;
  readonly #frame = new Uint8Array(MAX_FRAME);

  constructor({ fd, remote }: DatagramDescription) {
    this.#fd = fd;
    this.#remote = unixAddress(remote);
  }

  receive(): Uint8Array | undefined {
    const length = receiveDatagram(this.#fd, this.#frame);
    return length === undefined ? undefined : this.#frame.subarray(0, length);
  }

  send(frame: Uint8Array): boolean {
    return sendDatagram(this.#fd, frame, this.#remote) !== 'full';
  }
}
