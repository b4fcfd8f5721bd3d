#include "event/aio.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/mem.h"

enum { RING_ENTRIES = 256 };

struct aio {
    struct loop *loop;
    struct pool *pool;
    bool uring;
    struct io_uring ring;
    struct loop_source source;
    struct loop_fd fd;
    unsigned queued;                    /* entries that the kernel has not seen */
    struct aio_req *wait, **wait_last;  /* for a free entry */
    unsigned outstanding;
};

/* ---- threads ---- */

static void thread_work(struct pool_job *j)
{
    struct aio_req *r = container_of(j, struct aio_req, job);
    s64 n = 0;
    do {
        switch (r->op) {
        case AIO_READ:
            n = preadv(r->fd, r->iov, (int)r->niov, (off_t)r->offset);
            break;
        case AIO_WRITE:
            n = pwritev(r->fd, r->iov, (int)r->niov, (off_t)r->offset);
            break;
        case AIO_SYNC:
            n = fdatasync(r->fd);
            break;
        case AIO_FALLOCATE:
            n = fallocate(r->fd, r->mode, (off_t)r->offset, (off_t)r->len);
            break;
        }
    } while (n < 0 && errno == EINTR);
    r->result = n < 0 ? -errno : n;
}

static void thread_done(struct pool_job *j)
{
    struct aio_req *r = container_of(j, struct aio_req, job);
    r->done(r);
}

/* ---- io_uring ---- */

static bool prepare(struct aio *a, struct aio_req *r)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&a->ring);
    if (!sqe)
        return false;
    switch (r->op) {
    case AIO_READ:
        io_uring_prep_readv(sqe, r->fd, r->iov, r->niov, r->offset);
        break;
    case AIO_WRITE:
        io_uring_prep_writev(sqe, r->fd, r->iov, r->niov, r->offset);
        break;
    case AIO_SYNC:
        io_uring_prep_fsync(sqe, r->fd, IORING_FSYNC_DATASYNC);
        break;
    case AIO_FALLOCATE:
        io_uring_prep_fallocate(sqe, r->fd, r->mode, (off_t)r->offset, (off_t)r->len);
        break;
    }
    if (r->large)
        io_uring_sqe_set_flags(sqe, IOSQE_ASYNC);
    io_uring_sqe_set_data(sqe, r);
    a->queued++;
    a->outstanding++;
    return true;
}

/* Submit what was collected and run what is complete. The completion queue is twice as long as the
 * submission queue; no more than that is in flight, so that it cannot overflow. */
static bool uring_poll(struct loop_source *s)
{
    struct aio *a = container_of(s, struct aio, source);
    while (a->wait && a->outstanding < 2 * RING_ENTRIES && prepare(a, a->wait)) {
        a->wait = a->wait->next;
        if (!a->wait)
            a->wait_last = &a->wait;
    }
    if (a->queued) {
        int n = io_uring_submit(&a->ring);
        if (n > 0)
            a->queued -= (unsigned)n;
    }
    struct io_uring_cqe *cqe;
    bool any = false;
    while (!io_uring_peek_cqe(&a->ring, &cqe)) {
        struct aio_req *r = io_uring_cqe_get_data(cqe);
        r->result = cqe->res;
        io_uring_cqe_seen(&a->ring, cqe);
        a->outstanding--;
        any = true;
        if (r->result == -EINTR || r->result == -EAGAIN)
            aio_submit(a, r);
        else
            r->done(r);
    }
    return any;
}

static void uring_ready(struct loop_fd *f, u32 events)
{
    /* the loop looks at its sources next */
}

static bool uring_open(struct aio *a, struct err *e)
{
    int error = io_uring_queue_init(RING_ENTRIES, &a->ring, 0);
    if (error < 0)
        return err_set(e, -error, "io_uring is not available: %s", strerror(-error));
    a->uring = true;
    a->source.poll = uring_poll;
    loop_source_add(a->loop, &a->source);
    a->fd.fd = a->ring.ring_fd;
    a->fd.ready = uring_ready;
    return loop_fd_add(a->loop, &a->fd, EPOLLIN, e);
}

struct aio *aio_new(struct loop *l, struct pool *pool, enum aio_kind kind, struct err *e)
{
    struct aio *a = xcalloc(1, sizeof(*a));
    a->loop = l;
    a->pool = pool;
    a->wait_last = &a->wait;
    if (kind == AIO_URING && !uring_open(a, e)) {
        aio_free(a);
        return NULL;
    }
    return a;
}

void aio_free(struct aio *a)
{
    if (!a)
        return;
    if (a->uring) {
        loop_fd_remove(a->loop, &a->fd);
        loop_source_remove(a->loop, &a->source);
        io_uring_queue_exit(&a->ring);
    }
    free(a);
}

void aio_submit(struct aio *a, struct aio_req *r)
{
    if (!a->uring) {
        r->job.work = thread_work;
        r->job.done = thread_done;
        pool_submit(a->pool, &r->job);
    } else if (a->wait || a->outstanding >= 2 * RING_ENTRIES || !prepare(a, r)) {
        r->next = NULL;
        *a->wait_last = r;
        a->wait_last = &r->next;
    }
}
