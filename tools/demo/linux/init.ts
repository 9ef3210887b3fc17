/** What a demo's Linux does: /init, a script of busybox. */
import { INIT_BEGINS } from '../../debian/initramfs.ts';

/** A tree of files on /dev/vda, with their sums in `sums`: so many are checked in each pass. */
export interface Work {
  readonly files: number;
  /** Where pings go to, and this station's own address with the bits of its net. */
  readonly peer: string;
  readonly own: string;
  /** Vendor and device of the frame grabber, as sysfs tells them. */
  readonly capture: readonly [string, string];
}

/**
 * The files, the pings and the frames are three processes. Of these the program `frames`
 * (guest/programs/linux) has the console, and tells the counts of all. Before it begins, a line is
 * printed: what is typed earlier may be lost.
 */
export const linuxInit = ({ files, peer, own, capture: [vendor, device] }: Work): string => `${INIT_BEGINS}
if [ -e /lib/order ]; then
  for module in $(cat /lib/order); do insmod /lib/$module; done
else
  modprobe -a virtio_blk virtio_net
fi
mkdir -p /run
tell() { echo "$2" >/run/$1.new && mv /run/$1.new /run/$1; }

check_files() {
  right=0 wrong=0
  while true; do
    tell files "\\"filesRight\\":$right,\\"filesWrong\\":$wrong"
    echo 1 >/proc/sys/vm/drop_caches
    rm -rf /tree && mkdir /tree && cd /tree && cpio -idu </dev/vda 2>/dev/null
    ok=$(md5sum -c sums 2>/dev/null | grep -c ': OK$')
    right=$((right + ok)) wrong=$((wrong + ${files} - ok))
  done
}

ping_peer() {
  answered=0 lost=0
  ip addr add ${own} dev eth0 && ip link set eth0 up
  while true; do
    tell pings "\\"pingsAnswered\\":$answered,\\"pingsLost\\":$lost"
    if ping -q -c 1 -W 60 -s 1000 ${peer} >/dev/null; then answered=$((answered + 1)); else lost=$((lost + 1)); fi
    usleep 50000
  done
}

check_files &
ping_peer &
echo 1 >/proc/sys/vm/nr_hugepages
for function in /sys/bus/pci/devices/*; do
  if [ $(cat $function/vendor) = ${vendor} -a $(cat $function/device) = ${device} ]; then capture=$function; fi
done
echo 1 >$capture/enable
printf '\\006' | dd of=$capture/config bs=1 seek=4 conv=notrunc 2>/dev/null
stty raw -echo
echo "Linux $(uname -r)"
frames $capture/resource0 /run/files /run/pings
poweroff -f
`;
