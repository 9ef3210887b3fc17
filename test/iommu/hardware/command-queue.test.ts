import { describe, expect, it } from 'vitest';
import { releaseAgent } from '../../../iommu/hardware/epoch.ts';
import { REG } from '../../../iommu/hardware/regs.ts';
import { agentBase } from '../../../iommu/hardware/unit-memory.ts';
import { IOFENCE, Machine, RAM_PFN, VMA_ALL } from './machine.ts';

const CQEN_CIE = 3;
const CQON = 1 << 16;
const CQMF = 1 << 8;
const CMD_TO = 1 << 9;
const CMD_ILL = 1 << 10;
const FENCE_W_IP = 1 << 11;

const csr = (machine: Machine): number => machine.unit.read32(REG.cqcsr);

describe('an illegal or unsupported command', () => {
  it.each([
    { what: 'opcode 0', command: [0n, 0n] as const },
    { what: 'a reserved opcode', command: [0x3fn, 0n] as const },
    { what: 'a custom opcode', command: [0x40n, 0n] as const },
    { what: 'IOTINVAL func3 2', command: [0x101n, 0n] as const },
    { what: 'IOTINVAL.GVMA with PSCV', command: [0x81n | (1n << 32n), 0n] as const },
    { what: 'IOTINVAL with a reserved bit of the first doubleword', command: [1n | (1n << 11n), 0n] as const },
    { what: 'IOTINVAL with NL, which capabilities do not show', command: [1n | (1n << 34n), 0n] as const },
    { what: 'IOTINVAL with S, which capabilities do not show', command: [1n, 1n << 9n] as const },
    { what: 'IOFENCE func3 1', command: [0x82n, 0n] as const },
    { what: 'IOFENCE.C with a reserved bit', command: [2n | (1n << 20n), 0n] as const },
    { what: 'IODIR.INVAL_PDT, without process ids', command: [0x83n | (1n << 33n), 0n] as const },
    { what: 'IODIR.INVAL_DDT with PID', command: [3n | (1n << 12n), 0n] as const },
    { what: 'IODIR.INVAL_DDT with a second doubleword', command: [3n, 1n] as const },
    { what: 'ATS.INVAL', command: [4n, 0n] as const },
  ])('($what) stops the queue at itself until it is repaired and cmd_ill cleared', ({ command }) => {
    const machine = new Machine();
    machine.command(VMA_ALL, command, VMA_ALL);

    expect(csr(machine)).toBe(CQON | CMD_ILL | CQEN_CIE);
    expect(machine.unit.read32(REG.cqh)).toBe(1);
    expect(machine.wires).toEqual(['cq']);

    machine.view.setBigUint64(machine.at(machine.queuePfn) + 16, 1n, true);
    machine.view.setBigUint64(machine.at(machine.queuePfn) + 24, 0n, true);
    machine.unit.write32(REG.cqcsr, CMD_ILL | CQEN_CIE);

    expect(machine.unit.read32(REG.cqh)).toBe(3);
    expect(csr(machine)).toBe(CQON | CQEN_CIE);
  });

  it('(IOFENCE.C with WSI while interrupts are messages) is illegal too', () => {
    const machine = new Machine();
    machine.unit.write32(REG.fctl, 0);

    machine.command([2n | (1n << 11n), 0n]);

    expect(csr(machine) & CMD_ILL).toBe(CMD_ILL);
  });
});

