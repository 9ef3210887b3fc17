/**
 * Asks for something small over and over. argv: socket. Once told to, says how often it was
 * answered, and the longest wait in ms.
 */
import { kernel, say } from './script.ts';

const fd = kernel.open('/dev/vfio/vfio');
say('ready');
let stop = false;
process.stdin.once('data', () => {
  stop = true;
});
let answers = 0;
let longestMs = 0;
function ask(): void {
  const until = performance.now() + 20;
  for (let now = performance.now(); now < until; ) {
    kernel.ioctl(fd, 0x3b64, new Uint8Array(0)); // VFIO_GET_API_VERSION
    answers++;
    const after = performance.now();
    longestMs = Math.max(longestMs, after - now);
    now = after;
  }
  if (!stop) setImmediate(ask);
  else {
    say({ answers, longestMs });
    process.exit();
  }
}
ask();
