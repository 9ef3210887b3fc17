/**
 * vmm/machine/control/lease.ts and shared/far-access.ts, as vmm/crew/vcpu uses them: the owner
 * lends hart 1 to a thread and recalls it; the hart makes accesses by the owner's hand, waits, and
 * is woken. The hart here is a number that it counts up.
 */
import assert from 'node:assert/strict';

import { wholeOf } from '../../platform/shared.ts';
import { Lending } from '../../vmm/crew/vcpu/lending.ts';
import { type Borrowed, borrow } from '../../vmm/crew/vcpu/lent-hart.ts';
import { controlBytes, hartWords, MachineBlock, OWNER_HART } from '../../vmm/machine/control/control-block.ts';
import { Borrower, relieveCrew, takeAttention, wakeHart } from '../../vmm/machine/control/lease.ts';
import { FarServer, FarSurroundings, farAccessBytes } from '../../vmm/machine/shared/far-access.ts';
import { type ActorContext, defineScenario } from './scenario.ts';

const HART = 1;
const HARTS = 2;
/** The data of a semihosting call. */
const [ASKED, ANSWERED] = [7, 9];
const ADDRESS = 0x1_0000_2000;
/**
 * Words of `notes`: the device's register; loans that a thread took; that the line was seen; what a
 * thread's hart has done; that main has started the next crew's thread.
 */
const [REGISTER, TAKEN, SEEN, STEPS, STARTED] = [0, 1, 2, 3, 4];
const LINE = 1 << 11;

const memory = () => ({
  control: new SharedArrayBuffer(controlBytes(HARTS)),
  far: new SharedArrayBuffer(farAccessBytes(HARTS)),
  loan: new SharedArrayBuffer(64),
  notes: new SharedArrayBuffer(64),
});
type Words = ReturnType<typeof memory>;

/** The hart as a thread or the owner has it: its registers are one number. */
class CountingHart {
  readonly number: number;
  value = 0;

  constructor(number: number) {
    this.number = number;
  }

  save(): number {
    return this.value;
  }

  restore(value: number): void {
    this.value = value;
  }
}

const loanIn = ({ loan }: Words) => {
  const word = new Int32Array(loan);
  return {
    put(value: number): void {
      word[0] = value;
    },
    take: (): number => word[0]!,
  };
};

function lendingIn(words: Words, context: ActorContext): Lending<number, CountingHart> {
  const notes = new Int32Array(words.notes);
  const bus = {
    load: (gpa: number) => {
      assert.equal(gpa, ADDRESS, 'address of the access');
      return context.effect('the register is read', () => BigInt(notes[REGISTER]!++));
    },
    store: () => assert.fail('nobody stores'),
  };
  const host = {
    userspace: false,
    data: new Uint8Array(1), // each byte is a step of the exploration
    call(operation: number, a: number, b: number) {
      assert.deepEqual([operation, a, b, this.data[0]], [5, -1, 2, ASKED], 'the call');
      this.data[0] = ANSWERED;
      return context.effect('the host is called', () => -2 - notes[REGISTER]!++);
    },
  };
  const server = new FarServer(wholeOf(words.far), wholeOf(words.control), bus, host);
  const loans = [loanIn(words), loanIn(words)];
  const harts = [new CountingHart(OWNER_HART), new CountingHart(HART)];
  return new Lending(harts, { control: new Int32Array(words.control), server, loans });
}

/** Serves until the thread waits for the hart; lends it. */
function lendWhenPossible(words: Words, lending: Lending<number, CountingHart>): void {
  const control = new Int32Array(words.control);
  const { wake } = hartWords(OWNER_HART);
  for (;;) {
    const seen = Atomics.load(control, wake);
    takeAttention(control, OWNER_HART);
    lending.serve();
    if (lending.lend()) return;
    Atomics.wait(control, wake, seen);
  }
}

const lentHart = (lending: Lending<number, CountingHart>): CountingHart =>
  lending.home.find(({ number }) => number === HART)!;

/** A thread whose hart does `step` once per slice and then waits, until `most` steps are done. */
function thread(words: Words, most: number, step: (far: FarSurroundings) => void): void {
  const control = new Int32Array(words.control);
  const notes = new Int32Array(words.notes);
  const borrower = new Borrower(control, HART);
  const hart = new CountingHart(HART);
  const loan = loanIn(words);
  const mustEnd = (): boolean => borrower.look() === 'end';
  const far = new FarSurroundings(wholeOf(words.far), wholeOf(words.control), HART, mustEnd);
  const borrowed: Borrowed = {
    take() {
      notes[TAKEN]!++;
      hart.restore(loan.take());
    },
    run(seen) {
      if (hart.value < most) {
        step(far);
        hart.value++;
        notes[STEPS]!++;
      } else Atomics.wait(control, hartWords(HART).wake, seen);
    },
    giveBack() {
      loan.put(hart.save());
    },
  };
  borrow(control, HART, borrower, borrowed);
}

const WORDS = Object.entries(MachineBlock.word);
const OF_HARTS = [OWNER_HART, HART].flatMap((hart) =>
  Object.entries(hartWords(hart)).map(([name, word]) => [`${name}${hart}`, word] as const),
);
const names = (buffer: string, word: number): string | undefined =>
  buffer === 'control' ? [...WORDS, ...OF_HARTS].find(([, at]) => at === word)?.[0] : undefined;

const scenario = { file: import.meta.url, memory, names };

