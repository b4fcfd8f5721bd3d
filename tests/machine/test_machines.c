/* Machines as objects: several in one process, each with its own state; every board can be made. */
#include "check.h"

#include "machine/machine.h"

#define UART_IBRD 0x9000024
#define RAM       0x40000000

static struct machine *made(const struct machine_opts *o)
{
    struct err e = {0};
    struct machine *m = machine_new(o, &e);
    CHECK_STR(e.text, "");
    return m;
}

static u64 peek(struct machine *m, u64 addr)
{
    u64 v = 0;
    CHECK_EQ(mem_read(machine_memory(m), addr, 4, &v), MEM_OK);
    return v;
}

TEST(two_machines_share_nothing)
{
    struct machine_opts o = {.board = board_find("aarch64/virt", NULL, NULL), .cpus = 2, .ram = 16 << 20,
                             .without_cpus = true};
    struct machine *a = made(&o), *b = made(&o);
    mem_write(machine_memory(a), RAM, 4, 1);
    mem_write(machine_memory(b), RAM, 4, 2);
    mem_write(machine_memory(a), UART_IBRD, 4, 3);
    CHECK_EQ(peek(a, RAM), 1);
    CHECK_EQ(peek(b, RAM), 2);
    CHECK_EQ(peek(a, UART_IBRD), 3);
    CHECK_EQ(peek(b, UART_IBRD), 0);
    CHECK(machine_dev(a, "gic") != machine_dev(b, "gic"));
    CHECK(machine_free(a, NULL));
    CHECK_EQ(peek(b, RAM), 2);
    CHECK(machine_free(b, NULL));
}

/* Windows that lie over each other would hide a part of a device: the view has all of each. */
static void check_windows(struct machine *m)
{
    struct mem_piece p, last = {0};
    for (unsigned i = 0; mem_space_piece(machine_memory(m), i, &p); i++) {
        CHECK(!p.offset || !strncmp(p.name, "gpex", 4)); /* whose bus is seen through windows */
        CHECK(i == 0 || p.start > last.last);
        last = p;
    }
}

TEST(every_board)
{
    for (unsigned i = 0; board_at(i); i++) {
        const struct board *b = board_at(i);
        struct machine_opts o = {.board = b, .cpus = 4, .ram = b->default_ram, .without_cpus = true};
        struct machine *m = made(&o);
        size_t len;
        u8 *fdt = machine_fdt(m, &len, NULL);
        CHECK(fdt != NULL);
        check_windows(m);
        CHECK(!b->power_key || machine_dev(m, b->power_key));
        CHECK(!b->controller || machine_dev(m, b->controller)); /* an empty board has none */
        free(fdt);
        machine_free(m, NULL);
    }
}

TEST(what_cannot_be)
{
    struct err e = {0};
    const struct board *virt = board_find("virt", "aarch64", &e);
    struct machine_opts o = {.board = virt, .cpus = virt->max_cpus + 1, .ram = 1 << 20, .without_cpus = true};
    CHECK(!machine_new(&o, &e));
    CHECK(strstr(e.text, "Invalid SMP CPUs") != NULL);
    o.cpus = 1;
    o.serial[0] = "nowhere";
    CHECK(!machine_new(&o, &e));
    CHECK(strstr(e.text, "nowhere") != NULL);
    o.serial[0] = NULL;
    o.ram = 1ull << 50;
    CHECK(!machine_new(&o, &e));
    CHECK(!board_find("aarch64/toaster", NULL, &e));
    CHECK(!board_find("virt", "riscv64", &e));
}

TEST_MAIN()
