/** `fetch.ts FOLDER`: puts Debian's Linux for RISC-V there, and tells which one it is. */
import { basename } from 'node:path';

import { debianLinux } from '../../tools/debian/linux.ts';

try {
  process.stdout.write(`${basename(debianLinux(process.argv[2]!).kernel)}\n`);
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n`);
  process.exitCode = 1;
}
