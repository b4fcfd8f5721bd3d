/* `qemu-io`: a small language to exercise an image. */
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "cmd/cmd.h"
#include "cmd/img/img.h"

enum { MAX_WORDS = 64, DEFAULT_PATTERN = 0xcd };

struct io {
    struct block_graph *g;
    struct node *n;
    char *filename, *format;
    bool image_opts, temporary, copy_on_read, native;
    const char *discard; /* NULL: as usual */
    u32 flags;
    bool misalign, quit;
    unsigned aio_pending;
    bool failed;
    struct err e;
};

/* A read or write as the command line describes it. */
struct rw {
    struct io *io;
    bool write, vector, aio, state;
    bool quiet, machine, verbose, zero, compress;
    u32 flags;
    bool has_pattern, has_check_from, has_check_len;
    int pattern;
    u64 offset, len, check_from, check_len;
    const char *source;
    u8 *buf;
    struct iovec *iov;
    unsigned niov;
    u64 started;
    struct blk_req r;
};

struct io_command {
    const char *name, *alias;
    int (*run)(struct io *io, int argc, char **argv);
    int min, max; /* arguments; max -1: any number */
    bool needs_file;
    const char *args, *help;
};

static const struct io_command commands[];

/* ---- texts ---- */

/* "1.062 MiB", "64 KiB", "5 bytes". */
static const char *amount(double v, char *text, size_t size)
{
    static const char *const units[] = {"EiB", "PiB", "TiB", "GiB", "MiB", "KiB"};
    double unit = 1152921504606846976.0;
    for (unsigned i = 0; i < ARRAY_LEN(units); i++, unit /= 1024) {
        if (v >= unit) {
            snprintf(text, size, "%.3f", v / unit);
            size_t n = strlen(text);
            if (!strcmp(text + n - 4, ".000"))
                n -= 4;
            snprintf(text + n, size - n, " %s", units[i]);
            return text;
        }
    }
    snprintf(text, size, v == (double)(u64)v ? "%.0f bytes" : "%.3f bytes", v);
    return text;
}

static void report(const char *what, const struct rw *w, u64 ns)
{
    char a[64], b[64];
    double t = (double)MAX(ns, 1u) * 1e-9;
    int hundredths = (int)(t * 100), sec = (int)t;
    if (w->machine) {
        printf("%" PRIu64 ",1,%d:%02d:%02d.%02d,%.3f,%.3f\n", w->len, sec / 3600, sec / 60 % 60, sec % 60,
               hundredths % 100, (double)w->len / t, 1 / t);
        return;
    }
    printf("%s %" PRIu64 "/%" PRIu64 " bytes at offset %" PRIu64 "\n", what, w->len, w->len, w->offset);
    printf("%s, 1 ops; %02d.%02d sec (%s/sec and %.4f ops/sec)\n", amount((double)w->len, a, sizeof(a)), sec,
           hundredths % 100, amount((double)w->len / t, b, sizeof(b)), 1 / t);
}

static void dump(const u8 *buf, u64 offset, u64 len)
{
    for (u64 i = 0; i < len; i += 16) {
        printf("%08" PRIx64 ":  ", offset + i);
        for (u64 k = i; k < i + 16; k++)
            k < len ? printf("%02x ", buf[k]) : printf("   ");
        printf(" ");
        for (u64 k = i; k < i + 16 && k < len; k++)
            putchar(isalnum(buf[k]) ? buf[k] : '.');
        printf("\n");
    }
}

/* A size or place; says what is wrong with it. */
static bool number(const char *text, u64 *v)
{
    bool parsed = size_parse(text, v);
    if (parsed && *v <= INT64_MAX)
        return true;
    printf("Parsing error: %s -- %s\n", parsed ? "argument too large" : "non-numeric argument, or extraneous/unrecognized suffix", text);
    return false;
}

static void print_command(const struct io_command *c)
{
    printf("%s%s%s -- %s\n", c->name, *c->args ? " " : "", c->args, c->help);
}

/* An option that the command does not have. */
static int bad_option(char **argv)
{
    const struct io_command *c = commands;
    while (strcmp(c->name, argv[0]) && (!c->alias || strcmp(c->alias, argv[0])))
        c++;
    print_command(c);
    return -EINVAL;
}

/* ---- reading and writing ---- */

