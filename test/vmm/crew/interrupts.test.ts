import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { EPOLLET, epollArm, epollCreate } from '../../../platform/libc/epoll.ts';
import { EFD_CLOEXEC, EFD_NONBLOCK, eventfd, eventfdRead, eventfdSignal } from '../../../platform/libc/eventfd.ts';
import { close } from '../../../platform/libc/fd.ts';
import { POLLIN } from '../../../platform/libc/poll.ts';
import { connectUnix, sendAll, socketPair } from '../../../platform/libc/unix-socket.ts';
import { int32s } from '../../../platform/shared.ts';
import { InterruptThread } from '../../../vmm/crew/interrupts/thread.ts';
import { startInterruptThread } from '../../../vmm/crew/threads.ts';
import { createVmShared, type VmShared } from '../../../vmm/crew/vm-shared.ts';
import {
  hartWords,
  OWNER_HART,
  REQUEST_EXIT,
  REQUEST_RUN,
  REQUEST_STOP,
} from '../../../vmm/machine/control/control-block.ts';
import { Imsic } from '../../../vmm/machine/hart-local/imsic.ts';
import { interruptTarget, LEVELS } from '../../../vmm/machine/hart-local/interrupt-target.ts';
import { InterruptRoutes } from '../../../vmm/machine/shared/interrupt-routes.ts';

/** The interrupt thread as a real thread with real eventfds (docs/DESIGN.md, "Invariants", 4). */

let shared: VmShared;
let routes: InterruptRoutes;
let imsic: Imsic;
let wake: Int32Array;
let dir: string;
let host: Server;
let accepted: Promise<Socket[]>;
let hostFile: number;
let news: number;
let sockets: readonly [number, number];
let thread: InterruptThread;
let ended: Promise<unknown>;
let messages: Messages;
let fd: number;
let notice: number;

beforeEach(async () => {
  shared = createVmShared(2);
  wake = int32s(shared.control);
  routes = new InterruptRoutes(shared.routes);
  imsic = new Imsic(shared.imsic, wake, 0);
  fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  routes.add({ eventfd: fd, slot: 1, identity: 5, delivered: 0 });
  dir = mkdtempSync(join(tmpdir(), 'livevmm-interrupts-'));
  host = createServer().listen(join(dir, 'host.sock'));
  accepted = once(host, 'connection') as Promise<Socket[]>;
  hostFile = connectUnix(join(dir, 'host.sock'));
  news = epollCreate();
  sockets = socketPair();
  epollArm(news, sockets[0], POLLIN | EPOLLET);
  notice = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  thread = new InterruptThread(shared, { hostFile, news, notices: [-1, notice] });
  messages = collect(thread);
  ended = once(startInterruptThread(thread), 'exit');
  thread.begin();
  await messages.next('parked'); // nobody has told it to run
});

afterEach(async () => {
  thread.request(REQUEST_EXIT);
  await ended;
  host.close();
  for (const open of [hostFile, news, ...sockets]) close(open);
  close(fd);
  close(notice);
  rmSync(dir, { recursive: true });
});

interface Messages {
  /** Kinds that nobody has waited for. */
  readonly arrived: readonly string[];
  next(kind: string): Promise<void>;
}

function collect(from: InterruptThread): Messages {
  const waiting: (() => void)[] = [];
  const arrived: string[] = [];
  from.listen(({ kind }) => {
    arrived.push(kind);
    for (const look of waiting.splice(0)) look();
  });
  return {
    arrived,
    async next(kind) {
      while (!arrived.includes(kind)) await new Promise<void>((resolve) => waiting.push(resolve));
      arrived.splice(arrived.indexOf(kind), 1);
    },
  };
}

/** Waits until route 0 has counted this many; every delivery wakes the vCPU of the hart. */
function delivered(count: number, hart = 0): void {
  for (;;) {
    const seen = Atomics.load(wake, hartWords(hart).wake);
    if (routes.save()[0]!.delivered === count) return;
    const woken = Atomics.wait(wake, hartWords(hart).wake, seen, 5000);
    if (woken === 'timed-out') throw new Error('nothing was delivered');
  }
}

