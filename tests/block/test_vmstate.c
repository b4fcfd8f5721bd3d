/* The state of a machine in an image: written, kept by snapshots, read again. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "block/memory.h"
#include "block/node.h"
#include "check.h"

enum { DISK = 3 << 20, STATE = 700001, PIECE = 50000 };

static void fill(u8 *p, size_t len, u8 seed)
{
    for (size_t i = 0; i < len; i++)
        p[i] = (u8)(seed + i * 7 + i / 251);
}

static bool write_state(struct node *n, u8 seed, struct err *e)
{
    u8 *state = xmalloc(STATE);
    bool good = true;
    fill(state, STATE, seed);
    for (u64 at = 0; at < STATE && good; at += PIECE)
        good = node_vmstate_write(n, at, state + at, MIN((u64)PIECE, STATE - at), e);
    free(state);
    return good;
}

static bool state_is(struct node *n, u8 seed)
{
    struct err e;
    u8 *want = xmalloc(STATE), *got = xmalloc(STATE);
    fill(want, STATE, seed);
    bool good = node_vmstate_read(n, 0, got, STATE, &e) && !memcmp(want, got, STATE);
    free(want);
    free(got);
    return good;
}

static bool disk_is(struct node *n, u64 at, u64 len, u8 value)
{
    u8 *buf = xmalloc(len);
    bool good = !node_io(n, BLK_READ, at, buf, len, 0);
    for (u64 i = 0; i < len && good; i++)
        good = buf[i] == value;
    free(buf);
    return good;
}

static void write_disk(struct node *n, u8 value)
{
    u8 buf[10000];
    memset(buf, value, sizeof(buf));
    CHECK_EQ(node_io(n, BLK_WRITE, 1000, buf, sizeof(buf), 0), 0);
}

static bool clean(struct node *n)
{
    struct check_result c = {0};
    struct err e;
    return !node_flush(n) && node_check(n, 0, &c, &e) && !c.corruptions && !c.leaks;
}

/* Two snapshots with different states and disks. */
static void two_snapshots(struct node *n)
{
    struct err e = {0};
    for (u8 i = 1; i <= 2; i++) {
        write_disk(n, i);
        CHECK(write_state(n, i, &e));
        struct snapshot_vm vm = {.size = STATE, .clock_nsec = i * 1000000000ull};
        CHECK(node_snapshot_create(n, i == 1 ? "one" : "two", &vm, &e));
    }
    CHECK(!e.text[0]);
}

static const char *const kinds[] = {
    "{'cluster_size': 512}", "{'cluster_size': 4096, 'compat': '0.10'}", "{'cluster_size': 65536}",
    "{'cluster_size': 16384, 'extended_l2': 'on'}",
};

TEST(snapshots_hold_the_state)
{
    for (unsigned k = 0; k < ARRAY_LEN(kinds); k++) {
        struct err e = {0};
        struct block_graph *g = block_graph_new(BLOCK_AIO_THREADS, &e);
        struct memory m = {0};
        CHECK(memory_create(g, &m, kinds[k], DISK));
        struct node *n = node_open_above(memory_node(g, &m, OPEN_WRITE), "qcow2", NULL, OPEN_WRITE, &e);
        two_snapshots(n);
        CHECK(clean(n));
        write_disk(n, 9);
        CHECK(node_snapshot_apply(n, "one", &e));
        CHECK(state_is(n, 1));
        CHECK(disk_is(n, 1000, 10000, 1));
        CHECK(node_snapshot_apply(n, "two", &e));
        CHECK(state_is(n, 2));
        CHECK(disk_is(n, 1000, 10000, 2));
        CHECK(clean(n));
        CHECK(node_snapshot_delete(n, "two", &e));
        CHECK(clean(n));
        if (k != 1) { /* version 2 is not resized with snapshots */
            u64 size = node_size(n) * 40;
            CHECK(node_truncate(n, size, PREALLOC_OFF, &e));
            CHECK(disk_is(n, DISK, size - DISK, 0)); /* not the state that was behind the end */
            CHECK(node_snapshot_apply(n, "one", &e));
            CHECK(state_is(n, 1));
        }
        CHECK(clean(n));
        CHECK(node_close(n, &e));
        memory_free(&m);
        block_graph_free(g);
    }
}

/* In a file; LYRE_VMSTATE_IMAGE names one that is left for others to look at. */
TEST(a_file_that_is_opened_again)
{
    struct err e = {0};
    char temporary[] = "/tmp/lyre-vmstate-XXXXXX";
    const char *asked = getenv("LYRE_VMSTATE_IMAGE"), *name = asked ? asked : temporary;
    close(asked ? -1 : mkstemp(temporary));
    struct block_graph *g = block_graph_new(BLOCK_AIO_AUTO, &e);
    struct json *o = json_object();
    json_set_int(o, "size", DISK);
    CHECK(block_create(g, "qcow2", name, o, &e));
    json_free(o);
    struct node *n = node_open(g, name, "qcow2", NULL, OPEN_WRITE, &e);
    two_snapshots(n);
    CHECK(node_close(n, &e));
    n = node_open(g, name, "qcow2", NULL, 0, &e);
    CHECK(node_snapshot_load(n, NULL, "one", &e));
    CHECK(state_is(n, 1));
    CHECK(disk_is(n, 1000, 10000, 1));
    CHECK(!node_vmstate_write(n, 0, "", 1, &e));
    CHECK(node_close(n, &e));
    block_graph_free(g);
    if (!asked)
        unlink(name);
}

TEST_MAIN()
