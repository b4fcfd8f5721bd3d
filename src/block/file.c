/* The file protocol: regular files and host block devices. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "block/file.h"
#include "block/lock.h"
#include "block/node.h"

struct file {
    int fd, cached;     /* cached: without O_DIRECT, for writes that are not aligned; -1: none */
    bool direct, no_flush;
    enum file_role role;
    bool locked;
    u32 align;          /* of O_DIRECT I/O */
    u32 sector;         /* of a device: what zeros and discards are aligned to; of a file 1 */
    struct file_op *writes; /* with O_DIRECT: those under way or waiting, in the order in which they came */
    bool dirty;         /* written since the last flush */
    bool cannot_zero, cannot_punch; /* the file system said so */
    bool copy_at_once;
};

enum {
    LARGE_READ = 256 << 10, /* a longer read goes to another thread; writes to one file would wait for each other */
    DIRECT_ALIGN = 4096,
};

/* What a request becomes. */
struct file_op {
    struct blk_req *r;
    struct aio_req aio;
    u64 done;           /* bytes */
    u8 *bounce;         /* O_DIRECT wants aligned memory */
    bool odd;           /* not aligned for O_DIRECT */
    bool waits;         /* for another write to the same block */
    struct file_op *next;
    struct iovec one;
    struct iovec iov[];
};

static bool is_file(const struct node *n);
static void op_start(struct file_op *op);
static void write_ended(struct file *s, struct file_op *op);

static void op_finish(struct file_op *op, int error)
{
    struct blk_req *r = op->r;
    write_ended(r->node->state, op);
    free(op->bounce);
    free(op);
    node_done(r, error);
}

static void written(struct node *n, u64 end)
{
    struct file *s = n->state;
    s->dirty = true;
    if (end > n->size)
        n->size = end;
}

/* ---- reads and writes ---- */

static void rw_done(struct aio_req *a)
{
    struct file_op *op = container_of(a, struct file_op, aio);
    struct blk_req *r = op->r;
    if (a->result < 0) {
        op_finish(op, (int)-a->result);
        return;
    }
    op->done += (u64)a->result;
    if (op->done >= r->len) {
        if (r->op == BLK_WRITE)
            written(r->node, r->offset + r->len);
        op_finish(op, 0);
    } else if (!a->result && r->op == BLK_READ) { /* zeros beyond the end */
        iov_zero(r->iov, r->niov, op->done, r->len - op->done);
        op_finish(op, 0);
    } else if (!a->result) {
        op_finish(op, ENOSPC);
    } else { /* short: the rest */
        op_start(op);
    }
}

static void op_start(struct file_op *op)
{
    struct blk_req *r = op->r;
    struct file *s = r->node->state;
    op->aio.fd = op->odd ? s->cached : s->fd;
    op->aio.offset = r->offset + op->done;
    op->aio.iov = op->iov;
    op->aio.niov = iov_slice(r->iov, r->niov, op->done, r->len - op->done, op->iov);
    op->aio.done = rw_done;
    op->aio.op = r->op == BLK_READ ? AIO_READ : AIO_WRITE;
    op->aio.large = r->len > LARGE_READ;
    aio_submit(r->node->graph->aio, &op->aio);
}

/* Copy from or to the page cache here and now if that takes no waiting; false: it would. */
static bool try_at_once(struct node *n, struct blk_req *r)
{
    struct file *s = n->state;
    if (!s->copy_at_once || r->niov > IOV_MAX || (r->op == BLK_READ && r->len > LARGE_READ))
        return false;
    ssize_t got;
    if (r->op == BLK_READ)
        got = preadv2(s->fd, r->iov, (int)r->niov, (off_t)r->offset, RWF_NOWAIT);
    else
        got = pwritev(s->fd, r->iov, (int)r->niov, (off_t)r->offset);
    if (got == 0 && r->op == BLK_READ && r->offset >= n->size)
        iov_zero(r->iov, r->niov, 0, r->len);
    else if (got < 0 || (u64)got != r->len)
        return false;
    if (r->op == BLK_WRITE)
        written(n, r->offset + r->len);
    node_done_later(r, 0);
    return true;
}

