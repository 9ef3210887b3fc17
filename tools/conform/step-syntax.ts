/** The syntax of each operation of a step: one row per operation in the format's README. */

/** The parts of a Step that are checked. */
interface Words {
  readonly op: string;
  readonly args: readonly string[];
  readonly options: Readonly<Record<string, string>>;
}

/**
 * Kinds of words. word: anything · number: a C literal, or a sum with `$NAME`s · region: R:OFF or a
 * number · hex: bytes · fd: a name or a number
 */
type Kind = 'word' | 'number' | 'region' | 'hex' | 'fd';

interface Syntax {
  readonly args: readonly Kind[];
  /** How many of the last args may be missing. */
  readonly optional?: number;
  readonly options?: Readonly<Record<string, Kind | 'bitmap' | 'fds'>>;
}

const BITMAP = { pgsize: 'number', bsize: 'number', bitmap: 'bitmap', bmfill: 'number' } as const;
const STRUCT = { argsz: 'number', avail: 'number' } as const;

const SYNTAX: Readonly<Record<string, Syntax>> = {
  container: { args: ['word'] },
  group: { args: ['word', 'word'] },
  device: { args: ['word', 'fd', 'word'] },
  eventfd: { args: ['word'] },
  open: { args: ['word', 'word'] },
  dup: { args: ['fd', 'word'] },
  close: { args: ['fd'] },
  cloexec: { args: ['fd', 'number'] },
  getfd: { args: ['fd'] },
  evread: { args: ['fd'] },
  evwrite: { args: ['fd', 'number'] },
  mem: { args: ['word', 'word', 'number', 'word'], optional: 1 },
  remap: { args: ['word', 'word'] },
  munmap: { args: ['number', 'number'] },
  mprotect: { args: ['number', 'number', 'word'] },
  mlock: { args: ['number', 'number'] },
  fill: { args: ['number', 'number', 'number'] },
  peek: { args: ['number', 'number'] },
  load: { args: ['number', 'number'] },
  store: { args: ['number', 'number', 'number'] },
  rlimit: { args: ['word', 'word'], options: { soft: 'number' } },
  setuid: { args: ['number'] },
  param: { args: ['word', 'word'] },
  status: { args: [] },
  sleep: { args: ['number'] },
  exec: { args: [] },
  thread: { args: ['word'] },
  fork: { args: ['word'] },
  process: { args: ['word'] },
  pass: { args: ['fd', 'word', 'word'] },
  wait: { args: ['word', 'number'] },
  kill: { args: ['word', 'number'] },
  signal: { args: ['number'] },
  api: { args: ['fd', 'number'], optional: 1 },
  check: { args: ['fd', 'number'] },
  set_iommu: { args: ['fd', 'number'] },
  info: { args: ['fd'], options: STRUCT },
  map: { args: ['fd'], options: { ...STRUCT, flags: 'number', vaddr: 'number', iova: 'number', size: 'number' } },
  unmap: { args: ['fd'], options: { ...STRUCT, flags: 'number', iova: 'number', size: 'number', ...BITMAP } },
  dirty: { args: ['fd'], options: { ...STRUCT, flags: 'number', iova: 'number', size: 'number', ...BITMAP } },
  group_status: { args: ['fd'], options: STRUCT },
  set_container: { args: ['fd', 'fd'], options: { avail: 'number' } },
  unset_container: { args: ['fd'] },
  dev_info: { args: ['fd'], options: STRUCT },
  region_info: { args: ['fd'], options: { ...STRUCT, index: 'number' } },
  irq_info: { args: ['fd'], options: { ...STRUCT, index: 'number' } },
  set_irqs: {
    args: ['fd'],
    options: { ...STRUCT, flags: 'number', index: 'number', start: 'number', count: 'number', data: 'hex', fds: 'fds' },
  },
  reset: { args: ['fd'] },
  hot_reset_info: { args: ['fd'], options: STRUCT },
  hot_reset: { args: ['fd'], options: { ...STRUCT, flags: 'number', count: 'number', fds: 'fds' } },
  ioeventfd: { args: ['fd'], options: { ...STRUCT, flags: 'number', offset: 'region', data: 'number', fd: 'fd' } },
  feature: { args: ['fd'], options: { ...STRUCT, flags: 'number', data: 'hex' } },
  pread: { args: ['fd', 'region', 'number'] },
  pwrite: { args: ['fd', 'region', 'hex'] },
  bar: { args: ['word', 'fd', 'region', 'number', 'word', 'word'], optional: 1 },
  edu_dma: { args: ['fd', 'number', 'number', 'number', 'number'] },
  ioctl: { args: ['fd', 'number', 'number'] },
  ioctlbuf: { args: ['fd', 'number'], options: { hex: 'hex' } },
  emu_pin: { args: ['fd', 'number', 'number', 'number'] },
  emu_unpin: { args: ['fd', 'number', 'number'] },
  emu_rw: { args: ['fd', 'number', 'number', 'word'] },
  emu_log: { args: ['fd'] },
};

const NUMBER = /^(-?(0x[0-9a-f]+|\d+)|\$\w+)(\+(-?(0x[0-9a-f]+|\d+)|\$\w+))*$/i;
const HEX = /^([0-9a-f]{2})*$/i;

/** An error message for the words of a step; undefined when they are right. */
export function syntaxError({ op, args, options }: Words): string | undefined {
  const syntax = Object.hasOwn(SYNTAX, op) ? SYNTAX[op]! : undefined;
  if (!syntax) return `no operation ${op}`;
  const most = syntax.args.length;
  const least = most - (syntax.optional ?? 0);
  if (args.length < least || args.length > most) {
    return `${op} takes ${least === most ? most : `${least} to ${most}`} words, not ${args.length}`;
  }
  for (const [i, word] of args.entries()) {
    if (!isOfKind(word, syntax.args[i]!)) return `${op}: \`${word}\` is no ${syntax.args[i]!}`;
  }
  for (const [key, value] of Object.entries(options)) {
    const kind = syntax.options && Object.hasOwn(syntax.options, key) ? syntax.options[key]! : undefined;
    if (!kind) return `${op} has no option ${key}=`;
    if (!isOfKind(value, kind)) return `${op}: ${key}=\`${value}\` is no ${kind}`;
  }
  return undefined;
}

function isOfKind(word: string, kind: Kind | 'bitmap' | 'fds'): boolean {
  switch (kind) {
    case 'word':
      return true;
    case 'fd':
      return /^(-?\d+|[A-Za-z_]\w*)$/.test(word);
    case 'fds':
      return word.split(',').every((fd) => isOfKind(fd, 'fd'));
    case 'number':
      return NUMBER.test(word);
    case 'region':
      return NUMBER.test(word.replace(/^\d+:/, ''));
    case 'hex':
      return HEX.test(word);
    case 'bitmap':
      return /^buf:\d+$/.test(word) || NUMBER.test(word);
  }
}
