/* Branch targets: which indirect branch may land where on a guarded page, what a refused one leaves.
 * guest: aarch64
 * link: static
 * flags: -O1
 * peer: it lets every branch pass */
#include "prog.h"

#include <sys/auxv.h>
#include <ucontext.h>

#ifndef PROT_BTI
#define PROT_BTI 0x10
#endif
#ifndef HWCAP2_BTI
#define HWCAP2_BTI (1 << 17)
#endif

#define RET 0xd65f03c0

/* What is branched to; each is followed by a return. */
static const struct {
    const char *name;
    uint32_t insn;
} pads[] = {
    {"nop", 0xd503201f},  {"bti", 0xd503241f},    {"bti c", 0xd503245f},   {"bti j", 0xd503249f},
    {"bti jc", 0xd50324df}, {"paciasp", 0xd503233f}, {"pacibsp", 0xd503237f},
};
enum { PADS = sizeof(pads) / sizeof(*pads) };

static volatile sig_atomic_t refused, code, type;
static uint64_t fault_at;

static void on_ill(int sig, siginfo_t *info, void *context)
{
    ucontext_t *u = context;
    refused = 1;
    code = info->si_code;
    fault_at = (uint64_t)info->si_addr == u->uc_mcontext.pc ? u->uc_mcontext.pc : 0;
    type = u->uc_mcontext.pstate >> 10 & 3;
    u->uc_mcontext.pc = u->uc_mcontext.regs[30];
    u->uc_mcontext.pstate &= ~(3ull << 10);
}

static void blr(uint64_t to)
{
    __asm__ volatile("mov x9, %0; blr x9; hint #29" ::"r"(to) : "x9", "x30", "memory");
}

static void br(uint64_t to)
{
    __asm__ volatile("mov x9, %0; adr x30, 1f; br x9; 1:" ::"r"(to) : "x9", "x30", "memory");
}

static void br_x16(uint64_t to)
{
    __asm__ volatile("mov x16, %0; adr x30, 1f; br x16; 1:" ::"r"(to) : "x16", "x30", "memory");
}

static void ret(uint64_t to)
{
    __asm__ volatile("mov x9, %0; adr x30, 1f; ret x9; 1:" ::"r"(to) : "x9", "x30", "memory");
}

/* By way of a stub in the guarded page: bti c; br x9. */
static uint64_t stub;

static void br_inside(uint64_t to)
{
    __asm__ volatile("mov x9, %0; mov x10, %1; blr x10" ::"r"(to), "r"(stub) : "x9", "x10", "x30", "memory");
}

static const struct {
    const char *name;
    void (*branch)(uint64_t to);
} branches[] = {{"blr", blr}, {"br", br}, {"br x16", br_x16}, {"ret", ret}, {"br inside", br_inside}};

static void table(const char *title, uint64_t at)
{
    printf("%s\n", title);
    for (unsigned b = 0; b < sizeof(branches) / sizeof(*branches); b++) {
        printf("%10s:", branches[b].name);
        for (unsigned p = 0; p < PADS; p++) {
            for (int again = 0; again < 3; again++) {
                uint64_t to = at + 8 * p;
                refused = 0;
                branches[b].branch(to);
                if (again < 2)
                    continue;
                if (!refused)
                    printf(" ok");
                else
                    printf(" %s:%d", code == ILL_ILLOPC && fault_at == to ? "ill" : "odd", (int)type);
            }
        }
        printf("\n");
    }
}

/* They come at any instruction, between a call and its landing too. */
static volatile int alarms;

static void on_alarm(int sig)
{
    alarms++;
}

int main(void)
{
    uint32_t *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (!(getauxval(AT_HWCAP2) & HWCAP2_BTI)) {
        printf("no BTI; mprotect %d\n", mprotect(page, 4096, PROT_READ | PROT_EXEC | PROT_BTI));
        return 0;
    }
    for (unsigned p = 0; p < PADS; p++) {
        page[2 * p] = pads[p].insn;
        page[2 * p + 1] = RET;
    }
    /* paciasp signs x30: authenticate it before the return */
    page[32] = 0xd503245f; /* bti c */
    page[33] = 0xd61f0120; /* br x9 */
    page[2 * 5] = 0xd503233f;
    page[2 * 5 + 1] = 0xd65f0bff; /* retaa */
    page[2 * 6 + 1] = 0xd65f0fff; /* retab */
    stub = (uint64_t)(page + 32);
    __builtin___clear_cache((char *)page, (char *)(page + 64));
    struct sigaction action = {.sa_sigaction = on_ill, .sa_flags = SA_SIGINFO};
    sigaction(SIGILL, &action, NULL);
    mprotect(page, 4096, PROT_READ | PROT_EXEC);
    table("not guarded", (uint64_t)page);
    mprotect(page, 4096, PROT_READ | PROT_EXEC | PROT_BTI);
    table("guarded", (uint64_t)page);
    signal(SIGALRM, on_alarm);
    ualarm(1000, 1000);
    refused = 0;
    while (alarms < 30)
        blr((uint64_t)(page + 4));
    ualarm(0, 0);
    printf("with alarms: %s\n", refused ? "refused" : "ok");
    mprotect(page, 4096, PROT_READ | PROT_EXEC);
    table("no more", (uint64_t)page);
    return 0;
}
