import { readFileSync } from 'node:fs';
import { beforeEach, describe, expect, it } from 'vitest';
import { int32s, newPart, wholeOf } from '../../../platform/shared.ts';
import { decodeAll } from '../../../vmm/live-update/decoded-state.ts';
import { NewImage } from '../../../vmm/live-update/new-image.ts';
import { decodeState } from '../../../vmm/live-update/state-file.ts';
import { controlBytes, hartWords } from '../../../vmm/machine/control/control-block.ts';
import { imsicBytes } from '../../../vmm/machine/hart-local/imsic.ts';
import { LEVELS } from '../../../vmm/machine/hart-local/interrupt-target.ts';
import { Machine, type MachineState } from '../../../vmm/machine/machine.ts';
import { CONSOLE_INPUT_BYTES, ConsoleInput } from '../../../vmm/machine/shared/console-input.ts';
import { CONSOLE_OUTPUT_BYTES, ConsoleOutput } from '../../../vmm/machine/shared/console-output.ts';
import { imsicPage } from '../../../vmm/machine/shared/memory-map.ts';
import { PassthroughFunction } from '../../../vmm/machine/shared/passthrough.ts';
import { FakeDeviceAccess } from '../../fakes/fake-device-access.ts';

const RAM_BYTES = 2 ** 22;

interface NewMachine {
  /** Passed-through devices. */
  readonly nrFunctions?: number;
  readonly harts?: number;
  readonly monotonicNs?: () => number;
}

function newMachine({ nrFunctions = 0, harts = 1, monotonicNs }: NewMachine = {}): {
  machine: Machine;
  ram: Uint32Array;
  control: Int32Array;
  printed(): string;
} {
  const ram = new SharedArrayBuffer(RAM_BYTES);
  let text = '';
  const output = new ConsoleOutput(newPart(CONSOLE_OUTPUT_BYTES), (bytes) => {
    text += Buffer.from(bytes).toString();
    return bytes.length;
  });
  const control = newPart(controlBytes(harts));
  const router = { eventfd: () => -1, setIdentity: () => {} };
  const machine = new Machine({
    ram: wholeOf(ram),
    entry: 0x8000_0000,
    aia: 'aplic-imsic',
    control,
    imsic: newPart(imsicBytes(harts)),
    input: new ConsoleInput(newPart(CONSOLE_INPUT_BYTES)),
    output,
    functions: Array.from({ length: nrFunctions }, () => new PassthroughFunction(new FakeDeviceAccess(), router)),
    ...(monotonicNs ? { monotonicNs } : {}),
  });
  return { machine, ram: new Uint32Array(ram), control: int32s(control), printed: () => text };
}

/** Prints "ok\n", writes a0 to RAM, then powers off. */
const PROGRAM = [
  0x1000_02b7, // lui  t0, 0x10000       the UART
  0x06f0_0313, // li   t1, 'o'
  0x0062_8023, // sb   t1, 0(t0)
  0x06b0_0313, // li   t1, 'k'
  0x0062_8023, // sb   t1, 0(t0)
  0x00a0_0313, // li   t1, '\n'
  0x0062_8023, // sb   t1, 0(t0)
  0x0010_02b7, // lui  t0, 0x100         the test finisher
  0x0000_5337, // lui  t1, 0x5
  0x5553_031b, // addiw t1, t1, 0x555
  0x0062_a023, // sw   t1, 0(t0)
  0x1050_0073, // wfi
];

/**
 * Each hart sends the other a software interrupt, waits for its own, then for its timer, and notes
 * when that came.
 */
const PROGRAM_OF_TWO = [
  0x0200_02b7, // lui  t0, 0x2000       the CLINT
  0x0010_0313, // li   t1, 1
  0x40a3_0e33, // sub  t3, t1, a0       the other hart
  0x002e_1e13, // slli t3, t3, 2
  0x005e_0e33, // add  t3, t3, t0       its msip
  0x0025_1e93, // slli t4, a0, 2
  0x005e_8eb3, // add  t4, t4, t0       our msip
  0x3044_5073, // csrwi mie, 8          MSIE
  0x006e_2023, // sw   t1, 0(t3)
  0x1050_0073, // wfi
  0x000e_af03, // lw   t5, 0(t4)
  0xfe0f_0ce3, // beqz t5, -8
  0x000e_a023, // sw   zero, 0(t4)
  0x0000_4fb7, // lui  t6, 4
  0x005f_8fb3, // add  t6, t6, t0       mtimecmp of hart 0
  0x0035_1393, // slli t2, a0, 3
  0x007f_8fb3, // add  t6, t6, t2       our mtimecmp
  0x0015_0413, // addi s0, a0, 1
  0x00a4_1413, // slli s0, s0, 10       1024 ticks for hart 0, 2048 for hart 1
  0x008f_b023, // sd   s0, 0(t6)
  0x0800_0493, // li   s1, 0x80         MTIE
  0x3044_9073, // csrw mie, s1
  0x1050_0073, // wfi
  0xc010_24f3, // csrr s1, time
  0x0000_1f17, // auipc t5, 1
  0x3040_5073, // csrwi mie, 0
  0x007f_0f33, // add  t5, t5, t2
  0x009f_3023, // sd   s1, 0(t5)
  0x1050_0073, // wfi
  0xffdf_f06f, // j    -4
];
/** Where the harts' notes are, in words of RAM. */
const NOTES = (24 * 4 + 0x1000) / 4;
const TICK_NS = 100;
const EIP0 = 0x80;

