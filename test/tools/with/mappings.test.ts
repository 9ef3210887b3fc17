/** mappings.c under `livevmm with`: Linux itself maps RAM BARs, and a mapping holds its device. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { hasCompiler } from '../../../tools/launch/compiler.ts';
import { Sandbox } from '../livevmm-process.ts';

const SOURCE = fileURLToPath(new URL('./mappings.c', import.meta.url));

describe.skipIf(!hasCompiler())('a program that maps BARs', () => {
  const sandbox = new Sandbox();
  const folder = mkdtempSync(join(tmpdir(), 'with-mappings-'));
  const program = join(folder, 'mappings');
  beforeAll(() => execFileSync('cc', ['-w', '-o', program, SOURCE]));
  afterAll(() => {
    sandbox.remove();
    rmSync(folder, { recursive: true });
  });

  async function lines(what: string): Promise<string[]> {
    const ended = await sandbox.run('with', '--device', 'ivshmem-plain', '--', program, what);
    expect(ended).toMatchObject({ status: 0, stderr: '' });
    return ended.stdout.trimEnd().split('\n');
  }

  it('gets Linux’s errno for what cannot be mapped', async () => {
    expect(await lines('checks')).toEqual([
      'mmap flag: 0 1 0',
      'whole: ok, page: ok',
      'private: EINVAL',
      'beyond: EINVAL',
      'off a page: EINVAL',
      'nothing: EINVAL',
      'too much: ENOMEM',
      'registers: EINVAL, config: EINVAL',
    ]);
  });

  it('is not told to map memory that several devices share', async () => {
    const shared = await sandbox.run('with', '--device', 'ivshmem-plain,memdev=one', '--', program, 'checks');
    expect(shared.stdout.split('\n').slice(0, 2)).toEqual(['mmap flag: 0 0 0', 'whole: EINVAL, page: EINVAL']);
  });

  it('sees the bytes of the region, and can give them to DMA', async () => {
    expect(await lines('bytes')).toEqual(['stored, written', 'for DMA: ok']);
  });

  it('gets SIGBUS while memory decoding is off, and then its bytes again', async () => {
    expect(await lines('withdrawing')).toEqual(['off: BUS', 'on: x']);
  });

  it('holds the device until the last page is unmapped', async () => {
    expect(await lines('holding')).toEqual(['mapped in two pieces: EBUSY', 'one piece left: EBUSY', 'unmapped: ok']);
  });

  it('shares its mappings with a fork, which holds the device until it dies', async () => {
    expect(await lines('forking')).toEqual(['the child has it: EBUSY', 'killed: ok']);
  });

  it('loses its mappings by execve', async () => {
    expect(await lines('execing')).toEqual(['after exec: ok']);
  });
});
