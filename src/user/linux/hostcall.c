/* The one place where lyre enters the host kernel on behalf of the guest.
 *
 * A signal that arrives just before a call that sleeps must not be missed: its handler only takes a
 * note, and the call would sleep on. So the stub looks at the note with its last instruction before
 * `syscall`, and the handler compares the pc:
 *
 *     from:  look at the note     \ the call has not been made: go to `stop`, which returns SYS_UNDONE
 *            syscall              /
 *     to:    return                 the call is over, its result (maybe -EINTR) holds
 *
 * The kernel puts the pc back to `syscall` when it interrupts a call that it would restart (our
 * handlers have SA_RESTART, so that it tells us which calls those are). That differs from "not made"
 * in the register that the instruction overwrites with its return address. */
#include <signal.h>
#include <ucontext.h>

#include "user/linux/syscall.h"
#include "user/process.h"

s64 hostcall_stub(const _Atomic u32 *pending, long number, const u64 args[6]);
extern const char hostcall_from[], hostcall_to[], hostcall_stop[];

#if defined(__x86_64__)
__asm__(".text\n"
        ".p2align 4\n"
        ".globl hostcall_stub\n.hidden hostcall_stub\n.type hostcall_stub, @function\n"
        "hostcall_stub:\n"
        "    .cfi_startproc\n"
        "    mov %rdi, %rcx\n"
        "    mov %rsi, %rax\n"
        "    mov %rdx, %r11\n"
        "    mov (%r11), %rdi\n"
        "    mov 8(%r11), %rsi\n"
        "    mov 16(%r11), %rdx\n"
        "    mov 24(%r11), %r10\n"
        "    mov 32(%r11), %r8\n"
        "    mov 40(%r11), %r9\n"
        "hostcall_from:\n"
        "    cmpl $0, (%rcx)\n"
        "    jne hostcall_stop\n"
        "    syscall\n"
        "hostcall_to:\n"
        "    ret\n"
        "hostcall_stop:\n"
        "    mov $-4096, %rax\n"
        "    ret\n"
        "    .cfi_endproc\n"
        ".size hostcall_stub, . - hostcall_stub\n");

IN_HANDLER void host_call_interrupted(void *ucontext)
{
    greg_t *reg = ((ucontext_t *)ucontext)->uc_mcontext.gregs;
    uintptr_t pc = (uintptr_t)reg[REG_RIP];
    if (pc < (uintptr_t)hostcall_from || pc >= (uintptr_t)hostcall_to)
        return;
    if (reg[REG_RCX] == (greg_t)(uintptr_t)hostcall_to) {
        reg[REG_RAX] = SYS_RESTART;
        reg[REG_RIP] = (greg_t)(uintptr_t)hostcall_to;
    } else {
        reg[REG_RIP] = (greg_t)(uintptr_t)hostcall_stop;
    }
}
#else
#error "system calls are missing for this host"
#endif

_Static_assert(SYS_UNDONE == -4096, "the stub has the number in it");

s64 host_call(struct thread *t, long number, u64 a0, u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
    const u64 args[6] = {a0, a1, a2, a3, a4, a5};
    return hostcall_stub(&t->pending, number, args);
}