static bool parse_rw(struct rw *w, int argc, char **argv, const char *letters)
{
    int c;
    optind = 0;
    while ((c = getopt(argc, argv, letters)) != -1) {
        u64 v;
        switch (c) {
        case 'q':
            w->quiet = true;
            break;
        case 'C':
            w->machine = true;
            break;
        case 'v':
            w->verbose = true;
            break;
        case 'z':
            w->zero = true;
            break;
        case 'u':
            w->flags |= BLK_MAY_UNMAP;
            break;
        case 'n':
            w->flags |= BLK_NO_FALLBACK;
            break;
        case 'f':
            w->flags |= BLK_FUA;
            break;
        case 'c':
            w->flags |= BLK_COMPRESS;
            w->compress = true;
            break;
        case 'p':
            break;
        case 'P':
            if (!size_parse(optarg, &v) || v > 255) {
                printf("%s is not a valid pattern byte\n", optarg);
                return false;
            }
            w->has_pattern = true;
            w->pattern = (int)v;
            break;
        case 's':
            if (w->write) {
                w->source = optarg;
            } else if (!number(optarg, &w->check_from)) {
                return false;
            }
            w->has_check_from = true;
            break;
        case 'l':
            if (!number(optarg, &w->check_len))
                return false;
            w->has_check_len = true;
            break;
        case 'b':
            w->state = true;
            break;
        default:
            bad_option(argv);
            return false;
        }
    }
    if (!w->write && (w->has_check_from || w->has_check_len) && !w->has_pattern) {
        bad_option(argv);
        return false;
    }
    if (w->zero + w->has_pattern + !!w->source > 1 && !w->vector) {
        printf("Only one of -z, -P, and -s can be specified at the same time\n");
        return false;
    }
    if ((w->flags & BLK_MAY_UNMAP) && !w->zero) {
        printf("-u requires -z to be specified\n");
        return false;
    }
    if (w->state && (w->zero || w->compress)) {
        printf("-b and -%c cannot be specified at the same time\n", w->zero ? 'z' : 'c');
        return false;
    }
    if ((w->flags & BLK_NO_FALLBACK) && !w->zero) {
        printf("-n requires -z to be specified\n");
        return false;
    }
    return true;
}

static bool complain_sector(const char *text, const char *what)
{
    printf("%s is not a sector-aligned value for '%s'\n", text, what);
    return false;
}

enum { SECTOR = 512, MOST = INT32_MAX / SECTOR * SECTOR };

/* Offset and lengths; a vector has one buffer for each length. */
static bool parse_place(struct rw *w, int count, char **words)
{
    if (!number(words[0], &w->offset))
        return false;
    w->niov = (unsigned)count - 1;
    w->iov = xcalloc(w->niov, sizeof(*w->iov));
    for (unsigned i = 0; i < w->niov; i++) {
        u64 len;
        if (!number(words[i + 1], &len))
            return false;
        if (len > MOST - w->len && !(w->zero && (w->flags & BLK_NO_FALLBACK))) {
            if (w->vector || w->aio)
                printf("Argument '%s' exceeds maximum size %d\n", words[i + 1], MOST);
            else
                printf("length cannot exceed %d%s, given %s\n", MOST, w->write ? " without -n" : "", words[i + 1]);
            return false;
        }
        w->iov[i].iov_len = len;
        w->len += len;
    }
    if ((w->compress || w->state) && w->offset % SECTOR)
        return complain_sector(words[0], "offset");
    if ((w->compress || w->state) && w->len % SECTOR)
        return complain_sector(words[1], "count");
    return true;
}

static bool fill(struct rw *w)
{
    if (w->zero)
        return true;
    w->buf = xmalloc(w->len + 1);
    memset(w->buf, w->write ? (w->has_pattern ? w->pattern : DEFAULT_PATTERN) : 0xab, w->len);
    u64 at = 0;
    for (unsigned i = 0; i < w->niov; i++) {
        w->iov[i].iov_base = w->buf + at;
        at += w->iov[i].iov_len;
    }
    if (!w->source)
        return true;
    FILE *f = fopen(w->source, "rb");
    size_t n = f ? fread(w->buf, 1, w->len, f) : 0;
    if (f)
        fclose(f);
    if (!n) {
        fprintf(stderr, "%s: %s\n", w->source, f ? "file is empty" : strerror(errno));
        return false;
    }
    for (u64 i = n; i < w->len; i++)
        w->buf[i] = w->buf[i - n];
    return true;
}

