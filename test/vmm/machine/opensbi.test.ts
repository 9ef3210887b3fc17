import { existsSync, readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';

import { parseElf } from '../../../guest/elf.ts';
import { APLIC, IMSIC, UART_IRQ } from '../../../vmm/machine/shared/memory-map.ts';
import { encode, loadImmediate } from '../../guest/riscv/encode.ts';
import { isOffered } from '../../offered.ts';
import { BareMachine } from './bare-machine.ts';

/**
 * Debian's package `opensbi`; LIVEVMM_OPENSBI names another place. It jumps to PAYLOAD in S mode.
 */
const FIRMWARE = process.env.LIVEVMM_OPENSBI ?? '/usr/lib/riscv64-linux-gnu/opensbi/generic/fw_jump.elf';
const PAYLOAD = 0x20_0000;
const RAM_BYTES = 64 << 20;
const SMSIADDRCFG = 0x1bc8;
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

const isThere = isOffered(
  existsSync(FIRMWARE),
  `OpenSBI: ${FIRMWARE}; Debian's package opensbi, or LIVEVMM_OPENSBI=FILE`,
);

describe.runIf(isThere)('OpenSBI', () => {
  let bare: BareMachine;
  let end: string | undefined;
  beforeAll(() => {
    const tree = { ramSize: RAM_BYTES, aplic: true };
    const image = { ...parseElf(readFileSync(FIRMWARE)), next: undefined, tree };
    bare = new BareMachine({ ramBytes: RAM_BYTES, aplic: true, image });
    new Int32Array(bare.ram, PAYLOAD).set([...['S', ' ', 'm', 'o', 'd', 'e'].flatMap(putchar), ...shutdown]);
    end = bare.run(MOST_INSTRUCTIONS);
  });

  it('finds the CPU that the device tree and the CSRs tell of', () => {
    expect(bare.printed).toMatch(/Boot HART Base ISA +: rv64imafdcb?/);
    expect(bare.printed).toMatch(/Boot HART PMP Count +: 16/);
    expect(bare.printed).toMatch(/Boot HART MIDELEG +: 0x0000000000000222/);
  });

  it('delegates the sources of the APLIC to S mode, whose messages go to the S-level files', () => {
    const { bus } = bare.machine.shared;
    const root = APLIC.machine.base;
    const sourcecfg = bus.load(root + 4 * UART_IRQ, 4);
    expect([sourcecfg, bus.load(root + SMSIADDRCFG, 4)]).toEqual([0x400n, BigInt(IMSIC.supervisor.base / 4096)]);
  });

  it('hands over to S mode, answers its calls and powers the machine off', () => {
    expect([bare.printed.split('\n').at(-1), end]).toEqual(['S mode', 'poweroff']);
    const { pmp, privileged } = bare.machine.save().harts[0]!.hart;
    expect([pmp?.config.some((entry) => entry !== 0), privileged?.mode]).toEqual([true, 3]);
  });
});
