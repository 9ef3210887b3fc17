import { availableParallelism } from 'node:os';
import { setImmediate as nextRound } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Attention } from '../../../../iommu/kernel/core/attention.ts';
import {
  DEVICE_ACCESSES,
  type Door,
  OWN_CALLS,
  type Served,
  TRAPPED_CALLS,
} from '../../../../iommu/kernel/core/door.ts';
import { countWake } from '../../../../iommu/kernel/core/wakes.ts';
import { leaveCpu } from '../../../../platform/libc/cpu.ts';

vi.mock('node:os', () => ({ availableParallelism: vi.fn(() => 2) }));
vi.mock('../../../../platform/libc/cpu.ts');

/** A door at which so many calls come, one a look. */
class TestDoor implements Door {
  pace = OWN_CALLS;
  calls = 0;
  looks = 0;
  attentive = false;
  waitsForOurCpu?: () => boolean;

  /** Called at each call. */
  serves: () => Served = () => 'done';

  onFirstLook = (): void => {};

  serve(): Served {
    if (this.looks++ === 0) this.onFirstLook();
    if (this.calls === 0) return 'nothing';
    this.calls--;
    return this.serves();
  }

  setAttentive(on: boolean): void {
    this.attentive = on;
  }
}

let attention: Attention;
let door: TestDoor;
/** Milliseconds; each look at the clock takes 2 µs. */
let clock: number;

beforeEach(() => {
  clock = 0;
  vi.spyOn(performance, 'now').mockImplementation(() => {
    clock += 0.002;
    return clock;
  });
  attention = new Attention();
  door = new TestDoor();
});

afterEach(() => {
  vi.restoreAllMocks();
});

/** A call by the socket. */
function callBySocket(at = door): void {
  attention.called(at);
  attention.answered(at);
}

/** Rounds of the event loop until nobody looks at the door. */
async function untilUnattended(): Promise<void> {
  while (door.attentive) await nextRound();
}

