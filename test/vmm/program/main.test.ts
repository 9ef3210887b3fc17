import { mkdtempSync, readdirSync, readlinkSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, describe, expect, it } from 'vitest';

import { elfFile } from '../../guest/elf-file.ts';
import { encode, jumpTo, loadImmediate } from '../../guest/riscv/encode.ts';
import { updateEnded, VmmProcess } from '../vmm-process.ts';

/** The VMM's program as a user meets it. */

const UPDATE_MS = 60_000;
const START = 0x8000_0000;
/** A guest that resets its machine. */
const RESETS = [
  ...loadImmediate(5, 0x10_0000), // the finisher
  ...loadImmediate(6, 0x7777),
  encode('sw', { rs1: 5, rs2: 6 }),
  jumpTo(encode('jal'), 0),
];

let vmm: VmmProcess;

afterEach(async () => {
  expect(await vmm.end()).toEqual([]);
});

describe('vmm', () => {
  it('runs a guest to its end: console on stdout, exit status of the guest, no file left', async () => {
    vmm = new VmmProcess('hello');
    expect(await vmm.exited).toEqual([0, null]);
    expect(vmm.output).toBe('hello from RV64\n');
    expect(vmm.errors).toBe('');
  });

  it('ends with the status a guest fails with', async () => {
    vmm = new VmmProcess('edu'); // there is no edu device
    const [status] = await vmm.exited;
    expect(status).toBeGreaterThan(0);
    expect(vmm.errors).toBe('');
  });

  it.each([
    { args: ['--nonsense'], error: /^vmm: Unknown option '--nonsense'/ },
    { args: ['-m', '1'], error: /^vmm: -m 1: give a size from 4M to 4G/ },
    { args: ['--kernel', '/nonexistent'], error: /^vmm: \/nonexistent: cannot be read \(ENOENT\)\n$/ },
    { args: ['--kernel', '/bin/sh'], error: /^vmm: \/bin\/sh: not an ELF64 little-endian RISC-V executable\n$/ },
    { args: ['--device', 'vfio-pci,host=0000:00:02.0'], error: /^vmm: vfio-pci devices need --host SOCKET\n$/ },
    { args: ['--lifeline', 'x'], error: /^vmm: --lifeline x: give the number of a file descriptor\n$/ },
    { args: ['--lifeline', '99'], error: /^vmm: --lifeline 99: give the read end of a pipe\n$/ },
    { args: ['--device', 'edu'], error: /^vmm: --device edu: give vfio-pci,host=BDF/ },
    {
      args: ['--host', '/nonexistent/host.sock', '--device', 'vfio-pci,host=0000:00:02.0'],
      error: /^vmm: connect \/nonexistent\/host.sock: ENOENT\n$/,
    },
    {
      args: ['--qmp', '/nonexistent/qmp.sock'],
      error: /^vmm: monitor socket \/nonexistent\/qmp.sock: there is no such folder\n$/,
    },
  ])('says in one line what is wrong with $args', async ({ args, error }) => {
    vmm = new VmmProcess('hello', ...args);
    expect(await vmm.exited).toEqual([1, null]);
    expect(vmm.errors).toMatch(error);
    expect(vmm.errors.split('\n')).toHaveLength(2);
    expect(vmm.output).toBe('');
  });

  it('waits with -S until the monitor says cont, over an update, too', async () => {
    vmm = new VmmProcess('hello', '-S');
    const qmp = await vmm.monitor();
    expect(await qmp.execute('query-status')).toEqual({ status: 'prelaunch', running: false });
    await qmp.execute('stop');
    expect(await qmp.execute('query-status')).toEqual({ status: 'prelaunch', running: false });
    const ended = qmp.nextEvent(updateEnded, UPDATE_MS);
    await qmp.execute('live-update', { probation: 0 });
    expect((await ended).data).toMatchObject({ status: 'completed' });
    expect(await qmp.execute('query-status')).toEqual({ status: 'paused', running: false });
    expect(vmm.output).toBe('');
    await qmp.execute('cont');
    expect(await vmm.exited).toEqual([0, null]);
    expect(vmm.output).toBe('hello from RV64\n');
    qmp.close();
  });

  it('takes memory for what is loaded, not for its zeros; at a reset it clears them', async () => {
    vmm = new VmmProcess('demo', '-S');
    const qmp = await vmm.monitor();
    const open = `/proc/${vmm.pid}/fd`;
    const ram = readdirSync(open).find((fd) => readlinkSync(join(open, fd)).startsWith('/memfd:guest-ram'))!;
    expect(statSync(join(open, ram)).blocks * 512).toBeLessThan(2 ** 20);
    const before = await qmp.execute('x-ram-hash');
    await qmp.execute('cont');
    await vmm.prints(/demo/);
    await qmp.execute('stop');
    expect(await qmp.execute('x-ram-hash')).not.toEqual(before);
    await qmp.execute('system_reset');
    expect(await qmp.execute('x-ram-hash')).toEqual(before);
    qmp.close();
  });

  it('starts again when its guest resets, and ends then with -no-reboot', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'livevmm-reset-'));
    try {
      const guest = join(folder, 'reset.elf');
      const bytes = new Uint8Array(Int32Array.from(RESETS).buffer);
      writeFileSync(guest, elfFile({ entry: START, loads: [{ paddr: START, bytes }] }));
      vmm = new VmmProcess(guest);
      const qmp = await vmm.monitor();
      for (const _ of [1, 2]) {
        const { data } = await qmp.nextEvent(({ event }) => event === 'RESET', UPDATE_MS);
        expect(data).toEqual({ guest: true, reason: 'guest-reset' });
      }
      qmp.close();
      expect(await vmm.end()).toEqual([]);

      vmm = new VmmProcess(guest, '-no-reboot', '-S');
      const other = await vmm.monitor();
      const shutdown = other.nextEvent(({ event }) => event === 'SHUTDOWN', UPDATE_MS);
      await other.execute('cont');
      expect((await shutdown).data).toEqual({ guest: true, reason: 'guest-reset' });
      expect(await vmm.exited).toEqual([0, null]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it.each([{ before: [] }, { before: ['-S'] }])(
    'ends with -no-reboot by system_reset, after $before',
    async (given) => {
      vmm = new VmmProcess('demo', '-no-reboot', ...given.before);
      const qmp = await vmm.monitor();
      const shutdown = qmp.nextEvent(({ event }) => event === 'SHUTDOWN', UPDATE_MS);
      expect(await qmp.execute('system_reset')).toEqual({});
      expect((await shutdown).data).toEqual({ guest: false, reason: 'host-qmp-system-reset' });
      expect(await vmm.exited).toEqual([0, null]);
      qmp.close();
    },
  );

  it.each([
    { signal: 'SIGTERM', status: 143 },
    { signal: 'SIGINT', status: 130 },
  ] as const)('ends cleanly on $signal', async ({ signal, status }) => {
    vmm = new VmmProcess('demo');
    await vmm.prints(/demo/);
    vmm.child.kill(signal);
    expect(await vmm.exited).toEqual([status, null]);
  });

  it('goes on when nobody reads its console any more', async () => {
    vmm = new VmmProcess('demo');
    await vmm.prints(/demo/);
    vmm.child.stdout.destroy();
    const qmp = await vmm.monitor();
    vmm.child.stdin.write('sssss');
    expect(await qmp.execute('query-status')).toEqual({ status: 'running', running: true });
    await qmp.execute('stop');
    qmp.close();
  });
});

describe('a monitor client', () => {
  /** Sends this text and gives the answers to it, which end with the one to `query-version`. */
  async function answersTo(text: string): Promise<string[]> {
    const socket = connect(vmm.qmpPath);
    const answers: string[] = [];
    const lines = createInterface({ input: socket });
    socket.write(`{"execute": "qmp_capabilities"}\n${text}\n{"execute": "query-version", "id": "end"}\n`);
    for await (const line of lines) {
      if (line.includes('"id": "end"')) break;
      if (!line.includes('"QMP"')) answers.push(line);
    }
    socket.destroy();
    return answers.slice(1);
  }

  it.each(['stop', 'cont', 'system_reset', 'query-status', 'x-ram-hash', 'x-stats'])(
    'may say %s as its first command, while the guest is being powered on',
    async (command) => {
      vmm = new VmmProcess('demo');
      const qmp = await vmm.monitor();
      await qmp.execute(command);
      await qmp.execute('cont');
      await vmm.prints(/demo/);
      expect(await qmp.execute('query-status')).toEqual({ status: 'running', running: true });
      qmp.close();
    },
  );

  it.each([
    [
      'an id 4 000 lists deep',
      `{"execute": "stop", "id": ${'['.repeat(4000)}${']'.repeat(4000)}}`,
      /nesting depth limit/,
    ],
    [
      'an id 1 000 lists deep',
      `{"execute": "query-status", "id": ${'['.repeat(1000)}${']'.repeat(1000)}}`,
      /"id": \[{1000}/,
    ],
    ['no UTF-8', '{"execute": "\xff"}', /JSON parse error|has not been found/],
    ['unknown capability', '{"execute": "qmp_capabilities", "arguments": {"enable": ["x"]}}', /already complete/],
  ])('is answered, and the guest runs on: %s', async (_, text, answer) => {
    vmm = new VmmProcess('demo');
    await vmm.prints(/demo/);
    expect((await answersTo(text)).join('\n')).toMatch(answer);
    expect(await vmm.stats()).toHaveProperty('heartbeats');
  });

  it('is served while 64 others sit idle', async () => {
    vmm = new VmmProcess('demo');
    await vmm.prints(/demo/);
    const idle = await Promise.all(Array.from({ length: 64 }, () => vmm.monitor()));
    const qmp = await vmm.monitor();
    expect(await qmp.execute('query-status')).toMatchObject({ running: true });
    for (const client of [qmp, ...idle]) client.close();
  });
});

describe('the monitor', () => {
  const lines: string[] = [];
  let waiting: (() => void) | undefined;

  async function client(): Promise<Socket> {
    lines.length = 0;
    const socket = connect(vmm.qmpPath);
    createInterface({ input: socket }).on('line', (line) => {
      lines.push(line);
      waiting?.();
    });
    await answers(1);
    return socket;
  }

  async function answers(count: number): Promise<string[]> {
    while (lines.length < count) {
      await new Promise<void>((resolve) => {
        waiting = resolve;
      });
    }
    return lines.slice(0, count);
  }

  it('belongs to its owner only', async () => {
    vmm = new VmmProcess('demo');
    await vmm.prints(/demo/);
    expect(statSync(vmm.qmpPath).mode & 0o777).toBe(0o600);
  });

  it('speaks as QEMU does', async () => {
    vmm = new VmmProcess('demo');
    await vmm.prints(/demo/);
    const socket = await client();
    expect(lines[0]).toMatch(
      /^\{"QMP": \{"version": \{"qemu": \{"micro": \d+, "minor": \d+, "major": \d+\}, "package": "livevmm .*"\}, "capabilities": \[\]\}\}$/,
    );
    socket.write('{"execute":"query-status"}\r\n');
    socket.write('{"execute":"qmp_capabilities","id":7}{"execute":"qmp_capabilities"}');
    socket.write(
      '{"execute":"stop","arguments":{"x":1}} {"execute":"nope","id":"x"} {"execute":"live-update","arguments":{"to":5}}',
    );
    expect((await answers(7)).slice(1)).toEqual([
      '{"error": {"class": "CommandNotFound", "desc": "Expecting capabilities negotiation with \'qmp_capabilities\'"}}',
      '{"return": {}, "id": 7}',
      '{"error": {"class": "CommandNotFound", "desc": "Capabilities negotiation is already complete, command ignored"}}',
      '{"error": {"class": "GenericError", "desc": "Parameter \'x\' is unexpected"}}',
      '{"id": "x", "error": {"class": "CommandNotFound", "desc": "The command nope has not been found"}}',
      '{"error": {"class": "GenericError", "desc": "Invalid parameter type for \'to\', expected: string"}}',
    ]);
    socket.destroy();
  });

  it('stops and continues the guest, with events before the answers', async () => {
    vmm = new VmmProcess('demo');
    await vmm.prints(/demo/);
    const socket = await client();
    socket.write('{"execute":"qmp_capabilities"}{"execute":"stop"}{"execute":"query-status"}{"execute":"cont"}');
    const got = (await answers(7)).slice(2);
    const stamp = '"timestamp": {"seconds": \\d+, "microseconds": \\d+}';
    expect(got[0]).toMatch(new RegExp(`^\\{${stamp}, "event": "STOP"\\}$`));
    expect(got[1]).toBe('{"return": {}}');
    expect(got[2]).toBe('{"return": {"status": "paused", "running": false}}');
    expect(got[3]).toMatch(new RegExp(`^\\{${stamp}, "event": "RESUME"\\}$`));
    expect(got[4]).toBe('{"return": {}}');
    await vmm.stats();
    socket.destroy();
  });

  it('resets the guest', async () => {
    vmm = new VmmProcess('demo');
    await vmm.prints(/demo/);
    const qmp = await vmm.monitor();
    await qmp.execute('system_reset');
    await vmm.prints(/demo[\s\S]*demo/);
    qmp.close();
  });

  it('ends the VMM with quit', async () => {
    vmm = new VmmProcess('demo');
    await vmm.prints(/demo/);
    const qmp = await vmm.monitor();
    const shutdown = qmp.nextEvent(({ event }) => event === 'SHUTDOWN', 5000);
    await qmp.execute('quit');
    expect((await shutdown).data).toEqual({ guest: false, reason: 'host-qmp-quit' });
    expect(await vmm.exited).toEqual([0, null]);
  });

  it('is not hurt by garbage, floods or many clients', async () => {
    vmm = new VmmProcess('demo');
    await vmm.prints(/demo/);
    const noise = Buffer.from(Array.from({ length: 20_000 }, (_, i) => (i * 7919) & 0xff));
    const sockets = Array.from({ length: 30 }, (_, i) => {
      const socket = connect(vmm.qmpPath).on('error', () => {});
      socket.write(i % 2 === 0 ? noise : '{"execute":"qmp_capabilities"}'.repeat(1000));
      if (i % 3 === 0) socket.resume();
      return socket;
    });
    await vmm.stats();
    for (const socket of sockets) socket.destroy();
    const qmp = await vmm.monitor();
    expect(await qmp.execute('query-status')).toEqual({ status: 'running', running: true });
    qmp.close();
  });

  it('refuses a socket path that is taken, and leaves what is there', async () => {
    vmm = new VmmProcess('demo');
    await vmm.prints(/demo/);
    const other = new VmmProcess('hello', '--qmp', vmm.qmpPath);
    expect(await other.exited).toEqual([1, null]);
    expect(other.errors).toMatch(/^vmm: monitor socket .*: somebody is listening there already\n$/);
    expect(await other.end()).toEqual([]);
    (await vmm.monitor()).close();
  });

  it('takes over the socket of a VMM that was killed', async () => {
    vmm = new VmmProcess('demo');
    await vmm.prints(/demo/);
    vmm.child.kill('SIGKILL');
    await vmm.exited;
    const next = new VmmProcess('demo', '--qmp', vmm.qmpPath);
    await next.prints(/demo/);
    expect(statSync(vmm.qmpPath).mode & 0o777).toBe(0o600);
    (await vmm.monitor()).close();
    expect(await next.end()).toEqual([]);
  });

  it('is had by exactly one of several that come at once for the socket of a dead one', async () => {
    vmm = new VmmProcess('demo');
    await vmm.prints(/demo/);
    vmm.child.kill('SIGKILL');
    await vmm.exited;
    const others = Array.from({ length: 4 }, () => new VmmProcess('demo', '--qmp', vmm.qmpPath));
    const ends = others.map(async (other) => {
      await Promise.race([other.prints(/demo/), other.exited]);
      return other.errors;
    });
    const errors = await Promise.all(ends);
    expect(errors.filter((line) => line === '')).toHaveLength(1);
    expect(errors.filter((line) => /: somebody is listening there already\n$/.test(line))).toHaveLength(3);
    (await vmm.monitor()).close();
    expect((await Promise.all(others.map((other) => other.end()))).flat()).toEqual([]);
  });
});
