#ifndef SBI_H
#define SBI_H

#include "layout.h"
#include "types.h"

/* RISC-V Supervisor Binary Interface Specification 2.0: names and numbers are its own. */

#define SBI_SUCCESS 0
#define SBI_ERR_FAILED (-1l)
#define SBI_ERR_NOT_SUPPORTED (-2l)
#define SBI_ERR_INVALID_PARAM (-3l)
#define SBI_ERR_INVALID_ADDRESS (-5l)
#define SBI_ERR_ALREADY_AVAILABLE (-6l)
#define SBI_ERR_NO_SHMEM (-9l)

#define EXT_LEGACY_PUTCHAR 0x01
#define EXT_LEGACY_GETCHAR 0x02
#define EXT_LEGACY_SHUTDOWN 0x08
#define EXT_BASE 0x10
#define EXT_TIME 0x54494d45
#define EXT_IPI 0x735049
#define EXT_RFENCE 0x52464e43
#define EXT_HSM 0x48534d
#define EXT_SRST 0x53525354
#define EXT_DBCN 0x4442434e
#define EXT_PMU 0x504d55

/* The registers of a trap that trap_entry saves. */
struct frame {
	u64 a[8];
	u64 ra;
	u64 t[7];
};

struct sbiret {
	long error;
	long value;
};

static inline struct sbiret sbi_error(long error) { return (struct sbiret){error, 0}; }
static inline struct sbiret sbi_value(long value) { return (struct sbiret){SBI_SUCCESS, value}; }

/* One per extension: function fid with its arguments. */
struct sbiret sbi_hsm(u64 fid, const u64 *a);
struct sbiret sbi_ipi(u64 fid, const u64 *a);
struct sbiret sbi_rfence(u64 fid, const u64 *a);
struct sbiret sbi_dbcn(u64 fid, const u64 *a);
struct sbiret sbi_pmu(u64 fid, const u64 *a);

/* hsm.c: the harts. */
u64 this_hart(void);
bool hart_exists(u64 hart);
/* Whether the hart runs S mode, or is about to. */
bool hart_started(u64 hart);
void hart_is_first(void);
void hart_wait(void) __attribute__((noreturn));

/* sbi.c: CSRs as S mode wants to find them. */
void prepare_hart(void);

/* aia.c: S mode gets the interrupts of devices. Comes before prepare_hart. */
void delegate_interrupts(void);

/* remote.c: what one hart asks of another. */
void msip(u64 hart, u32 value);
void take_requests(void);

/* console.c */
void console_put(char c);
int console_get(void);

/* start.S */
bool has_aia(void);
void enter_supervisor(u64 hart, u64 opaque, u64 address) __attribute__((noreturn));
void hart_restart(u64 hart) __attribute__((noreturn));

#endif
