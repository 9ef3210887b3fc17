/**
 * The list of everything that survives an update, one line per owner, in the order in which the new
 * image takes it. An owner declares its section (name, version, shape) in its own file; those of
 * the machine are in machine-sections.ts. Saving and resuming are loops over this list.
 */
import { withoutOpenFiles } from '../../devices/backends/exported-tree.ts';
import { FSDEVS_SECTION } from '../../devices/backends/fsdev-option.ts';
import { STREAMS_SECTION } from '../../devices/backends/socket-stream.ts';
import { einval } from '../../platform/errno.ts';
import { visitingFds } from '../../platform/fd-shape.ts';
import type { Section, Versioned } from '../../platform/section.ts';
import type { Recovered } from '../crew/recovery.ts';
import { hartNumbers, MAX_HARTS } from '../machine/hart-local/hart-number.ts';
import { IMSIC_SECTION } from '../machine/hart-local/imsic.ts';
import type { HartSections, MachineState } from '../machine/machine.ts';
import { HART_SECTIONS, SHARED_SECTIONS } from '../machine/machine-sections.ts';
import { ROUTES_SECTION } from '../machine/shared/interrupt-routes.ts';
import { withoutFiles } from '../machine/shared/semihosting.ts';
import type { SharedState } from '../machine/shared/shared-machine.ts';
import { MONITOR_SECTION, type MonitorState, NO_MONITOR } from '../monitor/state.ts';
import { PassthroughHost } from '../passthrough/passthrough-host.ts';
import { NO_DEVICES, VFIO_SECTION } from '../passthrough/vfio-section.ts';
import { CONSOLE_SECTION } from '../vm/console.ts';
import { DISKS_SECTION } from '../vm/disks.ts';
import { RAM_SECTION, remapRam } from '../vm/guest-ram.ts';
import { planRecording } from '../vm/icount-option.ts';
import { hasListeners, LISTENERS_SECTION } from '../vm/listeners.ts';
import { NETDEVS_SECTION } from '../vm/netdevs.ts';
import { RRFILE_SECTION } from '../vm/rrfile.ts';
import { hasFolders, hasVirtio } from '../vm/virtio-options.ts';
import type { Backends } from '../vm/virtio-parts.ts';
import type { Vm } from '../vm/vm.ts';
import { hartsOf, isWired, VM_SECTION, type VmOptions } from '../vm/vm-state.ts';
import type { NewImage } from './new-image.ts';
import type { Form } from './releases.ts';
import { claimFds, UPDATE_SECTION, type UpdateState } from './update-state.ts';

/** A VM at rest, and the state of its machine, which is known only then. */
export interface AtRest {
  readonly vm: Vm;
  readonly machine: MachineState;
}

/** The source of a save for an update. */
export interface OldImage extends AtRest, FromMain {}

/** What main knows of a guest at rest, beside the VM. */
export interface FromMain {
  readonly monitor: MonitorState;
  readonly update: UpdateState;
}

/** The phase of the update that ends when the survivor has been restored (phases.ts). */
export type Phase = 'map' | 'remap' | 'load';

/**
 * An owner that can be saved while the guest runs, one of the machine, one that main saves at rest
 * only, or only for an update.
 */
type Saving<S> =
  | {
      save(vm: Vm): S;
      /** Whether it changes within a change of the VM only (Vm.change). */
      readonly isFixed?: true;
    }
  | { saveMachine(machine: MachineState): S }
  | { saveAtRest(vm: Vm): S }
  | { saveForUpdate(old: FromMain): S };

type Owner<S> = Saving<S> & {
  readonly phase: Phase;
  /** Whether a VM with these options has it; every VM does if absent. */
  partOf?(options: VmOptions): boolean;
  /**
   * Builds what needs only facts that do not change while the guest runs. A standby does this
   * before the guest stops. An image that was exec'd does it just before `restore`.
   */
  prepare?(image: NewImage, state: S): void;
  restore(image: NewImage, state: S): void;
  /** The owner's part of what another process could recover; `saved` is older. */
  recover?(recovered: Recovered, saved: S | undefined): S;
};

