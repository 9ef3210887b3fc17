import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { close } from '../../../platform/libc/fd.ts';
import { createMemory, Mapping } from '../../../platform/memory.ts';
import { wholeOf } from '../../../platform/shared.ts';
import { Publication } from '../../../vmm/crew/publication.ts';
import { type Recovered, recover } from '../../../vmm/crew/recovery.ts';
import { buildVcpu } from '../../../vmm/crew/vcpu/start.ts';
import { Vitals } from '../../../vmm/crew/vitals.ts';
import type { MachineState } from '../../../vmm/machine/machine.ts';
import { CLINT, RAM_BASE, TEST_FINISHER } from '../../../vmm/machine/shared/memory-map.ts';
import { encode } from '../../guest/riscv/encode.ts';
import { inTurn } from '../../turn.ts';
import type { Begin } from './death/vmm-child.ts';

/**
 * A real process whose vCPU thread counts in RAM, killed at random moments: in the interpreter, and
 * in translated code.
 */

const RAM_BYTES = 4 << 20;
const DATA = 1 << 20;
const KILLS = 4;
const ROUNDS = 200_000n;

const [T0, T1, T2, T3, T4] = [5, 6, 7, 28, 29] as const;
/** s0: the data; s2: data + 8; s3: rounds; s4: mtimecmp; s5: the finisher, s6 and s7: its words. */
const [S0, ONE, S2, S3, S4, S5, PASS, FAIL] = [8, 9, 18, 19, 20, 21, 22, 23] as const;

const branch = (name: string, rs1: number, rs2: number, words: number): number =>
  encode(name, { rs1, rs2 }) | (words < 0 ? -0x8000_0000 | 0x80 : 0) | (((words >> 3) & 63) << 25) | ((words & 7) << 9);

/**
 * The guest adds 1 to a doubleword, to another by an AMO, to a misaligned word, and to s3; it
 * compares them in each round. Every 256 rounds it writes to mtimecmp. It powers off after as many
 * rounds as RAM says, or at once with status 1 if a step was lost or came twice.
 */
const GUEST = [
  encode('ld', { rd: T0, rs1: S0 }),
  encode('addi', { rd: T0, rs1: T0, imm: 1 }),
  encode('sd', { rs2: T0, rs1: S0 }),
  encode('amoadd.d', { rs2: ONE, rs1: S2 }),
  encode('lw', { rd: T1, rs1: S0, imm: 21 }),
  encode('addiw', { rd: T1, rs1: T1, imm: 1 }),
  encode('sw', { rs2: T1, rs1: S0, imm: 21 }),
  encode('addi', { rd: S3, rs1: S3, imm: 1 }),
  encode('ld', { rd: T2, rs1: S2 }),
  branch('bne', T0, T2, 10),
  branch('bne', T0, S3, 9),
  branch('bne', S3, T1, 8),
  encode('andi', { rd: T3, rs1: S3, imm: 255 }),
  branch('bne', T3, 0, 2),
  encode('sd', { rs2: S3, rs1: S4 }),
  encode('ld', { rd: T4, rs1: S0, imm: 72 }),
  branch('bne', S3, T4, -16),
  encode('sw', { rs2: PASS, rs1: S5 }),
  encode('jal'),
  encode('sw', { rs2: FAIL, rs1: S5 }),
  encode('jal'),
];

let ramFd: number;
let ram: Mapping;
let vitals: Vitals[];
let children: ChildProcess[];

beforeEach(() => {
  ramFd = createMemory('guest-ram', RAM_BYTES);
  ram = new Mapping(ramFd, RAM_BYTES);
  new Uint32Array(ram.buffer).set(GUEST);
  vitals = [];
  children = [];
});

afterEach(async () => {
  for (const child of children) if (child.exitCode === null && child.signalCode === null) await killed(child);
  for (const each of vitals) each.release();
  ram.release();
  close(ramFd);
});

async function killed(child: ChildProcess): Promise<void> {
  const exit = once(child, 'exit');
  child.kill('SIGKILL');
  await exit;
}

