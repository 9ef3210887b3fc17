/** The host process: a board on this process's main thread, which stays free to answer. */
import { Board, type BoardOptions } from './board.ts';

export type { BoardDeviceInfo, BoardInfo, BoardOptions, DeviceOptions, IommuOptions } from './board.ts';
export {
  type BarHelp,
  type DeviceHelp,
  describeDeviceType,
  deviceSummaries,
  type PropertyHelp,
  type RegisterHelp,
} from './device-help.ts';
export type { Board };

/** Starts a board and its kernel. EINVAL in one line for a device type or property there is not. */
export function startHost(options: BoardOptions & { readonly socketPath: string }): Promise<Board> {
  return Board.start(options);
}
