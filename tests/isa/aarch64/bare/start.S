/* The start of every bare program, its vectors, and how it calls what may trap. */
        .macro push_pairs
        stp     x19, x20, [sp, #-112]!
        stp     x21, x22, [sp, #16]
        stp     x23, x24, [sp, #32]
        stp     x25, x26, [sp, #48]
        stp     x27, x28, [sp, #64]
        stp     x29, x30, [sp, #80]
        .endm

        .section .text.start, "ax"
        .globl  _start
_start: msr     spsel, #1
        ldr     x1, =stack_top
        mov     sp, x1
        ldr     x1, =vectors
        msr     vbar_el1, x1
        mov     x1, #3 << 20
        msr     cpacr_el1, x1
        isb
        bl      main
        ldr     w0, =0x84000008         /* PSCI SYSTEM_OFF */
        hvc     #0
        b       .

/* u64 call_el1(void (*f)(u64), u64 arg): 1 if an exception ended it, which `trap` then describes. */
        .globl  call_el1
call_el1:
        msr     nzcv, xzr
        push_pairs
        ldr     x9, =context
        mov     x10, sp
        str     x10, [x9]
        mov     x9, x0
        mov     x0, x1
        blr     x9
        mov     x0, #0
        b       back

/* u64 call_el0(u64 pc, u64 arg, u64 spsr): the same from EL0, or from wherever an SPSR leads. */
        .globl  call_el0
call_el0:
        push_pairs
        ldr     x9, =context
        mov     x10, sp
        str     x10, [x9]
        ldr     x9, =user_stack_top
        msr     sp_el0, x9
        msr     elr_el1, x0
        msr     spsr_el1, x2
        mov     x0, x1
        eret

/* An exception: x0 is in tpidr_el1, its vector's number in x0. No stack is needed. */
trapped:
        msr     tpidrro_el0, x1
        ldr     x1, =trap
        str     x0, [x1], #8
        mrs     x0, esr_el1
        str     x0, [x1], #8
        mrs     x0, elr_el1
        str     x0, [x1], #8
        mrs     x0, spsr_el1
        str     x0, [x1], #8
        mrs     x0, far_el1
        str     x0, [x1], #8
        mrs     x0, tpidr_el1
        str     x0, [x1], #8
        mrs     x0, tpidrro_el0
        str     x0, [x1], #8
        msr     spsel, #1
        ldr     x9, =context
        ldr     x10, [x9]
        mov     sp, x10
        mov     x0, #1
back:
        ldp     x21, x22, [sp, #16]
        ldp     x23, x24, [sp, #32]
        ldp     x25, x26, [sp, #48]
        ldp     x27, x28, [sp, #64]
        ldp     x29, x30, [sp, #80]
        ldp     x19, x20, [sp], #112
        ret

        .balign 2048
        .globl  vectors
vectors:
        .set    n, 0
        .rept   16
        .balign 128
        msr     tpidr_el1, x0
        mov     x0, #n
        b       trapped
        .set    n, n + 1
        .endr

        .bss
        .balign 16
context: .skip  16
        .globl  trap
trap:   .skip   64
        .skip   16384
stack_top:
        .skip   4096
user_stack_top:
