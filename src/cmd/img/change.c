/* Commands that make and change images: create, resize, amend, rebase, commit, bitmap, compact. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "block/job.h"
#include "cmd/img/img.h"

/* ---- create ---- */

/* The line "Formatting ..." names options in this order; those with a value here are always there. */
static const struct { const char *name, *standard; } shown[] = {
    {"encrypt.format", NULL}, {"encrypt.key-secret", NULL}, {"encrypt.cipher-alg", NULL},
    {"encrypt.cipher-mode", NULL}, {"encrypt.ivgen-alg", NULL}, {"encrypt.ivgen-hash-alg", NULL},
    {"encrypt.hash-alg", NULL}, {"encrypt.iter-time", NULL}, {"encryption", NULL},
    {"cluster_size", "65536"}, {"extended_l2", "off"}, {"preallocation", NULL}, {"compression_type", "zlib"},
    {"size", NULL}, {"preallocation", NULL}, {"compat", NULL}, {"data_file", NULL}, {"backing_file", NULL}, {"backing_fmt", NULL},
    {"data_file_raw", NULL}, {"lazy_refcounts", "off"}, {"refcount_bits", "16"}, {"nocow", NULL}, {"extent_size_hint", NULL},
    {"key-secret", NULL}, {"cipher-alg", NULL}, {"cipher-mode", NULL}, {"ivgen-alg", NULL}, {"ivgen-hash-alg", NULL},
    {"hash-alg", NULL}, {"iter-time", NULL},
};

static bool shows_bytes(const char *option)
{
    return !strcmp(option, "cluster_size") || !strcmp(option, "extent_size_hint");
}

static void print_formatting(const struct img *m, const char *format, const char *filename)
{
    bool qcow2 = !strcmp(format, "qcow2");
    printf("Formatting '%s', fmt=%s", filename, format);
    for (unsigned i = 0; i < ARRAY_LEN(shown); i++) {
        const struct json *v = json_get(m->options, shown[i].name);
        u64 size;
        bool early = !shown[i].standard && i + 1 < ARRAY_LEN(shown) && shown[i + 1].standard; /* qcow2 has it in front of these */
        if (!strcmp(shown[i].name, "preallocation") && early != qcow2)
            continue;
        if (v && v->kind == JSON_INT)
            printf(" %s=%" PRId64, shown[i].name, v->integer);
        else if (v && shows_bytes(shown[i].name) && size_parse(v->string, &size))
            printf(" %s=%" PRIu64, shown[i].name, size);
        else if (v && v->kind == JSON_STRING)
            printf(" %s=%s", shown[i].name, v->string);
        else if (qcow2 && shown[i].standard)
            printf(" %s=%s", shown[i].name, shown[i].standard);
    }
    printf("\n");
}

static const struct block_option *find_option(const struct block_option *o, const char *name)
{
    while (o && o->name && strcmp(o->name, name))
        o++;
    return o && o->name ? o : NULL;
}

/* The format's, or of the file that it makes. */
static bool knows_option(const char *format, const char *name)
{
    return find_option(block_create_options(format), name) || find_option(block_create_options("file"), name);
}

static bool wants_bool(const char *format, const char *name)
{
    const struct block_option *o = find_option(block_create_options(format), name);
    return o && !strncmp(o->type, "bool", 4);
}

static bool is_bool(const struct json *v)
{
    static const char *const words[] = {"on", "off", "true", "false", "yes", "no", "y", "n"};
    unsigned i = 0;
    while (v->kind == JSON_STRING && i < ARRAY_LEN(words) && strcmp(v->string, words[i]))
        i++;
    return v->kind == JSON_BOOL || (v->kind == JSON_STRING && i < ARRAY_LEN(words));
}

static const struct block_option no_options = {NULL};

/* Both lists together, in order; where both have an option the first one's counts. `more` may be empty. */
static void print_options(const struct block_option *o, const struct block_option *more)
{
    const struct block_option *first = o;
    while (o->name || more->name) {
        bool mine = !more->name || (o->name && strcmp(o->name, more->name) <= 0);
        const struct block_option *next = mine ? o++ : more++;
        if (!mine && find_option(first, next->name))
            continue;
        int n = printf("  %s=<%s>", next->name, next->type);
        printf("%*s - %s\n", n < 24 ? 24 - n : 0, "", next->help);
    }
}

