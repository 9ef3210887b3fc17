/** `livevmm demo --mode p2p`: DMA from device to device goes on while the VMM is replaced. */
import { type PeerFacts, PeerGuests } from '../demo/p2p/guests.ts';
import { describePeers, peerTiles } from '../demo/p2p/text.ts';
import { findFailures } from '../demo/p2p/verdict.ts';
import type { FrameFacts } from '../launch/guest-console.ts';
import { Machine, type MachineOptions } from '../launch/machine.ts';
import { guestPath } from '../launch/programs.ts';
import type { Mode } from './demo-updates.ts';

/** The memory that both guests have. */
const SHARED = 'ivshmem-plain,memdev=frames';
/** Those of the first VMM. */
const PASSED = ['capture', SHARED];
/** The other one. */
const LEFT = [SHARED];

/** The first VMM's options; the second one has the same memory. */
export const peers = (options: Omit<MachineOptions, 'devices' | 'kernel'>): Mode<FrameFacts, PeerFacts> => ({
  async start(machines) {
    const kernel = guestPath('peer');
    const devices = [...PASSED, ...LEFT];
    const writer = await Machine.start<FrameFacts>({ ...options, devices, nrPassed: PASSED.length, kernel });
    machines.push(writer);
    const reader = await Machine.beside(writer, { memory: options.memory, kernel });
    machines.push(reader);
    return new PeerGuests(writer, reader);
  },
  findFailures,
  describe: describePeers,
  tiles: peerTiles,
});