/* ---- from file to file ---- */

/* Copy by the kernel, which may let both files have the same blocks; on a worker. */
static void copy_work(struct pool_job *j)
{
    struct file_op *op = container_of(j, struct file_op, aio.job);
    const struct blk_req *r = op->r;
    const struct file *from = r->from->state, *to = r->node->state;
    off_t at = (off_t)r->from_at, where = (off_t)r->offset;
    u64 left = r->len;
    int error = 0;
    while (left && !error) {
        ssize_t n = copy_file_range(from->fd, &at, to->fd, &where, left, 0);
        if (n > 0)
            left -= (u64)n;
        else if (!n)
            error = ENOTSUP; /* behind the end of the file are zeros, for who reads */
        else if (errno != EINTR)
            error = errno == EXDEV || errno == ENOSYS || errno == EINVAL ? ENOTSUP : errno;
    }
    op->aio.result = error ? -error : (s64)r->len;
}

static void copy_done(struct pool_job *j)
{
    rw_done(&container_of(j, struct file_op, aio.job)->aio);
}

static void submit_copy(struct node *n, struct blk_req *r)
{
    if (!is_file(r->from)) {
        node_done_later(r, ENOTSUP);
        return;
    }
    struct file_op *op = xcalloc(1, sizeof(*op));
    op->r = r;
    op->aio.job = (struct pool_job){.work = copy_work, .done = copy_done};
    pool_submit(n->graph->pool, &op->aio.job);
}

/* ---- O_DIRECT ---- */

static bool is_aligned(const struct file *s, const struct blk_req *r)
{
    u64 bits = r->offset | r->len;
    for (unsigned i = 0; i < r->niov; i++)
        bits |= (u64)(uintptr_t)r->iov[i].iov_base | r->iov[i].iov_len;
    return bits % s->align == 0;
}

/* Read whole blocks, on a worker. */
static void direct_work(struct pool_job *j)
{
    struct file_op *op = container_of(j, struct file_op, aio.job);
    struct blk_req *r = op->r;
    struct file *s = r->node->state;
    u64 start = ALIGN_DOWN(r->offset, (u64)s->align), end = ALIGN_UP(r->offset + r->len, (u64)s->align);
    op->bounce = aligned_alloc(s->align, end - start);
    op->aio.result = -ENOMEM;
    if (!op->bounce)
        return;
    memset(op->bounce, 0, end - start);
    ssize_t n = pread(s->fd, op->bounce, end - start, (off_t)start);
    if (n >= 0)
        iov_from(r->iov, r->niov, 0, op->bounce + (r->offset - start), r->len);
    op->aio.result = n < 0 ? -errno : (s64)r->len;
}

static void direct_done(struct pool_job *j)
{
    rw_done(&container_of(j, struct file_op, aio.job)->aio);
}

/* A write that is not aligned goes through the page cache, which the kernel keeps in step with O_DIRECT, but
 * not while both happen to one block. */
static bool in_the_way(const struct file *s, const struct file_op *a, const struct file_op *b)
{
    u64 mask = s->align - 1;
    return (a->odd || b->odd) && (a->r->offset & ~mask) < ((b->r->offset + b->r->len + mask) & ~mask) &&
           (b->r->offset & ~mask) < ((a->r->offset + a->r->len + mask) & ~mask);
}

static bool must_wait(const struct file *s, const struct file_op *op)
{
    const struct file_op *before = s->writes;
    while (before != op && !in_the_way(s, before, op))
        before = before->next;
    return before != op;
}

static void direct_write(struct file *s, struct file_op *op)
{
    struct file_op **p = &s->writes;
    while (*p)
        p = &(*p)->next;
    *p = op;
    op->waits = must_wait(s, op);
    if (!op->waits)
        op_start(op);
}