/** The machine before the guest's first instruction. */
function firstState(): Omit<Begin, 'accel'> {
  const signs = Vitals.create(1);
  const { state } = buildVcpu({
    ...{ shared: signs.shared, kernel: {} as Parameters<typeof buildVcpu>[0]['kernel'], tell: () => {} },
    parts: { ram: wholeOf(ram.buffer), entry: RAM_BASE, devices: [] },
  })
    .begin({ pci: { version: 3, functions: [] } })
    .suspend();
  signs.release();
  const [hart] = state.harts;
  const registers: Readonly<Record<number, number>> = {
    ...{ [S0]: RAM_BASE + DATA, [ONE]: 1, [S2]: RAM_BASE + DATA + 8, [S4]: CLINT.base + 0x4000 },
    ...{ [S5]: TEST_FINISHER.base, [PASS]: 0x5555, [FAIL]: 0x1_3333 },
  };
  const x = hart!.hart.x.map((_, i) => BigInt(registers[i + 1] ?? 0));
  const machine: MachineState = { ...state, harts: [{ ...hart!, hart: { ...hart!.hart, pc: RAM_BASE, x } }] };
  return { machine, interruptFile: { version: 1, delivery: 0, threshold: 0, pending: [], enabled: [] } };
}

/** Starts a process that runs the guest on; resolves when the guest runs. */
async function run(from: Begin): Promise<{ child: ChildProcess; signs: Vitals; said(kind: string): Promise<void> }> {
  const signs = Vitals.create(1);
  vitals.push(signs);
  new Publication(signs.shared.publication).wanted = true;
  const script = fileURLToPath(new URL('./death/vmm-child.ts', import.meta.url));
  const child = spawn(process.execPath, ['--import', 'tsx', script], {
    stdio: ['ignore', 'ignore', 'inherit', ramFd, signs.fd, 'ipc'],
    serialization: 'advanced',
  });
  children.push(child);
  const gone = once(child, 'exit').then(() => {
    throw new Error('the child is gone');
  });
  gone.catch(() => {}); // whoever waits hears of it
  const heard: string[] = [];
  child.on('message', (kind: string) => heard.push(kind));
  const said = async (kind: string): Promise<void> => {
    while (!heard.includes(kind)) await Promise.race([once(child, 'message'), gone]);
  };
  child.send(from);
  await said('running');
  return { child, signs, said };
}

function recovered(signs: Vitals): Omit<Begin, 'accel'> & Recovered {
  const notGiven = (): never => expect.unreachable('it publishes its first state itself');
  const vm = recover(signs.shared, 1, ram.buffer, notGiven)!;
  return { ...vm, interruptFile: vm.interruptFiles[0]! };
}

describe('a VMM that is killed', () => {
  it.each(
    inTurn([
      { accel: 'golden', mostMs: 20 },
      { accel: 'jit', mostMs: 100 }, // it is hot after some
    ] as const),
  )(
    'has lost no step of its guest and made none twice, whenever it was: $accel',
    async ({ accel, mostMs }) => {
      let state = firstState();
      const rounds: bigint[] = [];
      for (let kill = 0; kill < KILLS; kill++) {
        const { child, signs } = await run({ ...state, accel });
        await sleep(Math.random() * mostMs);
        await killed(child);
        const next = recovered(signs);
        expect(next.doubts).toEqual([]);
        rounds.push(next.machine.harts[0]!.hart.x[S3 - 1]!);
        state = next;
      }
      const counters = new BigInt64Array(ram.buffer, DATA, 10);
      const goal = rounds.at(-1)! + ROUNDS;
      counters[9] = goal;
      const { said } = await run({ ...state, accel });
      await said('poweroff');

      expect(rounds.every((count, i) => count > (rounds[i - 1] ?? -1n))).toBe(true);
      expect([counters[0], counters[1]]).toEqual([goal, goal]);
      expect(new DataView(ram.buffer).getInt32(DATA + 21, true)).toBe(Number(goal));
    },
    60_000,
  );
});
