/* The state of a virtual machine: bytes that the active L1 table maps behind the end of the disk, from the next
 * multiple of what an L2 table maps on. A snapshot that is taken holds them with the disk. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "block/qcow2/qcow2.h"

enum { PIECE = 4 << 20 /* a multiple of every cluster size */ };

u64 vmstate_start(const struct qcow2 *q)
{
    return ALIGN_UP(q->fmt.node->size, (u64)q->cluster_size << q->l2_bits);
}

bool vmstate_drop(struct qcow2 *q, struct err *e)
{
    u64 end = (u64)q->l1_size << (q->cluster_bits + q->l2_bits);
    return change_range(q, vmstate_start(q), end, map_drop, e);
}

static bool state_io(struct qcow2 *q, enum blk_op op, u64 at, u8 *buf, u64 len, struct err *e)
{
    struct node *n = q->fmt.node;
    node_event(n->file, op == BLK_READ ? EVENT_VMSTATE_LOAD : EVENT_VMSTATE_SAVE);
    int error = node_io(n, op, vmstate_start(q) + at, buf, len, BLK_VM_STATE);
    return !error || err_set(e, error, "cannot %s the machine state in '%s': %s", op == BLK_READ ? "read" : "write", n->filename, strerror(error));
}

/* Whole clusters are written, so that nothing has to be found out about what is around them. */
bool qcow2_vmstate_write(struct node *n, u64 offset, const void *data, u64 len, struct err *e)
{
    struct qcow2 *q = qcow2_of_node(n);
    if (has_data_file(q))
        return err_set(e, ENOTSUP, "an image with an external data file has no snapshots");
    if (len > INT64_MAX - offset || offset + len > INT64_MAX - vmstate_start(q) - PIECE)
        return err_set(e, EFBIG, "the machine state is too large for '%s'", n->filename);
    node_drain(n);
    bool good = grow_l1(q, vmstate_start(q) + offset + len, e);
    u8 *buf = xmalloc(PIECE);
    for (u64 done = 0; done < len && good;) {
        u64 at = offset + done, start = ALIGN_DOWN(at, (u64)q->cluster_size), n_bytes = MIN(len - done, PIECE - (at - start));
        u64 whole = ALIGN_UP(at + n_bytes, (u64)q->cluster_size) - start;
        good = whole == n_bytes || state_io(q, BLK_READ, start, buf, whole, e);
        memcpy(buf + (at - start), (const u8 *)data + done, n_bytes);
        good = good && state_io(q, BLK_WRITE, start, buf, whole, e);
        done += n_bytes;
    }
    free(buf);
    return good;
}

bool qcow2_vmstate_read(struct node *n, u64 offset, void *data, u64 len, struct err *e)
{
    struct qcow2 *q = qcow2_of_node(n);
    if (len > INT64_MAX - offset || offset + len > INT64_MAX - vmstate_start(q))
        return err_set(e, EFBIG, "'%s' has no machine state there", n->filename);
    return state_io(q, BLK_READ, offset, data, len, e);
}
