import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { Clients } from '../../../../iommu/kernel/entry/clients.ts';

const errnoOf = (work: () => unknown): string | undefined => {
  try {
    work();
  } catch (error) {
    return (error as { code: string }).code;
  }
  return undefined;
};

/** maps, mem, status, and a pidfd */
const FDS_OF_PROCESS = 4;

/** Connections of process `pid` until it is refused; the errno. */
function takeAll(clients: Clients, pid: number): { readonly taken: number; readonly code: string | undefined } {
  for (let taken = 0; ; taken++) {
    const code = errnoOf(() => clients.enter(pid));
    if (code !== undefined) return { taken, code };
  }
}

describe('connections', () => {
  it('are refused with EMFILE to a process that has as many as are left for the others', () => {
    // a process takes four fds more
    expect(takeAll(new Clients(100), 1)).toEqual({ taken: 46, code: 'EMFILE' });
  });

  it('remain for the next process, however many processes take all they get', () => {
    const clients = new Clients(100);

    const fds = [1, 2, 3, 4].map((pid) => takeAll(clients, pid).taken + FDS_OF_PROCESS);

    expect(fds).toEqual([50, 25, 13, 6]);
    expect(errnoOf(() => clients.enter(5))).toBeUndefined();
  });

  it('are refused with ENFILE when there are none for anybody', () => {
    const clients = new Clients(20);
    for (const pid of [1, 2, 3, 4]) clients.enter(pid);

    expect(errnoOf(() => clients.enter(5))).toBe('ENFILE');
    expect(errnoOf(() => clients.enter(1))).toBe('ENFILE');
  });

  it('are free again when they are closed', () => {
    const clients = new Clients(12);
    const first = clients.enter(1);
    clients.enter(1);
    expect(errnoOf(() => clients.enter(1))).toBe('EMFILE');

    clients.leave(first);

    expect(errnoOf(() => clients.enter(1))).toBeUndefined();
  });

  it('are the same sums whatever comes and goes', () => {
    const steps = fc.array(fc.record({ pid: fc.integer({ min: 1, max: 4 }), enter: fc.boolean() }), { maxLength: 200 });
    fc.assert(
      fc.property(steps, (all) => {
        const clients = new Clients(26);
        const open = new Map<number, ReturnType<Clients['enter']>[]>([1, 2, 3, 4].map((pid) => [pid, []]));
        for (const { pid, enter } of all) {
          const own = open.get(pid)!;
          const left = [...open.values()].reduce(
            (sum, { length }) => sum - (length > 0 ? length + FDS_OF_PROCESS : 0),
            26,
          );
          const has = own.length > 0 ? own.length + FDS_OF_PROCESS : 0;
          const wanted = own.length > 0 ? 1 : FDS_OF_PROCESS + 1;
          const refusal = wanted > left ? 'ENFILE' : has + wanted > left ? 'EMFILE' : undefined;
          const expected = enter ? refusal : undefined;
          const refused = errnoOf(() => {
            if (enter) own.push(clients.enter(pid));
            else if (own.length > 0) clients.leave(own.pop()!);
          });

          expect(refused).toBe(expected);
          expect(own.every(({ connections }) => connections === own.length)).toBe(true);
        }
      }),
    );
  });
});

describe('bytes', () => {
  it('of one process are limited, over all its connections', () => {
    const clients = new Clients(20);
    const [one, two, other] = [clients.enter(1), clients.enter(1), clients.enter(2)];
    clients.hold(one, 600, 1000);

    expect(errnoOf(() => clients.hold(two, 401, 1000))).toBe('ENOMEM');

    expect(errnoOf(() => clients.hold(two, 400, 1000))).toBeUndefined();
    expect(errnoOf(() => clients.hold(other, 1000, 1000))).toBeUndefined();
    clients.hold(one, -600);
    expect(errnoOf(() => clients.hold(two, 600, 1000))).toBeUndefined();
  });
});
