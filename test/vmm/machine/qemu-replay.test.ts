import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';

import type { AccessSize } from '../../../guest/riscv/memory.ts';
import { BareMachine } from './bare-machine.ts';

const rows = readFileSync(new URL('./vectors/virt-platform.qtest', import.meta.url), 'utf8').split('\n');
const SIZES: Readonly<Record<string, AccessSize>> = { b: 1, w: 2, l: 4, q: 8 };

/** Not there in this machine, or another device than in the recording: no firmware configuration
 * channel, no virtio slots, no edu in slot 1, no answer of the debug area. */
const ABSENT = /^> \w+ (0x10100|0x10001|0x30008|0x2fff000)/;

/** The recording of QEMU's `virt` with two harts, its clock held. */
describe('the recorded platform devices of QEMU', () => {
  it('answer as ours do, but for bit 0 of the first enable word', () => {
    const { bus, clock } = new BareMachine({ ramBytes: 1 << 22, aia: 'none', harts: 2 }).machine.shared;
    clock.stop();
    clock.set(0n);
    const differences: string[] = [];
    let compared = 0;
    rows.forEach((row, i) => {
      const match = /^> (read|write)([bwlq]) (\S+) ?(\S*)/.exec(row);
      if (!match || ABSENT.test(row)) return;
      const [, op, letter = '', at, value = '0'] = match;
      const size = SIZES[letter]!;
      if (op === 'write') {
        bus.store(Number(at), size, BigInt(value), 0);
        return;
      }
      const reply = rows.slice(i + 1).find((next) => next.startsWith('< '))!;
      const recorded = BigInt(reply.split(' ')[2]!);
      const got = bus.load(Number(at), size);
      compared++;
      if (got !== recorded) differences.push(`${at}: recorded ${recorded.toString(16)}, got ${got?.toString(16)}`);
    });
    expect(compared).toBe(78);
    expect(differences).toEqual([
      '0xc002080: recorded ffffffff, got fffffffe',
      '0xc002000: recorded ffffffff, got fffffffe',
      '0xc002180: recorded ffffffff, got fffffffe',
    ]);
  });
});
