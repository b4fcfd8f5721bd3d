/* NOR flash with the Intel command set (JEDEC CFI 1.0 and JEP137: command set 0001): a bank of two chips of 16 bits side
 * by side, which get the same commands. What is read depends on the last command: the array, the status, the chips'
 * identification or the query table. An image behind it, if it may be written, follows what is programmed and erased. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "block/block.h"
#include "dev/list.h"

enum { CHIPS = 2, BUFFER = 2048 * CHIPS, QUERY_MAX = 0x40, WRITE_CHUNK = 1 << 16 };
enum { BLOCKS = 256, BLOCK_SIZE = 1 << 18, SIZE = BLOCKS * BLOCK_SIZE };

enum {
    CMD_PROGRAM_ALT = 0x10, CMD_ERASE = 0x20, CMD_PROGRAM = 0x40, CMD_CLEAR = 0x50, CMD_LOCK = 0x60, CMD_STATUS = 0x70,
    CMD_IDENTIFY = 0x90, CMD_QUERY = 0x98, CMD_BUFFER = 0xe8, CMD_CONFIRM = 0xd0, CMD_READ = 0xff,
};

enum { STATUS_READY = 0x80, STATUS_ERASE_FAILED = 0x20, STATUS_PROGRAM_FAILED = 0x10 };

/* What the next write means. */
enum { NEXT_COMMAND, NEXT_WORD, NEXT_COUNT, NEXT_DATA, NEXT_CONFIRM, NEXT_ERASE, NEXT_LOCK };

struct cfi01 {
    struct dev dev;
    struct node *image;
    u8 *array;
    u8 query[QUERY_MAX];

    u8 mode;   /* the command that says what is read */
    u8 next;   /* NEXT_* */
    u8 status; /* of both chips */
    u32 left;  /* words of the buffer that are to come */
    u64 base;  /* of the buffer in the array */
    u64 lo, hi; /* bytes of the buffer that were written, from the base on; hi 0: none */
    u8 buffer[BUFFER];

    /* The image's part: [dirty, dirty_end) waits to be written. Under the lock, but for the request. */
    u64 dirty, dirty_end;
    bool posted;
    struct loop_task task;
    struct blk_req req;
    struct iovec iov;
    u8 *chunk;
    bool writing; /* the loop's */
};

/* ---- the image ---- */

static void write_some(struct cfi01 *f);

static void written(struct blk_req *r)
{
    struct cfi01 *f = container_of(r, struct cfi01, req);
    f->writing = false;
    if (r->error)
        dev_guest_error(&f->dev, "the image could not be written: %s", strerror(r->error));
    write_some(f);
}

static void write_some(struct cfi01 *f)
{
    if (f->writing)
        return;
    dev_lock(&f->dev);
    u64 at = f->dirty, len = MIN(f->dirty_end - f->dirty, (u64)WRITE_CHUNK);
    memcpy(f->chunk, f->array + at, len);
    f->dirty += len;
    dev_unlock(&f->dev);
    if (!len)
        return;
    f->writing = true;
    f->iov = (struct iovec){f->chunk, len};
    f->req = (struct blk_req){.op = BLK_WRITE, .offset = at, .len = len, .iov = &f->iov, .niov = 1, .done = written};
    node_submit(f->image, &f->req);
}

static void run_task(struct loop_task *t)
{
    struct cfi01 *f = container_of(t, struct cfi01, task);
    dev_lock(&f->dev);
    f->posted = false;
    dev_unlock(&f->dev);
    write_some(f);
}

/* The array has changed there. */
static void touch(struct cfi01 *f, u64 at, u64 len)
{
    if (!f->chunk)
        return;
    bool none = f->dirty == f->dirty_end;
    f->dirty = none ? at : MIN(f->dirty, at);
    f->dirty_end = none ? at + len : MAX(f->dirty_end, at + len);
    if (!f->posted)
        loop_post(f->dev.env->loop, &f->task);
    f->posted = true;
}

/* ---- reading ---- */

/* A byte that both chips answer at a word of theirs. */
static u8 answer(const struct cfi01 *f, u64 word)
{
    switch (f->mode) {
    case CMD_IDENTIFY: /* neither maker nor kind, and no block is locked */
        return 0;
    case CMD_QUERY:
        return word < QUERY_MAX ? f->query[word] : 0;
    default:
        return f->status;
    }
}

