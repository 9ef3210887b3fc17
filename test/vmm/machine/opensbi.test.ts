import { existsSync, readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';

import { parseElf } from '../../../guest/elf.ts';
import { newPart, wholeOf } from '../../../platform/shared.ts';
import { controlBytes } from '../../../vmm/machine/control/control-block.ts';
import { imsicBytes } from '../../../vmm/machine/hart-local/imsic.ts';
import { Machine } from '../../../vmm/machine/machine.ts';
import { CONSOLE_INPUT_BYTES, ConsoleInput } from '../../../vmm/machine/shared/console-input.ts';
import { CONSOLE_OUTPUT_BYTES, ConsoleOutput } from '../../../vmm/machine/shared/console-output.ts';
import { fillRam } from '../../../vmm/vm/guest-image.ts';
import { encode, loadImmediate } from '../../guest/riscv/encode.ts';

/**
 * Debian's package `opensbi`; LIVEVMM_OPENSBI names another place. It jumps to PAYLOAD in S mode.
 */
const FIRMWARE = process.env.LIVEVMM_OPENSBI ?? '/usr/lib/riscv64-linux-gnu/opensbi/generic/fw_jump.elf';
const PAYLOAD = 0x20_0000;
const RAM_BYTES = 64 << 20;
const MOST_INSTRUCTIONS = 100_000_000;

const A0 = 10;
const A6 = 16;
const A7 = 17;
/** SBI legacy extension 1: console_putchar. SBI 0.3: System Reset Extension, shutdown. */
const putchar = (character: string) => [
  ...loadImmediate(A7, 1),
  ...loadImmediate(A0, character.charCodeAt(0)),
  encode('ecall'),
];
const shutdown = [
  ...loadImmediate(A7, 0x5352_5354),
  ...loadImmediate(A6, 0),
  ...loadImmediate(A0, 0),
  ...loadImmediate(A0 + 1, 0),
  encode('ecall'),
];

function boot(program: readonly number[]): { printed: string; machine: Machine } {
  let printed = '';
  const ram = new SharedArrayBuffer(RAM_BYTES);
  fillRam(parseElf(readFileSync(FIRMWARE)), new Uint8Array(ram));
  new Int32Array(ram, PAYLOAD).set(program);
  const machine = new Machine({
    ram: wholeOf(ram),
    entry: 0x8000_0000,
    control: newPart(controlBytes(1)),
    imsic: newPart(imsicBytes(1)),
    input: new ConsoleInput(newPart(CONSOLE_INPUT_BYTES)),
    output: new ConsoleOutput(newPart(CONSOLE_OUTPUT_BYTES), (bytes) => {
      printed += Buffer.from(bytes).toString();
      return bytes.length;
    }),
    functions: [],
  });
  machine.reset();
  machine.shared.clock.start();
  return { machine, printed: run(machine, () => printed) };
}

/** Runs until the guest powers off; what it has printed. */
function run({ harts, shared }: Machine, printed: () => string): string {
  const { engine, timer } = harts[0]!;
  for (let done = 0; done < MOST_INSTRUCTIONS; done += 10_000) {
    timer.update();
    engine.run(10_000);
    shared.output.flush();
    const finish = shared.finisher.take();
    if (finish) return `${printed()}\n${finish.kind}`;
  }
  return `${printed()}\nno end`;
}

describe.runIf(existsSync(FIRMWARE))('OpenSBI', () => {
  let printed: string;
  let machine: Machine;
  beforeAll(() => {
    ({ printed, machine } = boot([...['S', ' ', 'm', 'o', 'd', 'e'].flatMap(putchar), ...shutdown]));
  });

  it('finds the CPU that the device tree and the CSRs tell of', () => {
    expect(printed).toMatch(/Boot HART Base ISA +: rv64imafdcb?/);
    expect(printed).toMatch(/Boot HART PMP Count +: 16/);
    expect(printed).toMatch(/Boot HART MIDELEG +: 0x0000000000000222/);
  });

  it('hands over to S mode, answers its calls and powers the machine off', () => {
    expect(printed.split('\n').slice(-2)).toEqual(['S mode', 'poweroff']);
    const { pmp, privileged } = machine.save().harts[0]!.hart;
    expect([pmp?.config.some((entry) => entry !== 0), privileged?.mode]).toEqual([true, 3]);
  });
});