static void rw_free(struct rw *w)
{
    free(w->buf);
    free(w->iov);
    free(w);
}

/* Tell how it went; returns whether it went well. */
static bool rw_result(struct rw *w)
{
    const char *verb = w->write ? "write" : "read";
    if (w->r.error) {
        printf(w->aio ? "aio_%s failed: %s\n" : w->vector ? "%sv failed: %s\n" : "%s failed: %s\n", verb, strerror(w->r.error));
        return false;
    }
    bool good = true;
    if (!w->write && w->has_pattern) {
        u64 from = w->has_check_from ? w->check_from : 0;
        u64 len = w->has_check_len ? w->check_len : from < w->len ? w->len - from : 0;
        for (u64 i = from; i < from + len && i < w->len && good; i++)
            good = w->buf[i] == w->pattern;
        if (!good)
            printf("Pattern verification failed at offset %" PRIu64 ", %" PRIu64 " bytes\n", w->offset + from, len);
    }
    if (w->quiet)
        return good;
    if (w->verbose)
        dump(w->buf, w->offset, w->len);
    report(w->write ? "wrote" : "read", w, loop_now() - w->started);
    return good;
}

static void aio_done(struct blk_req *r)
{
    struct rw *w = container_of(r, struct rw, r);
    w->io->aio_pending--;
    rw_result(w);
    rw_free(w);
}

/* The machine's state instead of the disk. */
static int state_io(struct io *io, struct rw *w)
{
    bool good = w->write ? node_vmstate_write(io->n, w->offset, w->buf, w->len, &io->e) : node_vmstate_read(io->n, w->offset, w->buf, w->len, &io->e);
    return good ? 0 : io->e.code ? io->e.code : EIO;
}

static int rw_run(struct io *io, int argc, char **argv, const char *letters, const struct rw *kind)
{
    struct rw *w = xcalloc(1, sizeof(*w));
    *w = *kind;
    w->io = io;
    if (!parse_rw(w, argc, argv, letters))
        goto bad;
    int left = argc - optind;
    if (left < 2 || (!w->vector && !w->aio && left != 2)) {
        printf("bad argument count %d to %s, expected %s\n", left, argv[0], w->vector || w->aio ? "at least 2 arguments" : "2 arguments");
        goto bad;
    }
    if (w->aio && w->zero && left > 2) {
        printf("-z supports only a single length parameter\n");
        goto bad;
    }
    if (!parse_place(w, left, argv + optind) || !fill(w))
        goto bad;
    w->started = loop_now();
    w->r = (struct blk_req){.op = w->zero ? BLK_ZERO : w->write ? BLK_WRITE : BLK_READ, .flags = w->flags,
                            .offset = w->offset, .len = w->len, .iov = w->zero ? NULL : w->iov,
                            .niov = w->zero ? 0 : w->niov};
    if (w->aio) {
        w->r.done = aio_done;
        io->aio_pending++;
        node_submit(io->n, &w->r);
        return 0;
    }
    int error = w->vector || w->state ? 0 : node_io(io->n, w->r.op, w->offset, w->buf, w->len, w->flags);
    if (w->vector)
        error = node_rw(io->n, &w->r);
    if (w->state)
        error = state_io(io, w);
    w->r.error = error;
    bool good = rw_result(w);
    rw_free(w);
    return good ? 0 : error ? -error : -EINVAL;
bad:
    rw_free(w);
    return -EINVAL;
}

static int do_read(struct io *io, int argc, char **argv)
{
    return rw_run(io, argc, argv, "+bCl:pP:qs:v", &(struct rw){0});
}

static int do_readv(struct io *io, int argc, char **argv)
{
    return rw_run(io, argc, argv, "+CP:qv", &(struct rw){.vector = true});
}

static int do_write(struct io *io, int argc, char **argv)
{
    return rw_run(io, argc, argv, "+bcCfnpP:qs:uz", &(struct rw){.write = true});
}

static int do_writev(struct io *io, int argc, char **argv)
{
    return rw_run(io, argc, argv, "+CfqP:", &(struct rw){.write = true, .vector = true});
}

static int do_aio_read(struct io *io, int argc, char **argv)
{
    return rw_run(io, argc, argv, "+CP:iqv", &(struct rw){.aio = true});
}

static int do_aio_write(struct io *io, int argc, char **argv)
{
    return rw_run(io, argc, argv, "+CfiP:quz", &(struct rw){.write = true, .aio = true});
}

