/*
 * Firmware for S mode software on the `virt` machine: SBI 2.0 with BASE, TIME, IPI, RFENCE, HSM, SRST, DBCN and the least of PMU.
 * It runs in M mode like any guest, so nothing of it lives in the VMM. It wants Sstc: timers need no M mode.
 */
#include "sbi.h"

#include "csr.h"
#include "mmio.h"

#define FINISHER 0x100000ul
#define FINISHER_PASS 0x5555
#define FINISHER_FAIL 0x3333
#define FINISHER_RESET 0x7777

#define CAUSE_INTERRUPT (1ul << 63)
#define IRQ_M_SOFT 3
#define CAUSE_SUPERVISOR_ECALL 9

#define MSTATUS_MPP (3ul << 11)
#define MSTATUS_MPP_S (1ul << 11)
#define MSTATUS_MPIE (1ul << 7)
/* All that S mode may handle itself: everything but its own calls. */
#define MEDELEG 0xb1ff
#define MIDELEG 0x222
#define MENVCFG_STCE (1ul << 63)
#define MENVCFG_ADUE (1ul << 61)
#define MENVCFG_CBZE_CBCFE_CBIE 0xf0ul
#define CSR_MENVCFG 0x30a
#define CSR_STIMECMP 0x14d
#define PMP_NAPOT 0x18ul
#define PMP_RWX 0x7ul

#define SPEC_VERSION (2l << 24)
/* No registered number. */
#define IMPLEMENTATION_ID 0x6c76
#define IMPLEMENTATION_VERSION 1

/* docs/machine.md, "Boot" */
struct fw_dynamic_info {
	u64 magic, version, next_address, next_mode, options, boot_hart;
};
#define FW_DYNAMIC_MAGIC 0x4942534f
#define NEXT_ADDRESS 0x80200000

void prepare_hart(void)
{
	csr_write(medeleg, MEDELEG);
	csr_write(mideleg, MIDELEG);
	csr_set(CSR_MENVCFG, MENVCFG_STCE | MENVCFG_ADUE | MENVCFG_CBZE_CBCFE_CBIE);
	csr_write(CSR_STIMECMP, -1ul);
	csr_write(mcounteren, 7);
	csr_write(pmpaddr0, ((u64)FIRMWARE >> 2) | (((u64)FIRMWARE_SIZE >> 3) - 1));
	csr_write(pmpaddr1, -1ul);
	csr_write(pmpcfg0, PMP_NAPOT | (PMP_NAPOT | PMP_RWX) << 8);
	csr_write(mie, 1ul << IRQ_M_SOFT);
	csr_clear(mstatus, MSTATUS_MPP | MSTATUS_MPIE);
	csr_set(mstatus, MSTATUS_MPP_S);
}

void boot(u64 hart, u64 device_tree, const struct fw_dynamic_info *info)
{
	u64 next = info && info->magic == FW_DYNAMIC_MAGIC && info->next_address ? info->next_address : NEXT_ADDRESS;

	hart_is_first();
	delegate_interrupts();
	prepare_hart();
	enter_supervisor(hart, device_tree, next);
}

static void __attribute__((noreturn)) finish(u32 what)
{
	write32(FINISHER, what);
	for (;;)
		wait_for_interrupt();
}

static bool probe(u64 extension)
{
	static const u32 known[] = {EXT_LEGACY_PUTCHAR, EXT_LEGACY_GETCHAR, EXT_LEGACY_SHUTDOWN, EXT_BASE, EXT_TIME, EXT_IPI,
				    EXT_RFENCE,		EXT_HSM,	    EXT_SRST,		 EXT_DBCN, EXT_PMU};

	for (u32 i = 0; i < sizeof(known) / sizeof(*known); i++)
		if (known[i] == extension)
			return true;
	return false;
}

static struct sbiret sbi_base(u64 fid, const u64 *a)
{
	switch (fid) {
	case 0: return sbi_value(SPEC_VERSION);
	case 1: return sbi_value(IMPLEMENTATION_ID);
	case 2: return sbi_value(IMPLEMENTATION_VERSION);
	case 3: return sbi_value(probe(a[0]));
	case 4: return sbi_value((long)csr_read(mvendorid));
	case 5: return sbi_value((long)csr_read(marchid));
	case 6: return sbi_value((long)csr_read(mimpid));
	default: return sbi_error(SBI_ERR_NOT_SUPPORTED);
	}
}

static struct sbiret sbi_time(u64 fid, const u64 *a)
{
	if (fid != 0)
		return sbi_error(SBI_ERR_NOT_SUPPORTED);
	csr_write(CSR_STIMECMP, a[0]);
	return sbi_value(0);
}

/* SBI 2.0 §10: types shutdown, cold and warm reboot; reason 1 is a failure of the system. */
static struct sbiret sbi_srst(u64 fid, const u64 *a)
{
	if (fid != 0)
		return sbi_error(SBI_ERR_NOT_SUPPORTED);
	u32 type = (u32)a[0], reason = (u32)a[1];

	if (type > 2 || reason > 1)
		return sbi_error(SBI_ERR_INVALID_PARAM);
	if (type == 0)
		finish(reason == 0 ? FINISHER_PASS : 1 << 16 | FINISHER_FAIL);
	finish(FINISHER_RESET);
}

static struct sbiret call(u64 extension, u64 fid, const u64 *a)
{
	switch (extension) {
	case EXT_BASE: return sbi_base(fid, a);
	case EXT_TIME: return sbi_time(fid, a);
	case EXT_IPI: return sbi_ipi(fid, a);
	case EXT_RFENCE: return sbi_rfence(fid, a);
	case EXT_HSM: return sbi_hsm(fid, a);
	case EXT_SRST: return sbi_srst(fid, a);
	case EXT_DBCN: return sbi_dbcn(fid, a);
	case EXT_PMU: return sbi_pmu(fid, a);
	default: return sbi_error(SBI_ERR_NOT_SUPPORTED);
	}
}

/* SBI 2.0 §5: legacy calls answer in a0 only. */
static bool legacy(u64 extension, u64 *a)
{
	if (extension == EXT_LEGACY_PUTCHAR) {
		console_put((char)a[0]);
		a[0] = 0;
	} else if (extension == EXT_LEGACY_GETCHAR) {
		a[0] = (u64)(long)console_get();
	} else if (extension == EXT_LEGACY_SHUTDOWN) {
		finish(FINISHER_PASS);
	} else {
		return false;
	}
	return true;
}

static void __attribute__((noreturn)) die(u64 cause)
{
	static const char text[] = "sbi: a trap in M mode, cause ";

	for (const char *p = text; *p; p++)
		console_put(*p);
	console_put((char)('0' + cause % 100 / 10));
	console_put((char)('0' + cause % 10));
	console_put('\n');
	finish(99 << 16 | FINISHER_FAIL);
}

void trap(struct frame *frame)
{
	u64 cause = csr_read(mcause);

	if (cause == (CAUSE_INTERRUPT | IRQ_M_SOFT)) {
		take_requests();
		return;
	}
	if (cause != CAUSE_SUPERVISOR_ECALL)
		die(cause);
	csr_write(mepc, csr_read(mepc) + 4);
	if (legacy(frame->a[7], frame->a))
		return;
	struct sbiret ret = call(frame->a[7], frame->a[6], frame->a);

	frame->a[0] = (u64)ret.error;
	frame->a[1] = (u64)ret.value;
}
