/** Replays a recorded exchange of QEMU's qtest protocol (format: the head of each file in test/devices/vectors) against our edu. */
import { edu } from '../../../devices/edu/device.ts';
import { Bench } from '../bench.ts';

/** The machine of a recording, as far as edu is concerned. */
export interface ReplayMachine {
  readonly properties: Readonly<Record<string, string>>;
  /** PCI device number of edu on bus 0. */
  readonly slot: number;
  /** RAM as [start, end) pieces. */
  readonly ram: readonly (readonly [number, number])[];
  /** Memory-mapped configuration space, if there is one; else ports 0xcf8/0xcfc. */
  readonly ecam?: number;
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
    // Edges inside a poll were not recorded: the factorial thread of QEMU raises whenever it is ready.
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
  #configAddress = 0;
  /** Virtual clock of the recording: only clock_step moves it. */
  #virtualNs = 0;

  constructor(machine: ReplayMachine) {
    this.#machine = machine;
    this.bench = new Bench(edu, machine.properties);
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
    if (op === 'read') return `OK 0x${hexOf(this.#memory(at, Number(second)))}`;
    if (op === 'write') this.#pokeMemory(at, bytesOf(third));
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

  /** Nobody answers outside the BAR: as QEMU's machine, 0. */
  #memoryAccess(at: number, size: number, value: bigint | undefined): string {
    const bar = (this.bench.config(0x10, 4) & 0xfff0_0000) >>> 0;
    const decodes = (this.bench.config(0x04, 2) & 2) !== 0 && at >= bar && at < bar + (1 << 20);
    if (value !== undefined) {
      if (decodes) {
        this.bench.endpoint.write(0, at - bar, size, Number(value & 0xffff_ffffn), Number(value >> 32n));
      }
      return 'OK';
    }
    if (!decodes) return 'OK 0x0';
    const { lo, hi } = this.bench.halves(at - bar, size);
    const wide = (BigInt(hi) << 32n) | BigInt(lo);
    return `OK 0x${BigInt.asUintN(8 * size, wide).toString(16)}`;
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
