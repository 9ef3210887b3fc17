/**
 * RVWMO (unpriv-isa §18.1) for litmus tests without dependencies, by enumeration: all global memory
 * orders that preserved program order allows, and what loads find in each.
 */
import { finds, type Kinds, type Litmus, type Operation, type Outcome, outcomeOf } from './program.ts';

/**
 * A memory operation. A swap is one operation, a load and a store at once (§18.1.2); an exchange is
 * two, those of its last LR and its SC.
 */
interface Event {
  readonly hart: number;
  /** In program order. */
  readonly index: number;
  readonly what: Exclude<Operation, { op: 'fence' }>;
  /** Of an exchange. */
  readonly part?: 'lr' | 'sc';
}

const reads = ({ what, part }: Event): boolean => what.op !== 'store' && part !== 'sc';
const writes = ({ what, part }: Event): boolean => what.op !== 'load' && part !== 'lr';
/** Of one hart: a comes before b in program order. */
const comesBefore = (a: Event, b: Event): boolean =>
  a.index < b.index || (a.index === b.index && a.part === 'lr' && b.part === 'sc');
const acquires = ({ what, part }: Event): boolean => (what.op === 'swap' || part === 'lr') && 'aq' in what && what.aq;
const releases = ({ what, part }: Event): boolean => (what.op === 'swap' || part === 'sc') && 'rl' in what && what.rl;
const isIn = (event: Event, set: Kinds): boolean =>
  (reads(event) && set.includes('r')) || (writes(event) && set.includes('w'));

/** Rules 1 and 4 to 8 of preserved program order (§18.1.3): they do not ask for values. */
function isOrdered(a: Event, b: Event, program: readonly Operation[]): boolean {
  if (a.what.at === b.what.at && writes(b)) return true; // 1
  const between = program.slice(a.index + 1, b.index);
  if (between.some((each) => each.op === 'fence' && isIn(a, each.before) && isIn(b, each.after))) return true; // 4
  if (acquires(a)) return true; // 5
  if (releases(b)) return true; // 6
  // 7: the bits of AMOs, LR and SC are RCsc annotations
  if ((acquires(a) || releases(a)) && (acquires(b) || releases(b))) return true;
  return a.index === b.index; // 8: LR and its SC
}

/** Of each reading event: the event whose value it returns, or undefined for the initial value. */
type ReadsFrom = ReadonlyMap<Event, Event | undefined>;

/**
 * Load value axiom (§18.1.4): the latest store in the global order among those before the load in
 * it, and those before the load in program order.
 */
function readsFrom(order: readonly Event[]): ReadsFrom {
  return new Map(
    order.filter(reads).map((load) => {
      const at = order.indexOf(load);
      const from = order.findLast(
        (each, i) =>
          writes(each) &&
          each !== load &&
          each.what.at === load.what.at &&
          (i < at || (each.hart === load.hart && comesBefore(each, load))),
      );
      return [load, from];
    }),
  );
}

/** Rules 2 and 3, which ask for values. */
function keepsValueRules(order: readonly Event[], from: ReadsFrom): boolean {
  for (const [i, b] of order.entries()) {
    // a comes after b in the global order and before it in program order
    for (const a of order.slice(i + 1)) {
      if (a.hart !== b.hart || !comesBefore(a, b) || a.what.at !== b.what.at || !reads(b)) continue;
      const storeBetween = order.some(
        (each) =>
          each.hart === a.hart &&
          writes(each) &&
          each.what.at === a.what.at &&
          comesBefore(a, each) &&
          comesBefore(each, b),
      );
      if (reads(a) && !storeBetween && from.get(a) !== from.get(b)) return false; // 2
      if ((a.what.op === 'swap' || a.part === 'sc') && from.get(b) === a) return false; // 3
    }
  }
  return true;
}

/**
 * Atomicity axiom (§18.1.4): between the store that LR reads from and SC no other hart stores
 * there.
 */
function isAtomic(order: readonly Event[], from: ReadsFrom): boolean {
  return order.every((sc, at) => {
    if (sc.part !== 'sc') return true;
    const lr = order.find(({ hart, index, part }) => part === 'lr' && hart === sc.hart && index === sc.index)!;
    const read = from.get(lr);
    const since = read ? order.indexOf(read) : -1;
    const isBetween = (each: Event, i: number): boolean =>
      i > since && i < at && each.hart !== sc.hart && writes(each) && each.what.at === sc.what.at;
    return since < at && !order.some(isBetween);
  });
}

const stored = (event: Event | undefined): number => (event && event.what.op !== 'load' ? event.what.value : 0);

/** All outcomes that RVWMO allows. */
export function allowed(litmus: Litmus): ReadonlySet<Outcome> {
  const events = litmus.flatMap((program, hart) =>
    program.flatMap((what, index): Event[] => {
      if (what.op === 'fence') return [];
      const event = { hart, index, what };
      return what.op === 'exchange'
        ? [
            { ...event, part: 'lr' },
            { ...event, part: 'sc' },
          ]
        : [event];
    }),
  );
  const before = new Map(
    events.map((b) => [
      b,
      events.filter((a) => a.hart === b.hart && comesBefore(a, b) && isOrdered(a, b, litmus[a.hart]!)),
    ]),
  );
  const outcomes = new Set<Outcome>();
  const order: Event[] = [];
  const extend = (): void => {
    if (order.length === events.length) {
      const from = readsFrom(order);
      if (!keepsValueRules(order, from) || !isAtomic(order, from)) return;
      outcomes.add(
        outcomeOf(
          litmus.map((program, hart) =>
            program.flatMap((each, index) =>
              finds(each)
                ? [
                    stored(
                      from.get(events.find((event) => event.hart === hart && event.index === index && reads(event))!),
                    ),
                  ]
                : [],
            ),
          ),
        ),
      );
      return;
    }
    for (const event of events) {
      if (order.includes(event) || !before.get(event)!.every((each) => order.includes(each))) continue;
      order.push(event);
      extend();
      order.pop();
    }
  };
  extend();
  return outcomes;
}
