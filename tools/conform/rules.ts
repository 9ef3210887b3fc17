/**
 * Finds the rules of the VFIO specification (docs/rules/vfio.md) that speak about a step. The keys
 * are the operation and the expected errno.
 */
import type { VectorStep } from './vector-file.ts';

/** Operation → errno → rule ids. `*` stands for any answer. */
const RULES: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  map: {
    '0': 'MAP-11…15, ACC-1…4',
    EINVAL: 'MAP-1…4, MAP-6, MAP-9, MAP-14',
    EFAULT: 'MAP-1, MAP-13, ACC-4',
    ENOENT: 'MAP-6',
    EEXIST: 'MAP-7',
    ENOSPC: 'MAP-8',
    ENOMEM: 'ACC-3, ACC-6',
    EOVERFLOW: 'MAP-16',
  },
  unmap: {
    '0': 'UNM-7…14',
    EINVAL: 'UNM-1, UNM-2, UNM-4…6, UNM-10',
    EFAULT: 'UNM-1, UNM-12',
    EBUSY: 'UNM-3',
    EOVERFLOW: 'UNM-4',
  },
  dirty: { '0': 'DRT-2, DRT-4…7', EACCES: 'DRT-1', '*': 'DRT-1, DRT-3' },
  info: { '*': 'NUM-6…8, ST-1' },
  check: { '*': 'CORE-2, ST-2' },
  set_iommu: { '*': 'CORE-3, ATT-1…7' },
  set_container: { '*': 'CORE-4, ATT-1…7' },
  unset_container: { '*': 'CORE-5, CORE-10, ATT-8…10' },
  device: { '*': 'CORE-6' },
  group: { '*': 'CORE-7' },
  group_status: { '*': 'CORE-8' },
  close: { '*': 'CORE-9, CORE-13' },
  ioctl: { '*': 'CORE-1, section 1' },
  dev_info: { '*': 'PCI-6, NUM-8' },
  region_info: { '*': 'PCI-1' },
  irq_info: { '*': 'PCI-2' },
  set_irqs: { '*': 'PCI-3, PCI-4' },
  evread: { '*': 'PCI-4, PCI-5' },
  reset: { '*': 'PCI-6' },
  pread: { '*': 'PCI-7, PCI-9' },
  pwrite: { '*': 'PCI-7, PCI-9' },
  bar: { '*': 'PCI-1, PCI-7' },
  load: { '*': 'PCI-7, PCI-8' },
  store: { '*': 'PCI-7, PCI-8' },
  hot_reset: { '*': 'PCI-10' },
  hot_reset_info: { '*': 'PCI-10' },
  status: { '*': 'ACC-1…8' },
  edu_dma: { '*': 'IOM-3' },
  peek: { '*': 'IOM-3, P2P-3, P2P-7' },
  emu_pin: { '*': 'MDV-1…3, VAD-3…5' },
  emu_unpin: { '*': 'MDV-4' },
  emu_rw: { '*': 'MDV-5, VAD-2' },
  emu_log: { '*': 'MDV-6, UNM-11' },
  wait: { '*': 'VAD-1…14' },
};

/** Rule ids for a step; undefined where none is known. */
export function rulesOf({ op, expected }: Pick<VectorStep, 'op' | 'expected'>): string | undefined {
  const rules = Object.hasOwn(RULES, op) ? RULES[op]! : {};
  const status = expected.split(' ', 1)[0]!.replace(/^-/, '');
  return rules[status] ?? rules['*'];
}
