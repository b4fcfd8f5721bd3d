/* Structures of guests whose layout is another, in both directions; which member is where is held by
 * test_layouts.py against the kernel's headers. */
#include "check.h"

#include <string.h>

#include "user/linux/abi.h"
#include "user/linux/headers.h"

static void to_guest(const struct sys_layout *l, void *guest, size_t size, const void *host)
{
    memset(guest, 0xa5, size);
    layout_to_guest(l, guest, host);
}

TEST(words_are_cut_and_extended)
{
    const struct sys_layout *l = sys_layouts_riscv32[SYS_STRUCT_timeval];
    struct timeval host = {-5, 6};
    s32 guest[2];
    CHECK_EQ(l->size, sizeof(guest));
    to_guest(l, guest, sizeof(guest), &host);
    CHECK(guest[0] == -5 && guest[1] == 6);
    host.tv_sec = 7;
    layout_to_host(l, &host, sizeof(host), guest);
    CHECK(host.tv_sec == -5 && host.tv_usec == 6);
    l = sys_layouts_riscv32[SYS_STRUCT_ulong];
    unsigned long wide;
    layout_to_host(l, &wide, sizeof(wide), guest);
    CHECK_EQ(wide, 0xfffffffb);
}

TEST(iovec)
{
    const struct sys_layout *l = sys_layouts_riscv32[SYS_STRUCT_iovec];
    const u32 guest[2] = {0x80001000, 0xfffffff0};
    u32 back[2];
    struct iovec host;
    CHECK_EQ(l->size, 8);
    layout_to_host(l, &host, sizeof(host), guest);
    CHECK_EQ((u64)(uintptr_t)host.iov_base, 0x80001000);
    CHECK_EQ(host.iov_len, 0xfffffff0);
    to_guest(l, back, sizeof(back), &host);
    CHECK(!memcmp(guest, back, sizeof(back)));
}

/* What the three kinds of siginfo hold lies in one place for all: a sender, an address, a child. */
TEST(siginfo)
{
    const struct sys_layout *l = sys_layouts_riscv32[SYS_STRUCT_siginfo];
    u32 guest[32];
    siginfo_t host = {.si_signo = SIGSEGV, .si_code = SEGV_ACCERR};
    CHECK_EQ(l->size, 128);
    host.si_addr = (void *)0x7ffff123;
    to_guest(l, guest, sizeof(guest), &host);
    CHECK_EQ(guest[0], SIGSEGV);
    CHECK_EQ(guest[2], SEGV_ACCERR);
    CHECK_EQ(guest[3], 0x7ffff123);
    host = (siginfo_t){.si_signo = SIGCHLD, .si_code = CLD_EXITED};
    host.si_pid = 77;
    host.si_uid = 88;
    host.si_status = -1;
    host.si_utime = 5;
    host.si_stime = 6;
    to_guest(l, guest, sizeof(guest), &host);
    const u32 want[] = {SIGCHLD, 0, CLD_EXITED, 77, 88, ~0u, 5, 6, 0};
    CHECK(!memcmp(guest, want, sizeof(want)));
    host = (siginfo_t){.si_signo = 40, .si_code = SI_QUEUE};
    host.si_pid = 77;
    host.si_value.sival_ptr = (void *)0x81234567;
    to_guest(l, guest, sizeof(guest), &host);
    CHECK_EQ(guest[5], 0x81234567);
}

TEST(a_time_of_two_words)
{
    const struct sys_layout *l = sys_layouts_riscv32[SYS_STRUCT_semid];
    u32 guest[17];
    struct semid_ds host = {.sem_otime = 0x123456789, .sem_nsems = 3}, back;
    CHECK_EQ(l->size, sizeof(guest) - 4);
    host.sem_perm.uid = 1000;
    to_guest(l, guest, sizeof(guest), &host);
    CHECK_EQ(guest[1], 1000);
    CHECK_EQ(guest[9], 0x23456789);
    CHECK_EQ(guest[10], 1);
    CHECK_EQ(guest[13], 3);
    layout_to_host(l, &back, sizeof(back), guest);
    CHECK(back.sem_otime == host.sem_otime && back.sem_nsems == 3 && back.sem_perm.uid == 1000);
}

TEST(what_is_not_named_is_zero)
{
    const struct sys_layout *l = sys_layouts_riscv64[SYS_STRUCT_stat];
    struct stat host;
    u32 guest[32];
    memset(&host, 0xff, sizeof(host));
    CHECK_EQ(l->size, sizeof(guest));
    to_guest(l, guest, sizeof(guest), &host);
    CHECK(!guest[10] && !guest[11] && !guest[15] && !guest[30] && !guest[31]);
    CHECK_EQ(guest[14], ~0u);
    /* A handler has no restorer there. */
    const u64 action[3] = {0x1000, SA_SIGINFO, 2};
    struct kernel_sigaction sa;
    layout_to_host(sys_layouts_riscv64[SYS_STRUCT_sigaction], &sa, sizeof(sa), action);
    CHECK(sa.handler == 0x1000 && sa.flags == SA_SIGINFO && !sa.restorer && sa.mask == 2);
}

/* Two words for an offset, sign or zero extension for the rest. */
TEST(arguments_of_32_bits)
{
    u64 a[6] = {0xdead00000003, 0xffffffff80000000, 0x10, 0x89abcdef, 0x01234567, 0};
    syscall_widen_args(&sys_calls[SYS_ID_pread64], a);
    CHECK(a[0] == 3 && a[1] == 0x80000000 && a[2] == 0x10 && a[3] == 0x0123456789abcdef);
    u64 b[6] = {5, 0x1000, 1, 0x80000000, 2, 7};
    syscall_widen_args(&sys_calls[SYS_ID_preadv2], b);
    CHECK(b[3] == 0x280000000 && !b[4] && b[5] == 7);
    u64 c[6] = {(u32)-100, 0x1000, 0, 0};
    syscall_widen_args(&sys_calls[SYS_ID_openat], c);
    CHECK_EQ((s64)c[0], -100);
}

TEST_MAIN()
