import { describe, expect, it } from 'vitest';

import { separateKvemu } from '../../../tools/cli/kvemu-option.ts';

const edu = { type: 'edu', properties: {} };

describe('--device kvemu', () => {
  it('is taken out, with the group asked for or the next ones after the devices of the board', () => {
    const asked = [edu, { type: 'kvemu', properties: { group: '7' } }, edu, { type: 'kvemu', properties: {} }];
    expect(separateKvemu(asked, 1)).toEqual({ devices: [edu, edu], kvemuGroups: [7, 4] });
  });

  it.each([
    [{ group: 'x' }, 'group=x: expected a number'],
    [{ slot: '1' }, "no property 'slot'"],
  ])('refuses %o', (properties, message) => {
    expect(() => separateKvemu([{ type: 'kvemu', properties: properties as Record<string, string> }], 0)).toThrow(
      message,
    );
  });
});
