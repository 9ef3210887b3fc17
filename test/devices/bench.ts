/**
 * A test bench for one device: memory, interrupt line, clock and record that a test can look into,
 * and the device behind its config space.
 */
import { CONTROL_BYTES, DeviceControl } from '../../devices/kit/control.ts';
import type { DeviceFiles, DeviceType, DmaRecord } from '../../devices/kit/device.ts';
import type { Dma } from '../../devices/kit/dma.ts';
import { Endpoint } from '../../devices/kit/endpoint.ts';
import type { LevelLine } from '../../devices/kit/interrupts.ts';
import { type Halves, REGION_CONFIG } from '../../platform/mailbox.ts';

const PAGE = 4096;

/** Sparse bus memory; pages that nobody backed refuse. Records the order of stores. */
export class BenchMemory implements Dma {
  readonly pages = new Map<number, Uint8Array>();
  /** `write 0x…+len` and `store 0x…=value`, in order. */
  readonly log: string[] = [];
  idles = 0;

  /** Backs [start, end). */
  back(start: number, end: number): this {
    for (let vpn = Math.floor(start / PAGE); vpn * PAGE < end; vpn++) {
      if (!this.pages.has(vpn)) this.pages.set(vpn, new Uint8Array(PAGE));
    }
    return this;
  }

  /** Backs the pages from `start` on with these bytes, which are whole pages. */
  backWith(start: number, bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; at += PAGE) this.pages.set((start + at) / PAGE, bytes.subarray(at, at + PAGE));
  }

  read(vpn: number, offset: number, dst: Uint8Array): number {
    return this.#move(vpn, offset, dst.length, (page, at, done, n) => dst.set(page.subarray(at, at + n), done));
  }

  write(vpn: number, offset: number, src: Uint8Array): number {
    this.log.push(`write 0x${(vpn * PAGE + offset).toString(16)}+0x${src.length.toString(16)}`);
    return this.#move(vpn, offset, src.length, (page, at, done, n) => page.set(src.subarray(done, done + n), at));
  }

  write32(vpn: number, offset: number, value: number): boolean {
    const page = this.pages.get(vpn);
    if (!page) return false;
    this.log.push(`store 0x${(vpn * PAGE + offset).toString(16)}=0x${value.toString(16)}`);
    new DataView(page.buffer, page.byteOffset).setUint32(offset, value, true);
    return true;
  }

  idle(): void {
    this.idles++;
  }

  #move(
    vpn: number,
    offset: number,
    length: number,
    copy: (page: Uint8Array, at: number, done: number, n: number) => void,
  ): number {
    let done = 0;
    while (done < length) {
      const at = (offset + done) % PAGE;
      const page = this.pages.get(vpn + Math.floor((offset + done) / PAGE));
      if (!page) break;
      const n = Math.min(PAGE - at, length - done);
      copy(page, at, done, n);
      done += n;
    }
    return done;
  }

  bytes(start: number, length: number): Uint8Array {
    const out = new Uint8Array(length);
    this.read(Math.floor(start / PAGE), start % PAGE, out);
    return out;
  }

  u32(start: number): number {
    return new DataView(this.bytes(start, 4).buffer).getUint32(0, true);
  }

  poke(start: number, bytes: Uint8Array): void {
    this.write(Math.floor(start / PAGE), start % PAGE, bytes);
    this.log.pop();
  }
}

export class BenchLine implements LevelLine {
  level = false;
  /** Every edge, in order. */
  readonly edges: ('raise' | 'lower')[] = [];

  assert(): void {
    this.level = true;
    this.edges.push('raise');
  }

  deassert(): void {
    this.level = false;
    this.edges.push('lower');
  }
}

export class BenchRecord implements DmaRecord {
  readonly entries: { readonly nowNs: number; readonly transactions: number; readonly bytes: number }[] = [];

  record(nowNs: number, transactions: number, bytes: number): void {
    this.entries.push({ nowNs, transactions, bytes });
  }
}

/** A device on the bench. Time stands still unless the test moves it. */
export class Bench {
  readonly memory = new BenchMemory();
  readonly line = new BenchLine();
  readonly timeline = new BenchRecord();
  readonly control = new DeviceControl(new SharedArrayBuffer(CONTROL_BYTES));
  readonly endpoint: Endpoint;
  /** Whether BARs in memory space answer other devices. */
  readonly memoryBars = {
    decoding: false,
    setDecoding(on: boolean): void {
      this.decoding = on;
    },
  };
  nowNs = 1e9;
  /** What comes when the device serves registers in the middle of its work. */
  whenServing: () => void = () => {};

  constructor(type: DeviceType, properties: Readonly<Record<string, string>> = {}, files: DeviceFiles = { fds: [] }) {
    this.endpoint = new Endpoint(
      type,
      {
        dma: this.memory,
        line: this.line,
        clock: () => this.nowNs,
        timeline: this.timeline,
        control: this.control,
        memoryBars: this.memoryBars,
        files,
        serve: () => this.whenServing(),
      },
      properties,
    );
  }

  /** Firmware and driver have been here: BARs decode, bus master is on. */
  ready(): this {
    this.endpoint.boot({ 0: 0x4000_0000 }, 0xff);
    this.setCommand(0x0006);
    return this;
  }

  setCommand(value: number): void {
    this.configWrite(0x04, 2, value);
  }

  config(offset: number, size: number): number {
    return this.endpoint.read(REGION_CONFIG, offset, size).lo;
  }

  configWrite(offset: number, size: number, value: number): void {
    this.endpoint.write(REGION_CONFIG, offset, size, value, 0);
  }

  /** Programs and enables MSI; its page is backed. */
  enableMsi(messageAddress: number, data: number): void {
    this.memory.back(messageAddress, messageAddress + 4);
    this.configWrite(0x44, 4, messageAddress % 2 ** 32);
    this.configWrite(0x48, 4, Math.floor(messageAddress / 2 ** 32));
    this.configWrite(0x4c, 2, data);
    this.configWrite(0x42, 2, 1);
  }

  reg(offset: number): number {
    return this.endpoint.read(0, offset, 4).lo;
  }

  halves(offset: number, size: number): Halves {
    return this.endpoint.read(0, offset, size);
  }

  setReg(offset: number, value: number): void {
    this.endpoint.write(0, offset, 4, value >>> 0, 0);
  }

  setWide(offset: number, value: bigint): void {
    this.endpoint.write(0, offset, 8, Number(value & 0xffff_ffffn), Number(value >> 32n));
  }

  /** Moves time to `ns` from now, running the device at each of its deadlines. */
  advance(ns: number): void {
    const end = this.nowNs + ns;
    for (let due = this.endpoint.run(); due <= end; due = this.endpoint.run()) this.nowNs = Math.max(due, this.nowNs);
    this.nowNs = end;
  }
}