static int do_aio_flush(struct io *io, int argc, char **argv)
{
    while (io->aio_pending)
        loop_turn(block_graph_loop(io->g), true);
    return 0;
}

/* ---- breakpoints of blkdebug ---- */

static void break_told(void *opaque, const char *tag, bool held)
{
    printf("blkdebug: %s request '%s'\n", held ? "Suspended" : "Resuming", tag);
}

static int do_break(struct io *io, int argc, char **argv)
{
    if (node_break_set(io->n, argv[1], argv[2], &(struct break_watch){.told = break_told}, &io->e))
        return 0;
    printf("Could not set breakpoint: %s\n", io->e.text);
    return -io->e.code;
}

static int do_remove_break(struct io *io, int argc, char **argv)
{
    if (node_break_remove(io->n, argv[1], &io->e))
        return 0;
    printf("Could not remove breakpoint %s: %s\n", argv[1], io->e.text);
    return -io->e.code;
}

static int do_resume(struct io *io, int argc, char **argv)
{
    if (node_break_resume(io->n, argv[1], &io->e))
        return 0;
    printf("Could not resume request: %s\n", io->e.text);
    return -io->e.code;
}

static int do_wait_break(struct io *io, int argc, char **argv)
{
    while (!node_break_reached(io->n, argv[1])) {
        if (!io->aio_pending) {
            printf("No request is under way that could reach breakpoint %s\n", argv[1]);
            return -ENOENT;
        }
        loop_turn(block_graph_loop(io->g), true);
    }
    return 0;
}

/* ---- the others ---- */

static int do_flush(struct io *io, int argc, char **argv)
{
    int error = node_flush(io->n);
    if (error)
        printf("flush failed: %s\n", strerror(error));
    return -error;
}

static int do_discard(struct io *io, int argc, char **argv)
{
    struct rw w = {.io = io};
    int c;
    optind = 0;
    while ((c = getopt(argc, argv, "+Cq")) != -1) {
        w.machine |= c == 'C';
        w.quiet |= c == 'q';
    }
    if (argc - optind != 2) {
        printf("bad argument count %d to discard, expected 2 arguments\n", argc - optind);
        return -EINVAL;
    }
    if (!number(argv[optind], &w.offset))
        return -EINVAL;
    if (!number(argv[optind + 1], &w.len))
        return -EINVAL;
    u64 start = loop_now();
    int error = node_io(io->n, BLK_DISCARD, w.offset, NULL, w.len, 0);
    if (error)
        printf("discard failed: %s\n", strerror(error));
    else if (!w.quiet)
        report("discard", &w, loop_now() - start);
    return -error;
}

static int do_alloc(struct io *io, int argc, char **argv)
{
    u64 offset, count = 512, sum = 0;
    char text[64];
    if (!number(argv[1], &offset))
        return -EINVAL;
    if (argc > 2 && !number(argv[2], &count))
        return -EINVAL;
    u64 size = node_size(io->n);
    count = offset < size ? MIN(count, size - offset) : count;
    for (u64 at = offset; at < offset + count;) {
        struct blk_status s;
        int error = node_status(io->n, at, offset + count - at, &s);
        if (error) {
            printf("is_allocated failed: %s\n", strerror(error));
            return -error;
        }
        if (s.flags & STATUS_ALLOCATED)
            sum += s.len;
        at += s.len;
    }
    printf("%" PRIu64 "/%" PRIu64 " bytes allocated at offset %s\n", sum, count, amount((double)offset, text, sizeof(text)));
    return 0;
}

static void print_run(u64 at, u64 len, bool allocated)
{
    char a[64], b[64];
    printf("%s (0x%" PRIx64 ") bytes %s allocated at offset %s (0x%" PRIx64 ")\n", amount((double)len, a, sizeof(a)), len,
           allocated ? "   " : "not", amount((double)at, b, sizeof(b)), at);
}

static int do_map(struct io *io, int argc, char **argv)
{
    u64 start = 0;
    int kind = -1; /* of the run that began at `start` */
    for (u64 at = 0; at < node_size(io->n);) {
        struct blk_status s;
        int error = node_status(io->n, at, node_size(io->n) - at, &s);
        if (error) {
            printf("Failed to get allocation status: %s\n", strerror(error));
            return -error;
        }
        int now = (s.flags & STATUS_ALLOCATED) != 0;
        if (kind >= 0 && now != kind) {
            print_run(start, at - start, kind);
            start = at;
        }
        kind = now;
        at += s.len;
    }
    if (kind >= 0)
        print_run(start, node_size(io->n) - start, kind);
    return 0;
}

