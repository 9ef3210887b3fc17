/** Paths of the built programs and guests of this installation. */
import { fileURLToPath } from 'node:url';

const fromSource = import.meta.url.endsWith('.ts');
const dist = new URL(fromSource ? '../../dist/' : './', import.meta.url);

export type ProgramName =
  | 'livevmm'
  | 'vmm'
  | 'bare-exec'
  | 'conform-client'
  | 'stress-client'
  | 'with-launcher'
  | 'with-fault-handler';

/**
 * A built program: what runs as a process of its own always runs from dist (tsx would cost every
 * start 170 ms).
 */
export const programPath = (name: ProgramName): string => fileURLToPath(new URL(`${name}.cjs`, dist));

/** The command line of a built program, node first. */
export const programArgv = (name: ProgramName, ...words: readonly string[]): string[] => [
  process.execPath,
  programPath(name),
  ...words,
];

/** The source of the client that makes real system calls for `livevmm conform`. */
export const nativeClientSource = (): string => fileURLToPath(new URL('conform-native-client.c', dist));

/** A built task file of a thread pool, by its path with dashes. */
export const taskUrl = (name: string): URL => new URL(`${name}.task.mjs`, dist);

/** A file of examples/. */
export const examplePath = (name: string): string => fileURLToPath(new URL(`../examples/${name}`, dist));

/** A toy guest's ELF. */
export const guestPath = (name: string): string => fileURLToPath(new URL(`../guest/programs/${name}.elf`, dist));
