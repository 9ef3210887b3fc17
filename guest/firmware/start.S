# Entry of every hart, and of every trap to M mode.

#include "layout.h"

.file "start.S"            # else the linker names the object file, which is a temporary one

# The boot ROM leaves a0 = hart id, a1 = device tree, a2 = fw_dynamic info.
.section .text.start, "ax"
.globl _start
_start:
    csrw mie, zero
    li t0, MAX_HARTS
    bgeu a0, t0, park
    la sp, __stacks
    addi t0, a0, 1
    slli t0, t0, STACK_SHIFT
    add sp, sp, t0
    la t0, trap_entry
    csrw mtvec, t0
    csrw mscratch, sp

    # The first hart that comes here boots the machine.
    la t0, boot_lottery
    li t1, 1
    amoswap.w.aq t1, t1, (t0)
    bnez t1, 3f

    la t0, __bss_start
    la t1, __bss_end
1:  bgeu t0, t1, 2f
    sd zero, 0(t0)
    addi t0, t0, 8
    j 1b
2:  la t0, boot_done
    li t1, 1
    fence rw, w             # pairs with the fence of the other harts
    sw t1, 0(t0)
    call boot               # does not return

3:  la t0, boot_done
4:  lw t1, 0(t0)
    beqz t1, 4b
    fence r, rw
    call hart_wait          # does not return

park:
    wfi
    j park

# Leaves for S mode: enter_supervisor(hart, opaque, address). The stack is empty again.
.globl enter_supervisor
enter_supervisor:
    csrw mepc, a2
    csrw satp, zero
    csrw sscratch, zero
    csrw sie, zero
    la sp, __stacks
    addi t0, a0, 1
    slli t0, t0, STACK_SHIFT
    add sp, sp, t0
    csrw mscratch, sp
    mret

# Puts the stack of hart a0 back to its beginning and waits: hart_restart(hart).
.globl hart_restart
hart_restart:
    la sp, __stacks
    addi t0, a0, 1
    slli t0, t0, STACK_SHIFT
    add sp, sp, t0
    csrw mscratch, sp
    tail hart_wait

# Whether the hart has AIA. Without it miselect is illegal: the trap goes to 1f.
.globl has_aia
has_aia:
    la t0, 1f
    csrrw t0, mtvec, t0
    li a0, 0
    csrr t1, 0x350
    li a0, 1
.balign 4
1:  csrw mtvec, t0
    ret

# A trap. C keeps the registers that are not saved here. The frame is struct frame of sbi.h.
.balign 4
.globl trap_entry
trap_entry:
    csrrw sp, mscratch, sp
    addi sp, sp, -FRAME_SIZE
    sd a0, 0(sp)
    sd a1, 8(sp)
    sd a2, 16(sp)
    sd a3, 24(sp)
    sd a4, 32(sp)
    sd a5, 40(sp)
    sd a6, 48(sp)
    sd a7, 56(sp)
    sd ra, 64(sp)
    sd t0, 72(sp)
    sd t1, 80(sp)
    sd t2, 88(sp)
    sd t3, 96(sp)
    sd t4, 104(sp)
    sd t5, 112(sp)
    sd t6, 120(sp)
    mv a0, sp
    call trap
    ld a0, 0(sp)
    ld a1, 8(sp)
    ld a2, 16(sp)
    ld a3, 24(sp)
    ld a4, 32(sp)
    ld a5, 40(sp)
    ld a6, 48(sp)
    ld a7, 56(sp)
    ld ra, 64(sp)
    ld t0, 72(sp)
    ld t1, 80(sp)
    ld t2, 88(sp)
    ld t3, 96(sp)
    ld t4, 104(sp)
    ld t5, 112(sp)
    ld t6, 120(sp)
    addi sp, sp, FRAME_SIZE
    csrrw sp, mscratch, sp
    mret

.data
.balign 4
boot_lottery: .word 0
boot_done:    .word 0
