/**
 * The registers of a BAR as data, under the datasheet's names. The declaration is the
 * documentation: it says where each register is, how wide, what software may do with it and what it
 * holds after reset; `livevmm host --device NAME,help` prints it. register-file.ts answers accesses
 * by it.
 */

interface Place {
  /** Offset in the BAR. */
  readonly at: number;
  /** One line for whoever writes a driver. */
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
  /** When writes are ignored, in words. The device tells whether it is so. */
  readonly locked?: string;
}

/** The device works its value out at each read. */
export interface ComputedRegister extends Place {
  readonly access: 'ro' | 'rw';
  readonly computed: true;
  readonly width?: 1 | 4;
  /** How many of them are in a row; default 1. */
  readonly count?: number;
  readonly reset: number;
}

/** It can only be written: a read finds no register. */
export interface CommandRegister extends Place {
  readonly access: 'wo';
  readonly width?: 1 | 4;
  readonly count?: number;
}

export type Access = 'ro' | 'rw' | 'w1c' | 'wo';
export type Register = HeldRegister | ComputedRegister | CommandRegister;
export type RegisterTable = Readonly<Record<string, Register>>;

export interface RegisterMap<T extends RegisterTable = RegisterTable> {
  readonly registers: T;
  /** Offsets by name, for drivers. */
  readonly at: { readonly [Name in keyof T]: number };
  /** What a read gets where there is no register. */
  readonly absent: 'ones' | 'zeros';
}

/** A map of `registers`. Throws for two that overlap. */
export function defineRegisters<const T extends RegisterTable>(absent: 'ones' | 'zeros', registers: T): RegisterMap<T> {
  const entries = Object.entries<Register>(registers);
  const byOffset = entries.toSorted(([, a], [, b]) => a.at - b.at);
  byOffset.reduce((end, [name, register]) => {
    if (register.at < end) throw new Error(`register ${name} overlaps the one before it`);
    return register.at + bytesOf(register);
  }, 0);
  const at = Object.fromEntries(entries.map(([name, register]) => [name, register.at]));
  return { registers, at: at as RegisterMap<T>['at'], absent };
}

export const widthOf = ({ width = 4 }: Register): number => width;
export const countOf = (register: Register): number => ('count' in register ? (register.count ?? 1) : 1);

/** Bytes from the first to the end of the last of them. */
export const bytesOf = (register: Register): number => widthOf(register) * countOf(register);