static int print_create_options(struct img *m, const char *format)
{
    const struct block_option *o = block_create_options(format);
    if (!o)
        return img_fail(m, "Unknown file format '%s'", format);
    if (m->nfiles) {
        printf("Supported options:\n");
        print_options(o, block_create_options("file"));
        return 0;
    }
    printf("Supported %s options:\n", format);
    print_options(o, &no_options);
    printf("\nThe protocol level may support further options.\n"
           "Specify the target filename to include those options.\n");
    return 0;
}

int img_create_file(struct img *m, const char *format, const char *filename, bool quiet)
{
    const struct block_option *known = block_create_options(format);
    if (!known)
        return img_fail(m, "%s: Unknown file format '%s'", filename, format);
    bool unnamed = m->qemu && !strcmp(m->command, "convert"); /* the file in these messages */
    const char *prefix = unnamed ? "" : filename, *colon = unnamed ? "" : ": ";
    for (const struct json *c = m->options->first; c; c = c->next) {
        if (!knows_option(format, c->key) && !strncmp(c->key, "backing_", 8))
            return img_fail(m, "%s%sBacking file not supported for file format '%s'", prefix, colon, format);
        if (!knows_option(format, c->key))
            return img_fail(m, "%s%sInvalid parameter '%s'%s%s%s", prefix, colon, c->key, m->qemu ? "" : "\nOptions of the format: -f ", m->qemu ? "" : format,
                            m->qemu ? "" : " -o help");
        if (wants_bool(format, c->key) && !is_bool(c))
            return img_fail(m, "%s%sParameter '%s' expects 'on' or 'off'", prefix, colon, c->key);
    }
    struct json *size = json_get(m->options, "size");
    u64 bytes;
    if (size && size->kind == JSON_STRING) {
        if (!size_parse(size->string, &bytes) || bytes > INT64_MAX)
            return img_fail(m, "Parameter 'size' expects a non-negative number below 2^64\n"
                               "Optional suffix k, M, G, T, P or E means kilo-, mega-, giga-, tera-, peta-\n"
                               "and exabytes, respectively.");
        json_set_int(m->options, "size", (s64)bytes);
    }
    if (m->qemu && !quiet)
        print_formatting(m, format, filename);
    if (!block_create(m->g, format, filename, m->options, &m->e))
        return m->qemu && !strcmp(m->command, "convert") ? img_fail(m, "%s: error while converting %s: %s", filename, format, m->e.text)
                                              : img_fail(m, "%s: %s", filename, m->e.text);
    if (!m->qemu && !quiet) {
        char text[32];
        size = json_get(m->options, "size");
        printf("%s: %s, %s\n", filename, format, img_size(size ? (u64)size->integer : 0, text, sizeof(text)));
    }
    return 0;
}

/* A new image is as large as its backing file, which must be there unless -u. */
static int look_at_backing(struct img *m, const char *filename)
{
    const char *backing = json_get_string(m->options, "backing_file");
    const char *format = json_get_string(m->options, "backing_fmt");
    if (!backing || !*backing || m->unsafe)
        return 0;
    char *path = NULL;
    const char *slash = strrchr(filename, '/');
    bool relative = backing[0] != '/' && !strchr(backing, ':') && slash;
    path = relative ? xprintf("%.*s/%s", (int)(slash - filename), filename, backing) : xstrdup(backing);
    struct node *n = node_open(m->g, path, format, NULL, OPEN_NO_IO, &m->e);
    int status = 0;
    if (!n)
        status = img_fail(m, "%s: %s", filename, m->e.text);
    else if (!format)
        status = img_fail(m, "%s: Backing file specified without backing format\nDetected format of %s.", filename, node_format(n));
    else if (!json_get(m->options, "size"))
        json_set_int(m->options, "size", (s64)node_size(n));
    node_close(n, NULL);
    free(path);
    return status;
}

