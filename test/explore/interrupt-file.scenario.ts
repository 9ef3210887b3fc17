/**
 * iommu/hardware/mrif.ts, msi.ts: a virtual interrupt file moves into memory and back while a
 * device sends messages (AIA 1.0 §8.3.3), and software takes what the unit tells it of. The
 * doorbell is the file of the machine's IMSIC: it counts the messages of each identity.
 */
import assert from 'node:assert/strict';
import { DoorbellTable, HELD } from '../../iommu/bus/interrupts.ts';
import { msiEntryHi, msiEntryLo } from '../../iommu/hardware/msi.ts';
import {
  type BoardMemory,
  boardMemory,
  DOORBELL_PFN,
  GSCID,
  GUEST_PFN,
  kernel,
  MSI_VPN,
  msiEntryOf,
  names,
  port,
} from './iommu-board.ts';
import { defineScenario } from './scenario.ts';

const NOTICE = 9;
/** V, and mode 1. */
const MODE_MRIF = 3;
/** The file is at the start of the second guest page: the low word of its pending bits. */
const FILE = 1024;

type Words = BoardMemory & { readonly taken: SharedArrayBuffer };

const long = (lo: number, hi: number): bigint => (BigInt(hi) << 32n) | BigInt(lo >>> 0);

const BASIC = long(msiEntryLo(DOORBELL_PFN), msiEntryHi(DOORBELL_PFN));
const MRIF = (BigInt(GUEST_PFN + 1) << 10n) | BigInt(MODE_MRIF);

/** Writes the first half of the entry, by one store. */
const setEntry = (memory: Words, entry: bigint): void => {
  Atomics.store(new BigInt64Array(memory.kernelRam), msiEntryOf(memory) / 2, entry);
};

function memory(inMemory: boolean): () => Words {
  return () => {
    const board = { ...boardMemory(1), taken: new SharedArrayBuffer(64) };
    const doorbell = new DoorbellTable(board.doorbells);
    for (let vector = 0; vector < 16; vector++) doorbell.setSource(vector, HELD);
    const longs = new BigInt64Array(board.kernelRam);
    longs[msiEntryOf(board) / 2 + 1] = (BigInt(DOORBELL_PFN) << 10n) | BigInt(NOTICE);
    if (inMemory) longs[msiEntryOf(board) / 2] = MRIF;
    return board;
  };
}

/** Sends a message of each identity. */
const device =
  (...identities: readonly number[]) =>
  (words: Words): void => {
    const dma = port(words, 0);
    for (const identity of identities) {
      assert.ok(dma.write32(MSI_VPN, 0, identity), 'the store of a message is refused');
      dma.idle();
    }
  };

/** Takes the identities that pend in the file. */
function take({ guest, taken }: Words): void {
  const bits = Atomics.exchange(new Int32Array(guest), FILE, 0);
  for (let identity = 0; identity < 16; identity++) {
    if ((bits & (1 << identity)) !== 0) Atomics.add(new Int32Array(taken), identity, 1);
  }
}

const arrived = ({ doorbells, taken }: Words, identity: number): number =>
  new DoorbellTable(doorbells).pending(identity) + new Int32Array(taken)[identity]!;

/** To memory and back: no message is lost, and none comes twice. */
export const moves = defineScenario({
  file: import.meta.url,
  name: 'moves',
  memory: memory(false),
  names,
  actors: {
    device: device(1, 2, 3),
    software: (words) => {
      const { commands } = kernel(words);
      setEntry(words, MRIF);
      commands.invalidateDomain(GSCID); // the entry in basic mode may be cached
      commands.fence();
      setEntry(words, BASIC);
      commands.fence(); // now no message is on its way to the file
      take(words);
    },
  },
  check: (words) => {
    for (const identity of [1, 2, 3]) assert.equal(arrived(words, identity), 1, `identity ${identity} arrives once`);
    assert.equal(new Int32Array(words.guest)[FILE], 0, 'nothing is left in the file');
  },
});

/** While the file is in memory software takes from it whenever it is told, and only then. */
export const told = defineScenario({
  file: import.meta.url,
  name: 'told',
  memory: memory(true),
  names,
  actors: {
    device: device(1, 2),
    software: (words) => {
      const doorbell = new DoorbellTable(words.doorbells);
      for (let look = 0; look < 2; look++) {
        if (doorbell.pending(NOTICE) === 0) continue;
        doorbell.dropPending(NOTICE);
        take(words);
      }
    },
  },
  check: (words) => {
    if (new DoorbellTable(words.doorbells).pending(NOTICE) > 0) take(words);
    for (const identity of [1, 2]) assert.equal(arrived(words, identity), 1, `identity ${identity} arrives once`);
  },
});
