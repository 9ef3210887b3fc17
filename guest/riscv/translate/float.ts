import { byInstruction } from '../decode.ts';
import type { Emitter } from './emitter.ts';
import type { Decoded } from './fields.ts';

/** Where mstatus.FS is Dirty. */
export const FLOAT_ARITHMETIC = byInstruction<(e: Emitter, d: Decoded) => void>({});
