import { readFileSync } from 'node:fs';

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import type { Versioned } from '../../../platform/section.ts';
import { describeDiff, diffJson, diffStates } from '../../../tools/state/diff.ts';
import { describeState, type StateView, stateJson, viewState } from '../../../tools/state/view.ts';
import { decodeState, encodeState } from '../../../vmm/live-update/state-file.ts';

/** Written by livevmm 0.1.0 (test/vmm/live-update/state-file.test.ts). */
const frozen = readFileSync(new URL('../../vmm/live-update/frozen-0.1.0.state', import.meta.url));
const sections = Object.fromEntries(decodeState(frozen).sections);

/** The frozen state with some sections changed, or without those that are null. */
function changed(changes: Readonly<Record<string, object | null>>): StateView {
  const all: Record<string, unknown> = { ...sections };
  for (const [name, change] of Object.entries(changes)) {
    if (change) all[name] = { ...sections[name], ...change };
    else delete all[name];
  }
  return viewState(encodeState(all as Record<string, Versioned>));
}

describe('a state that is shown', () => {
  it('has each section with its version, its size, what this build does with it, and its values', () => {
    const text = describeState(viewState(frozen));
    expect(text).toMatch(/^state of a livevmm, format 1, 3216 bytes, 13 sections, complete at 4422\.\d+ s/);
    expect(text).toContain('\nsection hart: version 1, 465 bytes, checksum ok, this build reads it\n  pc ');
    expect(text).toMatch(/^ {2}x\[0\] +0x800007b0$/m);
    expect(text).toMatch(/^ {2}options\.kernel +"\/tmp\/livevmm\/demo\.elf"$/m);
    expect(text).toMatch(
      /^section update: version 1, \d+ bytes, checksum ok, this build converts it\n {2}stamps\.begin /m,
    );
    expect(text).toMatch(/^ {2}fds\["msi 0 of 0000:00:02\.0"\] +\d+$/m);
  });

  it('has sections that this build does not know or refuses, as far as they can be shown', () => {
    const text = describeState(
      changed({ gpio: { version: 3, on: true }, uart: { version: 9 }, clint: { mtime: 'now' } }),
    );
    expect(text).toContain('section gpio: version 3, 16 bytes, checksum ok, this build does not know it\n  on  true\n');
    expect(text).toMatch(/^section uart: version 9, .*refuses it \(section uart: version 9, this build knows 1\)$/m);
    expect(text).toMatch(/^section clint: .*refuses it \(section clint: clint\.mtime: no bigint\)\n {2}mtime +"now"$/m);
  });

  it('is a JSON document, too', () => {
    const document = JSON.parse(JSON.stringify(stateJson(viewState(frozen)))) as {
      sections: Record<string, unknown>[];
    };
    expect(document).toMatchObject({ format: 1, bytes: 3216, count: 13 });
    expect(document).not.toHaveProperty('damage');
    const console = document.sections.find(({ name }) => name === 'console');
    expect(console).toMatchObject({ version: 1, checksum: 'ok', reading: 'same', body: { version: 1, input: '' } });
    const clint = document.sections.find(({ name }) => name === 'clint');
    expect(clint).toMatchObject({ body: { mtime: '0x1cbb360' } });
  });

  it('ends with the first damage, which is named', () => {
    const bytes = Uint8Array.from(frozen);
    bytes[frozen.indexOf('mtimecmp')]! ^= 1;
    const view = viewState(bytes);
    expect(view.damage).toBe('section clint: checksum does not match');
    expect(view.sections.map(({ name }) => name)).toEqual(['vm', 'ram', 'vcpu', 'hart']);
    expect(describeState(view)).toMatch(/the first 4 of 13 sections/);
  });

  it('is shown up to the place where the file is cut, wherever that is', () => {
    const whole = viewState(frozen).sections;
    fc.assert(
      fc.property(fc.integer({ min: 24, max: frozen.length - 8 }), (length) => {
        const { sections, damage } = viewState(frozen.subarray(0, length));
        expect(sections).toEqual(whole.slice(0, sections.length));
        expect(damage).toMatch(/is cut short$/);
      }),
    );
    expect(() => viewState(frozen.subarray(0, 23))).toThrow('not the state of a livevmm');
  });
});

describe('the difference of two states', () => {
  it('is nothing for the same state, whenever it was saved', () => {
    expect(diffStates(viewState(frozen), changed({}))).toEqual([]);
  });

  it('names sections that were added, removed or got another version, and each field that changed', () => {
    const after = changed({
      gpio: { version: 3, on: true },
      imsic: null,
      clint: { mtimecmp: 0x1cb_b361n },
      vm: {
        options: { ...(sections.vm as unknown as { options: object }).options, devices: ['0000:00:02.0'], huge: 1 },
      },
      uart: { version: 2 },
    });
    const changes = diffStates(viewState(frozen), after);
    expect(describeDiff(changes)).toBe(`section vm: version 1
  - options.devices[1]: "0000:00:03.0"
  + options.huge: 1
section clint: version 1
  mtimecmp: 0x1ca9417 → 0x1cbb361
section uart: version 1 → 2
- section imsic: version 1
+ section gpio: version 3
`);
    expect(diffJson(changes)).toMatchObject({
      same: false,
      sections: expect.arrayContaining([
        { name: 'gpio', change: 'added', after: 3, fields: [] },
        { name: 'imsic', change: 'removed', before: 1, fields: [] },
        {
          name: 'clint',
          change: 'changed',
          before: 1,
          after: 1,
          fields: [{ path: 'mtimecmp', before: '0x1ca9417', after: '0x1cbb361' }],
        },
      ]),
    });
  });
});
