/**
 * The registers of a BAR as data, under the datasheet's names. The declaration is the
 * documentation: it says where each register is, how wide it is, what software may do with it, and
 * what it holds after reset. `livevmm host --device NAME,help` prints it. register-file.ts answers
 * accesses as the declaration says.
 */

interface Place {
  /** Offset in the BAR. */
  readonly at: number;
  /** One line for authors of drivers. */
  readonly what: string;
}

/** The register file keeps its value: the device reads and sets it by name. */
export interface HeldRegister extends Place {
  /** w1c: a written 1 clears the bit. */
  readonly access: 'ro' | 'rw' | 'w1c';
  /**
   * Bytes of the largest access; default 4. A shorter one at the same offset reads the low bytes,
   * and writes zeros above them.
   */
  readonly width?: 4 | 8;
  /** Its value at power-on. */
  readonly reset: number;
  /** Words that say when writes are ignored. The device tells whether that is so now. */
  readonly locked?: string;
}

/** A register whose value the device computes at each read. */
export interface ComputedRegister extends Place {
  readonly access: 'ro' | 'rw';
  readonly computed: true;
  readonly width?: 1 | 2 | 4;
  /** The number of such registers in a row; default 1. */
  readonly count?: number;
  readonly reset: number;
}

/** A register that can only be written: a read finds no register. */
export interface CommandRegister extends Place {
  readonly access: 'wo';
  readonly width?: 1 | 2 | 4;
  readonly count?: number;
}

export type Access = 'ro' | 'rw' | 'w1c' | 'wo';
export type Register = HeldRegister | ComputedRegister | CommandRegister;
export type RegisterTable = Readonly<Record<string, Register>>;

export interface RegisterMap<T extends RegisterTable = RegisterTable> {
  readonly registers: T;
  /** Offsets by name, for drivers. */
  readonly at: { readonly [Name in keyof T]: number };
  /** The value of a read where there is no register. */
  readonly absent: 'ones' | 'zeros';
}

/** Makes a map of `registers`. Throws if two of them overlap. */
export function defineRegisters<const T extends RegisterTable>(absent: 'ones' | 'zeros', registers: T): RegisterMap<T> {
  const entries = Object.entries<Register>(registers);
  // not toSorted: while a heap snapshot is built, V8 does not have it yet
  const byOffset = [...entries].sort(([, a], [, b]) => a.at - b.at);
  byOffset.reduce((end, [name, register]) => {
    if (register.at < end) throw new Error(`register ${name} overlaps the one before it`);
    return register.at + bytesOf(register);
  }, 0);
  const at = Object.fromEntries(entries.map(([name, register]) => [name, register.at]));
  return { registers, at: at as RegisterMap<T>['at'], absent };
}

export const widthOf = ({ width = 4 }: Register): number => width;
export const countOf = (register: Register): number => ('count' in register ? (register.count ?? 1) : 1);

/** Bytes of the whole row: from its first register to the end of its last one. */
export const bytesOf = (register: Register): number => widthOf(register) * countOf(register);