int img_create(struct img *m)
{
    const char *format = m->format ? m->format : m->qemu || m->nfiles == 0 ? "raw" : "qcow2";
    if (m->options_help)
        return print_create_options(m, format);
    if (m->nfiles < 1)
        return img_usage(m, "Expecting image file name");
    if (m->nfiles > 2)
        return img_usage(m, "Unexpected argument: %s", m->files[2]);
    const char *filename = m->files[0];
    u64 size;
    if (m->nfiles == 2) {
        if (json_get(m->options, "size"))
            return img_fail(m, "%s: The image size must be specified only once", filename);
        size_t digits = strspn(m->files[1], "0123456789"), suffix = strspn(m->files[1] + digits, "bkKMGTPE");
        bool too_large = digits && suffix < 2 && !m->files[1][digits + suffix]; /* if it is not a size */
        if (size_parse(m->files[1], &size) ? size > INT64_MAX : too_large)
            return img_fail(m, "Invalid image size specified. Must be between 0 and 9223372036854775807.");
        if (!size_parse(m->files[1], &size))
            return img_fail(m, "Invalid image size specified. You may use k, M, G, T, P or E suffixes for\n"
                               "%s: kilobytes, megabytes, gigabytes, terabytes, petabytes and exabytes.", m->name);
        json_set_int(m->options, "size", (s64)size);
    }
    if (!block_create_options(format))
        return img_fail(m, "%s: Unknown file format '%s'", filename, format);
    if (m->backing)
        json_set_string(m->options, "backing_file", m->backing);
    if (m->backing_format)
        json_set_string(m->options, "backing_fmt", m->backing_format);
    const char *backing = json_get_string(m->options, "backing_file");
    if (!backing && json_get(m->options, "backing_fmt"))
        return img_fail(m, "%s: Backing format cannot be used without backing file", filename);
    if (backing && !strcmp(backing, filename))
        return img_fail(m, "%s: Error: Trying to create an image with the same filename as the backing file", filename);
    int status = look_at_backing(m, filename);
    if (status)
        return status;
    if (!json_get(m->options, "size"))
        return img_fail(m, "%s: Image creation needs a size parameter", filename);
    return img_create_file(m, format, filename, m->quiet);
}

/* ---- resize and amend ---- */

int img_resize(struct img *m)
{
    if (m->nfiles < 2)
        return img_usage(m, "Not enough arguments");
    if (m->nfiles > 2)
        return img_usage(m, "Expecting image file name and size");
    const char *text = m->files[1];
    char sign = *text == '+' || *text == '-' ? *text++ : 0;
    u64 size;
    enum prealloc p = PREALLOC_OFF;
    if (!size_parse(text, &size))
        return img_fail(m, "Parameter 'size' expects a non-negative number below 2^64\n"
                           "Optional suffix k, M, G, T, P or E means kilo-, mega-, giga-, tera-, peta-\n"
                           "and exabytes, respectively.");
    if (m->prealloc && !prealloc_parse(m->prealloc, &p, &m->e))
        return img_fail(m, "Invalid preallocation mode '%s'", m->prealloc);
    struct node *n = img_open(m, m->files[0], m->format, m->image_opts, OPEN_WRITE, NULL);
    if (!n)
        return 1;
    u64 now = node_size(n);
    if (sign == '+')
        size = size > (u64)INT64_MAX - now ? UINT64_MAX : size + now;
    else if (sign == '-')
        size = size < now ? now - size : 0;
    int status = 0;
    if (!size || size > INT64_MAX) {
        status = img_fail(m, "New image size must be positive");
    } else if (size <= now && p != PREALLOC_OFF) {
        status = img_fail(m, "Preallocation can only be used for growing images");
    } else if (size < now && !m->shrink) {
        img_fail(m, "Use the --shrink option to perform a shrink operation.");
        status = img_fail(m, "warning: Shrinking an image will delete all data beyond the shrunken image's end. "
                             "Before performing such an operation, make sure there is no important data there.");
    } else if (node_is_device(n) && size != now) {
        status = img_fail(m, "Cannot resize device files");
    } else if (!node_truncate(n, size, p, &m->e)) {
        status = img_error(m);
    } else if (!m->quiet) {
        printf("Image resized.\n");
    }
    return img_close(m, n, status);
}

