/** virtio-net of a host as a process: its worker sleeps until the news thread hears of a frame. */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';

import { eventfdRead } from '../../../platform/libc/eventfd.ts';
import { close } from '../../../platform/libc/fd.ts';
import { bindDatagram, receiveDatagram, sendDatagram } from '../../../platform/libc/unix-datagram.ts';
import { unixAddress } from '../../../platform/libc/unix-socket.ts';
import { HostProcess } from '../../../tools/launch/host.ts';
import { kexec } from '../../../vmm/client/kexec.ts';
import { DriverQueue, PlainMemory } from '../virtio/driver.ts';
import { HeldDevice, MEMORY_BYTES } from '../virtio/held-device.ts';
import { bringUpByRegisters, COMMON, DRIVER_OK, notify } from '../virtio/pci-driver.ts';

const RECEIVE = 0;
const TRANSMIT = 1;
const HEADER = 12;
const BUFFERS = 0x1_0000;
const ROOM = 64;
const SIZE = 64;
const LIMIT = { timeout: 10_000 };

let dir: string;
let host: HostProcess;
let peer: number;
let memory: PlainMemory;
const queues: DriverQueue[] = [];
const held: HeldDevice[] = [];
/** First bytes of the frames that the driver has got. */
const got: number[] = [];

const at = (name: string): string => join(dir, name);

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'livevmm-virtio-net-'));
  peer = bindDatagram(at('peer'), 0o600);
  const netdev = `dgram,id=n,local.path=${at('own')},remote.path=${at('peer')}`;
  host = await HostProcess.start(['virtio-net,netdev=n'], ['--pkernfs', '64M', '--netdev', netdev]);
  const device = hold(false);
  memory = new PlainMemory(new Uint8Array(device.ram.buffer, 0, MEMORY_BYTES));
  queues.push(new DriverQueue(memory, 0x1000, SIZE), new DriverQueue(memory, 0x4000, SIZE));
  expect(bringUpByRegisters(device.registers, queues)).toBe(DRIVER_OK);
  for (let n = 0; n < SIZE; n++) queues[RECEIVE]!.add([{ at: BUFFERS + n * ROOM, length: ROOM, writable: true }]);
  notify(device.registers, RECEIVE);
});
afterAll(async () => {
  await host.stop();
  for (const each of held) each.close();
  close(peer);
  rmSync(dir, { recursive: true });
});

function hold(again: boolean): HeldDevice {
  const device = new HeldDevice(host, 2, { again });
  held.push(device);
  return device;
}

const arrive = (byte: number): string => sendDatagram(peer, Uint8Array.of(byte), unixAddress(at('own')));

/** All frames that have come until now. */
function collect(): readonly number[] {
  for (const { head } of queues[RECEIVE]!.takeUsed()) got.push(memory.bytes[BUFFERS + head * ROOM + HEADER]!);
  return got;
}

it('gives its driver a frame, and interrupts, though the driver does nothing', async () => {
  expect(arrive(1)).toBe('sent');
  await expect.poll(() => eventfdRead(held[0]!.events[RECEIVE]!), LIMIT).toBe(1);
  expect(collect()).toEqual([1]);
});

it('sends the frames of its driver', async () => {
  memory.bytes.set([7, 8], 0x8000 + HEADER);
  queues[TRANSMIT]!.add([{ at: 0x8000, length: HEADER + 2 }]);
  notify(held[0]!.registers, TRANSMIT);
  const into = new Uint8Array(100);
  await expect.poll(() => receiveDatagram(peer, into), LIMIT).toBe(2);
  expect([...into.subarray(0, 2)]).toEqual([7, 8]);
});

it('goes on in the next kernel of its host: no frame is lost meanwhile, and each comes once, in order', async () => {
  let next = 2;
  const sender = setInterval(() => {
    if (next < SIZE && arrive(next) === 'sent') next++;
  }, 2);
  await kexec(held[0]!.client);
  const device = hold(true);
  expect(device.registers.read(COMMON.status, 1)).toBe(DRIVER_OK);
  await expect.poll(() => collect().length, LIMIT).toBe(SIZE - 1);
  clearInterval(sender);
  expect(got).toEqual(Array.from({ length: SIZE - 1 }, (_, i) => i + 1));
});

it("removes its socket when its host ends, and the other side's only itself", async () => {
  expect(existsSync(at('own'))).toBe(true);
  await host.stop();
  expect([existsSync(at('own')), existsSync(at('peer'))]).toEqual([false, true]);
});
