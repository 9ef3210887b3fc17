import { describe, expect, it } from 'vitest';
import { openEnd, openWire } from '../../../devices/backends/open-socket.ts';

const LONG = `/${'x'.repeat(107)}`;
const tooLong = `${LONG}: a socket path has at most 107 bytes`;

describe('a path that no socket can have', () => {
  it.each([true, false])('is refused, of a server and of a client that would connect later (server: %s)', (server) => {
    const open = () => openEnd({ path: LONG, server, reconnectMs: 0 }, '-chardev');
    expect(open).toThrow(`-chardev: ${tooLong}`);
  });

  it.each([
    { local: LONG, remote: '/r' },
    { local: '/l', remote: LONG },
  ])('is refused at both ends of a wire', (ends) => {
    expect(() => openWire(ends, '-netdev')).toThrow(`-netdev: ${tooLong}`);
  });
});
