import { describe, expect, it } from 'vitest';

import { Clients } from '../../../iommu/kernel/entry/clients.ts';
import { shareFds } from '../../../iommu/kernel/fd-shares.ts';

/** What a host has open when nobody uses it (host-limits.test.ts looks at one). */
const IDLE = 25;
const IDLE_OF_DEVICE = 4;

describe('the fds of a host', () => {
  it('are three eighths for connections, a half for memory and an eighth for watches, after its own', () => {
    expect(shareFds(1024, 1)).toEqual({ connections: 360, memory: 480, watchesOfDevice: 120 });
  });

  it.each([
    [128, 1],
    [1024, 1],
    [1024, 30],
    [4096, 30],
    [2 ** 20, 30],
  ])('are no more than there are, all shares together: %i fds, %i devices', (nofile, devices) => {
    const { connections, memory, watchesOfDevice } = shareFds(nofile, devices);

    const clients = connections + memory + watchesOfDevice * devices;

    expect(clients + IDLE + IDLE_OF_DEVICE * devices).toBeLessThan(nofile);
  });

  it('are 4096 for connections at most', () => {
    expect(shareFds(20_000, 1).connections).toBe(4096);
  });

  it('are refused with EMFILE where they are too few, and suffice for a client with a device where not', () => {
    expect(() => shareFds(103, 1)).toThrow('103 open files (ulimit -n) are too few: 104 are needed');

    const clients = new Clients(shareFds(104, 1).connections);
    const [channel, container, group, device] = [1, 2, 3, 4].map(() => clients.enter(1));
    expect([channel, container, group, device]).toEqual(Array(4).fill(expect.objectContaining({ connections: 4 })));
  });

  it('are watched by nobody on a host without devices', () => {
    expect(shareFds(1024, 0)).toMatchObject({ memory: 488, watchesOfDevice: 0 });
  });
});