export interface Survivor {
  readonly section: Section<Versioned>;
  readonly phase: Phase;
  partOf(options: VmOptions): boolean;
  /** Saves the survivor while the guest runs, if that is possible; an update rehearses it. */
  readonly saveSteady: ((vm: Vm) => Versioned) | undefined;
  /** Saves the survivor of a VM at rest, if it does not belong to an update. */
  readonly saveAtRest: ((rest: AtRest) => Versioned) | undefined;
  save(old: OldImage): Versioned;
  /** Whether it changes within a change of the VM only. */
  readonly isFixed: boolean;
  /** Whether it is of the machine, which its thread saves. */
  readonly isMachine: boolean;
  /** Both take the return value of this section's `decode`. */
  prepare(image: NewImage, state: Versioned): void;
  restore(image: NewImage, state: Versioned): void;
  readonly recover: ((recovered: Recovered, saved: Versioned | undefined) => Versioned) | undefined;
}

function survivor<S extends Versioned>(section: Section<S>, owner: Owner<NoInfer<S>>): Survivor {
  return {
    section,
    phase: owner.phase,
    partOf: (options) => owner.partOf?.(options) ?? true,
    ...savingBy(owner),
    prepare: (image, state) => owner.prepare?.(image, state as S),
    restore: (image, state) => owner.restore(image, state as S),
    recover: owner.recover && ((recovered, saved) => owner.recover!(recovered, saved as S | undefined)),
  };
}

interface BackendOwner<S> {
  partOf(options: VmOptions): boolean;
  save(backends: Backends): S;
  /** What the new image goes on with. */
  open(state: S): Partial<Backends>;
}

/** Files behind the devices inside the VMM: they are open, and stay so. */
const backend = <S extends Versioned>(
  section: Section<S>,
  { partOf, save, open }: BackendOwner<NoInfer<S>>,
): Survivor =>
  survivor<S>(section, {
    ...{ phase: 'map', partOf, isFixed: true },
    save: ({ parts }) => save(parts.backends),
    prepare(image, state) {
      image.backends = { ...image.backends, ...open(state) };
    },
    restore() {},
  });

function savingBy<S extends Versioned>(
  owner: Saving<S>,
): Pick<Survivor, 'saveSteady' | 'saveAtRest' | 'save' | 'isFixed' | 'isMachine'> {
  const kind = { isFixed: 'isFixed' in owner, isMachine: 'saveMachine' in owner };
  if ('saveForUpdate' in owner) {
    return { ...kind, saveSteady: undefined, saveAtRest: undefined, save: (old) => owner.saveForUpdate(old) };
  }
  const saveSteady = 'save' in owner ? (vm: Vm): S => owner.save(vm) : undefined;
  const saveAtRest = ({ vm, machine }: AtRest): S =>
    'save' in owner ? owner.save(vm) : 'saveMachine' in owner ? owner.saveMachine(machine) : owner.saveAtRest(vm);
  return { ...kind, saveSteady, saveAtRest, save: saveAtRest };
}

/** The survivors that belong to one hart. */
function ofHart(hart: number): readonly Survivor[] {
  const partOf = (options: VmOptions): boolean => hart < hartsOf(options);
  const saved = <N extends keyof HartSections>(name: N): Survivor =>
    survivor(HART_SECTIONS[hart]![name] as Section<HartSections[N]>, {
      phase: 'load',
      partOf,
      saveMachine: ({ harts }) => harts[hart]![name],
      restore({ harts }, state) {
        harts[hart] ??= {} as NewImage['harts'][number];
        harts[hart][name] = state;
      },
      recover: ({ machine }) => machine.harts[hart]![name],
    });
  return [
    survivor(IMSIC_SECTION.numbered(hart), {
      phase: 'load',
      partOf,
      save: (vm) => vm.imsics[hart]!.save(),
      restore: ({ vm }, state) => vm.imsics[hart]!.restore(state),
      recover: ({ interruptFiles }) => interruptFiles[hart]!,
    }),
    saved('vcpu'),
    saved('hart'),
    saved('clint'),
  ];
}

/**
 * A survivor that all harts share. The vCPU thread saves it, and main hands it to the next vCPU as
 * it is. The survivors of a hart go the same way.
 */
function ofMachine<N extends keyof SharedState>(
  name: N,
  partOf: (options: VmOptions) => boolean = () => true,
  /** What another process can take of it. */
  recovered: (state: NonNullable<SharedState[N]>) => NonNullable<SharedState[N]> = (state) => state,
): Survivor {
  type State = NonNullable<SharedState[N]>;
  return survivor<State>(SHARED_SECTIONS[name] as unknown as Section<State>, {
    phase: 'load',
    partOf,
    saveMachine: (machine) => machine[name] as State,
    restore(image, state) {
      image.shared[name] = state;
    },
    recover: ({ machine }) => recovered(machine[name] as State),
  });
}

