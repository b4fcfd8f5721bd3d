/* An image from anywhere: open, map, read, check, write, repair. Nothing may crash, hang or take memory
 * out of proportion, and what a repair has gone over is clean.
 *
 * An input is short although images are not: a byte that says what to do, then pieces of the image, each with
 * its place in units of UNIT bytes (2 bytes, big-endian), its length less one (1 byte) and its bytes. What no
 * piece covers is zero. tests/fuzz/pieces.py makes one from an image. */
#include "fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "block/memory.h"

enum { MAX_STEPS = 100, PIECE = 4 << 10, UNIT = 8, PIECE_HEAD = 3, MAX_INPUT = 64 << 10, MAX_IMAGE = 512 << 10 };

static void read_some(struct node *n)
{
    u8 *buf = xmalloc(PIECE);
    u64 size = node_size(n), at = 0;
    for (unsigned i = 0; i < MAX_STEPS && at < size; i++) {
        struct blk_status s;
        if (node_status(n, at, size - at, &s)) {
            at += PIECE;
            continue;
        }
        if (!s.len || s.len > size - at)
            abort();
        if (s.flags & STATUS_DATA)
            node_io(n, BLK_READ, at, buf, MIN(s.len, (u64)PIECE), 0);
        at += s.len;
    }
    free(buf);
}

static void change_some(struct node *n)
{
    u64 size = node_size(n);
    u8 buf[1500];
    memset(buf, 7, sizeof(buf));
    for (unsigned i = 0; i < 3 && size > sizeof(buf); i++) {
        u64 at = (size - sizeof(buf)) / 3 * i;
        node_io(n, BLK_WRITE, at, buf, sizeof(buf), 0);
        node_io(n, BLK_ZERO, at, NULL, MIN(size - at, (u64)30000), BLK_MAY_UNMAP);
        node_io(n, BLK_DISCARD, at, NULL, MIN(size - at, (u64)30000), 0);
    }
    struct err e;
    node_flush(n);
    node_snapshot_create(n, "fuzz", NULL, &e);
    node_snapshot_delete(n, "fuzz", &e);
}

/* The next piece of an input, which ends if it returns false; *at: its place in the image. */
static bool next_piece(const uint8_t **data, size_t *size, size_t *at, size_t *len)
{
    if (*size <= PIECE_HEAD)
        return false;
    const uint8_t *p = *data;
    *at = (size_t)(p[0] << 8 | p[1]) * UNIT;
    *len = MIN((size_t)p[2] + 1, *size - PIECE_HEAD);
    *data += PIECE_HEAD + *len;
    *size -= PIECE_HEAD + *len;
    return true;
}

/* The image that an input describes. */
static struct memory image_of(const uint8_t *data, size_t size)
{
    struct memory m = {.limit = MAX_IMAGE};
    const uint8_t *p = data;
    size_t left = size, at, len;
    while (next_piece(&p, &left, &at, &len))
        m.size = MAX(m.size, at + len);
    m.room = m.size + 1;
    m.bytes = xcalloc(1, m.room);
    while (next_piece(&data, &size, &at, &len))
        memcpy(m.bytes + at, data - len, len);
    return m;
}

static void print(struct check_result *c, const char *line)
{
    fprintf(stderr, "%s\n", line);
}

static void try_image(struct block_graph *g, const uint8_t *data, size_t size, unsigned what)
{
    struct memory m = image_of(data, size);
    struct err e = {0};
    u32 flags = what == 0 ? OPEN_NO_BACKING : OPEN_NO_BACKING | OPEN_WRITE | (what == 2 ? OPEN_CHECK : 0);
    struct node *n = node_open_above(memory_node(g, &m, flags), "qcow2", NULL, flags, &e);
    struct check_result c = {0}, again = {0};
    if (!n && !e.text[0])
        abort(); /* a refusal says why */
    if (n && what == 0) {
        struct image_info info;
        if (node_info(n, &info, &e))
            image_info_free(&info);
        read_some(n);
        node_check(n, 0, &c, &e);
    } else if (n && what == 1) {
        change_some(n);
    } else if (n && node_check(n, FIX_LEAKS | FIX_ERRORS, &c, &e) && !c.corruptions) {
        if (node_check(n, 0, &again, &e) && (again.corruptions || again.leaks)) {
            again.report = print;
            node_check(n, 0, &again, &e);
            abort(); /* repaired, and not clean */
        }
        read_some(n);
    }
    node_close(n, NULL);
    memory_free(&m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct block_graph *g; /* its threads would take most of the time if each input had its own */
    struct err e;
    if (!g)
        g = block_graph_new(BLOCK_AIO_THREADS, &e);
    if (g && size && size < MAX_INPUT)
        try_image(g, data + 1, size - 1, data[0] % 3);
    return 0;
}