static void write_ended(struct file *s, struct file_op *op)
{
    struct file_op **p = &s->writes;
    while (*p && *p != op)
        p = &(*p)->next;
    if (!*p)
        return;
    *p = op->next;
    for (struct file_op *later = op->next; later; later = later->next) {
        if (later->waits && !must_wait(s, later)) {
            later->waits = false;
            op_start(later);
        }
    }
}

/* ---- the others ---- */

static void sync_done(struct aio_req *a)
{
    struct file_op *op = container_of(a, struct file_op, aio);
    if (a->result < 0)
        ((struct file *)op->r->node->state)->dirty = true;
    op_finish(op, a->result < 0 ? (int)-a->result : 0);
}

static int not_supported(s64 result)
{
    return result == -EOPNOTSUPP || result == -ENODEV || result == -ENOSYS || result == -EINVAL;
}

static void zero_done(struct aio_req *a)
{
    struct file_op *op = container_of(a, struct file_op, aio);
    struct blk_req *r = op->r;
    struct file *s = r->node->state;
    if (r->op == BLK_DISCARD) { /* a discard is a hint */
        s->cannot_punch |= not_supported(a->result);
        op_finish(op, not_supported(a->result) || !a->result ? 0 : (int)-a->result);
        return;
    }
    if (!a->result) {
        written(r->node, MAX(r->node->size, r->offset + r->len));
        op_finish(op, 0);
    } else if (not_supported(a->result)) {
        s->cannot_zero = true;
        free(op);
        node_write_zeros(r->node, r);
    } else {
        op_finish(op, (int)-a->result);
    }
}

static void submit_zero(struct node *n, struct blk_req *r)
{
    struct file *s = n->state;
    bool discard = r->op == BLK_DISCARD, odd = (r->offset | r->len) % s->sector;
    if (discard && (s->cannot_punch || odd)) {
        node_done_later(r, 0);
        return;
    }
    if (!discard && (r->flags & BLK_MAY_UNMAP) && r->offset >= n->size && !n->device) { /* a longer file: zeros without room */
        int error = ftruncate(s->fd, (off_t)(r->offset + r->len)) ? errno : 0;
        if (!error)
            written(n, r->offset + r->len);
        node_done_later(r, error);
        return;
    }
    if (!discard && (s->cannot_zero || odd)) {
        node_write_zeros(n, r);
        return;
    }
    struct file_op *op = xcalloc(1, sizeof(*op));
    op->r = r;
    int how = discard || (r->flags & BLK_MAY_UNMAP) ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE;
    op->aio = (struct aio_req){.op = AIO_FALLOCATE, .fd = s->fd, .offset = r->offset, .len = r->len,
                               .mode = how | FALLOC_FL_KEEP_SIZE, .done = zero_done};
    if (!discard && r->offset + r->len > n->size)
        op->aio.mode = FALLOC_FL_ZERO_RANGE;
    aio_submit(n->graph->aio, &op->aio);
}

static void reserve_done(struct aio_req *a)
{
    struct file_op *op = container_of(a, struct file_op, aio);
    struct blk_req *r = op->r;
    int error = (int)-a->result;
    free(op);
    node_done(r, error == ENOSPC || error == EDQUOT ? error : 0); /* whatever else it is, a write will show it */
}

static void submit_reserve(struct node *n, struct blk_req *r)
{
    struct file *s = n->state;
    struct file_op *op = xcalloc(1, sizeof(*op));
    op->r = r;
    op->aio = (struct aio_req){.op = AIO_FALLOCATE, .fd = s->fd, .offset = r->offset, .len = r->len, .mode = FALLOC_FL_KEEP_SIZE, .done = reserve_done};
    aio_submit(n->graph->aio, &op->aio);
}

