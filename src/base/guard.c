#include "base/guard.h"

#include <signal.h>
#include <string.h>
#include <ucontext.h>

/* The code between two labels faults with the number of bytes still to do in one register; the
 * second label is where an early return goes on. */
#if defined(__x86_64__)
__asm__(".text\n"
        ".p2align 4\n"
        ".globl guard_copy\n.hidden guard_copy\n.type guard_copy, @function\n"
        "guard_copy:\n"
        "    .cfi_startproc\n"
        "    mov %rdx, %rcx\n"
        "guard_copy_from:\n"
        "    cmp $8, %rdx\n"
        "    je 8f\n"
        "    cmp $4, %rdx\n"
        "    je 4f\n"
        "    cmp $16, %rdx\n"
        "    je 16f\n"
        "    cmp $1, %rdx\n"
        "    je 1f\n"
        "    cmp $2, %rdx\n"
        "    je 2f\n"
        "    rep movsb\n"
        "    jmp guard_copy_to\n"
        "1:  movzbl (%rsi), %eax\n"
        "    mov %al, (%rdi)\n"
        "    jmp 9f\n"
        "2:  movzwl (%rsi), %eax\n"
        "    mov %ax, (%rdi)\n"
        "    jmp 9f\n"
        "4:  mov (%rsi), %eax\n"
        "    mov %eax, (%rdi)\n"
        "    jmp 9f\n"
        "8:  mov (%rsi), %rax\n"
        "    mov %rax, (%rdi)\n"
        "    jmp 9f\n"
        "16: movups (%rsi), %xmm0\n"
        "    movups %xmm0, (%rdi)\n"
        "9:  xor %ecx, %ecx\n"
        "guard_copy_to:\n"
        "    mov %rcx, %rax\n"
        "    ret\n"
        "    .cfi_endproc\n"
        ".size guard_copy, . - guard_copy\n"
        ".p2align 4\n"
        ".globl guard_zero\n.hidden guard_zero\n.type guard_zero, @function\n"
        "guard_zero:\n"
        "    .cfi_startproc\n"
        "    mov %rsi, %rcx\n"
        "    xor %eax, %eax\n"
        "guard_zero_from:\n"
        "    rep stosb\n"
        "guard_zero_to:\n"
        "    mov %rcx, %rax\n"
        "    ret\n"
        "    .cfi_endproc\n"
        ".size guard_zero, . - guard_zero\n"
        ".p2align 4\n"
        ".globl guard_cas32\n.hidden guard_cas32\n.type guard_cas32, @function\n"
        "guard_cas32:\n"
        "    .cfi_startproc\n"
        "    mov (%rsi), %eax\n"
        "    xor %ecx, %ecx\n"
        "guard_cas_from:\n"
        "    lock cmpxchg %edx, (%rdi)\n"
        "    inc %ecx\n"
        "guard_cas_to:\n"
        "    mov %eax, (%rsi)\n"
        "    mov %ecx, %eax\n"
        "    ret\n"
        "    .cfi_endproc\n"
        ".size guard_cas32, . - guard_cas32\n");
