/**
 * A stock Linux with a network card, a console, a folder and a random generator of the board,
 * passed through: it pings another guest, echoes what comes by the console, and reads files and
 * random bytes, while its VMM is replaced every second. No ping is lost, no byte of the console,
 * and no file is wrong. LIVEVMM_DEBIAN=FOLDER keeps its packages there.
 */
import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { INIT_BEGINS, initramfs, QUIET_CONSOLE } from '../../tools/debian/initramfs.ts';
import type { DebianLinux } from '../../tools/debian/linux.ts';
import { HostProcess } from '../../tools/launch/host.ts';
import { Sandbox } from '../tools/livevmm-process.ts';
import { VmmProcess } from '../vmm/vmm-process.ts';
import { isWantedNow, linuxFor } from './debian.ts';
import { keepUpdating } from './keep-updating.ts';

const LIMIT_MS = 600_000;
const UPDATES = 3;
const FILES = 40;
/** The most bytes on their way to the guest and back. */
const WINDOW = 4096;
const PIECE = 512;
const RANDOM_BYTES = 1000;

const INIT = `${INIT_BEGINS}
for module in $(cat /lib/order); do insmod /lib/$module; done
ip addr add 10.0.2.1/24 dev eth0 && ip link set eth0 up
exec 3<>/dev/hvc0
stty raw -echo <&3
cat <&3 >&3 &
echo "random $(head -c ${RANDOM_BYTES} /dev/hwrng | wc -c)"
mkdir /share && mount -t 9p -o trans=virtio,version=9p2000.L,ro share /share && cd /share
echo ready
exec 4<&0
(read line <&4; touch /over) &
until [ -e /over ]; do
  ping -q -c 10 -i 0.1 -s 1000 10.0.2.2 | grep transmitted
  echo "files $(md5sum -c sums | grep -c OK) of $(wc -l < sums)"
done
grep virtio /proc/interrupts
poweroff -f
`;

/** A client of the console that sends numbered bytes and checks that each comes back, in order. */
class Echo {
  readonly #socket: Socket;
  #sent = 0;
  heard = 0;
  /** The first byte that was another one than it should be. */
  wrongAt: number | undefined;
  #ends = false;

  constructor(path: string) {
    this.#socket = connect(path);
    this.#socket.on('error', () => {}); // the host ends
    this.#socket.on('data', (bytes) => this.#check(bytes));
  }

  /** Sends until `end`, no more than WINDOW ahead of what has come back. */
  begin(): void {
    while (!this.#ends && this.#sent - this.heard <= WINDOW - PIECE) {
      this.#socket.write(Uint8Array.from({ length: PIECE }, (_, i) => byteAt(this.#sent + i)));
      this.#sent += PIECE;
    }
  }

  /** Sends no more; tells how many bytes have not come back. */
  async end(): Promise<number> {
    this.#ends = true;
    await expect.poll(() => this.#sent - this.heard, { timeout: 30_000 }).toBe(0);
    return this.#sent;
  }

  #check(bytes: Uint8Array): void {
    for (const byte of bytes) {
      if (byte !== byteAt(this.heard)) this.wrongAt ??= this.heard;
      this.heard++;
    }
    this.begin();
  }
}

const byteAt = (place: number): number => (place * 31 + (place >> 8)) & 0xff;

describe.runIf(isWantedNow('board'))('Debian with devices of the board', () => {
  let sandbox: Sandbox;
  let debian: DebianLinux | undefined;
  const children: VmmProcess[] = [];
  let host: HostProcess | undefined;
  const at = (name: string): string => join(sandbox.dir, name);

  beforeAll(async () => {
    sandbox = new Sandbox();
    debian = linuxFor(sandbox.dir);
    if (!debian) return;
    const { busybox, modules } = debian;
    const files = new Map([...modules, ['order', Buffer.from([...modules.keys()].join('\n'))]]);
    writeFileSync(at('initrd'), initramfs({ busybox, init: INIT, files }));
    mkdirSync(at('tree'));
    const sums = Array.from({ length: FILES }, (_, i) => {
      const content = randomBytes(i * 3000);
      writeFileSync(at(`tree/${i}`), content);
      return `${createHash('md5').update(content).digest('hex')}  ${i}\n`;
    });
    writeFileSync(at('tree/sums'), sums.join(''));
    host = await HostProcess.start(
      [
        'virtio-net,netdev=n,mac=52:54:00:00:00:01',
        'virtio-console,chardev=c',
        'virtio-9p,fsdev=f,mount_tag=share',
        'virtio-rng',
      ],
      [
        ...['--netdev', `dgram,id=n,local.path=${at('1')},remote.path=${at('2')}`],
        ...['--fsdev', `local,id=f,path=${at('tree')},security_model=none,readonly=on`],
        ...['--chardev', `socket,id=c,path=${at('line')},server=on,wait=off`],
      ],
    );
  }, LIMIT_MS);
  afterAll(async () => {
    for (const child of children) await child.end();
    await host?.stop();
    sandbox.remove();
  });

  function start(guest: string, ...words: readonly string[]): VmmProcess {
    const vmm = new VmmProcess(guest, ...words);
    children.push(vmm);
    return vmm;
  }

  it('loses no ping and no byte of its console while its VMM is replaced', { timeout: LIMIT_MS }, async ({ skip }) => {
    if (!debian || !host) return skip();
    start(
      'net',
      ...['--machine', 'virt,aia=none', '--netdev', `dgram,id=n,local.path=${at('2')},remote.path=${at('1')}`],
      ...['--device', 'virtio-net-device,netdev=n,mac=52:54:00:00:00:02'],
    );
    const vmm = start(
      debian.kernel,
      ...['--host', host.socket, '--machine', 'virt,aia=aplic-imsic', '-m', '512M'],
      ...host.devices.flatMap(({ bdf }) => ['--device', `vfio-pci,host=${bdf}`]),
      ...['--initrd', at('initrd'), '--append', QUIET_CONSOLE],
    );
    await vmm.prints(/^ready/m);
    let enough = (): void => {};
    const updated = new Promise<void>((resolve) => {
      enough = resolve;
    });
    const updates = keepUpdating(vmm, (count) => {
      if (count === UPDATES) enough();
    });
    updates.catch(() => {}); // told below, unless the guest tells more
    const echo = new Echo(at('line'));
    echo.begin();
    await Promise.race([updated, updates]); // which ends first if an update fails
    const bytes = await echo.end();
    vmm.child.stdin.write('x\n');
    expect(await vmm.exited).toEqual([0, null]);
    const rounds = vmm.output.match(/^\d+ packets transmitted.*/gm);
    expect(new Set(rounds)).toEqual(new Set(['10 packets transmitted, 10 packets received, 0% packet loss']));
    expect(new Set(vmm.output.match(/^files .*/gm))).toEqual(new Set([`files ${FILES} of ${FILES}`]));
    expect(vmm.output).toMatch(new RegExp(`^random ${RANDOM_BYTES}$`, 'm'));
    expect([echo.wrongAt, bytes > 10 * WINDOW]).toEqual([undefined, true]);
    expect(vmm.output).toMatch(/PCI-MSIX-\S+ +1 Edge +virtio\d-input/m);
    expect(await updates).toBeGreaterThanOrEqual(UPDATES);
  });
});
