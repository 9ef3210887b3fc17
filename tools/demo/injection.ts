/** Deliberate defects. Each must turn the verdict, which proves that the demo can fail. */
import type { Machine } from '../launch/machine.ts';

export const DEFECTS = ['corrupt-frame', 'drop-interrupt', 'touch-pte', 'stop-capture', 'wrong-memfd'] as const;
export type Defect = (typeof DEFECTS)[number];

/** Options for a VMM that commits the defect itself. */
export function vmmOptionsFor(defect: Defect | undefined): string[] {
  return defect === 'wrong-memfd' ? ['--inject', 'wrong-memfd'] : [];
}

/**
 * Makes the host commit the defect. Called when the first update has started: devices do DMA, and
 * no client watches.
 */
export function injectIntoHost(defect: Defect, { host, devices }: Pick<Machine, 'host' | 'devices'>): void {
  const capture = devices.find(({ name }) => name === 'capture');
  switch (defect) {
    case 'touch-pte':
      host.ask({ op: 'inject', defect });
      break;
    case 'corrupt-frame':
    case 'drop-interrupt':
      host.ask({ op: 'inject', defect, bdf: capture!.bdf });
      break;
    case 'stop-capture':
      host.ask({ op: 'stop-device', bdf: capture!.bdf });
      break;
    case 'wrong-memfd': // the VMM's own doing
      break;
  }
}
