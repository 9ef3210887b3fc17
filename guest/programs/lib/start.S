# Entry of every toy guest: hart 0 gets a stack, a cleared .bss and a trap vector and calls main(), whose result is the exit
# status. Other harts sleep for ever.

.file "start.S"            # else the linker names the object file, which is a temporary one
.section .text.start, "ax"
.globl _start
_start:
    csrw mie, zero
    csrr t0, mhartid
    bnez t0, park

.option push
.option norelax
    la gp, __global_pointer$
.option pop
    la sp, __stack_top
    la t0, trap_entry
    csrw mtvec, t0

    la t0, __bss_start
    la t1, __bss_end
1:  bgeu t0, t1, 2f
    sd zero, 0(t0)
    addi t0, t0, 8
    j 1b
2:  call main
    call power_off          # does not return

park:
    wfi
    j park
