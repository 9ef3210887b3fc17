/** Steps on fds of any file. */
import type { CallContext, StepTable } from './call-context.ts';
import type { Answer } from './words.ts';

export const FD_STEPS: StepTable = {
  open: (context) => opened(context, () => context.calls.open(context.step.args[1]!)),
  eventfd: (context) => opened(context, () => context.calls.eventfd()),
  dup({ calls, step: { args }, state, words }) {
    const [fd, copy] = args as [string, string];
    return words.status(async () => {
      state.change({ fd: copy, number: await calls.dup(words.fd(fd)) });
      return 0;
    });
  },
  close({ calls, step: { args }, state, words }) {
    const name = args[0]!;
    return words.status(async () => {
      await calls.close(words.fd(name));
      state.change({ fd: name, number: null });
      return 0;
    });
  },
  cloexec: ({ calls, step: { args }, words }) =>
    words.status(async () => {
      await calls.setCloexec(words.fd(args[0]!), words.number(args[1]!) !== 0n);
      return 0;
    }),
  getfd: ({ calls, step: { args }, words }) =>
    words.status(async () => Number(await calls.getCloexec(words.fd(args[0]!)))),
  evread: ({ calls, step: { args }, words }) => words.status(() => calls.readEventfd(words.fd(args[0]!))),
  evwrite: ({ calls, step: { args }, words }) =>
    words.status(async () => {
      await calls.writeEventfd(words.fd(args[0]!), words.number(args[1]!));
      return 0;
    }),
};

/** Makes a call that opens a fd, and notes the fd under the step's first word. */
export function opened({ state, words, step }: CallContext, open: () => Answer<number>): Promise<string> {
  return words.status(async () => {
    state.change({ fd: step.args[0]!, number: await open() });
    return 0;
  });
}
