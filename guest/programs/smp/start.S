# Entry of a guest with several harts: each gets a stack and calls hart_main(hart, device tree), hart 0 after it has cleared .bss.

.file "start.S"            # else the linker names the object file, which is a temporary one

#define STACK_SHIFT 12

.section .text.start, "ax"
.globl _start
_start:
    csrw mie, zero
.option push
.option norelax
    la gp, __global_pointer$
.option pop
    csrr a0, mhartid
    la t0, trap_entry
    csrw mtvec, t0
    la sp, hart_stacks
    addi t0, a0, 1
    slli t0, t0, STACK_SHIFT
    add sp, sp, t0
    la t2, cleared
    bnez a0, 3f

    la t0, __bss_start
    la t1, __bss_end
1:  bgeu t0, t1, 2f
    sd zero, 0(t0)
    addi t0, t0, 8
    j 1b
2:  li t0, 1
    fence rw, w             # pairs with the fence of the other harts
    sw t0, 0(t2)
    j 4f

3:  lw t0, 0(t2)
    beqz t0, 3b
    fence r, rw
4:  call hart_main
    call power_off          # does not return

.data
.balign 4
cleared: .word 0

# One for each hart. Hart 0 clears .bss while the others stand on theirs, so this is not in it.
.section .bss.rings, "aw", @nobits
.balign 16
hart_stacks: .zero 8 << STACK_SHIFT
