/**
 * A guest whose time is counted by instructions prints the same whatever happens to its VMM, and
 * whoever executes it.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';

import { CSR_MCYCLE, CSR_MIE, CSR_TIME } from '../../../guest/riscv/csr-numbers.ts';
import { standingGuardian } from '../../../tools/clients/guardians.ts';
import type { QmpClient } from '../../../tools/clients/qmp-client.ts';
import { elfFile } from '../../guest/elf-file.ts';
import { branchTo, encode, jumpTo, loadImmediate } from '../../guest/riscv/encode.ts';
import { updateEnded, VmmProcess } from '../vmm-process.ts';

const START = 0x8000_0000;
const LINES = 100;
const COLUMNS = 32;
const TICKS = 40_000;
/** Iterations between two characters: some of them end in the middle of a turn. */
const WORK = 8000;
const MTIP = 1 << 7;
const UPDATE_MS = 60_000;

/**
 * Each character shows how far mtime and mcycle are. Before it the guest works for a while, sets
 * its timer, and waits for it.
 */
const PROGRAM: readonly number[] = [
  ...loadImmediate(5, 0x1000_0000), // x5: the UART
  ...loadImmediate(6, 0x200_4000), // x6: mtimecmp
  encode('addi', { rd: 7, imm: LINES }),
  encode('addi', { rd: 8, imm: MTIP }),
  encode('csrrw', { rs1: 8, csr: CSR_MIE }),
  // a line
  encode('addi', { rd: 9, imm: COLUMNS }),
  // a character
  ...loadImmediate(10, WORK),
  encode('addi', { rd: 10, rs1: 10, imm: -1 }),
  branchTo(encode('bne', { rs1: 10 }), -4),
  encode('csrrs', { rd: 11, csr: CSR_TIME }),
  ...loadImmediate(12, TICKS),
  encode('add', { rd: 12, rs1: 12, rs2: 11 }),
  encode('sd', { rs1: 6, rs2: 12 }),
  encode('wfi'),
  encode('csrrs', { rd: 12, csr: CSR_MCYCLE }),
  encode('csrrs', { rd: 13, csr: CSR_TIME }),
  encode('add', { rd: 12, rs1: 12, rs2: 11 }),
  encode('xor', { rd: 12, rs1: 12, rs2: 13 }),
  encode('andi', { rd: 12, rs1: 12, imm: 63 }),
  encode('addi', { rd: 12, rs1: 12, imm: 0x30 }),
  encode('sb', { rs1: 5, rs2: 12 }),
  encode('addi', { rd: 9, rs1: 9, imm: -1 }),
  branchTo(encode('bne', { rs1: 9 }), -4 * 18),
  encode('addi', { rd: 12, imm: 0x0a }),
  encode('sb', { rs1: 5, rs2: 12 }),
  encode('addi', { rd: 7, rs1: 7, imm: -1 }),
  branchTo(encode('bne', { rs1: 7 }), -4 * 23),
  // the end
  ...loadImmediate(5, 0x10_0000),
  ...loadImmediate(6, 0x5555),
  encode('sw', { rs1: 5, rs2: 6 }),
  jumpTo(encode('jal'), 0),
];

let folder: string;
let guest: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'livevmm-icount-'));
  guest = join(folder, 'guest.elf');
  const bytes = new Uint8Array(Int32Array.from(PROGRAM).buffer);
  writeFileSync(guest, elfFile({ entry: START, loads: [{ paddr: START, bytes }] }));
});
afterAll(() => rmSync(folder, { recursive: true }));

/** The console of a whole run. */
async function whole(...words: readonly string[]): Promise<string> {
  const vmm = new VmmProcess(guest, '-icount', ...words);
  try {
    expect(await vmm.exited).toEqual([0, null]);
    return vmm.output;
  } finally {
    await vmm.end();
  }
}

/**
 * What happens to a VMM while its guest runs. Returns how many bytes of the console's output may
 * have come twice.
 */
type Blow = (qmp: QmpClient, vmm: VmmProcess) => Promise<number>;

const update =
  (mode: string): Blow =>
  async (qmp) => {
    const ended = qmp.nextEvent(updateEnded, UPDATE_MS);
    await qmp.execute('live-update', { mode, probation: 0 });
    expect((await ended).data).toMatchObject({ status: 'completed' });
    return 0;
  };

/** What a takeover says if the death came between a write of the output and the note of it. */
const IN_A_WRITE = /^(\d+) bytes of console output may come twice$/;

const death: Blow = async (qmp, vmm) => {
  await standingGuardian(qmp, UPDATE_MS);
  const taken = qmp.nextEvent(({ event }) => event === 'TAKEOVER', UPDATE_MS);
  process.kill(vmm.pid, 'SIGKILL');
  const { doubts = [] } = (await taken).data as { doubts?: readonly string[] };
  return Math.max(0, ...doubts.map((doubt) => Number(IN_A_WRITE.exec(doubt)?.[1] ?? 0)));
};

/** A console's output of which `twice` bytes may have come twice, somewhere. */
interface Output {
  readonly text: string;
  readonly twice: number;
}

/** The output without those bytes, where `whole` is what should have come. */
function once({ text, twice }: Output, whole: string): string {
  const differs = [...text].findIndex((letter, i) => letter !== whole[i]);
  return differs < 0 ? text : text.slice(0, differs - twice) + text.slice(differs);
}

/** The console until a while after all of that: its guest waits as long as real time takes. */
async function through(blows: readonly Blow[], ...words: readonly string[]): Promise<Output> {
  const vmm = new VmmProcess(guest, '-icount', 'shift=2,sleep=on', ...words);
  try {
    const qmp = await vmm.monitor();
    let twice = 0;
    for (const blow of blows) {
      await vmm.printsBytes(vmm.output.length + 1);
      twice += await blow(qmp, vmm);
    }
    await vmm.printsBytes(vmm.output.length + 2 * COLUMNS);
    qmp.close();
    return { text: vmm.output, twice };
  } finally {
    await vmm.end();
  }
}

it('a run is the same whoever executes it, through updates by exec and transfer, and a death', async () => {
  const [jit, golden, ...begun] = await Promise.all([
    whole('shift=2,sleep=off'),
    whole('shift=2,sleep=off', '--accel', 'golden'),
    through([update('exec'), update('transfer')]),
    through([death], '--guardian', 'always'),
  ]);
  expect(jit).toMatch(/^([0-o]{32}\n){100}$/);
  expect(golden).toBe(jit);
  const seen = begun.map((output) => once(output, jit));
  expect(Math.min(...seen.map(({ length }) => length))).toBeGreaterThan(2 * COLUMNS);
  expect(seen).toEqual(seen.map(({ length }) => jit.slice(0, length)));
});
