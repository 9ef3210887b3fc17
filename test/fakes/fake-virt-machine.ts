import { CONTROL_BYTES, DeviceControl } from '../../devices/kit/control.ts';
import type { DeviceType } from '../../devices/kit/device.ts';
import type { Dma } from '../../devices/kit/dma.ts';
import { Endpoint } from '../../devices/kit/endpoint.ts';
import { loadElf, parseElf } from '../../guest/elf.ts';
import type { Bus } from '../../guest/riscv/environment.ts';
import { Hart } from '../../guest/riscv/hart.ts';
import { Translator } from '../../guest/riscv/translate/translator.ts';
import { WORKSPACE_BYTES } from '../../guest/riscv/translate/workspace.ts';
import { REGION_CONFIG } from '../../platform/mailbox.ts';
import { FakeInterruptFile } from './fake-interrupt-file.ts';

const RAM_BASE = 0x8000_0000;
/** The hart is given no journal. */
const NONE = 0;
const FINISHER = 0x10_0000;
const MTIMECMP = 0x200_4000;
const MTIME = 0x200_bff8;
const UART = 0x1000_0000;
const IMSIC = 0x2400_0000;
const ECAM = 0x3000_0000;
const WINDOW = 0x4000_0000;

const MTIP = 1 << 7;
const MEIP = 1 << 11;

/** Virtual time: 40 MIPS, looked at every so many instructions. */
const NS_PER_INSTRUCTION = 25;
const SLICE = 500;
const NS_PER_MTIME = 100;
const NO_RAM_BARS = { setDecoding: () => undefined };

export interface PluggedDevice {
  readonly type: DeviceType;
  readonly properties?: Readonly<Record<string, string>>;
}

/**
 * The parts of QEMU's riscv `virt` machine that the toy guests use, in one thread and in virtual
 * time, with real device models on its PCI bus from slot 1 on.
 */
export class FakeVirtMachine {
  readonly hart: Hart;
  readonly controls: readonly DeviceControl[];
  output = '';
  /** The status of the test finisher once the guest has powered off. */
  status: number | undefined;
  #input: number[] = [];
  #nowNs = 0;
  #mtimecmp = 0n;
  readonly #ram: SharedArrayBuffer;
  readonly #u8: Uint8Array;
  readonly #lines = new Int32Array(new SharedArrayBuffer(4));
  readonly #file = new FakeInterruptFile((meip) => this.#drive(MEIP, meip));
  readonly #endpoints: readonly Endpoint[];

