import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import type { QmpClient } from '../../../tools/clients/qmp-client.ts';
import { isTurn } from '../../turn.ts';
import { updateEnded, VmmProcess } from '../vmm-process.ts';

/**
 * What a client or a terminal has sent arrives once and in order, however many updates come
 * between.
 */

/** Sends each byte that the UART receives back, for ever. */
const ECHO = [
  0x100002b7, // lui  t0, 0x10000     the UART
  0x0052c303, // lbu  t1, 5(t0)       LSR
  0x00137393, // andi t2, t1, 1       DR
  0xfe038ce3, // beqz t2, -8
  0x0002c503, // lbu  a0, 0(t0)
  0x00a28023, // sb   a0, 0(t0)
  0xfedff06f, // j    -20
];

/** An ELF64 of these instructions at the start of RAM. */
function elfOf(code: readonly number[]): Buffer {
  const elf = Buffer.alloc(64 + 56 + 4 * code.length);
  Buffer.from([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]).copy(elf);
  elf.writeUInt16LE(2, 16); // ET_EXEC
  elf.writeUInt16LE(243, 18); // EM_RISCV
  elf.writeUInt32LE(1, 20);
  elf.writeBigUInt64LE(0x8000_0000n, 24); // e_entry
  elf.writeBigUInt64LE(64n, 32); // e_phoff
  elf.writeUInt16LE(64, 52);
  elf.writeUInt16LE(56, 54);
  elf.writeUInt16LE(1, 56);
  elf.writeUInt32LE(1, 64); // PT_LOAD
  elf.writeUInt32LE(7, 68);
  elf.writeBigUInt64LE(120n, 72);
  elf.writeBigUInt64LE(0x8000_0000n, 80);
  elf.writeBigUInt64LE(0x8000_0000n, 88);
  elf.writeBigUInt64LE(BigInt(4 * code.length), 96);
  elf.writeBigUInt64LE(BigInt(4 * code.length), 104);
  elf.writeBigUInt64LE(4096n, 112);
  code.forEach((word, i) => {
    elf.writeUInt32LE(word, 120 + 4 * i);
  });
  return elf;
}

const UPDATES = 3;
const numbered = (count: number): string => Array.from({ length: count }, (_, i) => `${i} `).join('');

let dir: string;
let vmm: VmmProcess;
let qmp: QmpClient | undefined;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'livevmm-once-'));
  writeFileSync(join(dir, 'echo.elf'), elfOf(ECHO));
});

afterEach(async () => {
  qmp?.close();
  expect(await vmm.end()).toEqual([]);
  rmSync(dir, { recursive: true });
});

async function update(): Promise<void> {
  const ended = qmp!.nextEvent(updateEnded, 30_000);
  const [{ data }] = await Promise.all([ended, qmp!.execute('live-update')]);
  expect(data).toMatchObject({ status: 'completed' });
}

describe('over updates', () => {
  it.runIf(isTurn(0, 2))('each byte that is piped into the console reaches the guest once, in order', async () => {
    const text = numbered(50_000);
    vmm = new VmmProcess(join(dir, 'echo.elf'));
    qmp = await vmm.monitor();
    vmm.child.stdin.write(text);
    for (let i = 0; i < UPDATES; i++) await update();
    await vmm.printsBytes(text.length);
    expect(vmm.output === text).toBe(true);
  });

  it.runIf(isTurn(1, 2))('so does each byte of a file', async () => {
    const text = numbered(50_000);
    writeFileSync(join(dir, 'input'), text);
    const stdin = openSync(join(dir, 'input'), 'r');
    vmm = new VmmProcess({ guest: join(dir, 'echo.elf'), stdin });
    closeSync(stdin);
    qmp = await vmm.monitor();
    for (let i = 0; i < UPDATES; i++) await update();
    await vmm.printsBytes(text.length);
    expect(vmm.output === text).toBe(true);
  });

  it('each command in a pipeline is answered once, in order', async () => {
    vmm = new VmmProcess(join(dir, 'echo.elf'));
    qmp = await vmm.monitor();
    const socket = connect(vmm.qmpPath);
    const ids: number[] = [];
    createInterface({ input: socket }).on('line', (line) => {
      const { id } = JSON.parse(line) as { id?: number };
      if (id !== undefined) ids.push(id);
    });
    socket.write('{"execute": "qmp_capabilities", "id": 0}\n');
    let last = 0;
    for (let i = 0; i < UPDATES; i++) {
      const updated = update();
      for (let n = 0; n < 200; n++) {
        for (let k = 0; k < 5; k++) socket.write(`{"execute": "query-status", "id": ${++last}}\n`);
        await new Promise((resolve) => setImmediate(resolve));
      }
      await updated;
    }
    while (ids.at(-1) !== last) await Promise.race([once(socket, 'data'), once(socket, 'close')]);
    expect(ids).toEqual(Array.from({ length: last + 1 }, (_, i) => i));
    socket.destroy();
  });

  it('a command that takes longer than an update is answered, too', async () => {
    vmm = new VmmProcess(join(dir, 'echo.elf'), '-m', '1G');
    qmp = await vmm.monitor();
    const other = await vmm.monitor();
    const hash = other.execute('x-ram-hash').then(
      () => 'answered',
      (error: Error) => error.message,
    );
    await update();
    expect(await hash).toMatch(/^answered$|^the VMM is being replaced by an update; ask the new one$/);
    other.close();
  });
});