static int do_length(struct io *io, int argc, char **argv)
{
    char text[64];
    printf("%s\n", amount((double)node_size(io->n), text, sizeof(text)));
    return 0;
}

static int do_truncate(struct io *io, int argc, char **argv)
{
    u64 size;
    enum prealloc p = PREALLOC_OFF;
    int c;
    optind = 0;
    while ((c = getopt(argc, argv, "+m:")) != -1) {
        if (c != 'm')
            return bad_option(argv);
        if (!prealloc_parse(optarg, &p, NULL)) {
            fprintf(stderr, "qemu-io: Invalid preallocation mode '%s'\n", optarg);
            return -EINVAL;
        }
    }
    if (argc - optind != 1) {
        printf("bad argument count %d to truncate, expected 1 argument\n", argc - optind);
        return -EINVAL;
    }
    if (!number(argv[optind], &size))
        return -EINVAL;
    if (node_truncate(io->n, size, p, &io->e))
        return 0;
    fprintf(stderr, "qemu-io: %s\n", io->e.text);
    return -EINVAL;
}

static int do_info(struct io *io, int argc, char **argv)
{
    struct image_info i;
    char a[64];
    if (!node_info(io->n, &i, &io->e)) {
        printf("%s\n", io->e.text);
        return -EIO;
    }
    printf("format name: %s\n", node_format(io->n));
    printf("cluster size: %s\n", amount((double)i.cluster_size, a, sizeof(a)));
    printf("vm state offset: %s\n", amount((double)i.vm_state_offset, a, sizeof(a)));
    if (i.specific) {
        printf("Format specific information:\n");
        img_print_specific(i.specific, 1);
    }
    image_info_free(&i);
    return 0;
}

static bool open_file(struct io *io)
{
    struct json *o = json_object();
    bool parsed = !io->native || (io->flags & OPEN_NO_CACHE) ||
                  err_set(&io->e, EINVAL, "aio=native was specified, but it requires cache.direct=on, which was not specified.");
    parsed = parsed && (!io->image_opts || img_parse_options(io->filename, "file", o, &io->e));
    if (io->discard && !json_get(o, "discard"))
        json_set_string(o, "discard", io->discard);
    if (parsed && io->temporary)
        io->n = img_open_temporary(io->g, io->filename, io->format, &io->e);
    else if (parsed)
        io->n = node_open(io->g, io->image_opts ? NULL : io->filename, io->format, o, io->flags, &io->e);
    if (io->n && !io->temporary)
        img_warn_guessed(io->n, node_filename(io->n));
    if (io->n && io->copy_on_read)
        io->n = node_open_above(io->n, "copy-on-read", NULL, io->flags, &io->e);
    json_free(o);
    if (!io->n)
        fprintf(stderr, io->image_opts ? "qemu-io: can't open%.0s: %s\n" : "qemu-io: can't open device %s: %s\n", io->filename, io->e.text);
    return io->n;
}

static int do_close(struct io *io, int argc, char **argv)
{
    node_break_remove(io->n, NULL, NULL); /* what is held would never end */
    do_aio_flush(io, 0, NULL);
    bool good = node_close(io->n, &io->e);
    io->n = NULL;
    if (!good)
        fprintf(stderr, "qemu-io: %s\n", io->e.text);
    return good ? 0 : -EIO;
}

static int do_reopen(struct io *io, int argc, char **argv)
{
    int c;
    u32 flags = io->flags;
    char access = 0;
    optind = 0;
    while ((c = getopt(argc, argv, "+rwc:o:")) != -1) {
        if (c == 'r' || c == 'w') {
            if (access)
                return fprintf(stderr, "qemu-io: Only one -r/-w option may be given\n"), -EINVAL;
            access = (char)c;
            flags = c == 'w' ? flags | OPEN_WRITE : flags & ~(u32)OPEN_WRITE;
        } else if (c == 'c') {
            flags &= ~(u32)(OPEN_NO_CACHE | OPEN_NO_FLUSH | OPEN_WRITE_THROUGH);
            if (!img_known_cache(optarg))
                return fprintf(stderr, "qemu-io: Invalid cache option: %s\n", optarg), -EINVAL;
            img_cache_flags(&(struct img){0}, optarg, &flags);
        } else if (c == 'o')
            return fprintf(stderr, "qemu-io: Cannot change the option '%.*s'\n", (int)strcspn(optarg, "="), optarg), -EINVAL;
        else
            return bad_option(argv);
    }
    io->flags = flags;
    int error = do_close(io, 0, NULL);
    return error ? error : open_file(io) ? 0 : -EINVAL;
}

