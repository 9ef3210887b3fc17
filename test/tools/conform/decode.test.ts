import { describe, expect, it } from 'vitest';

import { decodeAnswer, decodeStep } from '../../../tools/conform/decode.ts';
import { rulesOf } from '../../../tools/conform/rules.ts';
import { parseVectors, type VectorStep } from '../../../tools/conform/vector-file.ts';

const step = (text: string, expected = '0'): VectorStep =>
  parseVectors(`case a\n> ${text}\n< ${expected}\nend\n`, 'x.vec').cases[0]!.steps[0]!;

describe('decodeStep', () => {
  it.each([
    [
      'map c1 flags=0x3 vaddr=$RAM iova=0 size=0x1000',
      'VFIO_IOMMU_MAP_DMA(c1, {flags READ|WRITE, vaddr $RAM, iova 0, size 0x1000})',
    ],
    ['unmap c1 flags=0x806 iova=0 size=0', 'VFIO_IOMMU_UNMAP_DMA(c1, {flags ALL|VADDR|0x800, iova 0, size 0})'],
    ['dirty c1 flags=0', 'VFIO_IOMMU_DIRTY_PAGES(c1, {flags 0x0})'],
    [
      '@T& set_irqs d1 argsz=24 flags=0x24 index=1 fds=e1',
      'VFIO_DEVICE_SET_IRQS(d1, {argsz 24, flags DATA_EVENTFD|ACTION_TRIGGER, index 1, fds e1}) by T',
    ],
    ['feature d1 argsz=8 flags=0x50003', 'VFIO_DEVICE_FEATURE(d1, {argsz 8, flags GET|PROBE of feature 3})'],
    ['set_iommu c1 3', 'VFIO_SET_IOMMU(c1, 3)'],
    ['ioctl g1 0x3b70 0', 'ioctl(g1, 0x3b70, 0)'],
    ['peek $RAM 16', 'peek $RAM 16'],
  ])('%s', (text, decoded) => {
    expect(decodeStep(step(text))).toBe(decoded);
  });
});

describe('decodeAnswer', () => {
  it('names the fields of a struct, and says when it is cut short', () => {
    const out = '1400000002000000090000000500000000000000';
    expect(decodeAnswer(step('dev_info d1 argsz=20'), `0 out=${out}`)).toBe(
      '0 {argsz 20, flags PCI, num_regions 9, num_irqs 5, cap_offset 0} (20 bytes)',
    );
  });

  it('follows the capability chain of IOMMU_GET_INFO', () => {
    const out =
      '8000000003000000001020400000000018000000000000000200010038000000000000000000000000100000000000000000001000000000' +
      '0300010048000000ffff000000000000010001000000000002000000000000000000000000000000ffffdffe000000000000f0fe00000000ffffffff7f000000';
    expect(decodeAnswer(step('info c1 argsz=128'), `0 out=${out}`)).toBe(
      '0 {argsz 128, flags PGSIZES|CAPS, iova_pgsizes 0x40201000, cap_offset 24, pad 0,' +
        ' MIGRATION@24 {pgsize_bitmap 0x1000, max_dirty_bitmap_size 0x10000000}, DMA_AVAIL@56 65535,' +
        ' IOVA_RANGE@72 [0x0-0xfedfffff 0xfef00000-0x7fffffffff]}',
    );
  });

  it('survives a chain that leads nowhere', () => {
    expect(decodeAnswer(step('info c1 argsz=24'), '0 out=180000000300000000000000000000001000000010000000')).toMatch(
      /^0 \{/,
    );
  });

  it('leaves errnos and data alone', () => {
    expect(decodeAnswer(step('pread d1 7:0 4'), '4 data=3412e811')).toBe('4 data=3412e811');
  });
});

describe('rulesOf', () => {
  it.each([
    ['map c1 flags=0x4 vaddr=0 iova=0 size=0x1000', '-ENOENT', 'MAP-6'],
    ['unmap c1 flags=0x4 iova=0 size=0x1000', '-EBUSY', 'UNM-3'],
    ['check c1 10', '1', 'CORE-2, ST-2'],
    ['sleep 10', '0', undefined],
  ])('%s → %s', (text, expected, rules) => {
    expect(rulesOf(step(text, expected))).toBe(rules);
  });
});
