/** `livevmm host`: the board and its kernel in the foreground. */
import { type Board, startHost } from '../../devices/board/host.ts';
import { DEFAULT_PROFILE, PEER_MAPPINGS, PROFILE_NAMES } from '../../iommu/kernel/core/profile.ts';
import { ownerEnded } from '../../platform/lifeline.ts';
import { type Command, CommandError, oneOf, parseOptions, wholeNumber } from '../cli/command.ts';
import { helpRequest, parseDeviceOption } from '../cli/device-option.ts';
import { IOMMU_HELP, unitsOf } from '../cli/iommu-option.ts';
import { separateKvemu } from '../cli/kvemu-option.ts';
import { MEMLOCK_HELP, parseMemlock } from '../cli/memlock-option.ts';
import { untilEndingSignal } from '../cli/signals.ts';
import { parseSize } from '../cli/size-option.ts';
import { defaultHostSocket } from '../launch/sockets.ts';
import { answerHelp, deviceList } from './device-help.ts';

/** The kernel version of the patches that this project retells: an invalid vaddr blocks. */
const MAX_GROUP = 999_999_999;
const MAX_FD = 9_999_999;

const HELP = `Usage: livevmm host [--socket PATH] [--device TYPE[,key=value]...]... [--iommu NAME[,key=value]...]...
       [--first-group N] [--vfio-profile VERSION] [--peer-mappings WHAT] [--memlock LIMIT] [--json]
       [--pkernfs SIZE] [--persistent-tables MODE] [--netdev BACKEND]... [--chardev BACKEND]... [--fsdev BACKEND]...

A machine without VMM: memory, IOMMUs, PCI devices each in a thread of its own, and the kernel that offers them by VFIO on a
UNIX socket. Runs until SIGINT or SIGTERM.

  --socket PATH          where it listens (default: in $XDG_RUNTIME_DIR/livevmm), mode 0600
  --device TYPE[,...]    puts a device on the PCI bus, in slot addr=SLOT (hexadecimal) or the next free one; may be repeated
${deviceList('      ')}                         NAME,help: prints the properties and registers of one, and ends; help: the list
  --netdev dgram,id=ID,local.path=PATH,remote.path=PATH   a wire for virtio-net,netdev=ID: each frame is a datagram between two
                         UNIX sockets
  --netdev stream,id=ID,addr.path=PATH[,server=on][,reconnect=SECONDS]   the same through a connection to a UNIX socket
  --chardev socket,id=ID,path=PATH,server=on,wait=off|server=off[,reconnect=SECONDS]   a line for virtio-console,chardev=ID
  --fsdev local,id=ID,path=FOLDER,security_model=none,readonly=on   a folder for virtio-9p,fsdev=ID,mount_tag=TAG
${IOMMU_HELP}  --first-group N        the IOMMU groups count up from N, in the order of the slots (default 0)
  --vfio-profile VERSION which kernel's VFIO it answers as: ${PROFILE_NAMES.join(', ')} (default ${DEFAULT_PROFILE})
  --peer-mappings WHAT   what becomes of a BAR that is mapped for the DMA of other devices when its device goes: kept, as
                         mainline does (default); closed: the last close removes the mapping; revoked: to disable or close
                         the device takes its translations
  --pkernfs SIZE         memory that outlives the kernel, e.g. 256M: /dev/pkernfs, for 'livevmm kexec' (default none)
  --persistent-tables MODE  what MAP_DMA with LIVE_UPDATE does with page tables of an earlier kernel: strict compares them with the
                         request (default), rfc believes the request, as the RFC did
${MEMLOCK_HELP}                         (default as-process, as on Linux: a plain user has 8 MiB)
  --json                 print one JSON document when it listens, or as help of a device
  --lifeline FD          end when FD, the read end of a pipe, comes to its end: as soon as whoever holds the other end does
`;

function describe(socket: string, devices: ReturnType<Board['info']>['devices']): string {
  const width = Math.max(...devices.map(({ name }) => name.length));
  const lines = devices.map(({ bdf, name, group }) => `  ${bdf}  ${name.padEnd(width)} /dev/vfio/${group}\n`);
  return `listening on ${socket}\n${lines.length > 0 ? lines.join('') : '  no devices: give --device\n'}`;
}

export const host: Command = {
  help: HELP,
  async run(words) {
    const options = parseOptions(words, {
      socket: { type: 'string' },
      device: { type: 'string', multiple: true, default: [] },
      netdev: { type: 'string', multiple: true, default: [] },
      chardev: { type: 'string', multiple: true, default: [] },
      fsdev: { type: 'string', multiple: true, default: [] },
      iommu: { type: 'string', multiple: true, default: [] },
      'first-group': { type: 'string', default: '0' },
      'vfio-profile': { type: 'string', default: DEFAULT_PROFILE },
      'peer-mappings': { type: 'string' },
      pkernfs: { type: 'string' },
      'persistent-tables': { type: 'string', default: 'strict' },
      memlock: { type: 'string', default: 'as-process' },
      json: { type: 'boolean', default: false },
      lifeline: { type: 'string' },
    });
    const help = options.device.map(helpRequest).find((request) => request !== undefined);
    if (help !== undefined) {
      process.stdout.write(answerHelp(help, options.json));
      return 0;
    }
    const profile = oneOf('vfio-profile', options['vfio-profile'], PROFILE_NAMES);
    const peers = options['peer-mappings'];
    const peerMappings = peers === undefined ? undefined : oneOf('peer-mappings', peers, PEER_MAPPINGS);
    const tablesMode = oneOf('persistent-tables', options['persistent-tables'], ['strict', 'rfc'] as const);
    const pkernfsBytes = options.pkernfs === undefined ? undefined : parseSize('pkernfs', options.pkernfs);
    const memlock = parseMemlock(options.memlock);
    const firstGroup = wholeNumber('first-group', options['first-group'], 0, MAX_GROUP);
    const { devices, kvemuGroups } = separateKvemu(options.device.map(parseDeviceOption), firstGroup);
    const socket = options.socket ?? defaultHostSocket();
    const asked = untilEndingSignal();
    const lifeline = options.lifeline === undefined ? undefined : wholeNumber('lifeline', options.lifeline, 0, MAX_FD);
    const orphaned = lifeline === undefined ? undefined : ownerEnded(lifeline);
    const board = await startHost({
      ...{ devices, socketPath: socket, profile, peerMappings, memlock, firstGroup, kvemuGroups },
      ...{ pkernfsBytes, tablesMode },
      ...{ netdevs: options.netdev, chardevs: options.chardev, fsdevs: options.fsdev },
      ...unitsOf(options.iommu),
    });
    try {
      const { devices: found } = board.info();
      process.stdout.write(
        options.json ? `${JSON.stringify({ socket, profile, memlock, devices: found })}\n` : describe(socket, found),
      );
      const over = orphaned ? [asked, orphaned] : [asked];
      await Promise.race([...over, board.failed.then((message) => Promise.reject(new CommandError(message)))]);
      return 0;
    } finally {
      await board.stop();
    }
  },
};
