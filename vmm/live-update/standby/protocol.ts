/**
 * The words between a VMM and its standby. A standby is a second process of the VMM's program that
 * is complete and runs no guest. As a *successor* it takes the guest over when it is told to
 * (update by transfer). As a *guardian* it does so when the VMM dies or hangs during an update, or
 * whenever it dies.
 *
 * The words are frames on one UNIX socket (platform/frames.ts). Fds go beside them on a second one,
 * because Node's streams drop the fds that come with data.
 */
import {
  bytes,
  flag,
  integer,
  list,
  nullable,
  number,
  object,
  oneOf,
  type Shape,
  type Shaped,
  text,
} from '../../../platform/shape.ts';

/** Counts up when a build that knows only the older words would not understand. */
export const STANDBY_PROTOCOL = 9;

const EQUIP = object({
  kind: oneOf('equip'),
  role: oneOf('successor', 'guardian'),
  /** The process that the guardian guards. */
  pid: integer,
  /** The numbers that the fds have in the VMM, in the order in which they come. */
  fds: list(integer),
  /** The sections that can be saved while the guest runs, as a state file. */
  steady: bytes,
  /** Among the fds: the file that the whole state will lie in, and the vital signs to go by. */
  state: integer,
  vitals: integer,
  /** How long the guest must run in a successor before that commits. */
  probationMs: integer,
  /**
   * Among the fds: the vital signs of the guest as it runs now. For a guardian that may be told to
   * stand by without an update; null: it is there for one update.
   */
  now: nullable(integer),
});

const TO_STANDBY = {
  equip: EQUIP,
  /** More fds come, because the state names them. */
  more: object({ kind: oneOf('more'), fds: list(integer) }),
  /**
   * To a successor: `warm` is asked for. Then the guest is stopped, and `go` comes at once. The
   * sections hold where the state says nothing else.
   */
  soon: object({ kind: oneOf('soon'), sections: bytes }),
  /** To a successor: the state is complete. Take the guest over. */
  go: object({ kind: oneOf('go') }),
  /**
   * To a successor, after `go`: this process has told the monitor's clients that the guest has
   * stopped. So they may be told that it runs again.
   */
  left: object({ kind: oneOf('left') }),
  /**
   * To a guardian that has `now`: the sections that another process could not recover, in place of
   * the earlier ones. The fds that have come since the last such word go with them.
   */
  news: object({ kind: oneOf('news'), sections: bytes }),
  /**
   * To such a guardian: from now on it takes the guest over whenever the sender dies. Guardians
   * took it over at these times, CLOCK_MONOTONIC ns: the latest ones.
   */
  stand: object({ kind: oneOf('stand'), takeovers: list(number) }),
  /**
   * To the guardian of a guardian: it takes the guest over if the sender and this VMM are both
   * dead. Among the fds: the VMM's vital signs and its pidfd. null: not any more.
   */
  behind: object({ kind: oneOf('behind'), vmm: nullable(object({ vitals: integer, pidfd: integer })) }),
  /**
   * To a guardian: the state is complete, and the VMM is about to become the new image. The guest
   * must run within this time. `kept` are the sections that the state lacks, because the new image
   * does not know them.
   */
  watch: object({ kind: oneOf('watch'), withinMs: integer, kept: bytes }),
  /**
   * To a guardian, from the new image: the guest runs. The new image will commit in this time.
   * `watched`: by the vital signs that the guardian sees.
   */
  running: object({ kind: oneOf('running'), withinMs: integer, watched: flag }),
  /** The standby is not needed any more. */
  over: object({ kind: oneOf('over') }),
};

const FROM_STANDBY = {
  ready: object({ kind: oneOf('ready') }),
  failed: object({ kind: oneOf('failed'), reason: text }),
  /** From a successor, the answer to `soon`: it has gone through all that the pause runs. */
  warm: object({ kind: oneOf('warm') }),
  /** From a successor: the guest runs, `watched` by the vital signs that the VMM has made. */
  running: object({ kind: oneOf('running'), watched: flag }),
  /** From a guardian that stands by: this process is ready to guard it in turn; null: none is. */
  second: object({ kind: oneOf('second'), pid: nullable(integer) }),
  /** From a successor: it has committed. */
  committed: object({ kind: oneOf('committed') }),
};

type Words = Readonly<Record<string, Shape<{ readonly kind: string }>>>;
type OneOf<W extends Words> = { [K in keyof W]: Shaped<W[K]> }[keyof W];

export type Equip = Shaped<typeof EQUIP>;
export type ToStandby = OneOf<typeof TO_STANDBY>;
export type FromStandby = OneOf<typeof FROM_STANDBY>;

const reader =
  <W extends Words>(words: W) =>
  (value: unknown): OneOf<W> => {
    const kind = (value as { kind?: unknown } | null)?.kind;
    const shape = typeof kind === 'string' && Object.hasOwn(words, kind) ? words[kind] : undefined;
    return (shape ?? object({ kind: oneOf(...Object.keys(words)) }))(value, 'message') as OneOf<W>;
  };

/** EINVAL: no word that this build knows. */
export const readToStandby = reader(TO_STANDBY);
export const readFromStandby = reader(FROM_STANDBY);
