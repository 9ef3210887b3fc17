/**
 * What V8 has compiled of a bundle, kept in a file beside it. Compiling the VMM's takes 20 ms or
 * more, reading what was compiled 7. The build writes these files (tools/write-code-cache.ts), for
 * the node that builds. Another node, or one under other options of V8, compiles a bundle itself.
 *
 * A bundle NAME has three files in dist:
 *
 * - `NAME.cjs` starts it, by runBundle.
 * - `NAME.code.cjs` is the program, the body of the function that node makes of a CommonJS module.
 * - `NAME.cache` is the program again, and behind it what V8 made of it. V8 itself looks only at
 *   the program's length, and would run what it once compiled in place of a program that has been
 *   changed. That of a snapshot's program is `NAME--no-rehash-snapshot.cache`, made under that
 *   option.
 */
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { Script } from 'node:vm';

import { KEEP_HASHES } from './v8-options.ts';

/** `require` loads what the program requires. */
export type Program = (require: (name: string) => unknown, module: NodeJS.Module, filename: string) => void;

/**
 * Runs a bundle as the module of its starter. `options` are this process' V8 options.
 *
 * ENOENT: there is no such bundle. SyntaxError: it is no program.
 */
export function runBundle(require: NodeJS.Require, module: NodeJS.Module, options: readonly string[]): void {
  const bundle = new Bundle(module.filename, options);
  (bundle.script(bundle.kept()).runInThisContext() as Program)(require, module, module.filename);
}

/**
 * The program that a snapshot of the heap is made of (vmm/program/build-snapshot.ts). No starter
 * starts it. What V8 has made of it is kept as of a bundle, under a snapshot's option.
 */
export const snapshotProgram = (path: string): Bundle => new Bundle(path, [KEEP_HASHES], path);

/** The files of the bundle that `starter` starts. */
export class Bundle {
  readonly cachePath: string;
  readonly code: Buffer;
  readonly #path: string;

  /** `path`: of the program, where it is no bundle that a starter starts. */
  constructor(starter: string, options: readonly string[], path = starter.replace(/\.cjs$/, '.code.cjs')) {
    const stem = starter.slice(0, -'.cjs'.length);
    this.cachePath = `${stem}${options.join('')}.cache`;
    this.#path = path;
    this.code = readFileSync(this.#path);
  }

  /** Whether that is kept, and this node takes it. */
  get isKept(): boolean {
    const kept = this.kept();
    return kept !== undefined && this.script(kept).cachedDataRejected === false;
  }

  /** What V8 has made of this program; undefined where nothing is kept, or of another program. */
  kept(): Buffer | undefined {
    const { length } = this.code;
    let cache: Buffer;
    try {
      cache = readFileSync(this.cachePath);
    } catch {
      return undefined; // ENOENT: other options, or nothing was written
    }
    return cache.subarray(0, length).equals(this.code) ? cache.subarray(length) : undefined;
  }

  /** Keeps what V8 has made. Somebody may read it meanwhile, so the file is replaced atomically. */
  keep(made: Uint8Array): void {
    const fresh = `${this.cachePath}.${process.pid}`;
    writeFileSync(fresh, Buffer.concat([this.code, made]));
    renameSync(fresh, this.cachePath);
  }

  /** A bundle is ASCII (build.mjs), so that V8 keeps one byte of it a character. */
  script(cachedData?: Buffer): Script {
    const body = this.code.toString('latin1').replace(/^#!.*/, '');
    const text = `(function (require, module, __filename) {${body}\n})`;
    return new Script(text, { filename: this.#path, ...(cachedData ? { cachedData } : {}) });
  }
}