int img_amend(struct img *m)
{
    if (!m->has_options)
        return img_usage(m, "Must specify options (-o)");
    if (m->options_help) {
        const struct block_option *o = m->format ? block_amend_options(m->format) : NULL;
        if (!m->format)
            return img_usage(m, "Expecting one image file name");
        if (!block_create_options(m->format))
            return img_fail(m, "Unknown file format '%s'", m->format);
        if (!o)
            return img_fail(m, "Format driver '%s' does not support option amendment", m->format);
        printf("Amend options for '%s':\n", m->format);
        print_options(o, &no_options);
        return 0;
    }
    if (m->nfiles != 1)
        return img_usage(m, "Expecting one image file name");
    /* A larger image must not show more of its backing file. */
    u32 flags = OPEN_WRITE | (json_get(m->options, "size") ? 0 : OPEN_NO_BACKING);
    struct node *n = img_open(m, m->files[0], m->format, m->image_opts, flags, m->cache);
    if (!n)
        return 1;
    struct progress p;
    progress_start(&p, m, 1);
    int status = node_amend(n, m->options, m->force, &m->e) ? 0 : img_error(m);
    if (!status)
        progress_end(&p);
    return img_close(m, n, status);
}

/* ---- rebase ---- */

enum { CHUNK = 1 << 20, GRAIN = 64 << 10 };

/* Read at an offset; zeros beyond the end, and where there is no node. */
static int read_or_zeros(struct node *n, u64 at, u8 *buf, u64 len)
{
    u64 there = n && at < node_size(n) ? MIN(len, node_size(n) - at) : 0;
    memset(buf + there, 0, len - there);
    return there ? node_io(n, BLK_READ, at, buf, there, 0) : 0;
}

/* Write the pieces of `a` that are not as in `b`. */
static int write_differing(struct node *top, u64 at, u8 *a, const u8 *b, u64 len)
{
    int error = 0;
    for (u64 i = 0, n; i < len && !error; i += n) {
        u64 piece = MIN(len - i, (u64)GRAIN);
        bool differs = memcmp(a + i, b + i, piece);
        for (n = piece; i + n < len; n += piece) {
            piece = MIN(len - i - n, (u64)GRAIN);
            if (differs != !!memcmp(a + i + n, b + i + n, piece))
                break;
        }
        error = differs ? node_io(top, BLK_WRITE, at + i, a + i, n, 0) : 0;
    }
    return error;
}

/* Copy into the image what it shows of its old backing file and would not show of the new one. */
static int copy_differences(struct img *m, struct node *top, struct node *old, struct node *new)
{
    u8 *a = xmalloc(CHUNK), *b = xmalloc(CHUNK);
    int error = 0;
    struct progress p;
    progress_start(&p, m, node_size(top));
    for (u64 at = 0; at < node_size(top) && !error;) {
        struct blk_status s;
        error = node_status(top, at, node_size(top) - at, &s);
        if (!error && (s.flags & STATUS_ALLOCATED)) {
            at += s.len;
            continue;
        }
        u64 len = MIN(s.len, (u64)CHUNK);
        if (!error)
            error = read_or_zeros(old, at, a, len);
        if (!error)
            error = read_or_zeros(new, at, b, len);
        if (!error)
            error = write_differing(top, at, a, b, len);
        at += len;
        progress_show(&p, at);
    }
    progress_end(&p);
    free(a);
    free(b);
    return error ? img_fail(m, "error while copying to '%s': %s", m->files[0], strerror(error)) : 0;
}