const isRecorded = (options: VmOptions): boolean => planRecording(options) !== undefined;

export const SURVIVORS: readonly Survivor[] = [
  survivor(VM_SECTION, {
    phase: 'map',
    save({ parts, runState }) {
      const { options, entry, next, generation } = parts;
      const paused = runState !== 'running' && runState !== 'shutdown'; // restore() finds internal-error again
      return VM_SECTION.of({ options, entry, generation, paused, ...(next === undefined ? {} : { next }) });
    },
    isFixed: true,
    prepare: (image, state) => image.take(state),
    restore: (image, state) => image.take(state),
  }),
  survivor(UPDATE_SECTION, {
    phase: 'map',
    saveForUpdate: ({ update }) => update,
    restore(image, state) {
      claimFds(state);
      image.update = state;
      image.vitals ??= state.fds.vitals;
    },
  }),
  survivor(RAM_SECTION, {
    phase: 'map',
    save: ({ parts }) => RAM_SECTION.of({ fd: parts.ramFd, size: parts.ram.length, vaddrOld: parts.ram.vaddr }),
    isFixed: true,
    prepare(image, state) {
      const { options } = image.state;
      image.ram = remapRam(state, hartsOf(options), options.inject === 'wrong-memfd');
    },
    restore(image, { vaddrOld }) {
      image.vaddrOld = vaddrOld;
    },
  }),
  backend(DISKS_SECTION, {
    partOf: ({ drives }) => drives !== undefined,
    save: ({ disks }) => DISKS_SECTION.of({ disks }),
    open: ({ disks }) => ({ disks }),
  }),
  backend(NETDEVS_SECTION, {
    partOf: ({ netdevs }) => netdevs !== undefined,
    save: ({ netdevs }) => NETDEVS_SECTION.of({ sockets: netdevs }),
    open: ({ sockets }) => ({ netdevs: sockets }),
  }),
  backend(LISTENERS_SECTION, {
    partOf: hasListeners,
    save: ({ listeners }) => LISTENERS_SECTION.of({ listeners }),
    open: ({ listeners }) => ({ listeners }),
  }),
  backend(FSDEVS_SECTION, {
    partOf: hasFolders,
    save: ({ folders }) => FSDEVS_SECTION.of({ folders }),
    open: ({ folders }) => ({ folders }),
  }),
  backend(RRFILE_SECTION, {
    partOf: isRecorded,
    save: ({ recording }) => RRFILE_SECTION.of({ file: recording! }),
    open: ({ file }) => ({ recording: file }),
  }),
  survivor(VFIO_SECTION, {
    phase: 'remap',
    save: ({ parts }) => parts.host?.save() ?? NO_DEVICES,
    prepare(image, { container, devices }) {
      if (!container) return;
      const { host } = image.state.options;
      if (host === undefined) throw einval('section vfio: a container, but section vm names no host');
      image.host = PassthroughHost.resume(host, container, devices);
    },
    restore(image) {
      const { host, ram, rollback, doubts, mapFlags } = image;
      if (mapFlags !== undefined) host?.container.mapAll(ram.mapping.vaddr, mapFlags);
      else if (!rollback) image.updateVaddrs(() => host?.container.updateVaddrs(ram.mapping.vaddr));
      else if (host && host.container.retakeVaddrs(ram.mapping.vaddr).length > 0) {
        doubts.push('the kernel keeps the vaddrs of the dead process (UNM-9): it can pin no new page');
      }
    },
  }),
  survivor(CONSOLE_SECTION, {
    phase: 'load',
    saveAtRest: ({ parts }) => CONSOLE_SECTION.of(parts.console.save()),
    restore({ vm }, state) {
      vm.parts.console.restore(state);
    },
    recover: ({ input }, saved) => CONSOLE_SECTION.of({ ...saved, input }),
  }),
  survivor(ROUTES_SECTION, {
    phase: 'load',
    save: (vm) => ROUTES_SECTION.of({ routes: vm.routes.save() }),
    restore({ vm }, { routes }) {
      vm.routes.restore(routes);
    },
    // the dead process may have had the eventfds under other numbers
    recover: ({ routes }, saved) =>
      ROUTES_SECTION.of({
        routes: routes.map((route, i) => ({ ...route, eventfd: saved?.routes[i]?.eventfd ?? route.eventfd })),
      }),
  }),
  ...hartNumbers(MAX_HARTS).flatMap(ofHart),
  ofMachine('uart'),
  ofMachine('pci'),
  ofMachine('plic', ({ aia }) => aia === 'none'),
  ofMachine('aplic', ({ aplic }) => aplic === 'on'),
  ofMachine('rtc', isWired),
  ofMachine('fwCfg', isWired),
  ofMachine('icount', ({ icount }) => icount !== undefined),
  ofMachine('replay', isRecorded),
  ofMachine('iommu', ({ iommuSys }) => iommuSys === 'on'),
  ofMachine('virtio', hasVirtio),
  // the dead process' files are opened again
  ofMachine('semihosting', ({ semihosting }) => semihosting !== undefined, withoutFiles),
  ofMachine('shares', hasFolders, withoutOpenFiles),
  // the connections were the dead process' own: their clients have seen its end
  ofMachine('streams', hasListeners, ({ streams }) =>
    STREAMS_SECTION.of({ streams: streams.map(() => ({ connection: null, unsent: new Uint8Array() })) }),
  ),
  survivor(MONITOR_SECTION, {
    phase: 'load',
    saveForUpdate: ({ monitor }) => monitor,
    restore(image, state) {
      image.monitor = state;
    },
    // the dead process has executed what had been received
    recover: (_, saved = NO_MONITOR) => ({
      ...saved,
      connections: saved.connections.map((client) => ({ ...client, pending: new Uint8Array() })),
    }),
  }),
];