static void submit_flush(struct node *n, struct blk_req *r)
{
    struct file *s = n->state;
    if (s->no_flush || !s->dirty) {
        node_done_later(r, 0);
        return;
    }
    s->dirty = false;
    struct file_op *op = xcalloc(1, sizeof(*op));
    op->r = r;
    op->aio = (struct aio_req){.op = AIO_SYNC, .fd = s->fd, .done = sync_done};
    aio_submit(n->graph->aio, &op->aio);
}

/* Data and holes, as the file system knows them. Two system calls that do not wait for a disk often
 * enough to be worth a thread. */
static void submit_status(struct node *n, struct blk_req *r)
{
    struct file *s = n->state;
    struct blk_status *st = r->status;
    u64 end = r->offset + r->len;
    *st = (struct blk_status){.flags = STATUS_ALLOCATED | STATUS_OFFSET | STATUS_DATA, .len = r->len,
                              .host = r->offset, .file = n};
    off_t data = n->device ? -1 : lseek(s->fd, (off_t)r->offset, SEEK_DATA);
    if (data < 0 && (n->device || errno != ENXIO)) {
        /* no way to find out: all of it is data */
    } else if (data < 0 || (u64)data > r->offset) {
        st->flags = STATUS_ALLOCATED | STATUS_OFFSET | STATUS_ZERO;
        if (data >= 0)
            st->len = MIN(end, (u64)data) - r->offset;
        else if (r->offset < n->size)
            st->len = MIN(end, n->size) - r->offset;
    } else {
        off_t hole = lseek(s->fd, data, SEEK_HOLE);
        if (hole > data)
            st->len = MIN(end, (u64)hole) - r->offset;
    }
    node_done_later(r, 0);
}

static void file_submit(struct node *n, struct blk_req *r)
{
    struct file *s = n->state;
    switch (r->op) {
    case BLK_FLUSH:
        submit_flush(n, r);
        return;
    case BLK_STATUS:
        submit_status(n, r);
        return;
    case BLK_ZERO:
    case BLK_DISCARD:
        submit_zero(n, r);
        return;
    case BLK_RESERVE:
        submit_reserve(n, r);
        return;
    case BLK_READ:
    case BLK_WRITE:
    case BLK_PULL: /* node_submit() answers that */
        break;
    }
    if (r->from) {
        submit_copy(n, r);
        return;
    }
    bool odd = s->direct && !is_aligned(s, r);
    if (!odd && try_at_once(n, r))
        return;
    struct file_op *op = xcalloc(1, sizeof(*op) + r->niov * sizeof(op->iov[0]));
    op->r = r;
    op->odd = odd;
    if (s->direct && r->op == BLK_WRITE) {
        direct_write(s, op);
    } else if (odd) {
        op->aio.job = (struct pool_job){.work = direct_work, .done = direct_done};
        pool_submit(n->graph->pool, &op->aio.job);
    } else {
        op_start(op);
    }
}

static bool file_peek(const struct node *n, u64 offset, void *buf, u64 len)
{
    const struct file *s = n->state;
    if (!s->copy_at_once)
        return false;
    u64 done = 0;
    ssize_t got = 1;
    while (done < len && got > 0) {
        got = pread(s->fd, (u8 *)buf + done, len - done, (off_t)(offset + done));
        done += got > 0 ? (u64)got : 0;
    }
    if (!got)
        memset((u8 *)buf + done, 0, len - done);
    return got >= 0;
}

/* ---- opening ---- */

extern const struct driver driver_host_device;

static bool find_size(struct node *n, struct err *e)
{
    struct file *s = n->state;
    struct stat st;
    if (fstat(s->fd, &st))
        return err_set(e, errno, "Could not open '%s': %s", n->filename, strerror(errno));
    if (S_ISBLK(st.st_mode)) {
        int sector = 0;
        n->device = true;
        if (ioctl(s->fd, BLKGETSIZE64, &n->size) || ioctl(s->fd, BLKSSZGET, &sector) || sector <= 0)
            return err_set(e, errno, "cannot find the size of '%s': %s", n->filename, strerror(errno));
        s->sector = (u32)sector;
        return true;
    }
    if (S_ISDIR(st.st_mode))
        return err_set(e, EISDIR, "'%s' is a directory, not an image", n->filename);
    if (!S_ISREG(st.st_mode))
        return err_set(e, EINVAL, "'%s' is neither a regular file nor a block device", n->filename);
    n->size = (u64)st.st_size;
    n->growable = true;
    return true;
}

