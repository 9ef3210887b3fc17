/**
 * Guest RAM hashed through the VMM's mapping and through the board's: one object, two processes,
 * the same bytes.
 */
import { combineSlices, SLICE_BYTES } from '../../platform/ram-hash.ts';
import type { HostClient } from '../clients/host-client.ts';
import type { QmpClient } from '../clients/qmp-client.ts';

/** The monitor's answer to x-ram-hash. */
interface VmmRamHash {
  readonly size: number;
  readonly sha256: string;
}

/**
 * Whether the board has an object of the same size with the same content. Nobody may write to RAM
 * meanwhile.
 */
export async function ramHashMatches(qmp: QmpClient, host: HostClient): Promise<boolean> {
  const { size, sha256 } = (await qmp.execute('x-ram-hash')) as VmmRamHash;
  const { objects } = host.ask({ op: 'ram-hash', sliceBytes: SLICE_BYTES });
  return objects.some((object) => object.size === size && combineSlices(object.slices) === sha256);
}