describe('attention', () => {
  it('comes with the second of two calls that follow each other', () => {
    callBySocket();
    expect(door.attentive).toBe(false);
    callBySocket();
    expect(door.attentive).toBe(true);
  });

  it.each([
    ["a thread's own", 0.4, true, OWN_CALLS],
    ["a thread's own", 0.6, false, OWN_CALLS],
    ["a device's", 0.3, false, DEVICE_ACCESSES],
    ["a supervisor's", 0.4, true, TRAPPED_CALLS],
    ["a supervisor's", 0.6, false, TRAPPED_CALLS],
  ] as const)('for %s calls that are %f ms apart: %s', (_, distance, comes, pace) => {
    door.pace = pace;
    callBySocket();
    clock += distance;
    callBySocket();

    expect(door.attentive).toBe(comes);
  });

  it('skips bursts after it has seen no call', async () => {
    callBySocket();
    const attended: boolean[] = [];
    for (let burst = 0; burst < 6; burst++) {
      callBySocket();
      attended.push(door.attentive);
      const then = clock;
      await untilUnattended();
      clock = then; // the next call comes soon after the last
    }

    // one burst is skipped after the first look in vain, three after the second
    expect(attended.map(Number).join('')).toBe('101000');
  });

  it.each([
    [15, '10'],
    [16, '11'],
  ])('has looked in vain at a mediated device if %i accesses came', async (accesses, attended) => {
    door.pace = DEVICE_ACCESSES;
    callBySocket();
    let seen = '';
    for (let burst = 0; burst < 2; burst++) {
      door.calls = accesses;
      callBySocket();
      seen += Number(door.attentive);
      const then = clock;
      await untilUnattended();
      clock = then;
    }

    expect(seen).toBe(attended);
  });

  it.each([
    ['until its client is awake', 0, 200],
    ['for the next one only as long as a client that runs needs', 1, 50],
  ])('lasts %s, if %i calls came: %i µs', async (_, calls, us) => {
    callBySocket();
    door.calls = calls;
    callBySocket();
    const began = clock;
    let ended = 0;
    door.onFirstLook = () => {
      clock = began; // others have looked at the clock meanwhile
    };
    door.setAttentive = (on) => {
      door.attentive = on;
      ended = clock;
    };

    await untilUnattended();

    const lastedUs = (ended - began) * 1000;
    expect([lastedUs > us, lastedUs < us + 40]).toEqual([true, true]);
  });

  it('goes on while calls come, and ends after the last', async () => {
    callBySocket();
    door.calls = 100;
    callBySocket();
    await untilUnattended();

    expect(door.calls).toBe(0);
    const { looks } = door;
    await nextRound();
    expect(door.looks).toBe(looks);
  });

  it('lets the event loop go round although calls never end', async () => {
    callBySocket();
    door.calls = Number.POSITIVE_INFINITY;
    callBySocket();
    await nextRound();
    await nextRound();

    expect(door.attentive).toBe(true);
    attention.dismiss(door);
    const { looks } = door;
    await nextRound();
    expect([door.attentive, door.looks]).toEqual([false, looks]);
  });

  it.each<[string, () => Served]>([
    ['of which one goes on', () => 'goes-on'],
    [
      'of which one wakes another',
      () => {
        countWake();
        return 'done';
      },
    ],
  ])('lets others run between two calls %s', async (_, serves) => {
    const order: string[] = [];
    door.serves = () => {
      order.push('call');
      queueMicrotask(() => order.push('others'));
      return serves();
    };
    callBySocket();
    door.calls = 3;
    callBySocket();
    await untilUnattended();

    expect(order).toEqual(['call', 'others', 'call', 'others', 'call', 'others']);
  });

  it('ends when a call comes by the socket all the same, and the next bursts get none', () => {
    const burst = (): boolean => {
      callBySocket();
      return door.attentive;
    };

    const attended = Array.from({ length: 12 }, burst);

    // one burst is skipped after the first miss, three after the second, seven after the third
    expect(attended.map(Number).join('')).toBe('010010000100');
  });

  it('leaves the CPU to a client that waits for it, and looks', async () => {
    vi.mocked(leaveCpu).mockReturnValue(true);
    door.waitsForOurCpu = () => true;
    let looksWhenLeft = -1;
    vi.mocked(leaveCpu).mockImplementationOnce(() => {
      looksWhenLeft = door.looks;
      return true;
    });
    door.calls = 1;
    callBySocket();
    callBySocket();
    await untilUnattended();

    expect([looksWhenLeft, door.calls]).toEqual([0, 0]);
  });

  it('stays where the client waits for another CPU, or is not known to wait', async () => {
    vi.mocked(leaveCpu).mockClear();
    door.waitsForOurCpu = () => false;
    callBySocket();
    callBySocket();
    await untilUnattended();
    delete door.waitsForOurCpu;
    for (let call = 0; call < 3; call++) callBySocket();
    await untilUnattended();

    expect(leaveCpu).not.toHaveBeenCalled();
  });

  it('does not look for a client that waits for this CPU, where there is no other', async () => {
    vi.mocked(leaveCpu).mockReturnValue(false);
    door.waitsForOurCpu = () => true;
    callBySocket();
    callBySocket();
    await nextRound();

    expect([door.looks, door.attentive]).toEqual([0, false]);
  });

  it('leaves fewer and fewer CPUs where the client does not come all the same', async () => {
    vi.mocked(leaveCpu).mockClear();
    vi.mocked(leaveCpu).mockReturnValue(true);
    for (let one = 0; one < 12; one++) {
      const newcomer = new TestDoor();
      newcomer.waitsForOurCpu = () => true;
      callBySocket(newcomer);
      callBySocket(newcomer);
      while (newcomer.attentive) await nextRound();
    }

    expect(leaveCpu).toHaveBeenCalledTimes(4); // for the first, the third, the seventh and the eleventh
  });

  describe('to a door that is rung', () => {
    beforeEach(() => {
      vi.mocked(leaveCpu).mockReset();
    });

    it('serves it, and looks for the next call as long as a client that runs needs', async () => {
      door.calls = 1;
      attention.rung(door);
      expect([door.calls, door.attentive]).toEqual([0, true]);

      const began = clock;
      door.onFirstLook = () => {};
      await untilUnattended();
      const lastedUs = (clock - began) * 1000;
      expect([lastedUs > 50, lastedUs < 100]).toEqual([true, true]);
    });

    it('ends at once where nothing is posted', () => {
      attention.rung(door);

      expect([door.looks, door.attentive, attention.looksAt(door)]).toEqual([1, false, false]);
    });

    it('comes less and less often where no second call follows', async () => {
      let attended = '';
      for (let ring = 0; ring < 8; ring++) {
        door.calls = 1;
        attention.rung(door);
        attended += Number(door.attentive);
        await untilUnattended();
      }

      expect([door.calls, attended]).toEqual([0, '10100010']);
    });

    it('leaves the CPU to the client that has rung there, or does not look', () => {
      const rangFromOurCpu = { rangFromOurCpu: () => true };
      door.calls = 1;
      attention.rung(Object.assign(door, rangFromOurCpu));
      const other = Object.assign(new TestDoor(), rangFromOurCpu, { calls: 1 });
      vi.mocked(leaveCpu).mockReturnValue(true);
      attention = new Attention();
      attention.rung(other);

      expect([door.calls, door.attentive, other.calls, other.attentive]).toEqual([0, false, 0, true]);
    });
  });

  it('is for no more doors than there are other CPUs', () => {
    const other = new TestDoor();
    for (const at of [door, other, door, other]) callBySocket(at);

    expect([door.attentive, other.attentive]).toEqual([true, false]);
  });

  it('is not given where there is one CPU', () => {
    vi.mocked(availableParallelism).mockReturnValueOnce(1);
    attention = new Attention();
    for (let call = 0; call < 4; call++) callBySocket();

    expect(door.attentive).toBe(false);
  });
});
