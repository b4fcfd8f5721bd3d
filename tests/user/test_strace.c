#include "check.h"

#include <fcntl.h>

#include "base/guard.h"
#include "user/linux/abi.h"
#include "user/linux/headers.h"

extern const struct abi abi_aarch64;

/* The arguments' text of a call, for a thread with no more than an address space. */
static const char *show(enum sys_id id, u64 a0, u64 a1, u64 a2, u64 a3)
{
    static char text[2048];
    struct process p = {.abi = &abi_aarch64, .word = 8, .space = {.top = 1ull << 47}};
    struct thread t = {.process = &p};
    const u64 a[6] = {a0, a1, a2, a3};
    guard_install();
    strace_args(&t, &sys_calls[id], a, text, sizeof(text));
    return text;
}

#define PTR(x) (u64)(uintptr_t)(x)

TEST(arguments)
{
    CHECK_STR(show(SYS_ID_write, 1, 0x498f80, 16, 0), "1,0x0000000000498f80,16");
    CHECK_STR(show(SYS_ID_openat, (u64)AT_FDCWD, PTR("/etc/x"), O_RDONLY | O_CLOEXEC, 0),
              "AT_FDCWD,\"/etc/x\",O_RDONLY|O_CLOEXEC,0000");
    CHECK_STR(show(SYS_ID_brk, 0, 0, 0, 0), "NULL");
    CHECK_STR(show(SYS_ID_kill, (u64)-1, SIGTERM, 0, 0), "-1,SIGTERM");
    CHECK_STR(show(SYS_ID_kill, 5, 40, 0, 0), "5,40");
    CHECK_STR(show(SYS_ID_mprotect, 0x1000, 16384, PROT_READ, 0), "0x0000000000001000,16384,PROT_READ");
    CHECK_STR(show(SYS_ID_mprotect, 0x1000, 1, 0, 0), "0x0000000000001000,1,PROT_NONE");
    CHECK_STR(show(SYS_ID_clock_gettime, 1, 0, 0, 0), "CLOCK_MONOTONIC,NULL");
    CHECK_STR(show(SYS_ID_clock_gettime, 99, 0, 0, 0), "99,NULL");
    CHECK_STR(show(SYS_ID_futex, 8, 128, 0, 0), "0x0000000000000008,FUTEX_PRIVATE_FLAG|FUTEX_WAIT,0,0,NULL,0");
}

TEST(flags_are_translated)
{
    /* O_DIRECTORY of this port */
    CHECK_STR(show(SYS_ID_openat, 3, PTR("d"), 040000, 0), "3,\"d\",O_RDONLY|O_DIRECTORY,0000");
    CHECK_STR(show(SYS_ID_openat, 3, PTR("d"), 0x10000000, 0), "3,\"d\",O_RDONLY|0x10000000,0000");
}

TEST(strings)
{
    const char *args[] = {"ls", "a b", NULL};
    CHECK_STR(show(SYS_ID_execve, PTR("/bin/ls"), PTR(args), 0, 0), "\"/bin/ls\",{\"ls\",\"a b\"},NULL");
    CHECK_STR(show(SYS_ID_chdir, PTR("new\nline"), 0, 0, 0), "\"new\\x0aline\"");
    CHECK_STR(show(SYS_ID_chdir, 8, 0, 0, 0), "0x8");
    CHECK_STR(show(SYS_ID_chdir, 0, 0, 0, 0), "NULL");
    char longer[4000];
    memset(longer, 'y', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = 0;
    const char *s = show(SYS_ID_chdir, PTR(longer), 0, 0, 0);
    CHECK(strlen(s) < 600 && strstr(s, "y\"...") != NULL);
}

TEST(table)
{
    CHECK_EQ(sys_numbers_generic[64], SYS_ID_write + 1);
    CHECK_EQ(sys_numbers_x86_64[1], SYS_ID_write + 1);
    CHECK(sys_numbers_generic_count > 440);
    for (unsigned i = 0; i < SYS_NCALLS; i++) {
        const struct sys_call *c = &sys_calls[i];
        /* What the host shall do must be there on the host. */
        if (!c->run && !c->deny && c->host < 0)
            printf("# %s is unknown to this host's headers\n", c->name);
    }
}

TEST(layouts)
{
    struct process p = {.abi = &abi_aarch64};
    CHECK_EQ(struct_guest_size(&p, SYS_STRUCT_stat), 128);
    CHECK_EQ(struct_guest_size(&p, SYS_STRUCT_epoll_event), 16);
    CHECK_EQ(struct_guest_size(&p, SYS_STRUCT_timespec), 16);
    CHECK_EQ(flags_to_host(&p, SYS_SET_open, 040000 | 0400000), O_DIRECTORY | 0100000);
    CHECK_EQ(flags_to_guest(&p, SYS_SET_open, O_NOFOLLOW | O_DIRECT | 1), 0100000 | 0200000 | 1);
}

TEST_MAIN()
