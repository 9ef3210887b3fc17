import { vi } from 'vitest';

/**
 * Vitest's setup file: `vi.waitFor` and `vi.waitUntil` wait long for what other threads and
 * processes do, unless a test says how long. Their own second is too short on a busy machine, and a
 * test that has to fail may take its time.
 */
const PATIENT = { timeout: 30_000, interval: 10 };

type Options = Parameters<typeof vi.waitFor>[1];

const patient = (options: Options): Options =>
  typeof options === 'number' ? { ...PATIENT, timeout: options } : { ...PATIENT, ...options };

const { waitFor, waitUntil } = vi;
vi.waitFor = (callback, options) => waitFor(callback, patient(options));
vi.waitUntil = (callback, options) => waitUntil(callback, patient(options));
