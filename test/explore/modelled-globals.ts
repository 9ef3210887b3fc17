/**
 * The other globals that an actor sees: the scenario's libc, and clocks that move only by time-outs
 * and when the actor looks at them.
 */
import type { Baton } from './baton.ts';
import type { ModelledMemory } from './modelled-memory.ts';
import type { LibcModel } from './scenario.ts';

/**
 * What looking at the clock costs: loops that spin for some microseconds end after a look or two.
 */
const LOOK_MS = 0.05;

/** An actor's own time: the modelled clock, and what its looks at it have cost. */
export class ModelledClock {
  readonly #baton: Baton;
  #looks = 0;

  constructor(baton: Baton) {
    this.#baton = baton;
  }

  /** At the start of an execution. */
  reset(): void {
    this.#looks = 0;
  }

  now(): number {
    return this.#baton.clock() + LOOK_MS * this.#looks++;
  }

  performance(): Pick<typeof performance, 'now' | 'timeOrigin'> {
    return { now: () => this.now(), timeOrigin: 0 };
  }

  /** The real process but for hrtime. */
  process(): NodeJS.Process {
    const hrtime = (): [number, number] => {
      const ms = this.now();
      return [Math.floor(ms / 1000), Math.round((ms % 1000) * 1e6)];
    };
    const bigint = (): bigint => BigInt(Math.round(this.now() * 1e6));
    return Object.create(process, { hrtime: { value: Object.assign(hrtime, { bigint }) } }) as NodeJS.Process;
  }
}

/** libc of an actor's thread: every modelled call is one step; the others throw. */
export function modelledLibc(memory: ModelledMemory, model: () => LibcModel): object {
  return new Proxy(
    {},
    {
      get: (_, name: string) => {
        return (...args: unknown[]) => {
          const run = model()[name];
          if (!run) throw new Error(`libc ${name} is not modelled by this scenario`);
          if ('inSteps' in run) return run(...(args as never[]));
          const text = args.map((arg) => (typeof arg === 'object' ? JSON.stringify(arg) : String(arg))).join(', ');
          return memory.effect(`${name}(${text})`, () => run(...(args as never[])));
        };
      },
    },
  );
}
