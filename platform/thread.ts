/**
 * Starts worker threads on every supported Node: from TypeScript in development, and from built JS.
 * No other file calls `new Worker`.
 */
import { existsSync } from 'node:fs';
import { isMainThread, Worker, type WorkerOptions, workerData } from 'node:worker_threads';

import { builtUrl, canStripTypes, entryUrl, fromSource } from './entry.ts';
import { KEEP_HASHES } from './v8-options.ts';

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
  const start =
    build === undefined && fromSource && !canStripTypes ? new URL('./thread-boot.mjs', import.meta.url) : url;
  return new Worker(start, {
    workerData: boot,
    name: options.name,
    argv: v8Options(),
    execArgv: [],
    ...(options.transferList ? { transferList: options.transferList } : {}),
  });
}

/**
 * The options of this process that the build makes code caches for (code-cache.ts). A worker is
 * told them as its words.
 */
const v8Options = (): string[] =>
  isMainThread ? process.execArgv.filter((word) => word === KEEP_HASHES) : process.argv.slice(2);

/** What startWorker's caller passed as `data`. */
export function workerInput<T>(): T {
  return (workerData as Boot<T>).data;
}
