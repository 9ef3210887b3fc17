/** The cast of a shard: the devices of its host, and the client that gets each of them. */
import { type ProfileName, profileOf } from '../../iommu/kernel/core/profile.ts';
import type { HostReady } from '../launch/host.ts';
import type { Assignment } from './client/assignment.ts';
import type { ShardPlan } from './outcome.ts';

const EDU = 'edu,dma-latency-ms=0,dma-mask=0xffffffffffffffff';
const CAPTURE = 'capture';

const MSCRIBE = 'mscribe';

/**
 * --device options. SHARED: the two clients that share a container; FUZZED: the fuzzer; OWN: the
 * mapper.
 */
const SHARED = [EDU, CAPTURE, EDU, CAPTURE];
const FUZZED = [EDU];
const OWN = [EDU, CAPTURE];

/**
 * --device options of the host. Since 6.3 no vaddr can become invalid with a mediated device in the
 * container (UNM-3).
 */
export const devicesOf = (profile: ProfileName): readonly string[] => [
  ...SHARED,
  ...FUZZED,
  ...OWN,
  ...(profileOf(profile).invalidVaddr === 'sleeps' ? [MSCRIBE] : []),
];

/** Limit of entries per container. It is low, so that mappers reach it. */
const ENTRY_LIMIT = 48;

/**
 * Windows in iova pages. The gap between two windows has room for a ring that reaches beyond its
 * mapping.
 */
const WINDOWS = {
  mapper: { firstVpn: 0x1000, endVpn: 0x2000 },
  first: { firstVpn: 0x1000, endVpn: 0x2000 },
  second: { firstVpn: 0x4000, endVpn: 0x5000 },
};

export const ACTORS = ['mapper', 'first', 'fuzzer'] as const;
export type ActorName = (typeof ACTORS)[number];
/** Actor → the partner that shares its container. */
export const PARTNERS: Readonly<Record<ActorName, string | undefined>> = {
  mapper: undefined,
  first: 'second',
  fuzzer: undefined,
};
export const AUDITOR = 'auditor';

/** The assignment of the process with that name and incarnation number. */
export function assign(
  name: ActorName | typeof AUDITOR,
  incarnation: number,
  { socket: socketPath, devices }: HostReady,
  { seed, profile, inject }: ShardPlan,
): Assignment {
  const common = { socketPath, profile, entryLimit: ENTRY_LIMIT };
  const seedOf = (actor: string): Assignment['seed'] => [seed, actor, incarnation];
  const fuzzed = SHARED.length;
  const own = fuzzed + FUZZED.length;
  const mapper = (actor: keyof typeof WINDOWS, first: number, end: number): Assignment => ({
    ...common,
    kind: 'mapper',
    name: actor,
    seed: seedOf(actor),
    devices: devices.slice(first, end),
    window: WINDOWS[actor],
  });
  switch (name) {
    case 'mapper':
      return { ...mapper('mapper', own, devices.length), inject };
    case 'first':
      return { ...mapper('first', 0, 2), partner: { ...mapper('second', 2, fuzzed), inherits: true } };
    case 'fuzzer':
    case 'auditor': {
      const its = name === 'fuzzer' ? devices.slice(fuzzed, own) : [];
      return { ...common, kind: name, name, seed: seedOf(name), devices: its, window: WINDOWS.mapper };
    }
  }
}
