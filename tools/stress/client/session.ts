/**
 * A mapper and everything it has: files, memory, devices, and its model of them. A session
 * continues after an exec from its saved state.
 */

import { VFIO_TYPE1_IOMMU, VFIO_TYPE1v2_IOMMU } from '../../../iommu/abi/vfio.ts';
import { type Profile, profileOf } from '../../../iommu/kernel/core/profile.ts';
import { close } from '../../../platform/libc/fd.ts';
import { Mscribe } from '../../../vmm/client/drivers/mscribe.ts';
import type { EventLog } from '../event-log.ts';
import { Random, type RandomState } from '../random.ts';
import { Accounting } from './accounting.ts';
import { type AssignedDevice, type Assignment, FIRST_SHARED_FD, MEMORY_FD, NR_GUARDED_PAGES } from './assignment.ts';
import { Caller } from './caller.ts';
import { ContainerCalls, type IovaSpan } from './container.ts';
import { Copier } from './copier.ts';
import { DeviceFile } from './device-file.ts';
import { GuardedMemory, type GuardState } from './guarded-memory.ts';
import { InterruptLedger, type LedgerState } from './interrupt-ledger.ts';
import { type Entry, MappingTable } from './mapping-table.ts';
import { type OpenFiles, openAll } from './opening.ts';
import type { PendingJob } from './pending-job.ts';
import { Questions, refusals } from './questions.ts';
import { RingWatch, type RingWatchState } from './ring-watch.ts';
import { mapView, type View } from './views.ts';

const NR_VIEWS = 2;

/** The state that is passed to the next image. */
export interface SessionState {
  readonly image: number;
  /** The first image of this task. A guardian that goes on is another task. */
  readonly taskImage: number;
  readonly random: RandomState;
  readonly v2: boolean;
  readonly files: OpenFiles;
  readonly validIova: readonly IovaSpan[];
  readonly entries: readonly Entry[];
  readonly guard: GuardState;
  readonly capture: RingWatchState;
  readonly ledgers: { readonly edu: LedgerState; readonly capture: LedgerState };
  readonly dirtyTracking: boolean;
  readonly edu: { readonly faults: number; readonly mayFault: boolean };
  /** WRITE_INDEX of a clean ring just before the exec. */
  readonly writeIndex: number | undefined;
  /** A sleeping job of mscribe. */
  readonly job: PendingJob | undefined;
}

export class Session {
  readonly assignment: Assignment;
  readonly log: EventLog;
  readonly caller: Caller;
  readonly questions: Questions;
  readonly profile: Profile;
  readonly random: Random;
  readonly image: number;
  readonly taskImage: number;
  readonly memory: GuardedMemory;
  readonly table: MappingTable;
  readonly accounting: Accounting;
  views: View[];
  files: OpenFiles;
  v2: boolean;
  container: ContainerCalls;
  validIova: readonly IovaSpan[];
  edu: Copier;
  capture: RingWatch;
  /** Present if the profile allows it in a container with invalid vaddrs. */
  mscribe: Mscribe | undefined;
  ledgers: { readonly edu: InterruptLedger; readonly capture: InterruptLedger };
  dirtyTracking: boolean;
  /**
   * The number of refused accesses of edu at the last check, and whether more are allowed since.
   */
  eduFaults: { faults: number; mayFault: boolean };

  constructor(assignment: Assignment, log: EventLog, state?: SessionState) {
    this.assignment = assignment;
    this.log = log;
    this.caller = new Caller(assignment.socketPath, log);
    this.questions = new Questions(this.caller);
    this.profile = profileOf(assignment.profile);
    this.random = state ? new Random(state.random) : Random.of(...assignment.seed);
    this.image = state?.image ?? 0;
    this.taskImage = state?.taskImage ?? 0;
    this.v2 = state?.v2 ?? true;
    this.files = state?.files ?? this.#openFiles();
    // the groups are ours by now, so no device of a former owner writes to the memory
    this.memory = new GuardedMemory(MEMORY_FD, NR_GUARDED_PAGES, state?.guard);
    this.views = Array.from({ length: NR_VIEWS }, () => mapView(MEMORY_FD, NR_GUARDED_PAGES, true));
    this.table = new MappingTable(state?.entries);
    this.accounting = new Accounting(assignment.profile, this.image, this.taskImage);
    this.container = new ContainerCalls(this.caller, this.files.container);
    this.validIova = state?.validIova ?? this.container.facts().validIova;
    this.dirtyTracking = state?.dirtyTracking ?? false;
    this.eduFaults = state?.edu ?? { faults: refusals(this.questions.device(this.eduDevice.bdf)), mayFault: false };
    const [edu, capture] = this.files.devices as [number, number];
    this.edu = new Copier(new DeviceFile(this.caller, edu, 'edu'), log);
    this.capture = new RingWatch(new DeviceFile(this.caller, capture, 'capture'), state?.capture);
    this.mscribe = this.#newMscribe(state !== undefined);
    if (!state) this.capture.stop(); // the former owner may have died with the device running
    this.ledgers = {
      edu: this.newLedger(this.edu.file, this.eduDevice, state?.ledgers.edu),
      capture: this.newLedger(this.capture.file, this.captureDevice, state?.ledgers.capture),
    };
  }

