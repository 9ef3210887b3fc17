# Entry of a program of Linux's: main(argc, argv), whose result is the exit status; and a system call.

.file "start.S"            # else the linker names the object file, which is a temporary one
.section .text.start, "ax"
.globl _start
_start:
.option push
.option norelax
    la gp, __global_pointer$
.option pop
    ld a0, 0(sp)
    addi a1, sp, 8
    andi sp, sp, -16
    call main
    li a7, 93               # exit
    ecall

# long linux_call(long number, long a, long b, long c, long d, long e, long f)
.globl linux_call
linux_call:
    mv a7, a0
    mv a0, a1
    mv a1, a2
    mv a2, a3
    mv a3, a4
    mv a4, a5
    mv a5, a6
    ecall
    ret
