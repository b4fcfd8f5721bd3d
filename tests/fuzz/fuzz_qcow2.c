/* An image from anywhere: open, map, read, check, write, repair. Nothing may crash, hang or take memory
 * out of proportion, and what a repair has gone over is clean. */
#include "fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "block/memory.h"

enum { MAX_STEPS = 200, PIECE = 64 << 10 };

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
    u8 buf[3000];
    memset(buf, 7, sizeof(buf));
    for (unsigned i = 0; i < 4 && size > sizeof(buf); i++) {
        u64 at = (size - sizeof(buf)) / 4 * i;
        node_io(n, BLK_WRITE, at, buf, sizeof(buf), 0);
        node_io(n, BLK_ZERO, at, NULL, MIN(size - at, (u64)200000), BLK_MAY_UNMAP);
        node_io(n, BLK_DISCARD, at, NULL, MIN(size - at, (u64)200000), 0);
    }
    struct err e;
    node_flush(n);
    node_snapshot_create(n, "fuzz", &e);
    node_snapshot_delete(n, "fuzz", &e);
}

static void try_image(struct block_graph *g, const uint8_t *data, size_t size, unsigned what)
{
    struct memory m = {.limit = 32 << 20, .size = size, .bytes = xmalloc(size + 1)};
    memcpy(m.bytes, data, size);
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
    } else if (n && node_check(n, FIX_LEAKS | FIX_ERRORS, &c, &e) && !c.check_errors) {
        node_check(n, 0, &again, &e);
        read_some(n);
    }
    node_close(n, NULL);
    memory_free(&m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err e;
    struct block_graph *g = block_graph_new(BLOCK_AIO_THREADS, &e);
    if (!g)
        return 0;
    if (size && size < 1 << 20)
        try_image(g, data + 1, size - 1, data[0] % 3);
    block_graph_free(g);
    return 0;
}