/* An option that the command line and `open` have. */
static bool image_option(struct io *io, int letter, const char *value)
{
    struct img m = {.qemu = true, .name = "qemu-io"};
    switch (letter) {
    case 'r':
        io->flags &= ~(u32)OPEN_WRITE;
        break;
    case 's': /* writes go to an overlay that is gone at the end */
        io->temporary = true;
        break;
    case 'C':
        io->copy_on_read = true;
        break;
    case 'n':
        io->flags |= OPEN_NO_CACHE;
        break;
    case 'k':
        io->native = true;
        break;
    case 'U':
        io->flags |= OPEN_SHARE;
        break;
    case 't':
        return img_cache_flags(&m, value, &io->flags);
    case 'i':
        io->native = !strcmp(value, "native");
        return io->native || !strcmp(value, "threads") || !strcmp(value, "io_uring") || img_fail(&m, "Invalid aio option: %s", value) == 0;
    default: /* d */
        io->discard = value;
        return !strcmp(value, "ignore") || !strcmp(value, "off") || !strcmp(value, "unmap") || !strcmp(value, "on") ||
               img_fail(&m, "Invalid discard option: %s", value) == 0;
    }
    return true;
}

static int do_open(struct io *io, int argc, char **argv)
{
    int c;
    char *text = NULL;
    if (io->n) {
        fprintf(stderr, "qemu-io: file open already, try 'help close'\n");
        return -EINVAL;
    }
    io->flags = OPEN_WRITE;
    io->temporary = io->copy_on_read = io->native = false;
    io->discard = NULL;
    optind = 0;
    while ((c = getopt(argc, argv, "+rsCnkUo:t:d:i:")) != -1) {
        if (c == 'o')
            text = optarg;
        else if (c == '?')
            return bad_option(argv);
        else if (!image_option(io, c, optarg))
            return -EINVAL;
    }
    if (optind == argc && !text)
        return printf("bad argument count 0 to open, expected 1 argument\n"), -EINVAL;
    free(io->filename);
    io->image_opts = text;
    io->filename = text && optind < argc ? xprintf("%s,file.filename=%s", text, argv[optind])
                                         : xstrdup(text ? text : argv[optind]);
    return open_file(io) ? 0 : -EINVAL;
}

static int do_sleep(struct io *io, int argc, char **argv)
{
    u64 ms;
    if (!size_parse(argv[1], &ms))
        return printf("%s is not a valid number\n", argv[1]), -EINVAL;
    loop_sleep(block_graph_loop(io->g), loop_now() + ms * 1000000);
    return 0;
}

static int do_quit(struct io *io, int argc, char **argv)
{
    io->quit = true;
    return 0;
}

static int do_abort(struct io *io, int argc, char **argv)
{
    abort();
}

static int do_sigraise(struct io *io, int argc, char **argv)
{
    u64 signal;
    if (!number(argv[1], &signal))
        return -EINVAL;
    fflush(NULL);
    raise((int)MIN(signal, (u64)INT32_MAX));
    return 0;
}

static int do_help(struct io *io, int argc, char **argv)
{
    bool found = argc < 2;
    for (const struct io_command *c = commands; c->name; c++) {
        if (argc > 1 && strcmp(argv[1], c->name))
            continue;
        found = true;
        print_command(c);
    }
    if (argc < 2)
        printf("\nUse 'help commandname' for extended help.\n");
    if (!found)
        printf("command %s not found\n", argv[1]);
    return found ? 0 : -EINVAL;
}

