/**
 * A profile says as which kernel the VFIO of this host answers (docs/rules/vfio.md, "What differs
 * by profile"). It has one row per behaviour that differs, and the differences are written nowhere
 * else. '5.12' is Linux 5.12–5.19 as released, which blocks on an invalid vaddr (a rebuilt 6.1
 * stood for it in the recordings). '6.2' is 6.0–6.2 as released, which blocks as well and lets any
 * process unmap. '6.12' refuses instead and still has the 64-bit limit bugs. '7.2' has them fixed.
 */
import { SysError } from '../../../platform/errno.ts';

export type ProfileName = '5.12' | '6.2' | '6.12' | '7.2';

export const PEER_MAPPINGS = ['kept', 'closed', 'revoked'] as const;
export type PeerMappings = (typeof PEER_MAPPINGS)[number];

export interface Profile {
  readonly name: ProfileName;

  /* type1 */
  /**
   * ST-2: CHECK_EXTENSION(UPDATE_VADDR) is 1 always, or only with a driver set and no emulated
   * group attached.
   */
  readonly updateVaddr: 'always' | 'without-emulated';
  /** NUM-2: CHECK_EXTENSION(NESTING). */
  readonly nesting: boolean;
  /**
   * VAD-1…14 against VAD-15: a call that needs an invalid vaddr sleeps until it is valid, or is
   * refused with EBUSY (UNM-3 too).
   */
  readonly invalidVaddr: 'sleeps' | 'refused';
  /** CORE-11: closing the container's fd wakes sleepers with EFAULT. */
  readonly closeWakes: boolean;
  /** ACC-6: MAP VADDR moves the entry's charge to the caller's mm (and may fail with ENOMEM). */
  readonly mapVaddrMovesCharge: boolean;
  /**
   * ACC-5: the mm that is charged and uncharged. It is the mm that the mapper's task has at that
   * moment, or the mm that mapped, if still alive.
   */
  readonly chargedMm: 'of-task-now' | 'of-mapping';
  /**
   * UNM-9: UNMAP stops at the first entry of another mm (success, short size), or takes no notice
   * of the mm.
   */
  readonly unmapOfOtherMm: 'stops' | 'allowed';
  /** MAP-16, UNM-4, DRT-3: errno of iova, vaddr or size that do not fit together. */
  readonly overflow: 'EINVAL' | 'EOVERFLOW';
  /** MAP-16: MAP tests size 0 and overflow before "either prot or VADDR", alignment after both. */
  readonly mapTestsOverflowFirst: boolean;
  /** RACE-10, UNM-4: a range that ends at 2^64 works, or is accepted and then never found. */
  readonly lastPage: 'works' | 'broken';
  /** NUM-7: alignment of each capability of IOMMU_GET_INFO, so IOVA_RANGE comes at 68 or 72. */
  readonly infoCapAlign: 4 | 8;
  /**
   * NUM-7: bytes of vfio_iommu_type1_info that IOMMU_GET_INFO writes, without or with the pad after
   * cap_offset.
   */
  readonly infoBytes: 20 | 24;
  /** ACC-2: read-only mappings of the zero page are charged. */
  readonly zeroPageCharged: boolean;
  /**
   * MAP-17: pins for writing of MAP_SHARED files on a file system that tracks dirty pages (6.5:
   * EFAULT).
   */
  readonly sharedFileWrites: 'allowed' | 'EFAULT';
  /**
   * MDV-6: drivers pin memory of devices too, or get EINVAL for a page that is none of the kernel's
   * (!pfn_valid; 6.0).
   */
  readonly deviceMemoryPins: 'allowed' | 'EINVAL';
  /** IOM-3: a WRITE-only mapping can be read by the device. */
  readonly writeOnlyIsReadable: boolean;
  /** ATT-1: errno of a replay of an entry outside the new group's aperture. */
  readonly replayOutsideAperture: 'EFAULT' | 'ERANGE';

