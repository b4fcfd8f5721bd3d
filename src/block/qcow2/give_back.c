/* Which room of the file is in use, and what is not goes back to the host. */
#include <inttypes.h>
#include <string.h>

#include "block/qcow2/qcow2.h"

/* The next run of free clusters before `end`, from `at` on; len 0: there is none. */
struct free_clusters {
    struct fmt_job job;
    u64 at, len, end;
};

static enum step find_step(struct fmt *f, struct fmt_job *j)
{
    struct free_clusters *x = container_of(j, struct free_clusters, job);
    while (x->at + x->len < x->end) {
        u64 count;
        enum step s = refcount_get(qcow2_of(f), x->at + x->len, &count);
        if (s != STEP_DONE)
            return s;
        if (!count)
            x->len++;
        else if (x->len)
            break;
        else
            x->at++;
    }
    return STEP_DONE;
}

/* Counts clusters that are in use, as long as there are no more than `most`. */
struct used_clusters {
    struct fmt_job job;
    u64 at, end, count, most;
};

static enum step count_step(struct fmt *f, struct fmt_job *j)
{
    struct used_clusters *x = container_of(j, struct used_clusters, job);
    for (; x->at < x->end && x->count <= x->most; x->at++) {
        u64 count;
        enum step s = refcount_get(qcow2_of(f), x->at, &count);
        if (s != STEP_DONE)
            return s;
        x->count += count != 0;
    }
    return STEP_DONE;
}

bool qcow2_uses_more(struct node *n, u64 bytes, bool *more, struct err *e)
{
    struct qcow2 *q = qcow2_of_node(n);
    struct used_clusters x = {.job.step = count_step, .end = clusters_of(q, n->file->size), .most = bytes >> q->cluster_bits};
    bool good = fmt_run(&q->fmt, &x.job, e);
    *more = x.count > x.most;
    return good;
}

bool qcow2_give_back(struct node *n, struct err *e)
{
    struct qcow2 *q = qcow2_of_node(n);
    struct node *file = n->file;
    struct free_clusters x = {.job.step = find_step, .end = clusters_of(q, file->size)};
    if (!settle_all(q, e))
        return false;
    for (; x.at < x.end; x.at += x.len, x.len = 0) {
        if (!fmt_run(&q->fmt, &x.job, e))
            return false;
        u64 offset = x.at << q->cluster_bits, len = x.len << q->cluster_bits;
        if (x.len && x.at + x.len == x.end && file->growable)
            return node_truncate(file, offset, PREALLOC_OFF, e);
        int error = x.len ? node_io(file, BLK_DISCARD, offset, NULL, MIN(len, file->size - offset), 0) : 0;
        if (error)
            return err_set(e, error, "cannot give back %#" PRIx64 " in '%s': %s", offset, n->filename, strerror(error));
    }
    return true;
}
