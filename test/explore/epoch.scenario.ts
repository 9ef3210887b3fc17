/**
 * iommu/hardware/epoch.ts and the code that is built on it: when an unmap has returned, no device
 * touches that memory (docs/DESIGN.md, "Invariants", 1).
 */
import assert from 'node:assert/strict';
import { AgentEpoch, releaseAgent, waitForAgents } from '../../iommu/hardware/epoch.ts';
import { clearEntry, publishEntry } from '../../iommu/hardware/pte.ts';
import { Unit } from '../../iommu/hardware/unit-memory.ts';
import {
  type BoardMemory,
  boardMemory,
  domainOfTwoUnits,
  GSCID,
  kernel,
  leafOf,
  names,
  port,
  VPN,
} from './iommu-board.ts';
import { defineScenario } from './scenario.ts';

const OURS = 0x55;
const THEIRS = 0xaa;

/**
 * A device: bursts of so many writes to the mapped page, each refused or in time, and idle after
 * each burst.
 */
function device(memory: BoardMemory, agent: 0 | 1, bursts: readonly number[]): void {
  const dma = port(memory, agent);
  const frame = new Uint8Array(8).fill(OURS);
  for (const writes of bursts) {
    for (let i = 0; i < writes; i++) dma.write(VPN, 64 * agent, frame);
    dma.idle();
  }
}

/** The kernel unmaps the page, and gives it to somebody else who fills it. */
function unmap(memory: BoardMemory): void {
  const { commands, words } = kernel(memory);
  clearEntry(words, leafOf(memory).at);
  commands.invalidateLeaf(GSCID, VPN);
  commands.fence();
  new Uint8Array(memory.guest).fill(THEIRS, 0, 128);
}

const untouched = ({ guest }: BoardMemory): void =>
  assert.ok(
    new Uint8Array(guest, 0, 128).every((byte) => byte === THEIRS),
    'a write landed after the unmap had returned',
  );

/** One device writes while its page is unmapped. */
export const unmapAgainstDma = defineScenario({
  file: import.meta.url,
  name: 'unmap-against-dma',
  memory: () => boardMemory(1),
  names,
  actors: { device: (memory) => device(memory, 0, [1, 2]), kernel: unmap },
  check: untouched,
});

/**
 * As before, right after another unmap: the device may be reading the log while the next request
 * comes.
 */
export const unmapTwice = defineScenario({
  file: import.meta.url,
  name: 'unmap-twice',
  memory: () => boardMemory(1),
  names,
  actors: {
    device: (memory) => device(memory, 0, [1, 1, 1]),
    kernel: (memory) => {
      const { commands } = kernel(memory);
      commands.invalidateLeaf(GSCID, VPN + 1);
      commands.fence();
      unmap(memory);
    },
  },
  check: untouched,
});

/** Two devices do. */
export const twoAgents = defineScenario({
  file: import.meta.url,
  name: 'two-agents',
  memory: () => boardMemory(2),
  names,
  actors: {
    device0: (memory) => device(memory, 0, [1, 1]),
    device1: (memory) => device(memory, 1, [1, 1]),
    kernel: unmap,
  },
  check: untouched,
});

/**
 * Two devices, each behind a unit of its own, both in the domain from which the page goes (ATT-2,
 * RACE-35).
 */
export const twoUnits = defineScenario({
  file: import.meta.url,
  name: 'two-units',
  memory: () => boardMemory(2, 2),
  names,
  actors: {
    device0: (memory) => device(memory, 0, [1, 1]),
    device1: (memory) => device(memory, 1, [1, 1]),
    kernel: (memory) => {
      const domain = domainOfTwoUnits(memory);
      domain.unmap(VPN, 1);
      domain.flush();
      new Uint8Array(memory.guest).fill(THEIRS, 0, 128);
    },
  },
  check: untouched,
});

/** An entry is published while a device walks: it is seen whole or not at all. */
export const mapAgainstDma = defineScenario({
  file: import.meta.url,
  name: 'map-against-dma',
  memory: () => {
    const memory = boardMemory(1);
    const { at } = leafOf(memory);
    new Int32Array(memory.kernelRam).fill(0, at, at + 2);
    return memory;
  },
  names,
  actors: {
    device: (memory) => device(memory, 0, [2]),
    kernel: (memory) => {
      const { at, lo, hi } = leafOf(memory);
      publishEntry(new Int32Array(memory.kernelRam), at, lo, hi);
    },
  },
  check: ({ decoy }) =>
    assert.ok(
      new Uint8Array(decoy).every((byte) => byte === 0),
      'a write went to the page of half an entry',
    ),
});

/** A device worker ends inside a transaction: the board says so, and the fence goes on. */
export const deadAgent = defineScenario({
  file: import.meta.url,
  name: 'dead-agent',
  memory: () => boardMemory(1),
  names,
  actors: {
    board: ({ unit }) => {
      new AgentEpoch(new Int32Array(unit), 0).begin();
      releaseAgent(unit, 0);
    },
    kernel: ({ unit }) => assert.ok(waitForAgents(new Int32Array(unit)), 'the fence timed out'),
  },
});

/** A worker takes the place of one that was stopped inside a transaction. */
export const replacedWorker = defineScenario({
  file: import.meta.url,
  name: 'replaced-worker',
  memory: () => {
    const memory = boardMemory(1);
    new AgentEpoch(new Int32Array(memory.unit), 0).begin();
    return memory;
  },
  names,
  actors: { device: (memory) => device(memory, 0, [1, 1]), kernel: unmap },
  check: untouched,
});

/** Two devices fault at once: each leaves its record. */
export const twoFaults = defineScenario({
  file: import.meta.url,
  name: 'two-faults',
  memory: () => boardMemory(2),
  names,
  actors: {
    device0: (memory) => void port(memory, 0).write32(VPN + 1, 0, 0),
    device1: (memory) => void port(memory, 1).write32(VPN + 2, 0, 0),
  },
  check: ({ unit, kernelRam }) => {
    assert.equal(new Int32Array(unit)[Unit.word.recorded], 2, 'two faults are recorded');
    const records = new Int32Array(kernelRam);
    for (const vpn of [VPN + 1, VPN + 2])
      assert.ok(records.includes(vpn * 4096), `the fault at page ${vpn} is in the queue`);
  },
});
