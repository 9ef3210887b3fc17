import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { decodeState } from '../../../vmm/live-update/state-file.ts';
import { decodeAll, NewImage } from '../../../vmm/live-update/survivors.ts';
import { ControlBlock } from '../../../vmm/machine/control/control-block.ts';
import { IMSIC_BYTES } from '../../../vmm/machine/hart-local/imsic.ts';
import { Machine, type MachineState } from '../../../vmm/machine/machine.ts';
import { CONSOLE_INPUT_BYTES, ConsoleInput } from '../../../vmm/machine/shared/console-input.ts';
import { ConsoleOutput } from '../../../vmm/machine/shared/console-output.ts';
import { PassthroughFunction, type PassthroughState } from '../../../vmm/machine/shared/passthrough.ts';
import { FakeDevice } from './shared/fake-device.ts';

const RAM_BYTES = 2 ** 22;

function newMachine(functions: readonly PassthroughState[] = []): {
  machine: Machine;
  ram: Uint32Array;
  printed(): string;
} {
  const ram = new SharedArrayBuffer(RAM_BYTES);
  let text = '';
  const output = new ConsoleOutput((bytes) => {
    text += Buffer.from(bytes).toString();
    return bytes.length;
  });
  const router = { eventfd: () => -1, setIdentity: () => {} };
  const machine = new Machine({
    ram,
    entry: 0x8000_0000,
    control: new SharedArrayBuffer(ControlBlock.size),
    imsic: new SharedArrayBuffer(IMSIC_BYTES),
    input: new ConsoleInput(new SharedArrayBuffer(CONSOLE_INPUT_BYTES)),
    output,
    functions: functions.map((state) => new PassthroughFunction(new FakeDevice(), router, state)),
  });
  return { machine, ram: new Uint32Array(ram), printed: () => text };
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

describe('the machine', () => {
  it('boots through its ROM with the hart id in a0 and the device tree in a1, and runs what lies in RAM', () => {
    const { machine, ram, printed } = newMachine();
    ram.set(PROGRAM);
    machine.reset();
    expect(machine.hart.run(1000)).toBe('wfi');
    expect(printed()).toBe('ok\n');
    expect(machine.finisher.take()).toEqual({ kind: 'poweroff', status: 0 });
    const { x } = machine.save().hart;
    expect([x[9], x[10]]).toEqual([0n, 0x8020_0000n]);
    expect(machine.save().vcpu.exits).toBeGreaterThan(6);
  });

  it('goes on in the middle of a program from the state of another machine', () => {
    const first = newMachine();
    first.ram.set(PROGRAM);
    first.machine.reset();
    first.machine.hart.run(6 + 4);
    const state = structuredClone(first.machine.save());

    const second = newMachine();
    second.ram.set(first.ram);
    second.machine.restore(state);
    second.machine.hart.run(1000);
    expect(first.printed() + second.printed()).toBe('ok\n');
    expect(second.machine.finisher.take()).toEqual({ kind: 'poweroff', status: 0 });
  });

  it('loads what 0.1.0 saved, and saves the same again', () => {
    const state = decodeState(readFileSync(new URL('../live-update/frozen-0.1.0.state', import.meta.url)));
    const image = new NewImage();
    const ofMachine = ['vcpu', 'hart', 'clint', 'uart', 'pci'];
    for (const { survivor, state: body } of decodeAll(state)) {
      if (ofMachine.includes(survivor.section.name)) survivor.restore(image, body);
    }
    const frozen = image.machine;
    const { machine } = newMachine(frozen.pci.functions);
    machine.restore(frozen);
    const { vcpu, hart, clint, uart, pci } = frozen;
    const saved: MachineState = machine.save();
    expect(saved).toEqual({ vcpu, hart, clint, uart: { ...uart, unsent: new Uint8Array(uart.unsent) }, pci });
  });
});
