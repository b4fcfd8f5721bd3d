#include "check.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/guard.h"
#include "stubs.h"
#include "user/space.h"

#define P    SPACE_PAGE
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)
#define RW   (PROT_READ | PROT_WRITE)
#define RX   (PROT_READ | PROT_EXEC)

static void start(struct space *sp)
{
    struct err e;
    static char engine;
    guard_install();
    if (!space_init(sp, &e)) {
        printf("Bail out! %s\n", e.text);
        exit(1);
    }
    sp->engine = (struct engine *)&engine;
}

/* A guest of 32 bits: nothing of it lies above what it can point to. */
TEST(limit)
{
    const u64 end = 0x70000000;
    struct space sp;
    start(&sp);
    space_limit(&sp, end);
    u64 a = (u64)space_mmap(&sp, 0, 3 * P, RW, ANON, -1, 0, 0);
    CHECK(a <= end - 3 * P && a > end / 2);
    CHECK_EQ(space_mmap(&sp, end - P, 2 * P, RW, ANON | MAP_FIXED, -1, 0, 0), -ENOMEM);
    CHECK_EQ(space_mmap(&sp, 1ull << 32, P, RW, ANON | MAP_FIXED, -1, 0, 0), -ENOMEM);
    CHECK(space_ok(&sp, end - 1, 1) && !space_ok(&sp, end, 1) && !space_ok(&sp, end - 1, 2));
    space_munmap(&sp, a, 3 * P);
    space_free(&sp);
}

TEST(placement)
{
    struct space sp;
    start(&sp);
    u64 a = (u64)space_mmap(&sp, 0, 3 * P, RW, ANON, -1, 0, 0);
    u64 b = (u64)space_mmap(&sp, 0, P, RW, ANON, -1, 0, 0);
    CHECK_EQ(a, sp.mmap_top - 3 * P);
    CHECK_EQ(b, a - P);
    CHECK_EQ(space_mmap(&sp, 0x1234000, P, RW, ANON, -1, 0, 0), 0x1234000);
    CHECK_EQ(space_mmap(&sp, a, P, RW, ANON, -1, 0, 0), b - P);
    CHECK_EQ(space_mmap(&sp, a, P, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0, 0), -EEXIST);
    CHECK_EQ(space_mmap(&sp, a + P, P, RW, ANON | MAP_FIXED, -1, 0, 0), a + P);
    CHECK_EQ(space_munmap(&sp, a, 3 * P), 0);
    CHECK_EQ(space_munmap(&sp, 0x1234000, P), 0);
    space_free(&sp);
}

TEST(what_is_ours_stays_ours)
{
    struct space sp;
    start(&sp);
    u64 here = (u64)(uintptr_t)test_what_is_ours_stays_ours & ~(P - 1);
    u64 stack = (u64)(uintptr_t)&sp & ~(P - 1);
    CHECK_EQ(space_mmap(&sp, here, P, RW, ANON | MAP_FIXED, -1, 0, 0), -ENOMEM);
    CHECK_EQ(space_mmap(&sp, stack, P, RW, ANON | MAP_FIXED, -1, 0, 0), -ENOMEM);
    CHECK(!space_ok(&sp, here, 1));
    CHECK(!space_ok(&sp, stack, 1));
    CHECK(!space_ok(&sp, sp.top - 1, 2));
    CHECK(!space_ok(&sp, ~0ull, 1));
    CHECK(!space_ok(&sp, 4096, ~0ull));
    CHECK_EQ(space_munmap(&sp, here, P), 0); /* nothing of the guest's is there */
    CHECK_EQ(space_mprotect(&sp, here, P, RW), -ENOMEM);
    /* Something of the host's in the guest's part: found when it is hit. */
    void *host = mmap((void *)0x30000000, P, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0);
    CHECK_EQ(space_mmap(&sp, 0x30000000 - P, 3 * P, RW, ANON | MAP_FIXED, -1, 0, 0), -ENOMEM);
    CHECK_EQ(sp.tab.count, 0);
    munmap(host, P);
    CHECK_EQ(space_mmap(&sp, 0x30000000 - P, 3 * P, RW, ANON | MAP_FIXED, -1, 0, 0), 0x30000000 - P);
    space_munmap(&sp, 0x30000000 - P, 3 * P);
    space_free(&sp);
}