static u64 cfi01_read(struct dev *d, u64 offset, unsigned size)
{
    struct cfi01 *f = (struct cfi01 *)d;
    u64 v = 0;
    if (f->mode == CMD_READ) {
        memcpy(&v, f->array + offset, size);
        return le64toh(v);
    }
    for (unsigned i = 0; i < size; i++) {
        u64 at = offset + i;
        v |= at & 1 ? 0 : (u64)answer(f, at / (2 * CHIPS)) << 8 * i; /* the low byte of each chip's word */
    }
    return v;
}

/* ---- writing ---- */

/* Programming makes ones zeros. */
static void program(struct cfi01 *f, u64 at, const u8 *data, u64 len)
{
    for (u64 i = 0; i < len; i++)
        f->array[at + i] &= data[i];
    touch(f, at, len);
}

static void begin_buffer(struct cfi01 *f, u64 offset)
{
    f->base = offset & ~(u64)(BUFFER - 1);
    memset(f->buffer, 0xff, sizeof(f->buffer));
    f->lo = f->hi = 0;
    f->next = NEXT_COUNT;
}

static void command(struct cfi01 *f, u64 offset, u8 c)
{
    f->next = NEXT_COMMAND;
    switch (c) {
    case CMD_READ:
    case CMD_IDENTIFY:
    case CMD_QUERY:
    case CMD_STATUS:
        f->mode = c;
        return;
    case CMD_CLEAR:
        f->status = STATUS_READY;
        f->mode = CMD_READ;
        return;
    case CMD_PROGRAM:
    case CMD_PROGRAM_ALT:
        f->next = NEXT_WORD;
        break;
    case CMD_ERASE:
        f->next = NEXT_ERASE;
        break;
    case CMD_LOCK:
        f->next = NEXT_LOCK;
        break;
    case CMD_BUFFER:
        begin_buffer(f, offset);
        break;
    default:
        dev_guest_error(&f->dev, "unknown command %#x", c);
        f->mode = CMD_READ;
        return;
    }
    f->mode = CMD_STATUS;
}

static void erase(struct cfi01 *f, u64 offset, u8 confirm)
{
    u64 at = offset - offset % BLOCK_SIZE;
    f->next = NEXT_COMMAND;
    if (confirm != CMD_CONFIRM) {
        f->status |= STATUS_ERASE_FAILED | STATUS_PROGRAM_FAILED;
        return;
    }
    memset(f->array + at, 0xff, BLOCK_SIZE);
    touch(f, at, BLOCK_SIZE);
}

/* Words of the buffer may come in any order, but from one buffer's length of the array. */
static void take_data(struct cfi01 *f, u64 offset, unsigned size, const u8 *data)
{
    u64 at = offset - f->base;
    if (offset < f->base || at + size > BUFFER) {
        f->status |= STATUS_PROGRAM_FAILED;
    } else {
        memcpy(f->buffer + at, data, size);
        f->lo = f->hi ? MIN(f->lo, at) : at;
        f->hi = MAX(f->hi, at + size);
    }
    f->left -= f->left > 0;
    f->next = f->left ? NEXT_DATA : NEXT_CONFIRM;
}

static void confirm_buffer(struct cfi01 *f, u8 c)
{
    f->next = NEXT_COMMAND;
    if (c == CMD_CONFIRM && f->lo < f->hi && !(f->status & STATUS_PROGRAM_FAILED))
        program(f, f->base + f->lo, f->buffer + f->lo, f->hi - f->lo);
    else
        f->status |= STATUS_PROGRAM_FAILED;
}

static void cfi01_write(struct dev *d, u64 offset, unsigned size, u64 value)
{
    struct cfi01 *f = (struct cfi01 *)d;
    u64 le = htole64(value);
    const u8 *data = (const u8 *)&le;
    switch (f->next) {
    case NEXT_COMMAND:
        command(f, offset, (u8)value);
        break;
    case NEXT_WORD:
        program(f, offset, data, size);
        f->next = NEXT_COMMAND;
        break;
    case NEXT_COUNT: /* one less than there are */
        f->left = (u32)(value & 0xffff) + 1;
        f->next = NEXT_DATA;
        break;
    case NEXT_DATA:
        take_data(f, offset, size, data);
        break;
    case NEXT_CONFIRM:
        confirm_buffer(f, (u8)value);
        break;
    case NEXT_ERASE:
        erase(f, offset, (u8)value);
        break;
    case NEXT_LOCK: /* no block is ever locked */
        f->next = NEXT_COMMAND;
        break;
    }
}