static const struct io_command commands[] = {
    {"abort", NULL, do_abort, 0, 0, false, "", "simulate a program crash using abort(3)"},
    {"aio_flush", NULL, do_aio_flush, 0, 0, true, "", "completes all outstanding aio requests"},
    {"aio_read", NULL, do_aio_read, 2, -1, true, "[-Ciqv] [-P pattern] off len [len..]", "asynchronously reads a number of bytes"},
    {"aio_write", NULL, do_aio_write, 2, -1, true, "[-Cfiquz] [-P pattern] off len [len..]", "asynchronously writes a number of bytes"},
    {"alloc", NULL, do_alloc, 1, 2, true, "offset [count]", "checks if offset is allocated in the file"},
    {"break", NULL, do_break, 2, 2, true, "event tag", "sets a breakpoint on event and tags the stopped request as tag"},
    {"close", "c", do_close, 0, 0, true, "", "close the current open file"},
    {"discard", "d", do_discard, 2, -1, true, "[-Cq] off len", "discards a number of bytes at a specified offset"},
    {"flush", "f", do_flush, 0, 0, true, "", "flush all in-core file state to disk"},
    {"help", "?", do_help, 0, 1, false, "[command]", "help for one or all commands"},
    {"info", "i", do_info, 0, 0, true, "", "prints information about the current file"},
    {"length", "l", do_length, 0, 0, true, "", "gets the length of the current file"},
    {"map", NULL, do_map, 0, 0, true, "", "prints the allocated areas of a file"},
    {"open", "o", do_open, 1, -1, false, "[-rsCnkU] [-t cache] [-d discard] [-o options] [path]", "open the file specified by path"},
    {"quit", "q", do_quit, 0, 0, false, "", "exit the program"},
    {"read", "r", do_read, 2, -1, true, "[-abCqv] [-P pattern [-s off] [-l len]] off len", "reads a number of bytes at a specified offset"},
    {"readv", NULL, do_readv, 2, -1, true, "[-Cqv] [-P pattern] off len [len..]", "reads a number of bytes at a specified offset"},
    {"remove_break", NULL, do_remove_break, 1, 1, true, "tag", "remove a breakpoint by tag"},
    {"reopen", NULL, do_reopen, 0, -1, true, "[(-r|-w)] [-c cache] [-o options]", "reopens an image with new options"},
    {"resume", NULL, do_resume, 1, 1, true, "tag", "resumes the request tagged as tag"},
    {"sigraise", NULL, do_sigraise, 1, 1, false, "signal", "raises a signal"},
    {"sleep", NULL, do_sleep, 1, 1, false, "", "waits for the given value in milliseconds"},
    {"truncate", "t", do_truncate, 1, 3, true, "[-m prealloc_mode] off", "truncates the current file at the given offset"},
    {"wait_break", NULL, do_wait_break, 1, 1, true, "tag", "waits for the suspension of a request"},
    {"write", "w", do_write, 2, -1, true, "[-bcCfnquz] [-P pattern | -s source_file] off len", "writes a number of bytes at a specified offset"},
    {"writev", NULL, do_writev, 2, -1, true, "[-Cfq] [-P pattern] off len [len..]", "writes a number of bytes at a specified offset"},
    {NULL},
};

/* ---- running ---- */

/* One line, cut into words at blanks. */
static int run_line(struct io *io, const char *line)
{
    char *copy = xstrdup(line), *words[MAX_WORDS + 1], *save;
    int n = 0, result = 0;
    for (char *w = strtok_r(copy, " ", &save); w && n < MAX_WORDS; w = strtok_r(NULL, " ", &save))
        words[n++] = w;
    words[n] = NULL;
    if (n) {
        const struct io_command *c = commands;
        while (c->name && strcmp(c->name, words[0]) && (!c->alias || strcmp(c->alias, words[0])))
            c++;
        if (!c->name) {
            fprintf(stderr, "command \"%s\" not found\n", words[0]);
            result = -EINVAL;
        } else if (c->needs_file && !io->n) {
            fprintf(stderr, "no file open, try 'help open'\n");
            result = -EINVAL;
        } else if (n - 1 < c->min || (c->max >= 0 && n - 1 > c->max)) {
            if (c->max < 0)
                fprintf(stderr, "bad argument count %d to %s, expected at least %d arguments\n", n - 1, c->name, c->min);
            else if (c->min == c->max)
                fprintf(stderr, "bad argument count %d to %s, expected %d arguments\n", n - 1, c->name, c->min);
            else
                fprintf(stderr, "bad argument count %d to %s, expected between %d and %d arguments\n", n - 1, c->name, c->min, c->max);
            result = -EINVAL;
        } else {
            bool writes = c->run == do_write || c->run == do_writev || c->run == do_aio_write ||
                          c->run == do_discard || c->run == do_truncate;
            if (writes && node_read_only(io->n)) {
                fprintf(stderr, "qemu-io: Block node is read-only\n");
                result = -EPERM;
            } else {
                result = c->run(io, n, words);
            }
        }
    }
    free(copy);
    return result;
}

