import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

import { MODELS } from '../../../devices/board/device-types.ts';
import type { DeviceModule } from '../../../devices/kit/device.ts';

const devices = fileURLToPath(new URL('../../../devices', import.meta.url));

describe('the table of devices', () => {
  it('has each folder of devices/', () => {
    const others = ['backends', 'board', 'kit', 'virtio']; // two are for devices of a VMM, too
    const folders = readdirSync(devices).filter((name) => !others.includes(name));
    expect(MODELS.map(({ folder }) => folder).sort()).toEqual(folders.sort());
  });

  it.each(MODELS)('a worker of $folder runs the device that the board has planned', async ({ type, folder }) => {
    const module = (await import(`../../../devices/${folder}/device.ts`)) as DeviceModule;
    expect(module.device).toBe(type);
  });
});