/* Open the node's file again, in another way. -1 and an error if that fails. */
static int open_again(const struct node *n, int flags, struct err *e)
{
    const struct file *s = n->state;
    struct stat old, new;
    int fd = open(n->filename, flags | O_CLOEXEC);
    if (fd < 0) {
        err_set(e, errno, "Could not open '%s' for writing: %s", n->filename, strerror(errno));
    } else if (fstat(fd, &new) || fstat(s->fd, &old) || old.st_ino != new.st_ino || old.st_dev != new.st_dev) {
        close(fd);
        err_set(e, ESTALE, "'%s' is another file by now", n->filename);
        fd = -1;
    }
    return fd;
}

static bool open_cached(struct node *n, struct err *e)
{
    struct file *s = n->state;
    if (s->direct && (n->flags & OPEN_WRITE))
        s->cached = open_again(n, O_RDWR, e);
    return !s->direct || !(n->flags & OPEN_WRITE) || s->cached >= 0;
}

/* Who names a driver means that kind of file. */
static bool right_kind(const struct node *n, struct err *e)
{
    bool wants_device = n->drv == &driver_host_device;
    return n->device == wants_device ||
           err_set(e, EINVAL, wants_device ? "'host_device' driver requires '%s' to be either a character or block device"
                                           : "'file' driver requires '%s' to be a regular file", n->filename);
}

static bool file_open(struct node *n, struct json *options, u32 flags, struct err *e)
{
    char *filename = NULL, *locking = NULL, *aio = NULL;
    bool direct = flags & OPEN_NO_CACHE, no_flush = flags & OPEN_NO_FLUSH;
    if (!opt_string(options, "filename", &filename, e) || !opt_string(options, "locking", &locking, e) ||
        !opt_string(options, "aio", &aio, e) || !opt_bool(options, "cache.direct", &direct, e) ||
        !opt_bool(options, "cache.no-flush", &no_flush, e))
        return false;
    free(locking);
    bool native = aio && !strcmp(aio, "native"), good = !aio || native || !strcmp(aio, "threads") || !strcmp(aio, "io_uring");
    if (!good)
        err_set(e, EINVAL, "Parameter 'aio' does not accept value '%s'", aio);
    else if (native && !direct)
        good = err_set(e, EINVAL, "aio=native was specified, but it requires cache.direct=on, which was not specified.");
    free(aio);
    if (!good) {
        free(filename);
        return false;
    }
    bool by_option = filename;
    if (filename) {
        free(n->filename);
        n->filename = filename;
    }
    if (!n->filename)
        return err_set(e, EINVAL, "The 'file' block driver requires a file name");
    if (!node_may_open(n, e))
        return false;
    struct file *s = xcalloc(1, sizeof(*s));
    n->state = s;
    s->direct = direct;
    s->no_flush = no_flush;
    s->align = DIRECT_ALIGN;
    s->sector = 1;
    s->cached = -1;
    s->copy_at_once = n->graph->copy_at_once && !direct;
    n->at_once = s->copy_at_once;
    s->fd = open(n->filename, (flags & OPEN_WRITE ? O_RDWR : O_RDONLY) | O_CLOEXEC | (direct ? O_DIRECT : 0));
    if (s->fd < 0)
        return err_set(e, errno, "Could not open '%s': %s", n->filename, strerror(errno));
    return find_size(n, e) && (!by_option || right_kind(n, e)) && open_cached(n, e);
}

