/**
 * Starts worker threads on every supported Node: from TypeScript in development, and from built JS.
 * No other file calls `new Worker`.
 */
import { existsSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { isMainThread, Worker, type WorkerOptions, workerData } from 'node:worker_threads';

import { builtUrl, canStripTypes, entryUrl, fromSource } from './entry.ts';
import { HASH_ANEW, KEEP_HASHES } from './v8-options.ts';

interface Boot<T> {
  readonly entry: string;
  readonly data: T;
}

export interface StartOptions {
  /** Shown in debuggers and in error messages. */
  readonly name: string;
  readonly transferList?: WorkerOptions['transferList'];
  /** Folder of another built version, whose worker it is. */
  readonly build?: string | undefined;
}

/**
 * Starts the worker `entry` (path from the root, without suffix) with `data`, which it reads with
 * workerInput().
 */
export function startWorker<T>(entry: string, data: T, options: StartOptions): Worker {
  const { build } = options;
  const url = build === undefined ? entryUrl(entry) : builtUrl(entry, build);
  if (!existsSync(url)) throw new Error(`no worker entry ${entry}`);
  const boot: Boot<T> = { entry: url.href, data };
  takeCaches();
  const start =
    build === undefined && fromSource && !canStripTypes ? new URL('./thread-boot.mjs', import.meta.url) : url;
  return new Worker(start, {
    workerData: boot,
    name: options.name,
    execArgv: [],
    ...(options.transferList ? { transferList: options.transferList } : {}),
  });
}

/**
 * V8 takes what was compiled of a program only under the options that it was compiled under. For a
 * worker that is node's own code, and a bundle (code-cache.ts): both were compiled under none. In a
 * process that started under KEEP_HASHES, a worker took a quarter more CPU time to come up (node
 * 20).
 */
function takeCaches(): void {
  if (isMainThread && process.execArgv.includes(KEEP_HASHES)) setFlagsFromString(HASH_ANEW);
}

/** What startWorker's caller passed as `data`. */
export function workerInput<T>(): T {
  return (workerData as Boot<T>).data;
}
