/** `fetch.ts FOLDER`: puts Debian's Linuxes for RISC-V there, and tells which ones they are. */
import { debianLinux, RELEASES } from '../../tools/debian/linux.ts';

for (const release of RELEASES) {
  try {
    process.stdout.write(`${release}: ${debianLinux(process.argv[2]!, release).version}\n`);
  } catch (error) {
    process.stderr.write(`${release}: ${(error as Error).message}\n`);
    process.exitCode = 1;
  }
}
