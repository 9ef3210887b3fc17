/** MessagePack as this project speaks it: plain maps, no record structures that only one side knows. */
import { Packr } from 'msgpackr';

const packr = new Packr({ useRecords: false, mapsAsObjects: true });

export const pack = (value: unknown): Uint8Array => packr.pack(value);

/** The one value in `packed`. Throws for bytes that are no MessagePack. */
export const unpack = (packed: Uint8Array): unknown => packr.unpack(packed);
