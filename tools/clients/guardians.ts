/** The processes that take a guest over when its VMM dies: the GUARDIAN event and x-guardian. */
import type { QmpClient, QmpEvent } from './qmp-client.ts';

export interface Guardians {
  readonly pid: number;
  /** The process that guards the guardian. */
  readonly second: number;
}

async function told<K extends keyof Guardians>(qmp: QmpClient, key: K, timeoutMs: number): Promise<Guardians> {
  const isThere = ({ event, data }: QmpEvent): boolean =>
    event === 'GUARDIAN' && data.status === 'standing' && data[key] !== undefined;
  const event = qmp.nextEvent(isThere, timeoutMs); // from before the question, so that none is missed
  event.catch(() => {}); // nobody waits for it where one stands by already
  const now = (await qmp.execute('x-guardian')) as Partial<Guardians>;
  return (now[key] === undefined ? (await event).data : now) as unknown as Guardians;
}

/** The pid of the guardian that stands by, as soon as one does. ETIMEDOUT. */
export const standingGuardian = async (qmp: QmpClient, timeoutMs: number): Promise<number> =>
  (await told(qmp, 'pid', timeoutMs)).pid;

/** The guardian and the one behind it, as soon as both are there. ETIMEDOUT. */
export const bothGuardians = (qmp: QmpClient, timeoutMs: number): Promise<Guardians> => told(qmp, 'second', timeoutMs);
