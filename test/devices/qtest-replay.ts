/**
 * Replays a recorded exchange of QEMU's qtest protocol (format: the head of each file in
 * test/devices/vectors) against a device of ours.
 */

import type { Bar, DeviceType } from '../../devices/kit/device.ts';
import { barsOf } from '../../devices/kit/function-properties.ts';
import { parseProperties } from '../../devices/kit/properties.ts';
import { PCI_BASE_ADDRESS_0, PCI_COMMAND, PCI_COMMAND_IO, PCI_COMMAND_MEMORY } from '../../iommu/abi/pci-regs.ts';
import { Bench } from './bench.ts';

/** The machine of a recording, as far as the device is concerned. */
export interface ReplayMachine {
  readonly type: DeviceType;
  readonly properties: Readonly<Record<string, string>>;
  /** PCI device number of the device on bus 0. */
  readonly slot: number;
  /** RAM as [start, end) pieces. */
  readonly ram: readonly (readonly [number, number])[];
  /** Memory-mapped configuration space, if there is one; else ports 0xcf8/0xcfc. */
  readonly ecam?: number;
  /** Where I/O ports are in memory space, if there are no port instructions. */
  readonly portWindow?: number;
  /** Accesses that are the chipset's, by a part of the command line, each with its reason. */
  readonly skip: readonly { readonly command: RegExp; readonly reason: string }[];
}

interface Exchange {
  readonly line: number;
  readonly poll: boolean;
  readonly command: string;
  readonly edges: readonly string[];
  readonly reply: string;
}

export function parseRecording(text: string): Exchange[] {
  const exchanges: Exchange[] = [];
  let command: { line: number; poll: boolean; text: string } | undefined;
  let edges: string[] = [];
  text.split('\n').forEach((row, index) => {
    const rest = row.slice(2);
    if (row.startsWith('> ') || row.startsWith('? ')) {
      command = { line: index + 1, poll: row.startsWith('?'), text: rest };
      edges = [];
    } else if (row.startsWith('! IRQ ')) {
      edges.push(rest.split(' ')[1]!);
    } else if (row.startsWith('< ') && command) {
      exchanges.push({ line: command.line, poll: command.poll, command: command.text, edges, reply: rest });
    }
  });
  return exchanges;
}

export interface ReplayResult {
  readonly compared: number;
  readonly skipped: number;
  /** `line N: command: recorded …, got …` */
  readonly differences: readonly string[];
}

export function replay(text: string, machine: ReplayMachine): ReplayResult {
  const board = new ReplayBoard(machine);
  const differences: string[] = [];
  let compared = 0;
  let skipped = 0;
  for (const exchange of parseRecording(text)) {
    if (machine.skip.some(({ command }) => command.test(exchange.command))) {
      skipped++;
      continue;
    }
    compared++;
    const edgesBefore = board.bench.line.edges.length;
    const reply = exchange.poll ? board.poll(exchange.command) : board.execute(exchange.command);
    const edges = board.bench.line.edges.slice(edgesBefore);
    // Edges inside a poll were not recorded: the factorial thread of QEMU raises whenever it is
    // ready.
    if (!exchange.poll && edges.join() !== exchange.edges.join()) {
      differences.push(`line ${exchange.line}: ${exchange.command}: recorded [${exchange.edges}], got [${edges}]`);
    }
    if (!sameReply(exchange.reply, reply)) {
      differences.push(
        `line ${exchange.line}: ${exchange.command}: recorded ${exchange.reply}, got ${reply}`.slice(0, 200),
      );
    }
  }
  return { compared, skipped, differences };
}

/** Numbers compare as numbers: QEMU pads them differently per command. */
function sameReply(recorded: string, got: string): boolean {
  if (recorded === got) return true;
  const [, a] = recorded.split(' ');
  const [, b] = got.split(' ');
  return a !== undefined && b !== undefined && a.length <= 18 && b.length <= 18 && BigInt(a) === BigInt(b);
}

const SIZES: Readonly<Record<string, number>> = { b: 1, w: 2, l: 4, q: 8 };
const ONES = (1n << 64n) - 1n;
const POLL_STEP_NS = 1;

class ReplayBoard {
  readonly bench: Bench;
  readonly #machine: ReplayMachine;
  readonly #bars: readonly Bar[];
  /** RAM BARs, which are the board's, not the device's. */
  readonly #ram = new Map<number, Uint8Array>();
  #configAddress = 0;
  /** Virtual clock of the recording: only clock_step moves it. */
  #virtualNs = 0;