/* ---- the class ---- */

/* Of one chip. The times are powers of two, in microseconds and milliseconds. */
static void make_query(struct cfi01 *f)
{
    const u32 block = BLOCK_SIZE / CHIPS / 256, blocks = BLOCKS - 1;
    static const u8 fixed[] = {
        'Q', 'R', 'Y', 0x01, 0x00, 0x31, 0x00, 0, 0, 0, 0, /* the command set; its table; none other */
        0x45, 0x55, 0, 0, 7, 7, 10, 0, 4, 4, 4, 0,         /* volts; times; and how much longer they may be */
    };
    memcpy(f->query + 0x10, fixed, sizeof(fixed));
    f->query[0x27] = (u8)__builtin_ctz(SIZE / CHIPS);
    f->query[0x28] = 2; /* 16 bits, asynchronous */
    f->query[0x2a] = 11; /* log2 of the buffer */
    f->query[0x2c] = 1;  /* regions of blocks of one size */
    f->query[0x2d] = (u8)blocks;
    f->query[0x2e] = (u8)(blocks >> 8);
    f->query[0x2f] = (u8)block;
    f->query[0x30] = (u8)(block >> 8);
    memcpy(f->query + 0x31, "PRI10", 5);
    f->query[0x3f] = 1; /* fields of protection registers */
}

static bool open_image(struct cfi01 *f, struct err *e)
{
    if (node_size(f->image) != SIZE)
        return err_set(e, EINVAL, "device requires %d bytes, block backend provides %llu bytes", SIZE,
                       (unsigned long long)node_size(f->image));
    int error = node_io(f->image, BLK_READ, 0, f->array, SIZE, 0);
    if (error)
        return err_set(e, error, "cannot read the image: %s", strerror(error));
    f->chunk = node_read_only(f->image) ? NULL : xmalloc(WRITE_CHUNK);
    return true;
}

static bool cfi01_start(struct dev *d, struct err *e)
{
    struct cfi01 *f = (struct cfi01 *)d;
    f->task.run = run_task;
    f->array = calloc(1, SIZE); /* which the host gives when it is touched */
    if (!f->array)
        return err_set(e, ENOMEM, "no memory");
    make_query(f);
    return !f->image || open_image(f, e);
}

static void cfi01_reset(struct dev *d)
{
    struct cfi01 *f = (struct cfi01 *)d;
    f->mode = CMD_READ;
    f->next = NEXT_COMMAND;
    f->status = STATUS_READY;
    f->left = 0;
    f->base = f->lo = f->hi = 0;
    memset(f->buffer, 0xff, sizeof(f->buffer));
}

static void cfi01_stop(struct dev *d)
{
    free(((struct cfi01 *)d)->array);
    free(((struct cfi01 *)d)->chunk);
}

static const struct dev_prop cfi01_props[] = {
    DEV_PROP(struct cfi01, "drive", DEV_PROP_BLOCK, image),
    {NULL},
};

static const struct dev_window cfi01_windows[] = {
    {"virt.flash", SIZE, cfi01_read, cfi01_write, .call_min = 1, .call_max = 8, .max = 8}, {0},
};

static const struct state_field cfi01_state[] = {
    STATE(struct cfi01, mode), STATE_MAX(struct cfi01, next, NEXT_LOCK), STATE(struct cfi01, status),
    STATE_MAX(struct cfi01, left, 1 << 16), STATE_MAX(struct cfi01, base, SIZE - BUFFER),
    STATE_MAX(struct cfi01, lo, BUFFER), STATE_MAX(struct cfi01, hi, BUFFER), STATE_ARRAY(struct cfi01, buffer, u8), {0},
};

const struct dev_class dev_cfi01 = {
    .name = "cfi.pflash01", .help = "NOR flash, Intel command set", .size = sizeof(struct cfi01), .props = cfi01_props,
    .windows = cfi01_windows, .state = cfi01_state, .start = cfi01_start, .reset = cfi01_reset, .stop = cfi01_stop,
};