int img_rebase(struct img *m)
{
    if (m->nfiles != 1)
        return img_usage(m, "Expecting one image file name");
    if (!m->unsafe && !m->backing)
        return img_usage(m, "Must specify backing file (-b) or use unsafe mode (-u)");
    const char *name = m->files[0], *backing = m->backing && *m->backing ? m->backing : NULL;
    if (m->backing_format && !block_create_options(m->backing_format))
        return img_fail(m, "Invalid format name: '%s'", m->backing_format);
    struct node *top = img_open(m, name, m->format, m->image_opts, OPEN_WRITE | OPEN_NO_BACKING, m->cache);
    struct node *chain = NULL, *new = NULL;
    u32 source = OPEN_SHARE;
    int status = top && img_cache_flags(m, m->src_cache, &source) ? 0 : 1;
    if (!status && !m->unsafe) {
        chain = node_open(m->g, name, node_format(top), NULL, source, &m->e);
        if (!chain)
            status = img_fail(m, "Could not open old backing file: %s", m->e.text);
        const char *slash = strrchr(name, '/');
        char *path = backing && *backing != '/' && slash && !strchr(backing, ':')
                         ? xprintf("%.*s/%s", (int)(slash - name), name, backing)
                         : xstrdup(backing ? backing : "");
        if (!status && backing) {
            new = node_open(m->g, path, m->backing_format, NULL, source, &m->e);
            if (!new)
                status = img_fail(m, "Could not open new backing file '%s': %s", backing, m->e.text);
        }
        free(path);
        if (!status)
            status = copy_differences(m, top, node_backing(chain), new);
    }
    if (!status && !node_set_backing(top, backing, m->backing_format, &m->e))
        status = img_fail(m, "Could not change the backing file to '%s': %s", backing ? backing : "", m->e.text);
    node_close(new, NULL);
    node_close(chain, NULL);
    return img_close(m, top, status);
}

/* ---- commit ---- */

/* The layer below `top` that has this name, as the image says it or as a path; NULL names the first. */
static struct node *find_base(struct node *top, const char *base)
{
    struct node *n = node_backing(top);
    while (n && base && strcmp(base, node_filename(n)))
        n = node_backing(n);
    return n;
}

static int run_commit(struct img *m, struct node *root, struct node *base)
{
    struct job_options o = {.speed = m->rate};
    struct block_job *j = job_commit(root, NULL, base, &o, &m->e);
    if (!j)
        return img_fail(m, "Could not commit into '%s': %s", node_filename(base), m->e.text);
    struct progress p;
    u64 done, total;
    job_progress(j, &done, &total);
    progress_start(&p, m, total);
    while (job_state(j) != JOB_PENDING) {
        loop_turn(block_graph_loop(m->g), true);
        job_progress(j, &done, &total);
        p.total = total;
        progress_show(&p, done);
    }
    progress_end(&p);
    return job_finish(j, &m->e) ? 0 : img_fail(m, "Block job failed: %s", m->e.text);
}

int img_commit(struct img *m)
{
    if (m->nfiles != 1)
        return img_usage(m, "Expecting one image file name");
    struct node *top = img_open(m, m->files[0], m->format, m->image_opts, OPEN_WRITE, m->cache);
    if (!top)
        return 1;
    struct node *base = find_base(top, m->backing), *root = node_root(node_ref(top));
    int status = 0;
    if (!node_backing(top))
        status = img_fail(m, "Image does not have a backing file");
    else if (!base)
        status = img_fail(m, "Did not find '%s' in the backing chain of '%s'", m->backing, m->files[0]);
    else
        status = run_commit(m, root, base);
    status = img_close(m, root, status);
    if (!status && !m->drop && !m->backing && !node_make_empty(top, &m->e))
        status = img_fail(m, "Could not empty %s: %s", m->files[0], m->e.text);
    if (!status && !m->quiet)
        printf("Image committed.\n");
    return img_close(m, top, status);
}

/* ---- bitmap ---- */

static bool bitmap_step(struct img *m, struct node *n, struct node *source, unsigned i)
{
    static const enum bitmap_action actions[] = {BITMAP_ADD, BITMAP_REMOVE, BITMAP_CLEAR, BITMAP_ENABLE, BITMAP_DISABLE};
    static const char *const names[] = {"add", "remove", "clear", "enable", "disable", "merge"};
    int code = m->bitmap_actions[i].code;
    const char *from = m->bitmap_actions[i].from, *name = m->files[1];
    bool good = code == OPT_MERGE ? node_bitmap_merge(n, name, source, from, &m->e)
                                  : node_bitmap(n, actions[code - OPT_ADD], name, (u32)m->granularity, &m->e);
    return good || img_fail(m, "Operation %s on bitmap %s failed: %s", names[code - OPT_ADD], name, m->e.text) == 0;
}

