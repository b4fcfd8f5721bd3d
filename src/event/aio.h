/* Asynchronous file I/O on a loop: by io_uring, or by worker threads. */
#ifndef LYRE_EVENT_AIO_H
#define LYRE_EVENT_AIO_H

#include <sys/uio.h>

#include "event/pool.h"

enum aio_op { AIO_READ, AIO_WRITE, AIO_SYNC, AIO_FALLOCATE };

struct aio_req {
    enum aio_op op;
    int fd;
    int mode; /* of fallocate */
    bool large; /* copying it takes its time: not on the loop's thread */
    unsigned niov;
    const struct iovec *iov;
    u64 offset, len; /* len: of fallocate; reads and writes go by iov */
    s64 result; /* bytes, 0, or -errno; as the system call, so it may be short */
    void (*done)(struct aio_req *r); /* on the loop, never from within aio_submit */
    struct pool_job job;  /* the rest is this module's */
    struct aio_req *next;
};

enum aio_kind { AIO_THREADS, AIO_URING };

struct aio;

/* AIO_URING fails where the kernel has none or forbids it. `pool` stays the caller's. */
struct aio *aio_new(struct loop *l, struct pool *pool, enum aio_kind kind, struct err *e);
void aio_free(struct aio *a);
void aio_submit(struct aio *a, struct aio_req *r);

#endif