describe('the interrupt thread', () => {
  it('wakes the owner of the sockets whenever one has news, and not for what it has told', () => {
    thread.request(REQUEST_RUN);
    const { wake: word } = hartWords(OWNER_HART);
    let seen = Atomics.load(wake, word);
    for (const _ of [1, 2, 3]) {
      sendAll(sockets[1], new Uint8Array(1)); // nobody reads it
      expect(Atomics.wait(wake, word, seen, 5000)).not.toBe('timed-out');
      seen = Atomics.load(wake, word);
    }
    eventfdSignal(fd);
    delivered(1);
    expect(Atomics.load(wake, word)).toBe(seen + 1); // that interrupt's
  });

  it('makes the identity of a route pending and counts every interrupt', () => {
    thread.request(REQUEST_RUN);
    eventfdSignal(fd);
    delivered(1);
    expect(imsic.machine.readRegister(0x80)).toBe(1n << 5n);
    eventfdSignal(fd);
    eventfdSignal(fd);
    delivered(3);
  });

  it('tells of a notice, and leaves its count; again only when it has been at rest', async () => {
    thread.request(REQUEST_RUN);
    eventfdSignal(notice);
    await messages.next('notice');
    eventfdSignal(notice);
    eventfdSignal(fd);
    delivered(1);
    thread.request(REQUEST_STOP);
    await messages.next('parked');
    expect(messages.arrived).not.toContain('notice');
    thread.request(REQUEST_RUN);
    await messages.next('notice');
    expect(eventfdRead(notice)).toBe(2);
  });

  it('takes nothing while it is parked, and what came meanwhile afterwards', async () => {
    eventfdSignal(fd);
    eventfdSignal(fd);
    expect(imsic.machine.readRegister(0x80)).toBe(0n);
    thread.request(REQUEST_RUN);
    delivered(2);
    expect(imsic.machine.readRegister(0x80)).toBe(1n << 5n);
    thread.request(REQUEST_STOP);
    await messages.next('parked');
    eventfdSignal(fd);
    expect(eventfdRead(fd)).toBe(1);
  });

  it('drops what leads nowhere, and follows a route that changes', () => {
    routes.setIdentity(0, 0);
    thread.request(REQUEST_RUN);
    eventfdSignal(fd);
    delivered(1);
    expect(imsic.machine.readRegister(0x80)).toBe(0n);
    routes.setIdentity(0, 7);
    eventfdSignal(fd);
    delivered(2);
    expect(imsic.machine.readRegister(0x80)).toBe(1n << 7n);
  });

  it.each(LEVELS)('reaches the interrupt file of the hart and the level that a route names: %s', (level) => {
    routes.setIdentity(0, interruptTarget(1, 9, level));
    thread.request(REQUEST_RUN);
    eventfdSignal(fd);
    delivered(1, 1);
    const files = [imsic, new Imsic(shared.imsic, wake, 1)].flatMap((each) => [each.machine, each.supervisor]);
    expect(files.map((file) => file.readRegister(0x80))).toEqual([
      ...[0n, 0n],
      ...(level === 'machine' ? [1n << 9n, 0n] : [0n, 1n << 9n]),
    ]);
  });

  it('drops what is for a hart that is not there, and goes on', async () => {
    const other = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    routes.add({ eventfd: other, slot: 1, identity: 7, delivered: 0 });
    routes.setIdentity(0, interruptTarget(2, 9));
    eventfdSignal(fd);
    eventfdSignal(other);
    thread.request(REQUEST_RUN);
    delivered(1);
    expect(imsic.machine.readRegister(0x80)).toBe(1n << 7n);
    thread.request(REQUEST_STOP);
    await messages.next('parked');
    close(other);
  });

  it('says when the host is gone', async () => {
    thread.request(REQUEST_RUN);
    for (const socket of await accepted) socket.destroy();
    await messages.next('host-gone');
  });
});