  /** Whether other clients map and unmap in the container too. */
  get shared(): boolean {
    return this.assignment.partner !== undefined || this.assignment.inherits === true;
  }

  get eduDevice(): AssignedDevice {
    return this.assignment.devices[0]!;
  }

  get captureDevice(): AssignedDevice {
    return this.assignment.devices[1]!;
  }

  #openFiles(): OpenFiles {
    const { devices, partner, inherits } = this.assignment;
    if (inherits) {
      const [container, ...opened] = Array.from({ length: devices.length + 1 }, (_, i) => FIRST_SHARED_FD + i);
      return { container: container!, groups: [], devices: opened };
    }
    this.v2 = partner !== undefined || !this.random.chance(0.1);
    const type = this.v2 ? VFIO_TYPE1v2_IOMMU : VFIO_TYPE1_IOMMU;
    return openAll(this.caller, [...devices, ...(partner?.devices ?? [])], type);
  }

  /**
   * Makes the driver of mscribe. `inUse`: the device may be in the middle of a job, so it is not
   * reset.
   */
  #newMscribe(inUse: boolean): Mscribe | undefined {
    const at = this.assignment.devices.findIndex(({ name }) => name === 'mscribe');
    if (at < 0) return undefined;
    const file = new DeviceFile(this.caller, this.files.devices[at]!, 'mscribe');
    const mscribe = new Mscribe(file.registers);
    if (inUse) return mscribe;
    mscribe.reset();
    file.enable();
    return mscribe;
  }

  /** Starts counting the interrupts of a device, and lets a device that was just opened do DMA. */
  newLedger(file: DeviceFile, { bdf }: AssignedDevice, state?: LedgerState): InterruptLedger {
    if (state) return new InterruptLedger(file, undefined, state);
    const ledger = new InterruptLedger(file, this.questions.device(bdf));
    file.enable();
    return ledger;
  }

  /** Whether the capture fills a ring of which nothing was unmapped. */
  get hasCleanRing(): boolean {
    return this.capture.ring !== undefined && this.capture.clean;
  }

  /** Closes everything and opens it again. Afterwards nothing is mapped and no device is set up. */
  reopen(): void {
    for (const fd of this.random.chance(0.5) ? this.openFds() : this.openFds().reverse()) {
      this.caller.must(`close ${fd}`, (client) => client.close(fd));
    }
    for (const entry of this.table.entries) this.accounting.unmapped(entry);
    this.table.clear();
    this.log.count('pagesChecked', this.memory.check());
    this.memory.guardAll();
    this.ledgers.edu.close();
    this.ledgers.capture.close();
    this.dirtyTracking = false;
    this.files = this.#openFiles();
    this.container = new ContainerCalls(this.caller, this.files.container);
    this.validIova = this.container.facts().validIova;
    const [edu, capture] = this.files.devices as [number, number];
    this.edu = new Copier(new DeviceFile(this.caller, edu, 'edu'), this.log);
    this.mscribe = this.#newMscribe(false);
    this.ledgers = { ...this.ledgers, edu: this.newLedger(this.edu.file, this.eduDevice) };
    this.replaceCapture(capture);
  }

  /** Continues with a capture that was closed and opened again. */
  replaceCapture(fd: number): void {
    const devices = this.files.devices.with(1, fd);
    this.files = { ...this.files, devices };
    this.capture = new RingWatch(new DeviceFile(this.caller, fd, 'capture'));
    this.capture.stop();
    this.ledgers = { ...this.ledgers, capture: this.newLedger(this.capture.file, this.captureDevice) };
  }

  /** The host's files that this mapper holds. */
  openFds(): number[] {
    const { container, groups, devices } = this.files;
    return [container, ...groups, ...devices];
  }

  /** Closes fds that a partner has taken over. */
  giveAway(fds: readonly number[]): void {
    for (const fd of fds) close(fd);
    const left = (list: readonly number[]): readonly number[] => list.filter((fd) => !fds.includes(fd));
    this.files = { ...this.files, groups: left(this.files.groups), devices: left(this.files.devices) };
  }

  /** The state for the next image. */
  save(job?: PendingJob): SessionState {
    return {
      image: this.image + 1,
      taskImage: this.taskImage,
      random: this.random.save(),
      v2: this.v2,
      files: this.files,
      validIova: this.validIova,
      entries: this.table.entries,
      guard: this.memory.save(),
      capture: this.capture.save(),
      ledgers: { edu: this.ledgers.edu.save(), capture: this.ledgers.capture.save() },
      dirtyTracking: this.dirtyTracking,
      edu: this.eduFaults,
      writeIndex: this.hasCleanRing ? this.capture.writeIndex() : undefined,
      job,
    };
  }
}
