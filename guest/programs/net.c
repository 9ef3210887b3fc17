#include "lib/console.h"
#include "lib/csr.h"
#include "lib/mmio.h"
#include "lib/plic.h"
#include "lib/virtio.h"

/*
 * A station on a network, by virtio-net on MMIO. Its address is 10.0.2.N, N being the last byte of its MAC. It answers ARP
 * and pings. It can ping the station N ^ 3 itself: each ping has a number and a payload that follows from it, and the next
 * one goes out when the answer has come. Commands on the console: p pings from now on, s prints the counts, x ends.
 */

#define NET 1
#define F_MAC (1u << 5)
#define RECEIVE 0
#define TRANSMIT 1
#define FRAME 2048
#define HEADER 12 /* virtio's */
#define PAYLOAD 1400

#define ETHERTYPE_IP 0x0800
#define ETHERTYPE_ARP 0x0806
#define ECHO_REPLY 0
#define ECHO_REQUEST 8

#define MTIME (*(volatile u64 *)0x200bff8ul) /* 10 MHz */
#define MTIMECMP (*(volatile u64 *)0x2004000ul)
#define LOST_AFTER 50000000ul /* 5 s of the guest's time */

/* Offsets in a frame. */
#define ETHERNET 14
#define IP 20
#define ICMP (ETHERNET + IP)
#define ICMP_HEADER 8

static struct virtio_device net;
static struct virtqueue rx, tx;
static u8 received[VIRTQ_SIZE][FRAME], sent[VIRTQ_SIZE][FRAME];
static u16 free_buffers[VIRTQ_SIZE];
static u32 nr_free;

static u8 mac[6], peer[6];
static bool pinging, peer_known;
static u32 pings, answers, lost, bad, answered;
static bool waiting;
static u64 waiting_since;

static u32 get16(const u8 *at) { return (u32)at[0] << 8 | at[1]; }

static void put16(u8 *at, u32 value)
{
	at[0] = (u8)(value >> 8);
	at[1] = (u8)value;
}

static void copy(u8 *to, const u8 *from, u32 n)
{
	while (n-- > 0)
		*to++ = *from++;
}

static u32 checksum(const u8 *at, u32 length)
{
	u32 sum = 0;

	for (u32 i = 0; i < length; i += 2)
		sum += get16(at + i);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return ~sum & 0xffff;
}

static void put_address(u8 *at, u8 station)
{
	at[0] = 10;
	at[1] = 0;
	at[2] = 2;
	at[3] = station;
}

/* A buffer for a frame; waits until the device has given one back. */
static u8 *frame_to_send(u16 *buffer)
{
	u32 written;

	while (nr_free == 0)
		if (virtq_take(&tx, buffer, &written))
			free_buffers[nr_free++] = *buffer;
	*buffer = free_buffers[--nr_free];
	for (u32 i = 0; i < HEADER; i++)
		sent[*buffer][i] = 0;
	return sent[*buffer] + HEADER;
}

static void send(u16 buffer, u32 length)
{
	virtq_give(&tx, buffer, sent[buffer], HEADER + length, false);
	virtq_notify(&tx);
}

static void put_ethernet(u8 *frame, const u8 *to, u32 type)
{
	copy(frame, to, 6);
	copy(frame + 6, mac, 6);
	put16(frame + 12, type);
}

