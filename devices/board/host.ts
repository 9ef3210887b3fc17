/** The host process: it has a board on its main thread, which stays free to answer. */
import { Board } from './board.ts';
import type { BoardOptions } from './board-options.ts';
import type { EarlyThreads } from './early-threads.ts';

export type { BackendKind } from '../kit/device.ts';
export type { BoardDeviceInfo, BoardInfo } from './board.ts';
export type { BoardOptions } from './board-options.ts';
export {
  type BarHelp,
  type DeviceHelp,
  describeDeviceType,
  deviceSummaries,
  type PropertyHelp,
  type RegisterHelp,
} from './device-help.ts';
export type { Board };

/** Starts a board and its kernel. EINVAL in one line for an unknown device type or property. */
export function startHost(options: BoardOptions & { readonly socketPath: string }): Promise<Board> {
  return Board.start(options);
}

/**
 * Starts the threads of a board, a kernel's among them, and waits for none: Board.boot does.
 * `early`: those that have been started. EINVAL as for startHost.
 */
export function powerOnHost(options: BoardOptions, early?: EarlyThreads): Promise<Board> {
  return Board.powerOn(options, { hasKernel: true, early });
}