describe('IOFENCE.C', () => {
  it('writes DATA to ADDR', () => {
    const machine = new Machine();
    const pa = BigInt(RAM_PFN) * 4096n + 8n;

    machine.command([2n | (1n << 10n) | (0xfeed_0001n << 32n), pa >> 2n]);

    expect(new Uint32Array(machine.ram)[2]).toBe(0xfeed0001);
  });

  it('stops with cqmf when ADDR is no memory', () => {
    const machine = new Machine();

    machine.command([2n | (1n << 10n), 0x7000_0000n >> 2n], VMA_ALL);

    expect(csr(machine)).toBe(CQON | CQMF | CQEN_CIE);
    expect(machine.unit.read32(REG.cqh)).toBe(0);
  });

  it('with WSI sets fence_w_ip and the interrupt, again after both are cleared', () => {
    const machine = new Machine();
    machine.command([2n | (1n << 11n), 0n]);
    expect(csr(machine) & FENCE_W_IP).toBe(FENCE_W_IP);
    expect(machine.unit.read32(REG.ipsr)).toBe(1);

    machine.unit.write32(REG.cqcsr, FENCE_W_IP | CQEN_CIE);
    machine.unit.write32(REG.ipsr, 1);
    expect(machine.unit.read32(REG.ipsr)).toBe(0);
    machine.command([2n | (1n << 11n), 0n]);

    expect(machine.wires).toEqual(['cq', 'cq']);
  });

  it('gives up on an agent that does not come out of its transaction: cmd_to; goes on when told to', () => {
    const machine = new Machine({ fenceTimeoutMs: 30 });
    machine.enable();
    machine.setContext({});
    const { dma } = machine.port(2);
    dma.read(RAM_PFN, 0, new Uint8Array(4)); // and not idle

    machine.command(IOFENCE);
    expect(csr(machine)).toBe(CQON | CMD_TO | CQEN_CIE);
    expect(machine.unit.read32(REG.cqh)).toBe(0);
    dma.idle();
    machine.unit.write32(REG.cqcsr, CMD_TO | CQEN_CIE);

    expect(machine.unit.read32(REG.cqh)).toBe(1);
  });

  it('waits for the transactions of a worker that was started in place of one stopped inside a transaction', () => {
    const machine = new Machine({ fenceTimeoutMs: 20 });
    machine.enable();
    machine.setContext({});
    machine.port(2).dma.read(RAM_PFN, 0, new Uint8Array(4)); // stopped here
    const { dma } = machine.port(2);
    machine.command(IOFENCE);
    expect(csr(machine)).toBe(CQON | CQEN_CIE);

    dma.read(RAM_PFN, 0, new Uint8Array(4));
    machine.command(IOFENCE);

    expect(csr(machine)).toBe(CQON | CMD_TO | CQEN_CIE);
  });

  it('does not wait for an agent whose worker is gone', () => {
    const machine = new Machine({ fenceTimeoutMs: 10_000 });
    machine.enable();
    machine.setContext({});
    machine.port(2).dma.read(RAM_PFN, 0, new Uint8Array(4));

    releaseAgent(machine.unitMemory, 2);
    machine.command(IOFENCE);

    expect(machine.unit.read32(REG.cqh)).toBe(1);
    expect(Atomics.load(new Int32Array(machine.unitMemory), agentBase(2)) & 1).toBe(0);
  });
});

describe('the command queue', () => {
  it('sets cqmf when it lies in no memory', () => {
    const machine = new Machine();
    machine.unit.write32(REG.cqcsr, 0);
    machine.unit.writeRegister(REG.cqb, 8, (0x700000n << 10n) | 1n);
    machine.unit.write32(REG.cqt, 0);
    machine.unit.write32(REG.cqcsr, CQEN_CIE);

    machine.unit.write32(REG.cqt, 1);

    expect(csr(machine)).toBe(CQON | CQMF | CQEN_CIE);
  });

  it('wraps, and runs each command once', () => {
    const machine = new Machine();
    const pa = BigInt(RAM_PFN) * 4096n;
    const write = (i: number): readonly [bigint, bigint] => [
      2n | (1n << 10n) | (BigInt(i) << 32n),
      (pa + BigInt(i * 4)) >> 2n,
    ];

    machine.command(...Array.from({ length: 200 }, (_, i) => write(i)));

    const words = new Uint32Array(machine.ram, 0, 201);
    expect([...words]).toEqual([...Array.from({ length: 200 }, (_, i) => i), 0]);
    expect(machine.unit.read32(REG.cqh)).toBe(200 % 64);
  });

  it('does nothing while it is off, and starts at 0 with its errors cleared when it is turned on', () => {
    const machine = new Machine();
    machine.command(VMA_ALL, [0n, 0n]);
    machine.unit.write32(REG.cqcsr, 0);
    expect(csr(machine) & CQON).toBe(0);
    machine.unit.write32(REG.cqt, 0);

    machine.unit.write32(REG.cqcsr, CQEN_CIE);

    expect(csr(machine)).toBe(CQON | CQEN_CIE);
    expect(machine.unit.read32(REG.cqh)).toBe(0);
  });
});
