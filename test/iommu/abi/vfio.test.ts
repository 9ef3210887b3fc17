import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import * as uapi from '../../../iommu/abi/vfio.ts';

/**
 * The header is the authority: gcc prints what it says, we compare. Fields and numbers younger than
 * the header are left out.
 */
const HEADER = '/usr/include/linux/vfio.h';
const hasCompiler = existsSync('/usr/bin/gcc') && existsSync(HEADER);

function evaluate(expressions: readonly string[]): number[] {
  const folder = mkdtempSync(join(tmpdir(), 'uapi-'));
  try {
    const lines = expressions.map((text) => `printf("%lld\\n", (long long)(${text}));`);
    const source = `#include <stdio.h>\n#include <stddef.h>\n#include <linux/vfio.h>\nint main(){${lines.join('\n')}}`;
    writeFileSync(join(folder, 'print.c'), source);
    execFileSync('gcc', ['-o', join(folder, 'print'), join(folder, 'print.c')]);
    return execFileSync(join(folder, 'print'), { encoding: 'utf8' }).trim().split('\n').map(Number);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Not in every header. */
const NEW_STRUCTS = new Set(['vfio_device_feature_dma_buf', 'vfio_region_dma_range']);
const STRUCTS = Object.values(uapi)
  .filter((one) => typeof one === 'object' && 'offset' in one)
  .filter(({ name }) => !NEW_STRUCTS.has(name));
const YOUNGER = new Set(['vfio_device_info.pad', 'vfio_device_ioeventfd.reserved', 'vfio_iommu_type1_info.pad']);
const FIELDS = STRUCTS.flatMap(({ name, offset }) =>
  Object.entries(offset)
    .filter(([field]) => !YOUNGER.has(`${name}.${field}`))
    // The headers of INFO capabilities are a struct of their own.
    .map(([field, at]) => {
      const inHeader = /_cap_|dma_avail/.test(name) && ['id', 'version', 'next'].includes(field);
      return {
        text: `offsetof(struct ${name}, ${inHeader && name !== 'vfio_info_cap_header' ? 'header.' : ''}${field})`,
        at,
      };
    }),
);
/** vfio_device_info has grown; the others are as long as ever. */
const SIZES = STRUCTS.filter(({ name }) => name !== 'vfio_device_info' && name !== 'vfio_device_ioeventfd').map(
  ({ name, size }) => ({ text: `sizeof(struct ${name})`, at: size }),
);
/** VFIO_PCI_OFFSET_SHIFT is in none. */
const NEW_NUMBERS = new Set([
  'VFIO_DEVICE_FEATURE_DMA_BUF',
  'VFIO_DEVICE_FEATURE_MIG_DATA_SIZE',
  'VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2',
  'VFIO_PCI_OFFSET_SHIFT',
]);
const NUMBERS = Object.entries(uapi)
  .filter((entry): entry is [string, number] => typeof entry[1] === 'number')
  .filter(([name]) => !NEW_NUMBERS.has(name))
  .map(([name, value]) => ({ text: name, at: value }));

describe('uapi as data (NUM-1…5)', () => {
  it.runIf(hasCompiler).each([
    ['offsets of every field', FIELDS],
    ['sizes of every struct', SIZES],
    ['every number', NUMBERS],
  ])('has the %s of linux/vfio.h', (_, facts) => {
    const real = evaluate(facts.map(({ text }) => text));

    expect(facts.map(({ text, at }) => [text, at])).toEqual(facts.map(({ text }, i) => [text, real[i]]));
  });

  it('encodes ioctl numbers without size and direction (docs/rules/vfio.md, "Numbers and structs")', () => {
    expect([uapi.VFIO_GET_API_VERSION, uapi.VFIO_IOMMU_MAP_DMA, uapi.VFIO_EEH_PE_OP]).toEqual([0x3b64, 0x3b71, 0x3b79]);
  });
});