static const struct option long_options[] = {
    {"help", 0, NULL, 'h'}, {"version", 0, NULL, 'V'}, {"cmd", 1, NULL, 'c'}, {"format", 1, NULL, 'f'},
    {"read-only", 0, NULL, 'r'}, {"nocache", 0, NULL, 'n'}, {"misalign", 0, NULL, 'm'},
    {"native-aio", 0, NULL, 'k'}, {"aio", 1, NULL, 'i'}, {"cache", 1, NULL, 't'}, {"discard", 1, NULL, 'd'},
    {"force-share", 0, NULL, 'U'}, {"image-opts", 0, NULL, OPT_IMAGE_OPTS}, {"object", 1, NULL, OPT_OBJECT},
    {NULL},
};

static void io_usage(void)
{
    fputs("Usage: qemu-io [OPTIONS]... [-c STRING]... [file]\n"
          "QEMU Disk exerciser\n\n"
          "  --image-opts         treat file as option string\n"
          "  -c, --cmd STRING     execute command with its arguments from the given string\n"
          "  -f, --format FMT     specifies the block driver to use\n"
          "  -r, --read-only      export read-only\n"
          "  -n, --nocache        disable host cache, short for -t none\n"
          "  -i, --aio=MODE       use AIO mode (threads, native or io_uring)\n"
          "  -t, --cache=MODE     use the given cache mode for the image\n"
          "  -d, --discard=MODE   use the given discard mode for the image\n"
          "  -U, --force-share    force shared permissions\n"
          "  -h, --help           display this help and exit\n"
          "  -V, --version        output version information and exit\n\n"
          "See 'qemu-io -c help' for information on available commands.\n", stdout);
}

int cmd_io(int argc, char **argv)
{
    struct io io = {.flags = OPEN_WRITE};
    const char **lines = NULL;
    size_t count = 0, room = 0;
    struct img m = {.qemu = true, .name = "qemu-io"};
    io.g = block_graph_new(img_aio_mode(argc, argv), &io.e);
    if (!io.g) {
        fprintf(stderr, "qemu-io: %s\n", io.e.text);
        return 1;
    }
    m.g = io.g;
    int c;
    optind = 0;
    while ((c = getopt_long(argc, argv, "hVc:d:f:rsnCmki:t:T:U", long_options, NULL)) != -1) {
        switch (c) {
        case 'c':
            VEC_PUSH(lines, count, room) = optarg;
            break;
        case 'f':
            io.format = optarg;
            break;
        case 'r': case 's': case 'C': case 'n': case 'k': case 'U': case 't': case 'i': case 'd':
            if (!image_option(&io, c, optarg))
                return 1;
            break;
        case OPT_IMAGE_OPTS:
            io.image_opts = true;
            break;
        case OPT_OBJECT:
            if (!img_add_object(&m, optarg))
                return img_error(&m);
            break;
        case 'm':
            break;
        case 'h':
            io_usage();
            return 0;
        case 'V':
            printf("qemu-io version " LYRE_VERSION "\n");
            return 0;
        default:
            io_usage();
            return 1;
        }
    }
    int status = 0;
    if (argc - optind > 1) {
        io_usage();
        status = 1;
    } else if (io.image_opts && io.format) {
        fputs("qemu-io: --image-opts and -f are mutually exclusive\n", stderr);
        status = 1;
    } else if (optind < argc) {
        io.filename = xstrdup(argv[optind]);
        status = !open_file(&io);
    }
    for (size_t i = 0; i < count && !status && !io.quit; i++)
        io.failed |= run_line(&io, lines[i]) < 0;
    if (!count && !status) {
        char line[4096];
        while (!io.quit && fputs("qemu-io> ", stdout) >= 0 && fflush(stdout) == 0 && fgets(line, sizeof(line), stdin)) {
            line[strcspn(line, "\n")] = 0;
            io.failed |= run_line(&io, line) < 0;
        }
    }
    if (io.n)
        io.failed |= do_close(&io, 0, NULL) < 0;
    free(io.filename);
    free(lines);
    block_graph_free(io.g);
    return status || io.failed;
}
