import { SysError } from '../../platform/errno.ts';
import type { Halves } from '../../platform/mailbox.ts';
import type { BarWindow, DeviceAccess } from '../../vmm/machine/shared/pci-function.ts';

/**
 * A PCI device with a config space of 256 bytes, one 4 KiB BAR of plain memory and an MSI
 * capability at 0x40.
 */
export class FakeDeviceAccess implements DeviceAccess {
  readonly config = new Uint8Array(256);
  readonly bar = new Uint8Array(4096);
  readonly rom = Uint8Array.from({ length: 8192 }, (_, i) => i ^ (i >> 8));
  gone = false;
  readonly calls: string[] = [];
  placed: readonly BarWindow[] = [];

  constructor() {
    const view = new DataView(this.config.buffer);
    view.setUint32(0, 0x11e8_1234, true);
    view.setUint32(4, 0x0010_0000, true); // status: capability list
    view.setUint32(0x34, 0x40, true);
    view.setUint32(0x40, 0x0080_0005, true); // MSI, 64-bit, one vector
  }

  readConfig(offset: number, into: Uint8Array): void {
    into.set(this.config.subarray(offset, offset + into.length));
  }

  writeConfig(offset: number, bytes: Uint8Array): void {
    this.calls.push(`config ${offset.toString(16)}=${Buffer.from(bytes).toString('hex')}`);
    this.config.set(bytes, offset);
  }

  /** As vfio-pci: EIO while memory decoding is off (PCI-7). */
  readBar(_bar: number, offset: number, size: number): Halves {
    if ((this.config[4]! & 2) === 0) throw new SysError('EIO', 'memory decoding is off');
    const bytes = new Uint8Array(8);
    bytes.set(this.bar.subarray(offset, offset + size));
    const [lo, hi] = new Uint32Array(bytes.buffer) as unknown as [number, number];
    return { lo, hi };
  }

  writeBar(_bar: number, offset: number, size: number, { lo, hi }: Halves): void {
    this.bar.set(new Uint8Array(Uint32Array.of(lo, hi).buffer, 0, size), offset);
  }

  readRom(offset: number, into: Uint8Array): void {
    this.calls.push(`rom ${offset.toString(16)}`);
    into.set(this.rom.subarray(offset, offset + into.length));
  }

  isGone(): boolean {
    return this.gone;
  }

  placeBars(windows: readonly BarWindow[]): void {
    this.placed = windows;
  }

  armMsi(eventfds: readonly number[]): void {
    this.calls.push(`arm ${eventfds.join(',')}`);
  }

  disarmMsi(): void {
    this.calls.push('disarm');
  }

  armMsix(start: number, eventfds: readonly number[]): void {
    this.calls.push(`arm-x ${start}: ${eventfds.join(',')}`);
  }

  disarmMsix(): void {
    this.calls.push('disarm-x');
  }

  armIntx(eventfd: number): void {
    this.calls.push(`arm-intx ${eventfd}`);
  }

  disarmIntx(): void {
    this.calls.push('disarm-intx');
  }

  unmaskIntx(): void {
    this.calls.push('unmask-intx');
  }

  reset(): void {
    this.calls.push('reset');
  }
}