#elif defined(__aarch64__)
__asm__(".text\n"
        ".p2align 4\n"
        ".globl guard_copy\n.hidden guard_copy\n.type guard_copy, %function\n"
        "guard_copy:\n"
        "guard_copy_from:\n"
        "    cmp x2, #8\n"
        "    b.eq 8f\n"
        "    cmp x2, #4\n"
        "    b.eq 4f\n"
        "    cmp x2, #16\n"
        "    b.eq 16f\n"
        "    cmp x2, #2\n"
        "    b.eq 2f\n"
        "1:  cbz x2, guard_copy_to\n"
        "    ldrb w3, [x1], #1\n"
        "    strb w3, [x0], #1\n"
        "    sub x2, x2, #1\n"
        "    b 1b\n"
        "2:  ldrh w3, [x1]\n"
        "    strh w3, [x0]\n"
        "    b 9f\n"
        "4:  ldr w3, [x1]\n"
        "    str w3, [x0]\n"
        "    b 9f\n"
        "8:  ldr x3, [x1]\n"
        "    str x3, [x0]\n"
        "    b 9f\n"
        "16: ldr q0, [x1]\n"
        "    str q0, [x0]\n"
        "9:  mov x2, #0\n"
        "guard_copy_to:\n"
        "    mov x0, x2\n"
        "    ret\n"
        ".size guard_copy, . - guard_copy\n"
        ".p2align 4\n"
        ".globl guard_zero\n.hidden guard_zero\n.type guard_zero, %function\n"
        "guard_zero:\n"
        "guard_zero_from:\n"
        "    cbz x1, guard_zero_to\n"
        "    strb wzr, [x0], #1\n"
        "    sub x1, x1, #1\n"
        "    b guard_zero_from\n"
        "guard_zero_to:\n"
        "    mov x0, x1\n"
        "    ret\n"
        ".size guard_zero, . - guard_zero\n"
        ".p2align 4\n"
        ".globl guard_cas32\n.hidden guard_cas32\n.type guard_cas32, %function\n"
        "guard_cas32:\n"
        "    ldr w4, [x1]\n"
        "    mov w3, #0\n"
        "    mov w6, w4\n"
        "guard_cas_from:\n"
        "    ldaxr w6, [x0]\n"
        "    cmp w6, w4\n"
        "    b.ne 1f\n"
        "    stlxr w5, w2, [x0]\n"
        "    cbnz w5, guard_cas_from\n"
        "1:  mov w3, #1\n"
        "guard_cas_to:\n"
        "    str w6, [x1]\n"
        "    mov w0, w3\n"
        "    ret\n"
        ".size guard_cas32, . - guard_cas32\n");
#else
#error "guarded copies are missing for this host"
#endif

extern const char guard_copy_from[], guard_copy_to[], guard_zero_from[], guard_zero_to[];
extern const char guard_cas_from[], guard_cas_to[];

ptrdiff_t guard_string(char *to, size_t size, const char *from)
{
    size_t done = 0;
    while (done < size) {
        /* Up to the end of a small block, so that no byte of a next page is asked for in vain. */
        size_t part = 64 - ((uintptr_t)(from + done) & 63);
        if (part > size - done)
            part = size - done;
        size_t left = guard_copy(to + done, from + done, part);
        const char *end = memchr(to + done, 0, part - left);
        if (end)
            return end - to;
        if (left)
            return -1;
        done += part;
    }
    return -2;
}

bool guard_fixup(void *ucontext)
{
    ucontext_t *uc = ucontext;
#if defined(__x86_64__)
    greg_t *pc = &uc->uc_mcontext.gregs[REG_RIP];
#else
    unsigned long long *pc = (void *)&uc->uc_mcontext.pc;
#endif
    uintptr_t at = (uintptr_t)*pc;
    if (at >= (uintptr_t)guard_copy_from && at < (uintptr_t)guard_copy_to)
        *pc = (__typeof__(*pc))(uintptr_t)guard_copy_to;
    else if (at >= (uintptr_t)guard_zero_from && at < (uintptr_t)guard_zero_to)
        *pc = (__typeof__(*pc))(uintptr_t)guard_zero_to;
    else if (at >= (uintptr_t)guard_cas_from && at < (uintptr_t)guard_cas_to)
        *pc = (__typeof__(*pc))(uintptr_t)guard_cas_to;
    else
        return false;
    return true;
}

static void only_guard(int sig, siginfo_t *info, void *ucontext)
{
    if (!guard_fixup(ucontext))
        signal(sig, SIG_DFL); /* the access is done again and ends the process */
}

void guard_install(void)
{
    struct sigaction sa = {.sa_sigaction = only_guard, .sa_flags = SA_SIGINFO | SA_NODEFER};
    sigaction(SIGSEGV, &sa, NULL);
    sigaction(SIGBUS, &sa, NULL);
}
