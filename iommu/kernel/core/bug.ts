/**
 * An exception that is no SysError is a bug of ours. Each one is reported once, so that a client in
 * a loop does not fill the log.
 */
const told = new Set<string>();
const MAX_TOLD = 100;

export function reportBug(error: unknown): void {
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  if (told.has(text) || told.size >= MAX_TOLD) return;
  told.add(text);
  process.stderr.write(`livevmm kernel: BUG: ${text}\n`);
}