  constructor(machine: ReplayMachine) {
    this.#machine = machine;
    const { type, properties } = machine;
    this.bench = new Bench(type, properties);
    this.#bars = barsOf(type, parseProperties(type.name, type.properties, properties));
    for (const { kind, index, size } of this.#bars) if (kind === 'ram') this.#ram.set(index, new Uint8Array(size));
  }

  execute(command: string): string {
    const [op, first = '0', second = '0', third = '0'] = command.split(' ');
    const reply = this.#dispatch(op!, first, second, third);
    this.bench.advance(0); // what the device loop does after each access
    return reply;
  }

  /** `readl ADDR MASK VALUE`: reads until (reply & MASK) == VALUE; time passes meanwhile. */
  poll(command: string): string {
    const [op, at = '', mask = '', value = ''] = command.split(' ');
    for (let tries = 0; tries < 100_000; tries++) {
      const reply = this.execute(`${op} ${at}`);
      if ((BigInt(reply.split(' ')[1]!) & BigInt(mask)) === BigInt(value)) return reply;
      this.bench.advance(POLL_STEP_NS);
    }
    return 'FAIL';
  }

  #dispatch(op: string, first: string, second: string, third: string): string {
    if (op === 'clock_step') {
      this.#virtualNs += Number(first);
      this.bench.advance(Number(first));
      return `OK ${this.#virtualNs}`;
    }
    const at = Number(first);
    if (op === 'read') return `OK 0x${hexOf(this.#ramBar(at, Number(second)) ?? this.#memory(at, Number(second)))}`;
    if (op === 'write') this.#store(at, bytesOf(third));
    else if (op === 'memset') this.#pokeMemory(at, new Uint8Array(Number(second)).fill(Number(third)));
    else return this.#access(op, at, BigInt(second));
    return 'OK';
  }

  #access(op: string, at: number, value: bigint): string {
    const size = SIZES[op.at(-1)!]!;
    const port = op.startsWith('in') || op.startsWith('out');
    const write = op.startsWith('write') || op.startsWith('out');
    if (port && at === 0xcf8) {
      this.#configAddress = Number(value);
      return 'OK';
    }
    const ecam = this.#machine.ecam;
    if (port) return this.#configAccess(this.#portConfig(at), size, write ? value : undefined);
    if (ecam !== undefined && at >= ecam && at < ecam + 0x1000_0000) {
      return this.#configAccess(at - ecam, size, write ? value : undefined);
    }
    return this.#memoryAccess(at, size, write ? value : undefined);
  }

  /** bus << 20 | device << 15 | function << 12 | register, from the address port. */
  #portConfig(port: number): number {
    const selected = this.#configAddress & 0x7fff_ffff;
    return ((selected & 0xffff00) << 4) | (selected & 0xfc) | (port & 3);
  }

  #configAccess(address: number, size: number, value: bigint | undefined): string {
    const present = address >>> 12 === this.#machine.slot << 3;
    const offset = address & 0xfff;
    if (value !== undefined) {
      if (present) this.bench.configWrite(offset, size, Number(value));
      return 'OK';
    }
    const ones = ONES >> BigInt(64 - 8 * size);
    return `OK 0x${(present ? BigInt(this.bench.config(offset, size)) : ones).toString(16)}`;
  }

  /** Nobody answers outside the BARs: as QEMU's machine, 0. */
  #memoryAccess(at: number, size: number, value: bigint | undefined): string {
    const hit = this.#decode(at);
    const ram = this.#ramBar(at, size);
    if (value !== undefined) {
      const word = Buffer.alloc(8);
      word.writeBigUInt64LE(value);
      if (ram) ram.set(word.subarray(0, size));
      else if (hit)
        this.bench.endpoint.write(hit.bar.index, hit.offset, size, word.readUInt32LE(0), word.readUInt32LE(4));
      return 'OK';
    }
    if (ram) return `OK 0x${hexOf(ram.slice().reverse())}`;
    if (!hit) return 'OK 0x0';
    const { lo, hi } = this.bench.endpoint.read(hit.bar.index, hit.offset, size);
    const wide = (BigInt(hi) << 32n) | BigInt(lo);
    return `OK 0x${BigInt.asUintN(8 * size, wide).toString(16)}`;
  }

  /** The BAR that decodes `at` now, by its register and COMMAND. */
  #decode(at: number): { readonly bar: Bar; readonly offset: number } | undefined {
    const command = this.bench.config(PCI_COMMAND, 2);
    for (const bar of this.#bars) {
      const io = bar.space === 'io';
      if ((command & (io ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY)) === 0) continue;
      const register = PCI_BASE_ADDRESS_0 + 4 * bar.index;
      const low = this.bench.config(register, 4) & (io ? ~3 : ~15);
      const high = bar.width === 64 ? this.bench.config(register + 4, 4) : 0;
      const start = high * 2 ** 32 + (low >>> 0) + (io ? (this.#machine.portWindow ?? 0) : 0);
      if (at >= start && at < start + bar.size) return { bar, offset: at - start };
    }
    return undefined;
  }

  /** The bytes themselves, if they are a RAM BAR's. */
  #ramBar(at: number, length: number): Uint8Array | undefined {
    const hit = this.#decode(at);
    return hit && this.#ram.get(hit.bar.index)?.subarray(hit.offset, hit.offset + length);
  }

  #store(at: number, bytes: Uint8Array): void {
    const ram = this.#ramBar(at, bytes.length);
    if (ram) ram.set(bytes);
    else this.#pokeMemory(at, bytes);
  }

  #memory(at: number, length: number): Uint8Array {
    this.#backRam(at, length);
    return this.bench.memory.bytes(at, length);
  }

  #pokeMemory(at: number, bytes: Uint8Array): void {
    this.#backRam(at, bytes.length);
    this.bench.memory.poke(at, bytes);
  }

  /** RAM exists as far as the recording touches it; everything else stays unbacked. */
  #backRam(at: number, length: number): void {
    if (this.#machine.ram.some(([start, end]) => at >= start && at + length <= end))
      this.bench.memory.back(at, at + length);
  }
}

const hexOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const bytesOf = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex.slice(2), 'hex'));
