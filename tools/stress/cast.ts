/** Who plays in a shard: the devices of its host, and which client gets which. */
import type { Assignment } from './client/assignment.ts';
import type { HostProcess } from './host-process.ts';
import type { ShardPlan } from './outcome.ts';

const EDU = 'edu,dma-latency-ms=0,dma-mask=0xffffffffffffffff';
const CAPTURE = 'capture';

/** --device options: for the mapper, for the two that share a container, for the fuzzer. */
export const DEVICES = [EDU, CAPTURE, EDU, CAPTURE, EDU, CAPTURE, EDU];

/** Few enough for mappers to run into it. */
const ENTRY_LIMIT = 48;

/** iova pages; between two windows is room for a ring that reaches beyond its mapping. */
const WINDOWS = {
  mapper: { firstVpn: 0x1000, endVpn: 0x2000 },
  first: { firstVpn: 0x1000, endVpn: 0x2000 },
  second: { firstVpn: 0x4000, endVpn: 0x5000 },
};

export const ACTORS = ['mapper', 'first', 'fuzzer'] as const;
export type ActorName = (typeof ACTORS)[number];
/** Who shares a container with whom. */
export const PARTNERS: Readonly<Record<ActorName, string | undefined>> = {
  mapper: undefined,
  first: 'second',
  fuzzer: undefined,
};
export const AUDITOR = 'auditor';

/** What the process of that name and incarnation is to be. */
export function assign(
  name: ActorName | typeof AUDITOR,
  incarnation: number,
  { socketPath, devices }: HostProcess,
  { seed, profile, inject }: ShardPlan,
): Assignment {
  const common = { socketPath, profile, entryLimit: ENTRY_LIMIT };
  const seedOf = (actor: string): Assignment['seed'] => [seed, actor, incarnation];
  const mapper = (actor: keyof typeof WINDOWS, first: number): Assignment => ({
    ...common,
    kind: 'mapper',
    name: actor,
    seed: seedOf(actor),
    devices: devices.slice(first, first + 2),
    window: WINDOWS[actor],
  });
  switch (name) {
    case 'mapper':
      return { ...mapper('mapper', 0), inject };
    case 'first':
      return { ...mapper('first', 2), partner: { ...mapper('second', 4), inherits: true } };
    case 'fuzzer':
    case 'auditor': {
      const own = name === 'fuzzer' ? devices.slice(6) : [];
      return { ...common, kind: name, name, seed: seedOf(name), devices: own, window: WINDOWS.mapper };
    }
  }
}
