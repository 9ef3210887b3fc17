/** `livevmm unplug`: takes a device out of a running host. */
import { type Command, parseWords, UsageError } from '../cli/command.ts';
import { HostClient } from '../clients/host-client.ts';
import { defaultHostSocket } from '../launch/sockets.ts';

const HELP = `Usage: livevmm unplug DEVICE [--host SOCKET] [--json]

Takes a device, such as 0000:00:02.0, out of a running host. Whoever has it open is asked to close it by the eventfd that he has set
for VFIO_PCI_REQ_IRQ_INDEX, at once and then every 10 s. Waits until it is closed; nobody can open it meanwhile, nor afterwards.

  --host SOCKET   where 'livevmm host' listens (default: in $XDG_RUNTIME_DIR/livevmm)
  --json          print one JSON document
`;

export const unplug: Command = {
  help: HELP,
  async run(words) {
    const { options, positionals } = parseWords(words, {
      host: { type: 'string' },
      json: { type: 'boolean', default: false },
    });
    const [bdf, ...more] = positionals;
    if (bdf === undefined || more.length > 0) throw new UsageError('which device?');
    const host = new HostClient(options.host ?? defaultHostSocket());
    try {
      host.ask({ op: 'unplug', bdf });
    } finally {
      host.close();
    }
    process.stdout.write(options.json ? `${JSON.stringify({ unplugged: bdf })}\n` : `${bdf} is unplugged\n`);
    return 0;
  },
};
