import { expect, it } from 'vitest';

import { parseIncoming } from '../../../../vmm/live-update/migration/incoming.ts';

const MACHINE = ['-m', '64M', '--kernel', 'guest.elf'];
const CPR = '{"channel-type": "cpr", "addr": {"transport": "socket", "type": "unix", "path": "cpr.sock"}}';

it('a command line without -incoming powers a guest on', () => {
  expect(parseIncoming(MACHINE)).toBeUndefined();
});

it.each([
  { spelling: 'QEMU', words: ['-incoming', 'unix:main.sock', ...MACHINE, '-incoming', CPR] },
  { spelling: 'ours', words: ['--incoming', CPR, '--incoming', 'unix:main.sock', ...MACHINE] },
  { spelling: 'JSON', words: [...MACHINE, '-incoming', CPR.replaceAll('cpr', 'main'), '-incoming', CPR] },
])('-incoming names both channels: $spelling', ({ words }) => {
  const options = { memory: 64 * 2 ** 20, kernel: 'guest.elf', devices: [] };
  expect(parseIncoming(words)).toEqual({ main: 'main.sock', cpr: 'cpr.sock', options });
});

it('is refused without a value', () => {
  expect(() => parseIncoming([...MACHINE, '-incoming'])).toThrow('-incoming: name the URI');
});

it.each([
  { words: ['-incoming', 'defer'], error: '-incoming defer: the guest comes by the channels; name them' },
  { words: ['-incoming', 'x'], error: 'unknown migration protocol: x' },
  { words: ['-incoming', 'unix:main.sock'], error: "missing 'cpr' migration channel" },
  { words: ['-incoming', CPR], error: "missing 'main' migration channel" },
  { words: ['-incoming', CPR, '-incoming', CPR], error: 'Channel list has more than one cpr entry' },
  { words: ['-incoming', 'file:x', '-incoming', CPR], error: 'cpr-transfer mode: give unix:PATH, not file:x' },
  { words: ['-incoming', '{"a'], error: '-incoming {"a: JSON parse error, premature EOI' },
  {
    words: ['-incoming', '{"channel-type": "cpr"}'],
    error: '-incoming {"channel-type": "cpr"}: Parameter \'addr\' is missing',
  },
])('is refused in one line: $error', ({ words, error }) => {
  expect(() => parseIncoming([...words, ...MACHINE])).toThrow(error);
});
