/* The dirty log under CPUs that write: a copy that follows it is, when they stand still, the same as memory. Stores of all kinds on two
 * CPUs, also over borders of pages and atomic ones, and writes of a device meanwhile. */
#include "check.h"

#include "machine/machine.h"

#define RAM     0x40000000ull
#define TABLE   0x40080000ull
#define PROGRAM 0x40090000ull
#define DATA    0x40100000ull
#ifdef __SANITIZE_THREAD__ /* where each byte that is copied is a call */
enum { TAKES = 6 };
#else
enum { TAKES = 150 };
#endif
enum { PAGES = 257, DMA_AT = 0xa00 }; /* the last page gets ends of what begins before it */

/* Both CPUs run it; x0 is a CPU's number.
 * _start:
 *     mov x19, x0
 *     cbnz x0, 1f
 *     ldr x0, =0xc4000003          ; PSCI CPU_ON
 *     mov x1, #1
 *     adr x2, _start
 *     mov x3, #1
 *     hvc #0
 * 1:  mov x0, #0xff
 *     msr mair_el1, x0
 *     movz x0, #0x3519             ; T0SZ 25, inner shareable, write-back
 *     movk x0, #0x80, lsl #16      ; EPD1
 *     msr tcr_el1, x0
 *     movz x0, #0x4008, lsl #16
 *     msr ttbr0_el1, x0
 *     isb
 *     mrs x0, sctlr_el1
 *     orr x0, x0, #1
 *     msr sctlr_el1, x0
 *     isb
 *     movz x9, #0x4010, lsl #16
 *     movz x10, #0x7f2d
 *     movk x10, #0x4c95, lsl #16
 *     movk x10, #0xf42d, lsl #32
 *     movk x10, #0x5851, lsl #48
 *     add x20, x19, #1
 * 2:  mul x20, x20, x10
 *     add x20, x20, #1
 *     ubfx x11, x20, #40, #8
 *     add x12, x9, x11, lsl #12
 *     add x12, x12, x19, lsl #6
 *     str x20, [x12]
 *     tbnz x20, #33, 3f
 *     stp x20, x11, [x12, #16]
 *     add x13, x12, #0xffc         ; over the border of two pages
 *     sub x13, x13, x19, lsl #6
 *     tbnz x20, #34, 2b
 *     str x20, [x13]
 *     b 2b
 * 3:  add x13, x9, #0x800
 *     add x13, x13, x11, lsl #12
 *     ldxr x14, [x13]
 *     add x14, x14, #1
 *     stxr w15, x14, [x13]
 *     tbnz x20, #35, 2b
 *     add x13, x13, #64
 *     stadd x20, [x13]
 *     b 2b
 */
static const u32 program[] = {
    0xaa0003f3, 0xb50000c0, 0x580005c0, 0xd2800021, 0x10ffff82, 0xd2800023, 0xd4000002, 0xd2801fe0,
    0xd518a200, 0xd286a320, 0xf2a01000, 0xd5182040, 0xd2a80100, 0xd5182000, 0xd5033fdf, 0xd5381000,
    0xb2400000, 0xd5181000, 0xd5033fdf, 0xd2a80209, 0xd28fe5aa, 0xf2a992aa, 0xf2de85aa, 0xf2eb0a2a,
    0x91000674, 0x9b0a7e94, 0x91000694, 0xd368be8b, 0x8b0b312c, 0x8b13198c, 0xf9000194, 0xb70800f4,
    0xa9012d94, 0x913ff18d, 0xcb1319ad, 0xb717fed4, 0xf90001b4, 0x17fffff4, 0x9120012d, 0x8b0b31ad,
    0xc85f7dae, 0x910005ce, 0xc80f7dae, 0xb71ffdd4, 0x910101ad, 0xf83401bf, 0x17ffffeb, 0x00000000,
    0xc4000003, 0x00000000,
};

struct follower {
    struct loop_timer timer;
    struct machine *machine;
    struct mem_range *ram;
    u8 copy[PAGES * MEM_LOG_PAGE];
    u64 taken;
    unsigned takes, empty; /* empty: nothing was written since the one before */
};

static struct mem_range *ram_of(struct machine *m)
{
    struct mem_piece p;
    for (unsigned i = 0; mem_space_piece(machine_memory(m), i, &p); i++) {
        if (p.start == RAM)
            return p.range;
    }
    return NULL;
}

static const u8 *memory(const struct follower *f, u64 page)
{
    return mem_range_host(f->ram) + (DATA - RAM) + page * MEM_LOG_PAGE;
}

static void follow(struct follower *f)
{
    u64 pages[PAGES / 64 + 1];
    u64 n = mem_log_take(machine_memory(f->machine), f->ram, MEM_LOG_MIGRATION, DATA - RAM, sizeof(f->copy), pages);
    for (u64 i = 0; i < PAGES; i++) {
        if (mem_log_has(pages, i))
            mem_dma_copy(f->copy + i * MEM_LOG_PAGE, memory(f, i), MEM_LOG_PAGE);
    }
    f->taken += n;
    f->empty += !n;
    f->takes++;
}

static void tick(struct loop_timer *t)
{
    struct follower *f = container_of(t, struct follower, timer);
    u64 number = f->takes;
    mem_dma_write(machine_memory(f->machine), DATA + number * 7 % PAGES * MEM_LOG_PAGE + DMA_AT, &number, sizeof(number));
    follow(f);
    if (f->takes < TAKES)
        loop_timer_set(machine_loop(f->machine), t, loop_now() + 1000000);
    else
        machine_request(f->machine, MACHINE_QUIT);
}

static void check_engine(enum engine_kind kind)
{
    struct err e = {0};
    struct machine_loader start = {.addr = PROGRAM, .has_addr = true, .sets_pc = true};
    struct machine_opts o = {.board = board_find("aarch64/virt", NULL, NULL), .cpus = 2, .ram = 16 << 20, .cpu = "max",
                             .loaders = &start, .loader_count = 1,
                             .engine = {.kind = kind, .pins = ~0u, .hot_after = 1000, .cold_runs = ENGINE_COLD_RUNS_MACHINE}};
    struct machine *m = machine_new(&o, &e);
    CHECK_STR(e.text, "");
    const u64 table[] = {0, RAM | 0x701}; /* a block: valid, shared, accessed */
    mem_dma_write(machine_memory(m), TABLE, table, sizeof(table));
    mem_dma_write(machine_memory(m), PROGRAM, program, sizeof(program));
    struct follower *f = calloc(1, sizeof(*f));
    f->machine = m;
    f->ram = ram_of(m);
    f->timer.fire = tick;
    mem_log_start(machine_memory(m), f->ram, MEM_LOG_MIGRATION);
    loop_timer_set(machine_loop(m), &f->timer, loop_now() + 1000000);
    CHECK(machine_run(m, &e));
    CHECK_STR(e.text, "");
    follow(f);
    CHECK_EQ(memcmp(f->copy, memory(f, 0), sizeof(f->copy)), 0);
    CHECK(f->taken > 6 * TAKES);
    CHECK_EQ(f->empty, 0);
    mem_log_stop(machine_memory(m), f->ram, MEM_LOG_MIGRATION);
    free(f);
    CHECK(machine_free(m, &e));
}

TEST(translated_code)
{
    check_engine(ENGINE_JIT);
}

TEST(the_interpreter)
{
    check_engine(ENGINE_INTERP);
}

TEST_MAIN()
