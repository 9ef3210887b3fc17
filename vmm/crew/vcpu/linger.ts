/**
 * What a vCPU does before it sleeps in WFI: if the guest has just asked a device for something, it
 * looks for that device's interrupt for a while. To wake a thread takes longer than most devices.
 */
import { Backoff } from '../../../platform/backoff.ts';
import { lookFor } from '../../../platform/look-for.ts';

const PATIENCE_MS = 0.1;
/** After looks in vain, so many sleeps begin without one. */
const MOST_SKIPPED = 15;

export interface LingerParts {
  /** How many accesses the guest has made to the registers of each device that can be looked at. */
  readonly devices: readonly { readonly accesses: number }[];
  /** CPUs of this machine: with one, a device makes nothing while the vCPU looks. */
  readonly cpus: number;
  /** Takes what has come. False: there was nothing. */
  readonly take: () => boolean;
}

export class Linger {
  readonly #parts: LingerParts;
  readonly #backoff = new Backoff(MOST_SKIPPED);
  /** Accesses of the guest when the vCPU last looked, and whether it then saw an interrupt. */
  #accesses = 0;
  #caught = false;

  constructor(parts: LingerParts) {
    this.#parts = parts;
  }

  /** Looks for `ms` at most, until `woken`. True: an interrupt has come. */
  look(ms: number, woken: () => boolean): boolean {
    const { devices, cpus } = this.#parts;
    if (cpus < 2 || devices.length === 0) return false;
    let accesses = 0;
    for (const device of devices) accesses += device.accesses;
    const busy = accesses !== this.#accesses || this.#caught;
    this.#accesses = accesses;
    this.#caught = false;
    if (!busy || this.#backoff.skips()) return false;
    this.#caught = this.#lookFor(Math.min(ms, PATIENCE_MS), woken);
    if (this.#caught) this.#backoff.found();
    else if (ms >= PATIENCE_MS) this.#backoff.missed();
    return this.#caught;
  }

  #lookFor(ms: number, woken: () => boolean): boolean {
    const { take } = this.#parts;
    let taken = false;
    lookFor(ms, () => {
      taken = take();
      return taken || woken();
    });
    return taken;
  }
}