static bool file_make_writable(struct node *n, struct err *e)
{
    struct file *s = n->state;
    int fd = open_again(n, O_RDWR | (s->direct ? O_DIRECT : 0), e);
    if (fd < 0)
        return false;
    close(s->fd);
    s->fd = fd;
    return open_cached(n, e);
}

/* Say what is done with the file, and what others may not do. */
static bool lock(struct node *n, bool resizes, struct err *e)
{
    const struct file *s = n->state;
    bool write = n->flags & OPEN_WRITE;
    u32 refused = s->role == FILE_OF_FORMAT ? PERM_WRITE | PERM_RESIZE : s->role == FILE_OF_DATA ? PERM_RESIZE : 0;
    refused |= (n->flags & OPEN_ALONE ? PERM_WRITE : 0) | (n->flags & OPEN_SAME_SIZE ? PERM_RESIZE : 0);
    return file_lock(s->fd, n->filename, PERM_READ | (write ? PERM_WRITE : 0) | (write && resizes ? PERM_RESIZE : 0), refused, e);
}

bool file_set_lock(struct node *n, enum file_role role, struct err *e)
{
    struct file *s = n->state;
    s->role = role;
    s->locked = lock(n, role != FILE_SHARED, e);
    return s->locked;
}

bool file_set_alone(struct node *n, bool alone, struct err *e)
{
    struct file *s = n->state;
    const u32 before = n->flags;
    n->flags = alone ? before | OPEN_ALONE : before & ~(u32)OPEN_ALONE;
    if (lock(n, s->role != FILE_SHARED, e)) {
        s->locked = true;
        return true;
    }
    n->flags = before;
    lock(n, s->role != FILE_SHARED, NULL);
    return false;
}

static bool file_close(struct node *n, struct err *e)
{
    struct file *s = n->state;
    bool good = true;
    if (!s)
        return true;
    if (s->dirty && !s->no_flush && s->fd >= 0 && fdatasync(s->fd))
        good = err_set(e, errno, "cannot flush '%s': %s", n->filename, strerror(errno));
    if (s->fd >= 0)
        close(s->fd);
    if (s->cached >= 0)
        close(s->cached);
    free(s);
    return good;
}

/* What file systems are told of a new file; those that do not know it do without. */
static void hint(int fd, bool nocow, u64 extent_size)
{
    int flags;
    struct fsxattr a;
    if (nocow && !ioctl(fd, FS_IOC_GETFLAGS, &flags)) {
        flags |= FS_NOCOW_FL;
        ioctl(fd, FS_IOC_SETFLAGS, &flags);
    }
    if (extent_size && !ioctl(fd, FS_IOC_FSGETXATTR, &a)) {
        a.fsx_xflags |= FS_XFLAG_EXTSIZE;
        a.fsx_extsize = (u32)MIN(extent_size, (u64)1 << 30);
        ioctl(fd, FS_IOC_FSSETXATTR, &a);
    }
}

static bool file_create(struct block_graph *g, const char *filename, struct json *options, struct err *e)
{
    u64 size = 0, extent_size = 0;
    bool nocow = false;
    char *text = NULL;
    if (!opt_size(options, "size", &size, e) || !opt_bool(options, "nocow", &nocow, e) || !opt_size(options, "extent_size_hint", &extent_size, e) ||
        !opt_string(options, "preallocation", &text, e))
        return false;
    enum prealloc p = PREALLOC_OFF;
    bool good = !text || prealloc_parse(text, &p, NULL) || err_set(e, EINVAL, "invalid parameter value: %s", text);
    free(text);
    if (good && p == PREALLOC_METADATA)
        good = err_set(e, ENOTSUP, "Unsupported preallocation mode: metadata");
    int fd = good ? open(filename, O_RDWR | O_CREAT | O_CLOEXEC, 0644) : -1;
    if (fd < 0)
        return good ? err_set(e, errno, "Could not create '%s': %s", filename, strerror(errno)) : false;
    struct stat st;
    u64 there = 0;
    good = file_lock(fd, filename, PERM_WRITE | PERM_RESIZE, PERM_RESIZE, e);
    bool device = good && !fstat(fd, &st) && S_ISBLK(st.st_mode);
    if (device)
        good = (!ioctl(fd, BLKGETSIZE64, &there) && size <= there) || err_set(e, ENOSPC, "Cannot grow device files");
    else if (good && ftruncate(fd, 0))
        good = err_set(e, errno, "Could not create '%s': %s", filename, strerror(errno));
    if (good && !device) {
        hint(fd, nocow, extent_size);
        good = file_grow(fd, filename, 0, size, p, e);
    }
    close(fd);
    return good;
}