/** The survivors of a VM with these options. */
export const survivorsOf = (options: VmOptions): readonly Survivor[] =>
  SURVIVORS.filter(({ partOf }) => partOf(options));

/** Sections by name: all sections of a VM at rest. */
export const saveAll = (old: OldImage): Record<string, Versioned> =>
  Object.fromEntries(survivorsOf(old.vm.parts.options).map(({ section, save }) => [section.name, save(old)]));

/** Sections by name: those that describe the guest and its machine, and no update. */
export const saveAtRest = (rest: AtRest): Readonly<Record<string, Versioned>> =>
  Object.fromEntries(
    survivorsOf(rest.vm.parts.options).flatMap(({ section, saveAtRest }) =>
      saveAtRest ? [[section.name, saveAtRest(rest)]] : [],
    ),
  );

/** Sections by name: the sections that can be saved while the guest runs. */
export const saveSteady = (vm: Vm): Record<string, Versioned> =>
  Object.fromEntries(
    survivorsOf(vm.parts.options).flatMap(({ section, saveSteady }) =>
      saveSteady ? [[section.name, saveSteady(vm)]] : [],
    ),
  );

/**
 * What a successor wants of the sections: those that it knows, each in its form. EINVAL as inForm.
 */
export const asWanted = (
  sections: Readonly<Record<string, Versioned>>,
  { form, lost }: { readonly form: Form; readonly lost: readonly string[] },
): Readonly<Record<string, Versioned>> =>
  inForm(Object.fromEntries(Object.entries(sections).filter(([name]) => !lost.includes(name))), form);

/**
 * Writes each section in the version that the form names for it. EINVAL: a section cannot be
 * written so.
 */
export const inForm = (sections: Readonly<Record<string, Versioned>>, form: Form): Record<string, Versioned> =>
  Object.fromEntries(
    SURVIVORS.flatMap(({ section }) => {
      const body = sections[section.name];
      return body ? [[section.name, section.encode(body, versionIn(form, section))]] : [];
    }),
  );

/** The version of a section in this form; its own where the form does not name it. */
export const versionIn = (form: Form, { name, version }: Section<Versioned>): number =>
  Object.hasOwn(form, name) ? form[name]! : version;

/** Whether the section is written in this form as this build writes it by itself. */
export const isOwnVersion = (form: Form, section: Section<Versioned>): boolean =>
  versionIn(form, section) === section.version;

/**
 * The fds that a state names, each by the place where it stands: `ram.fd`. They must go where the
 * state goes.
 */
export function fdsOf(sections: Readonly<Record<string, Versioned>>): Record<string, number> {
  const fds: Record<string, number> = {};
  const note = (fd: number, at: string): number => {
    fds[at] = fd;
    return fd;
  };
  visitingFds(note, () => {
    for (const { section } of SURVIVORS) {
      const body = section.namesFds ? sections[section.name] : undefined;
      if (body) section.decode(body);
    }
  });
  return fds;
}
