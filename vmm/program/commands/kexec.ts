/** Commands around a kexec of the host's kernel, in our own words. */
import { KexecSave } from '../../live-update/kexec/save.ts';
import type { Migration } from '../../live-update/migration/migration.ts';
import { action, type CommandSpec, command } from '../../monitor/command.ts';
import { any, int, NOTHING, number, object, str } from '../../monitor/qapi.ts';
import type { Vm } from '../../vm/vm.ts';

const SAVED = object({ host: str, stateBytes: int, pausedNs: number });

interface KexecParts {
  readonly vm: Vm;
  readonly migration: Migration;
}

export function kexecCommands({ vm, migration }: KexecParts): Readonly<Record<string, CommandSpec>> {
  const saving = new KexecSave(vm);
  return {
    /** The guest stops and waits in pkernfs for the next kernel. */
    'x-kexec-save': command({
      args: object({}, { to: str }),
      returns: SAVED,
      run: ({ to }) => saving.save(to),
    }),
    /** There is no kexec: the guest runs on. */
    'x-kexec-cancel': action(() => saving.cancel()),
    /** The host's socket, if there is one; the report about the kexec that brought the image. */
    'x-query-kexec': command({
      args: NOTHING,
      returns: object({}, { host: str, report: any }),
      run: () => ({
        ...(vm.parts.host ? { host: vm.parts.host.client.socketPath } : {}),
        ...(migration.cameBy?.mode === 'kexec' ? { report: migration.cameBy } : {}),
      }),
    }),
  };
}