TEST(code_is_tracked)
{
    struct space sp;
    u8 buf[3 * P];
    start(&sp);
    u64 a = (u64)space_mmap(&sp, 0, 3 * P, RW, ANON, -1, 0, 0);
    memset((void *)(uintptr_t)a, 0x11, 3 * P);
    CHECK_EQ(space_fetch(&sp, a, buf, 4), 0);
    unsigned before = stub_calls.invalidated;
    space_mprotect(&sp, a + P, P, RX);
    CHECK_EQ(stub_calls.invalidated, before);
    CHECK_EQ(space_fetch(&sp, a + P, buf, 4), 4);
    CHECK_EQ(space_fetch(&sp, a + 2 * P - 2, buf, 4), 2);
    CHECK_EQ(space_fetch(&sp, a + P, buf, 3 * P), P);
    space_mprotect(&sp, a + P, P, RW);
    CHECK_EQ(stub_calls.invalidated, before + 1);
    CHECK_EQ(stub_calls.start, a + P);
    CHECK_EQ(space_fetch(&sp, a + P, buf, 4), 0);
    space_mprotect(&sp, a, 3 * P, PROT_READ | PROT_WRITE | PROT_EXEC);
    CHECK_EQ(space_fetch(&sp, a, buf, 3 * P), 3 * P);
    u64 b = (u64)space_mremap(&sp, a, 3 * P, 100 * P, MREMAP_MAYMOVE, 0);
    CHECK_EQ(space_fetch(&sp, b + 2 * P, buf, 4), 4);
    if (b != a)
        CHECK_EQ(space_fetch(&sp, a, buf, 4), 0);
    before = stub_calls.invalidated;
    space_munmap(&sp, b, 100 * P);
    CHECK_EQ(stub_calls.invalidated, before + 1);
    CHECK_EQ(space_fetch(&sp, b, buf, 4), 0);
    CHECK_EQ(space_fetch(&sp, ~0ull - 2, buf, 4), 0);
    space_free(&sp);
}

TEST(shared_code_has_several_addresses)
{
    struct space sp;
    start(&sp);
    int fd = memfd_create("code", 0);
    CHECK(ftruncate(fd, 4 * P) == 0);
    u64 w = (u64)space_mmap(&sp, 0, 4 * P, RW, MAP_SHARED, fd, 0, 0);
    u64 x = (u64)space_mmap(&sp, 0, 2 * P, RX, MAP_SHARED, fd, P, 0);
    stub_calls.invalidated = 0;
    space_code_changed(&sp, w + P + 128, 64);
    CHECK_EQ(stub_calls.invalidated, 2);
    CHECK_EQ(stub_calls.start, x + 128);
    space_code_changed(&sp, w + 3 * P, 64);
    CHECK_EQ(stub_calls.invalidated, 3);
    /* A long range: the part of it that is mapped there, too. */
    space_code_changed(&sp, w, 2 * P);
    CHECK_EQ(stub_calls.invalidated, 5);
    CHECK(stub_calls.start == x && stub_calls.len == P);
    space_munmap(&sp, w, 4 * P);
    space_munmap(&sp, x, 2 * P);
    space_free(&sp);
}

TEST(program_break)
{
    struct space sp;
    start(&sp);
    sp.brk = sp.brk_start = 0x20000000;
    CHECK_EQ(space_brk(&sp, 0), 0x20000000);
    CHECK_EQ(space_brk(&sp, 0x20000010), 0x20000010);
    *(volatile char *)0x20000008 = 1;
    CHECK_EQ(space_brk(&sp, 0x20005000), 0x20005000);
    CHECK_EQ(*(volatile char *)0x20000008, 1);
    CHECK_EQ(space_brk(&sp, 0x1fffffff), 0x20005000);
    u64 wall = (u64)space_mmap(&sp, 0x20008000, P, RW, ANON | MAP_FIXED, -1, 0, 0);
    CHECK_EQ(wall, 0x20008000);
    CHECK_EQ(space_brk(&sp, 0x20009000), 0x20005000);
    CHECK_EQ(space_brk(&sp, 0x20001000), 0x20001000);
    CHECK(!maptab_find(&sp.tab, 0x20001000));
    space_munmap(&sp, 0x20000000, 0x10000);
    space_free(&sp);
}

TEST(access)
{
    struct space sp;
    char buf[64];
    start(&sp);
    u64 a = (u64)space_mmap(&sp, 0, P, RW, ANON, -1, 0, 0);
    CHECK(space_write(&sp, a + P - 8, "text", 5));
    CHECK(!space_write(&sp, a + P - 2, "text", 5));
    CHECK(space_read(&sp, buf, a + P - 8, 8));
    CHECK(!space_read(&sp, buf, 0, 1));
    CHECK(!space_read(&sp, buf, sp.top, 1));
    CHECK_EQ(space_string(&sp, buf, sizeof(buf), a + P - 8), 4);
    CHECK_EQ(space_string(&sp, buf, 3, a + P - 8), -ENAMETOOLONG);
    CHECK_EQ(space_string(&sp, buf, sizeof(buf), sp.top + 5), -EFAULT);
    space_munmap(&sp, a, P);
    space_free(&sp);
}

TEST_MAIN()