/** The hart goes and comes back; what it has done is not lost, whenever it is recalled. */
export const lendAndRecall = defineScenario<Words>({
  ...scenario,
  name: 'lend-and-recall',
  actors: {
    owner(words, context) {
      const lending = lendingIn(words, context);
      lentHart(lending).value = 10;
      for (let round = 0; round < 2; round++) {
        lendWhenPossible(words, lending);
        lending.recall();
        assert.equal(lentHart(lending).value, 10 + new Int32Array(words.notes)[STEPS]!, 'what the hart has done');
      }
      lending.end();
    },
    thread: (words) => thread(words, 11, () => undefined),
  },
});

/** An access is made once and its answer arrives, also when the hart is recalled meanwhile. */
export const farAccess = defineScenario<Words>({
  ...scenario,
  name: 'far-access',
  actors: {
    owner(words, context) {
      const lending = lendingIn(words, context);
      lendWhenPossible(words, lending);
      lending.recall();
      const done = new Int32Array(words.notes)[REGISTER]!;
      assert.equal(lentHart(lending).value, done, 'accesses that the hart has made');
      lending.end();
    },
    thread: (words) =>
      thread(words, 2, (far) => {
        const answer = far.load(ADDRESS, 4);
        assert(answer === 0n || answer === 1n, `the answer ${answer}`);
      }),
  },
});

/** A semihosting call goes over with its data, and comes back with the host's. */
export const farCall = defineScenario<Words>({
  ...scenario,
  name: 'far-call',
  actors: {
    owner(words, context) {
      const lending = lendingIn(words, context);
      lendWhenPossible(words, lending);
      lending.recall();
      assert.equal(lentHart(lending).value, new Int32Array(words.notes)[REGISTER]!, 'calls that the hart has made');
      lending.end();
    },
    thread: (words) =>
      thread(words, 1, (far) => {
        const host = far.semihosting(false);
        host.data[0] = ASKED;
        assert.deepEqual([host.call(5, -1, 2), host.data[0]], [-2, ANSWERED], 'the answer');
      }),
  },
});

/** The owner waits in WFI, and an access of the hart wakes it. */
export const accessWakesOwner = defineScenario<Words>({
  ...scenario,
  name: 'access-wakes-owner',
  actors: {
    owner(words, context) {
      const control = new Int32Array(words.control);
      const notes = new Int32Array(words.notes);
      const lending = lendingIn(words, context);
      lendWhenPossible(words, lending);
      for (;;) {
        const seen = Atomics.load(control, hartWords(OWNER_HART).wake);
        takeAttention(control, OWNER_HART);
        lending.serve();
        if (notes[REGISTER] === 1) break;
        Atomics.wait(control, hartWords(OWNER_HART).wake, seen);
      }
      lending.recall();
      lending.end();
    },
    thread: (words) => thread(words, 1, (far) => assert.equal(far.load(ADDRESS, 8), 0n)),
  },
});

/** A line is raised while the hart goes and comes: whoever runs the hart sees it. */
export const wakeFindsTheHart = defineScenario<Words>({
  ...scenario,
  name: 'wake-finds-the-hart',
  actors: {
    owner(words, context) {
      const control = new Int32Array(words.control);
      const notes = new Int32Array(words.notes);
      const lending = lendingIn(words, context);
      lendWhenPossible(words, lending);
      lending.recall();
      // the owner runs the hart at home, and sleeps when it waits
      for (;;) {
        const seen = Atomics.load(control, hartWords(OWNER_HART).wake);
        if (notes[SEEN] === 1 || (Atomics.load(control, hartWords(HART).lines) & LINE) !== 0) break;
        Atomics.wait(control, hartWords(OWNER_HART).wake, seen);
      }
      lending.end();
    },
    thread(words) {
      const control = new Int32Array(words.control);
      const notes = new Int32Array(words.notes);
      const borrower = new Borrower(control, HART);
      const { wake, lines } = hartWords(HART);
      borrow(control, HART, borrower, {
        take: () => undefined,
        run(seen) {
          if ((Atomics.load(control, lines) & LINE) !== 0) notes[SEEN] = 1;
          Atomics.wait(control, wake, seen);
        },
        giveBack: () => undefined,
      });
    },
    device(words) {
      const control = new Int32Array(words.control);
      Atomics.or(control, hartWords(HART).lines, LINE);
      wakeHart(control, HART);
    },
  },
});

/** Two threads, of two crews: the one that was relieved leaves, and the next one gets the hart. */
export const nextCrew = defineScenario<Words>({
  ...scenario,
  name: 'next-crew',
  actors: {
    owner(words, context) {
      const control = new Int32Array(words.control);
      const notes = new Int32Array(words.notes);
      const first = lendingIn(words, context);
      lendWhenPossible(words, first);
      first.recall();
      relieveCrew(control);
      Atomics.store(notes, STARTED, 1);
      Atomics.notify(notes, STARTED);
      first.end(); // as a vCPU does that was relieved: the leases are not its any more
      notes[TAKEN] = 0;
      const second = lendingIn(words, context);
      lendWhenPossible(words, second);
      second.recall();
      assert(notes[TAKEN]! <= 1, 'both threads took the hart');
      second.end();
    },
    relieved: (words) => thread(words, 1, () => undefined),
    next(words) {
      const notes = new Int32Array(words.notes);
      while (Atomics.load(notes, STARTED) === 0) Atomics.wait(notes, STARTED, 0);
      thread(words, 1, () => undefined);
    },
  },
});