bool file_grow(int fd, const char *filename, u64 from, u64 to, enum prealloc p, struct err *e)
{
    int error = 0;
    if (p == PREALLOC_FALLOC && to > from) {
        error = posix_fallocate(fd, (off_t)from, (off_t)(to - from));
    } else if (ftruncate(fd, (off_t)to)) {
        error = errno;
    } else if (p == PREALLOC_FULL) {
        size_t chunk = 1 << 20;
        u8 *zeros = xcalloc(1, chunk);
        for (u64 at = from; at < to && !error;) {
            ssize_t n = pwrite(fd, zeros, MIN(chunk, to - at), (off_t)at);
            error = n > 0 ? 0 : n ? errno : ENOSPC;
            at += n > 0 ? (u64)n : 0;
        }
        free(zeros);
    }
    if (error)
        return err_set(e, error, "Could not resize file '%s' to %llu bytes: %s", filename,
                       (unsigned long long)to, strerror(error));
    return true;
}

static bool file_truncate(struct node *n, u64 size, enum prealloc p, struct err *e)
{
    struct file *s = n->state;
    if (n->device) /* it has the size that it has; what is on it may use less */
        return size <= n->size || err_set(e, EINVAL, "Cannot grow device files");
    bool ask = s->locked && s->role == FILE_SHARED; /* the others have it for good */
    bool good = (!ask || lock(n, true, e)) && file_grow(s->fd, n->filename, MIN(n->size, size), size, p, e);
    if (ask)
        lock(n, false, NULL);
    if (!good)
        return false;
    s->dirty = true;
    n->size = size;
    return true;
}

static bool file_info(struct node *n, struct image_info *info, struct err *e)
{
    struct file *s = n->state;
    struct stat st;
    if (fstat(s->fd, &st))
        return err_set(e, errno, "'%s': %s", n->filename, strerror(errno));
    info->actual_size = (u64)st.st_blocks * 512;
    return true;
}

static const struct block_option file_options[] = {
    {"extent_size_hint", "size", "Extent size hint for the image file, 0 to disable"},
    {"nocow", "bool (on/off)", "Turn off copy-on-write (valid only on btrfs)"},
    {"preallocation", "str", "Preallocation mode (allowed values: off, falloc, full)"},
    {"size", "size", "Virtual disk size"},
    {NULL},
};

const struct driver driver_file = {
    .name = "file",
    .kind = NODE_PROTOCOL,
    .peek = file_peek,
    .open = file_open,
    .close = file_close,
    .submit = file_submit,
    .copies = true,
    .reserves = true,
    .make_writable = file_make_writable,
    .create = file_create,
    .create_options = file_options,
    .truncate = file_truncate,
    .info = file_info,
};

const struct driver driver_host_device = {
    .name = "host_device",
    .kind = NODE_PROTOCOL,
    .peek = file_peek,
    .open = file_open,
    .close = file_close,
    .submit = file_submit,
    .copies = true,
    .make_writable = file_make_writable,
    .truncate = file_truncate,
    .info = file_info,
};

static bool is_file(const struct node *n)
{
    return n->drv == &driver_file || n->drv == &driver_host_device;
}