static void send_arp(u32 operation, const u8 *to, u8 station)
{
	static const u8 all[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
	static const u8 kinds[6] = { 0, 1, 8, 0, 6, 4 };
	u16 buffer;
	u8 *frame = frame_to_send(&buffer);

	put_ethernet(frame, operation == 1 ? all : to, ETHERTYPE_ARP);
	copy(frame + 14, kinds, 6);
	put16(frame + 20, operation);
	copy(frame + 22, mac, 6);
	put_address(frame + 28, mac[5]);
	copy(frame + 32, to, 6);
	put_address(frame + 38, station);
	send(buffer, 42);
}

static u8 pattern(u32 number, u32 i) { return (u8)(number * 31 + i * 7 + (i >> 8)); }

/* Ethernet and IP headers before `length` bytes of ICMP, and the ICMP checksum. */
static void finish_icmp(u8 *frame, const u8 *to, u8 station, u32 length)
{
	u8 *ip = frame + ETHERNET;

	put_ethernet(frame, to, ETHERTYPE_IP);
	for (u32 i = 0; i < IP; i++)
		ip[i] = 0;
	ip[0] = 0x45;
	put16(ip + 2, IP + length);
	ip[8] = 64;
	ip[9] = 1;
	put_address(ip + 12, mac[5]);
	put_address(ip + 16, station);
	put16(ip + 10, checksum(ip, IP));
	put16(frame + ICMP + 2, 0);
	put16(frame + ICMP + 2, checksum(frame + ICMP, length));
}

static void send_ping(void)
{
	u16 buffer;
	u8 *frame;

	waiting = true;
	waiting_since = MTIME;
	if (!peer_known) {
		send_arp(1, peer, mac[5] ^ 3);
		return;
	}
	frame = frame_to_send(&buffer);
	frame[ICMP] = ECHO_REQUEST;
	frame[ICMP + 1] = 0;
	put16(frame + ICMP + 4, mac[5]);
	put16(frame + ICMP + 6, ++pings);
	for (u32 i = 0; i < PAYLOAD; i++)
		frame[ICMP + ICMP_HEADER + i] = pattern(pings, i);
	finish_icmp(frame, peer, mac[5] ^ 3, ICMP_HEADER + PAYLOAD);
	send(buffer, ICMP + ICMP_HEADER + PAYLOAD);
}

static void take_arp(const u8 *frame)
{
	if (frame[41] != mac[5])
		return;
	if (get16(frame + 20) == 1) {
		send_arp(2, frame + 22, frame[31]);
	} else if (!peer_known && frame[31] == (mac[5] ^ 3)) {
		copy(peer, frame + 22, 6);
		peer_known = true;
		waiting = false;
	}
}

static void take_answer(const u8 *icmp, u32 length)
{
	bool well = get16(icmp + 6) == (pings & 0xffff) && waiting && length == ICMP_HEADER + PAYLOAD;

	for (u32 i = 0; i < PAYLOAD && well; i++)
		well = icmp[ICMP_HEADER + i] == pattern(pings, i);
	if (!well) {
		bad++;
		return;
	}
	answers++;
	waiting = false;
}

static void take_frame(const u8 *frame, u32 length)
{
	u32 icmp_length, type;

	if (get16(frame + 12) == ETHERTYPE_ARP && length >= 42) {
		take_arp(frame);
		return;
	}
	if (get16(frame + 12) != ETHERTYPE_IP || length < ICMP + ICMP_HEADER || frame[ETHERNET + 9] != 1)
		return;
	icmp_length = get16(frame + ETHERNET + 2) - IP;
	if (frame[ETHERNET + 19] != mac[5] || icmp_length > length - ICMP)
		return;
	type = frame[ICMP];
	if (type == ECHO_REPLY) {
		take_answer(frame + ICMP, icmp_length);
	} else if (type == ECHO_REQUEST) {
		u16 buffer;
		u8 *answer = frame_to_send(&buffer);

		copy(answer + ICMP, frame + ICMP, icmp_length);
		answer[ICMP] = ECHO_REPLY;
		finish_icmp(answer, frame + 6, frame[ETHERNET + 15], icmp_length);
		send(buffer, ICMP + icmp_length);
		answered++;
	}
}

static void take_frames(void)
{
	u16 buffer;
	u32 written;
	bool any = false;

	virtio_acknowledge(&net);
	for (; virtq_take(&rx, &buffer, &written); any = true) {
		take_frame(received[buffer] + HEADER, written - HEADER);
		virtq_give(&rx, buffer, received[buffer], FRAME, true);
	}
	if (any)
		virtq_notify(&rx);
}

static bool obey(int command)
{
	if (command == 'p')
		pinging = true;
	if (command == 's')
		print("@stats {\"pings\":%u,\"answers\":%u,\"lost\":%u,\"bad\":%u,\"answered\":%u}\n", pings, answers, lost, bad,
		      answered);
	return command != 'x';
}

/* Sleeps until there is an input, a frame, or nothing for so long that a ping is lost. */
static void sleep(void)
{
	MTIMECMP = waiting ? waiting_since + LOST_AFTER : ~0ul;
	wait_for_interrupt(); /* also with interrupts off */
	for (u32 source; (source = plic_claim()) != 0;) {
		if (source == PLIC_VIRTIO + net.slot)
			take_frames();
		plic_complete(source);
		if (source == PLIC_UART)
			return; /* its level is up until the input is read */
	}
}

int main(void)
{
	if (!virtio_find(NET, &net) || !virtio_start(&net, F_MAC)) {
		print("net: no virtio network device found\n");
		return 2;
	}
	for (u32 i = 0; i < 6; i++)
		mac[i] = virtio_config(&net, i);
	virtio_add_queue(&net, RECEIVE, &rx);
	virtio_add_queue(&net, TRANSMIT, &tx);
	virtio_driver_ok(&net);
	for (u16 i = 0; i < VIRTQ_SIZE; i++) {
		virtq_give(&rx, i, received[i], FRAME, true);
		free_buffers[nr_free++] = i;
	}
	virtq_notify(&rx);
	plic_enable(PLIC_VIRTIO + net.slot);
	plic_enable(PLIC_UART);
	console_interrupts();
	csr_set(mie, 1ul << IRQ_M_TIMER);
	print("station 10.0.2.%u\n", mac[5]);
	for (;;) {
		for (int c; (c = console_getc()) >= 0;)
			if (!obey(c))
				return bad == 0 ? 0 : 1;
		if (pinging && waiting && MTIME - waiting_since >= LOST_AFTER) {
			waiting = false;
			lost++;
		}
		if (pinging && !waiting)
			send_ping();
		sleep();
	}
}
