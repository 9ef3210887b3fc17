#ifndef CSR_H
#define CSR_H

#include "types.h"

/* By number where the assembler does not know the name (AIA). */
#define CSR_SISELECT 0x150
#define CSR_SIREG 0x151
#define CSR_STOPEI 0x15c
#define CSR_MISELECT 0x350
#define CSR_MIREG 0x351
#define CSR_MTOPEI 0x35c

#define MSTATUS_MIE (1ul << 3)
#define IRQ_M_TIMER 7
#define IRQ_S_EXT 9
#define IRQ_M_EXT 11

#define STRINGIFY(x) #x
#define CSR_NAME(csr) STRINGIFY(csr)

#define csr_read(csr) ({ u64 v_; __asm__ volatile("csrr %0, " CSR_NAME(csr) : "=r"(v_)::"memory"); v_; })
#define csr_write(csr, value) ({ __asm__ volatile("csrw " CSR_NAME(csr) ", %0" ::"r"((u64)(value)) : "memory"); })
#define csr_set(csr, bits) ({ __asm__ volatile("csrs " CSR_NAME(csr) ", %0" ::"r"((u64)(bits)) : "memory"); })
#define csr_clear(csr, bits) ({ __asm__ volatile("csrc " CSR_NAME(csr) ", %0" ::"r"((u64)(bits)) : "memory"); })

static inline void wait_for_interrupt(void) { __asm__ volatile("wfi" ::: "memory"); }

#endif