  /**
   * NUM-9: words for module parameters that are switches, besides y, 1, on and n, 0, off. They are
   * none, t and f (5.19), e and d (6.15).
   */
  readonly booleans: 'yes-no' | 'true-false' | 'enabled-disabled';

  /**
   * P2P-10: what becomes of the entries of a BAR that another container has mapped for DMA. They
   * stay, as recorded of all kernels; or they are removed when the device is closed for the last
   * time (the series of 2021); or they lose their translations for good when the device is disabled
   * or closed, as dma-bufs of 6.19 do. A host's option can choose another answer than the profile.
   */
  readonly peerMappings: PeerMappings;

  /* VFIO core */
  /**
   * NUM-3: errno of a FEATURE that is none of the core's, on a device with a driver without
   * features (6.18; 6.12.58).
   */
  readonly noDriverFeatures: 'EINVAL' | 'ENOTTY';
  /**
   * CORE-4: errno of SET_CONTAINER with a fd that is no container (EBADFD came with iommufd, 6.2).
   */
  readonly notAContainer: 'EINVAL' | 'EBADFD';

  /* vfio-pci */
  /**
   * NUM-8: the most bytes that DEVICE_GET_INFO writes. The least is 16; between them argsz decides,
   * in 6.1 in one step.
   */
  readonly deviceInfoBytes: 20 | 24;
  /** PCI-7: the widest piece into which a read or write of a BAR is cut. */
  readonly barAccess: 4 | 8;
  /**
   * PCI-12: SET_IRQS on a vector beyond those that are enabled is EINVAL, or MSI-X gets the vector
   * (6.5; NORESIZE is not set then).
   */
  readonly messageVectors: 'fixed' | 'added';
  /** PCI-3: SET_IRQS ERR/REQ with an eventfd of −2 or less: as −1, or EINVAL. */
  readonly reqFdBelowMinusOne: 'as-minus-one' | 'EINVAL';
  /** PCI-10: PCI_HOT_RESET tests its count before it looks for a slot or bus reset. */
  readonly hotResetCountFirst: boolean;
  /**
   * PCI-7: an IOEVENTFD of 8 bytes. 7.x answers EINVAL at any offset, by its source; it was
   * recorded at an unaligned one.
   */
  readonly ioeventfd8: 'allowed' | 'refused';
  /**
   * NUM-3, P2P-9: the last known VFIO_DEVICE_FEATURE. DMA_BUF came in 6.19, MIG_PRECOPY_INFOv2 in
   * 2026.
   */
  readonly lastFeature: 10 | 12;
}