  /** `translates`: all code is translated before it is executed. */
  constructor(
    elf: Uint8Array,
    devices: readonly PluggedDevice[] = [],
    { translates = false, ramSize = 64 << 20 } = {},
  ) {
    const pages = (ramSize + WORKSPACE_BYTES) / 65536;
    const memory = translates ? new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true }) : undefined;
    const translator = memory && new Translator({ memory, at: ramSize, journal: NONE }, { hot: 0, first: 0 });
    this.#ram = memory ? (memory.buffer as SharedArrayBuffer) : new SharedArrayBuffer(ramSize);
    this.#u8 = new Uint8Array(this.#ram, 0, ramSize);
    const image = parseElf(elf);
    loadElf(image, this.#u8, RAM_BASE);
    this.controls = devices.map(() => new DeviceControl(new SharedArrayBuffer(CONTROL_BYTES)));
    this.#endpoints = devices.map(({ type, properties = {} }, i) => {
      const dma = this.#dma();
      const line = { assert: () => undefined, deassert: () => undefined };
      const timeline = { record: () => undefined };
      return new Endpoint(
        type,
        { dma, line, clock: () => this.#nowNs, timeline, control: this.controls[i]!, memoryBars: NO_RAM_BARS },
        properties,
      );
    });
    const options = {
      ...{ hartId: 0, ram: this.#ram, ramBase: RAM_BASE, ramSize, bus: this.#bus() },
      ...{ interruptFile: this.#file, lines: this.#lines, lineIndex: 0, time: () => this.#mtime() },
    };
    this.hart = new Hart(options, translator);
    this.hart.reset(image.entry, 0n, 0n);
  }

  /** What the user types. */
  type(text: string): void {
    this.#input.push(...Buffer.from(text));
  }

  /** Runs for `ms` of virtual time, or until the guest powers off. */
  runFor(ms: number): this {
    const end = this.#nowNs + ms * 1e6;
    while (this.#nowNs < end && this.status === undefined) {
      const reason = this.hart.run(SLICE);
      this.#nowNs += SLICE * NS_PER_INSTRUCTION;
      let due = Number(this.#mtimecmp) * NS_PER_MTIME;
      for (const endpoint of this.#endpoints) due = Math.min(due, endpoint.run());
      if (reason === 'wfi' && this.#lines[0] === 0) this.#nowNs = Math.max(this.#nowNs, Math.min(due, end));
      this.#drive(MTIP, this.#mtime() >= this.#mtimecmp);
    }
    return this;
  }

  /** Nothing of the guest runs for `ms`; devices do. */
  pauseFor(ms: number): this {
    const end = this.#nowNs + ms * 1e6;
    while (this.#nowNs < end) {
      const due = Math.min(end, ...this.#endpoints.map((endpoint) => endpoint.run()));
      this.#nowNs = Math.max(this.#nowNs + 1, due);
    }
    return this;
  }

  /** The JSON of the last console line `@name {…}`. */
  report(name: string): Record<string, number> {
    const line = this.output.split('\n').findLast((text) => text.startsWith(`@${name} `));
    return JSON.parse(line?.slice(name.length + 2) ?? 'null') as Record<string, number>;
  }

  #drive(line: number, level: boolean): void {
    if (level) Atomics.or(this.#lines, 0, line);
    else Atomics.and(this.#lines, 0, ~line);
  }

  #mtime(): bigint {
    return BigInt(Math.floor(this.#nowNs / NS_PER_MTIME));
  }

  /** DMA without an IOMMU: iova = gpa. What is outside of RAM and not an MSI is refused. */
  #dma(): Dma {
    const at = (vpn: number, offset: number) => vpn * 4096 + offset - RAM_BASE;
    const inRam = (start: number, length: number) => start >= 0 && start + length <= this.#u8.length;
    return {
      read: (vpn, offset, dst) => {
        const start = at(vpn, offset);
        if (!inRam(start, dst.length)) return 0;
        dst.set(this.#u8.subarray(start, start + dst.length));
        return dst.length;
      },
      write: (vpn, offset, src) => {
        const start = at(vpn, offset);
        if (!inRam(start, src.length)) return 0;
        this.#u8.set(src, start);
        return src.length;
      },
      write32: (vpn, offset, value) => {
        const start = at(vpn, offset);
        if (start + RAM_BASE === IMSIC) this.#file.setPending(value);
        else if (inRam(start, 4)) Atomics.store(new Int32Array(this.#ram), start / 4, value);
        else return false;
        return true;
      },
      idle: () => undefined,
    };
  }

  #bus(): Bus {
    return {
      load: (gpa, size) => {
        // LSR: THR empty, data ready
        if (gpa === UART + 5) return this.#input.length > 0 ? 0x61n : 0x60n;
        if (gpa === UART) return BigInt(this.#input.shift() ?? 0);
        if (gpa === MTIME) return this.#mtime();
        const target = this.#pciTarget(gpa);
        if (!target) return undefined;
        const { lo, hi } = target.endpoint?.read(target.region, target.offset, size) ?? { lo: -1, hi: -1 };
        return BigInt.asUintN(8 * size, (BigInt(hi >>> 0) << 32n) | BigInt(lo >>> 0));
      },
      store: (gpa, size, value) => {
        if (gpa === UART) this.output += String.fromCharCode(Number(value));
        else if (gpa === FINISHER) this.status = value === 0x5555n ? 0 : Number(value >> 16n);
        else if (gpa === MTIMECMP) {
          this.#mtimecmp = value;
          this.#drive(MTIP, this.#mtime() >= value);
        } else {
          const target = this.#pciTarget(gpa);
          if (!target) return false;
          const [lo, hi] = [Number(value & 0xffff_ffffn), Number(value >> 32n)];
          target.endpoint?.write(target.region, target.offset, size, lo, hi);
        }
        return true;
      },
    };
  }

  /** ECAM of bus 0 (nobody answers in most slots), or the BAR0 that contains `gpa`. */
  #pciTarget(gpa: number): { endpoint: Endpoint | undefined; region: number; offset: number } | undefined {
    if (gpa >= ECAM && gpa < ECAM + (1 << 20)) {
      const [slot, fn] = [((gpa - ECAM) >> 15) - 1, ((gpa - ECAM) >> 12) & 7];
      return { endpoint: fn === 0 ? this.#endpoints[slot] : undefined, region: REGION_CONFIG, offset: gpa & 0xfff };
    }
    if (gpa < WINDOW || gpa >= RAM_BASE) return undefined;
    const owner = this.#endpoints
      .map((endpoint) => ({ endpoint, base: endpoint.config.get(0x10, 4) & ~0xf }))
      .findLast(({ base }) => base !== 0 && base <= gpa && gpa - base < 1 << 20);
    return owner && { endpoint: owner.endpoint, region: 0, offset: gpa - owner.base };
  }
}