int img_bitmap(struct img *m)
{
    bool adds = false, merges = false;
    for (unsigned i = 0; i < m->nbitmap_actions; i++) {
        adds |= m->bitmap_actions[i].code == OPT_ADD;
        merges |= m->bitmap_actions[i].code == OPT_MERGE;
    }
    if (!m->nbitmap_actions)
        return img_fail(m, "Need at least one of --add, --remove, --clear, --enable, --disable, or --merge");
    if (m->nfiles != 2)
        return img_fail(m, "Expecting filename and bitmap name");
    if (m->granularity && !adds)
        return img_fail(m, "granularity only supported with --add");
    if ((m->backing_format && !m->backing) || (m->backing && !merges))
        return img_fail(m, m->backing ? "Merge bitmap source file only supported with --merge" : "-F only supported with -b");
    if (m->granularity > UINT32_MAX)
        return img_fail(m, "Granularity must be power of 2 and at least 512");
    struct node *n = img_open(m, m->files[0], m->format, m->image_opts, OPEN_WRITE | OPEN_NO_BACKING, NULL);
    if (!n)
        return 1;
    struct node *source = m->backing ? img_open(m, m->backing, m->backing_format, false, OPEN_NO_BACKING, NULL) : node_ref(n);
    int status = source ? 0 : 1;
    for (unsigned i = 0; !status && i < m->nbitmap_actions; i++)
        status = !bitmap_step(m, n, source, i);
    node_close(source, NULL);
    return img_close(m, n, status);
}

/* ---- compact ---- */

/* Give up what is zero in a piece that was read, in whole granules. */
static int drop_zeros(struct node *n, u64 at, const u8 *buf, u64 len, u64 granule)
{
    int error = 0;
    for (u64 i = 0, run; i < len && !error; i += MAX(run, granule)) {
        for (run = 0; i + run < len && bytes_are_zero(buf + i + run, MIN(granule, len - i - run));)
            run += MIN(granule, len - i - run);
        error = run ? node_io(n, BLK_ZERO, at + i, NULL, run, BLK_MAY_UNMAP) : 0;
    }
    return error;
}

/* Everything that holds zeros. */
static bool compact(struct img *m, struct node *n, u64 granule)
{
    enum { RAW_GRANULE = 4096 };
    granule = granule ? granule : RAW_GRANULE;
    u64 chunk = MAX((u64)CHUNK, granule);
    u8 *buf = xmalloc(chunk);
    int error = 0;
    struct progress p;
    progress_start(&p, m, node_size(n));
    for (u64 at = 0; at < node_size(n) && !error;) {
        struct blk_status s;
        error = node_status(n, at, node_size(n) - at, &s);
        u64 len = s.len;
        if (!error && (s.flags & STATUS_DATA)) {
            len = MIN(len, chunk - at % chunk);
            error = node_io(n, BLK_READ, at, buf, len, 0);
            error = error ? error : drop_zeros(n, at, buf, len, granule);
        }
        at += len;
        progress_show(&p, at);
    }
    progress_end(&p);
    free(buf);
    return !error || err_set(&m->e, error, "'%s': %s", m->files[0], strerror(error));
}

/* What is free by the counts is given back, so they have to be right. */
static bool is_sound(struct img *m, struct node *n)
{
    struct check_result c = {0};
    if (!node_check(n, 0, &c, &m->e))
        return m->e.code == ENOTSUP;
    return !c.corruptions ||
           err_set(&m->e, EIO, "'%s' is damaged\nRepair it first: lyre img check -r all %s", m->files[0], m->files[0]);
}

int img_compact(struct img *m)
{
    if (m->nfiles != 1)
        return img_usage(m, "Expecting one image file name");
    struct node *n = img_open(m, m->files[0], m->format, m->image_opts, OPEN_WRITE, NULL);
    if (!n)
        return 1;
    struct image_info before = {0}, after = {0};
    bool good = is_sound(m, n) && node_info(n, &before, &m->e) && compact(m, n, before.cluster_size) &&
                node_give_back(n, &m->e) && node_info(n, &after, &m->e);
    int status = good ? 0 : img_error(m);
    if (good && !m->quiet) {
        char a[32], b[32];
        printf("%s: %s on disk, was %s\n", m->files[0], img_size(after.actual_size, a, sizeof(a)),
               img_size(before.actual_size, b, sizeof(b)));
    }
    image_info_free(&before);
    image_info_free(&after);
    return img_close(m, n, status);
}
