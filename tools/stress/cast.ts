/** The cast of a shard: the devices of its host, and the client that gets each of them. */
import { PEER_MAPPINGS, type PeerMappings, type ProfileName, profileOf } from '../../iommu/kernel/core/profile.ts';
import type { HostReady } from '../launch/host.ts';
import type { Assignment } from './client/assignment.ts';
import type { ShardPlan } from './outcome.ts';

const EDU = 'edu,dma-latency-ms=0,dma-mask=0xffffffffffffffff';
const CAPTURE = 'capture';

const MSCRIBE = 'mscribe';
/** The IOMMU unit whose users donate windows for MSIs, and the options that make both units. */
const DONATED = 'donated';
const UNITS = ['--iommu', 'iommu0', '--iommu', `${DONATED},msi=donated`];

/**
 * --device options. SHARED: the two clients that share a container; FUZZED: the fuzzer; OWN: the
 * mapper; PEERS: the peers.
 */
const SHARED = [EDU, CAPTURE, EDU, CAPTURE];
const FUZZED = [EDU];
const OWN = [EDU, CAPTURE];
/** Of the peers, the first half for one container and the other half for another one. */
const PEERS = [EDU, 'ivshmem-plain,size=64K', EDU, 'ivshmem-plain,size=64K', `${CAPTURE},flr=on`].map(
  (device) => `${device},iommu=${DONATED}`,
);

/** Of the keeper, whose memory and page tables outlive the kernel. */
const KEPT = [EDU, CAPTURE];
const PKERNFS = ['--pkernfs', '48M'];

/**
 * --device options of the host. Since 6.3 no vaddr can become invalid with a mediated device in the
 * container (UNM-3).
 */
export const devicesOf = (profile: ProfileName): readonly string[] => [
  ...SHARED,
  ...FUZZED,
  ...PEERS,
  ...KEPT,
  ...OWN,
  ...(profileOf(profile).invalidVaddr === 'sleeps' ? [MSCRIBE] : []),
];

/** Further options of the host. The seed decides what becomes of mappings of a BAR (P2P-10). */
export const hostOptionsOf = ({ seed, profile }: Pick<ShardPlan, 'seed' | 'profile'>): readonly string[] => [
  ...['--vfio-profile', profile, '--peer-mappings', peerMappingsOf(seed)],
  ...UNITS,
  ...PKERNFS,
];

const peerMappingsOf = (seed: number): PeerMappings => PEER_MAPPINGS[seed % PEER_MAPPINGS.length]!;

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

export const ACTORS = ['mapper', 'first', 'fuzzer', 'peers', 'keeper'] as const;
export type ActorName = (typeof ACTORS)[number];
/** Actor → the partner that shares its container. */
export const PARTNERS: Readonly<Record<ActorName, string | undefined>> = {
  mapper: undefined,
  first: 'second',
  fuzzer: undefined,
  peers: undefined,
  keeper: undefined,
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
  const peers = fuzzed + FUZZED.length;
  const kept = peers + PEERS.length;
  const own = kept + KEPT.length;
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
    case 'peers':
    case 'keeper':
    case 'auditor': {
      const its = {
        fuzzer: devices.slice(fuzzed, peers),
        peers: devices.slice(peers, kept),
        keeper: devices.slice(kept, own),
        auditor: [],
      };
      const rest = { seed: seedOf(name), devices: its[name], window: WINDOWS.mapper, inject };
      return { ...common, ...rest, kind: name, name, peerMappings: peerMappingsOf(seed) };
    }
  }
}