const PROFILES: Readonly<Record<ProfileName, Profile>> = {
  '5.12': {
    name: '5.12',
    updateVaddr: 'always',
    nesting: true,
    invalidVaddr: 'sleeps',
    closeWakes: true,
    mapVaddrMovesCharge: false,
    chargedMm: 'of-task-now',
    unmapOfOtherMm: 'stops',
    overflow: 'EINVAL',
    mapTestsOverflowFirst: false,
    lastPage: 'broken',
    infoCapAlign: 4,
    infoBytes: 20,
    zeroPageCharged: false,
    sharedFileWrites: 'allowed',
    deviceMemoryPins: 'allowed',
    writeOnlyIsReadable: true,
    replayOutsideAperture: 'EFAULT',
    peerMappings: 'kept',
    booleans: 'yes-no',
    noDriverFeatures: 'EINVAL',
    notAContainer: 'EINVAL',
    deviceInfoBytes: 20,
    barAccess: 4,
    messageVectors: 'fixed',
    reqFdBelowMinusOne: 'as-minus-one',
    hotResetCountFirst: false,
    ioeventfd8: 'allowed',
    lastFeature: 10,
  },
  '6.2': {
    name: '6.2',
    updateVaddr: 'always',
    nesting: true,
    invalidVaddr: 'sleeps',
    closeWakes: true,
    mapVaddrMovesCharge: false,
    chargedMm: 'of-task-now',
    unmapOfOtherMm: 'allowed',
    overflow: 'EINVAL',
    mapTestsOverflowFirst: false,
    lastPage: 'broken',
    infoCapAlign: 4,
    infoBytes: 20,
    zeroPageCharged: false,
    sharedFileWrites: 'allowed',
    deviceMemoryPins: 'EINVAL',
    writeOnlyIsReadable: true,
    replayOutsideAperture: 'EFAULT',
    peerMappings: 'kept',
    booleans: 'true-false',
    noDriverFeatures: 'EINVAL',
    notAContainer: 'EBADFD',
    deviceInfoBytes: 20,
    barAccess: 4,
    messageVectors: 'fixed',
    reqFdBelowMinusOne: 'as-minus-one',
    hotResetCountFirst: false,
    ioeventfd8: 'allowed',
    lastFeature: 10,
  },
  '6.12': {
    name: '6.12',
    updateVaddr: 'without-emulated',
    nesting: true,
    invalidVaddr: 'refused',
    closeWakes: false,
    mapVaddrMovesCharge: true,
    chargedMm: 'of-mapping',
    unmapOfOtherMm: 'allowed',
    overflow: 'EINVAL',
    mapTestsOverflowFirst: false,
    lastPage: 'broken',
    infoCapAlign: 8,
    infoBytes: 24,
    zeroPageCharged: true,
    sharedFileWrites: 'EFAULT',
    deviceMemoryPins: 'EINVAL',
    writeOnlyIsReadable: true,
    replayOutsideAperture: 'EFAULT',
    peerMappings: 'kept',
    booleans: 'true-false',
    noDriverFeatures: 'ENOTTY',
    notAContainer: 'EBADFD',
    deviceInfoBytes: 24,
    barAccess: 8,
    messageVectors: 'added',
    reqFdBelowMinusOne: 'EINVAL',
    hotResetCountFirst: true,
    ioeventfd8: 'allowed',
    lastFeature: 10,
  },
  '7.2': {
    name: '7.2',
    updateVaddr: 'without-emulated',
    nesting: false,
    invalidVaddr: 'refused',
    closeWakes: false,
    mapVaddrMovesCharge: true,
    chargedMm: 'of-mapping',
    unmapOfOtherMm: 'allowed',
    overflow: 'EOVERFLOW',
    mapTestsOverflowFirst: true,
    lastPage: 'works',
    infoCapAlign: 8,
    infoBytes: 24,
    zeroPageCharged: true,
    sharedFileWrites: 'EFAULT',
    deviceMemoryPins: 'EINVAL',
    writeOnlyIsReadable: false,
    replayOutsideAperture: 'ERANGE',
    peerMappings: 'kept',
    booleans: 'enabled-disabled',
    noDriverFeatures: 'ENOTTY',
    notAContainer: 'EBADFD',
    deviceInfoBytes: 24,
    barAccess: 8,
    messageVectors: 'added',
    reqFdBelowMinusOne: 'EINVAL',
    hotResetCountFirst: true,
    ioeventfd8: 'refused',
    lastFeature: 12,
  },
};

export const PROFILE_NAMES = Object.keys(PROFILES) as readonly ProfileName[];
/** Unless the user names another. */
export const DEFAULT_PROFILE: ProfileName = '5.12';

/** The profile of that name. EINVAL for an unknown name; the message lists the names there are. */
export function profileOf(name: string): Profile {
  const profile = Object.hasOwn(PROFILES, name) ? PROFILES[name as ProfileName] : undefined;
  if (!profile) throw new SysError('EINVAL', `no VFIO profile ${name}: one of ${PROFILE_NAMES.join(', ')}`);
  return profile;
}

/** The error for iova, vaddr or size that do not fit together (row `overflow`). */
export const overflow = (profile: Profile, message: string): SysError => new SysError(profile.overflow, message);