describe('the machine', () => {
  it('boots through its ROM with the hart id in a0 and the device tree in a1, and runs what lies in RAM', () => {
    const { machine, ram, printed } = newMachine();
    ram.set(PROGRAM);
    machine.reset();
    expect(machine.harts[0]!.engine.run(1000)).toBe('wfi');
    expect(printed()).toBe('ok\n');
    expect(machine.shared.finisher.take()).toEqual({ kind: 'poweroff', status: 0 });
    const { x } = machine.save().harts[0]!.hart;
    expect([x[9], x[10]]).toEqual([0n, 0x8020_0000n]);
    expect(machine.save().harts[0]!.vcpu.exits).toBeGreaterThan(6);
  });

  it('goes on in the middle of a program from the state of another machine', () => {
    const first = newMachine();
    first.ram.set(PROGRAM);
    first.machine.reset();
    first.machine.harts[0]!.engine.run(6 + 4);
    const state = structuredClone(first.machine.save());

    const second = newMachine();
    second.ram.set(first.ram);
    second.machine.restore(state);
    second.machine.harts[0]!.engine.run(1000);
    expect(first.printed() + second.printed()).toBe('ok\n');
    expect(second.machine.shared.finisher.take()).toEqual({ kind: 'poweroff', status: 0 });
  });

  it('loads what 0.1.0 saved, and saves the same again', () => {
    const state = decodeState(readFileSync(new URL('../live-update/frozen-0.1.0.state', import.meta.url)));
    const image = new NewImage();
    const ofMachine = ['vcpu', 'hart', 'clint', 'uart', 'pci'];
    for (const { survivor, state: body } of decodeAll(state)) {
      if (ofMachine.includes(survivor.section.name)) survivor.restore(image, body);
    }
    const frozen = image.machine;
    const { machine } = newMachine({ nrFunctions: frozen.pci.functions.length });
    machine.restore(frozen);
    const { harts, uart, pci } = frozen;
    const saved: MachineState = machine.save();
    expect(saved).toEqual({ harts, uart: { ...uart, unsent: new Uint8Array(uart.unsent) }, pci });
  });
});

describe('a machine of two harts', () => {
  let nowNs: number;
  const two = (): ReturnType<typeof newMachine> => newMachine({ harts: 2, monotonicNs: () => nowNs });

  beforeEach(() => {
    nowNs = 1e9;
  });

  /** One thread runs both, slice by slice, and 100 ticks pass with each. */
  function interleave({ machine }: ReturnType<typeof newMachine>, rounds: number): void {
    machine.shared.clock.start();
    for (let round = 0; round < rounds; round++) {
      for (const { timer, engine } of machine.harts) {
        timer.update();
        engine.run(50);
        nowNs += 100 * TICK_NS;
      }
    }
    machine.shared.clock.stop();
  }

  it('lets each start under its own number, interrupt the other, and wait for its own timer', () => {
    const both = two();
    both.ram.set(PROGRAM_OF_TWO);
    both.machine.reset();
    interleave(both, 2);
    const [first, second] = both.machine.save().harts;
    expect([first!.hart.x[9], second!.hart.x[9]]).toEqual([0n, 1n]);
    expect([first!.clint.mtimecmp, second!.clint.mtimecmp]).toEqual([1024n, 2048n]);
    interleave(both, 10);
    const { ram, control } = both;
    expect([ram[NOTES]! >= 1024 && ram[NOTES]! < 1300, ram[NOTES + 2]! >= 2048 && ram[NOTES + 2]! < 2300]).toEqual([
      true,
      true,
    ]);
    // each by the other's msip, and the owner for hart 1, which it has at home
    expect([control[hartWords(0).wake], control[hartWords(1).wake]]).toEqual([2, 1]);
  });

  it('counts what each reaches beside RAM', () => {
    const both = two();
    both.ram.set(PROGRAM_OF_TWO);
    both.machine.reset();
    both.machine.harts[1]!.engine.run(50);
    expect(both.machine.harts.map(({ exits }) => exits > 0)).toEqual([false, true]);
  });

  it.each(LEVELS)('makes an identity pending in the file whose page is stored to: %s', (level) => {
    const { machine, control } = two();
    machine.shared.bus.store(imsicPage(1, level).base, 4, 7n, 0);
    const pending = LEVELS.map((each) => machine.harts.map(({ imsic }) => imsic[each].readRegister(EIP0)));
    const here = [0n, 1n << 7n];
    expect(pending).toEqual(level === 'machine' ? [here, [0n, 0n]] : [[0n, 0n], here]);
    // the owner, too, which has hart 1 at home
    expect([control[hartWords(0).wake], control[hartWords(1).wake]]).toEqual([1, 1]);
  });

  it('goes on from a saved state, each hart from its own', () => {
    const before = two();
    before.ram.set(PROGRAM_OF_TWO);
    before.machine.reset();
    interleave(before, 2);
    const state = structuredClone(before.machine.save());
    const after = two();
    after.ram.set(before.ram);
    after.machine.restore(state);
    nowNs += 1e9; // the clock stood meanwhile
    interleave(after, 10);
    expect([after.ram[NOTES]! >> 10, after.ram[NOTES + 2]! >> 10]).toEqual([1, 2]);
  });
});
