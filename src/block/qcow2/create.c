/* Making images, and changes of what a whole image is: size, names, version. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/mem.h"
#include "block/file.h"
#include "block/qcow2/qcow2.h"

/* ---- options ---- */

struct plan {
    u64 size, cluster_size, refcount_bits;
    bool lazy, ext_l2, data_raw;
    char *compat, *compression, *backing, *backing_format, *data_file, *prealloc_text;
    u32 version;
    enum prealloc prealloc;
    struct crypto_plan crypto;
};

static void plan_free(struct plan *p)
{
    free(p->compat);
    free(p->compression);
    free(p->backing);
    free(p->backing_format);
    free(p->data_file);
    free(p->prealloc_text);
    crypto_plan_free(&p->crypto);
}

static bool take_options(struct json *o, struct plan *p, struct err *e)
{
    bool nocow;
    return opt_size(o, "size", &p->size, e) && opt_size(o, "cluster_size", &p->cluster_size, e) &&
           opt_size(o, "refcount_bits", &p->refcount_bits, e) && opt_bool(o, "lazy_refcounts", &p->lazy, e) &&
           opt_bool(o, "extended_l2", &p->ext_l2, e) && opt_bool(o, "data_file_raw", &p->data_raw, e) &&
           opt_string(o, "compat", &p->compat, e) && opt_string(o, "compression_type", &p->compression, e) &&
           opt_string(o, "backing_file", &p->backing, e) && opt_string(o, "backing_fmt", &p->backing_format, e) &&
           opt_string(o, "data_file", &p->data_file, e) && opt_string(o, "preallocation", &p->prealloc_text, e) &&
           opt_bool(o, "nocow", &nocow, e) && crypto_plan_take(&p->crypto, o, e);
}

static bool parse_version(const char *s, u32 *version, struct err *e)
{
    if (!strcmp(s, "0.10") || !strcmp(s, "v2"))
        *version = 2;
    else if (!strcmp(s, "1.1") || !strcmp(s, "v3"))
        *version = 3;
    else
        return err_set(e, EINVAL, "Parameter 'version' does not accept value '%s'", s);
    return true;
}

static bool check_plan(struct plan *p, struct err *e)
{
    if (p->crypto.format && p->data_raw)
        return err_set(e, EINVAL, "data-file-raw and encryption cannot be used at the same time");
    if (p->compat && !parse_version(p->compat, &p->version, e))
        return false;
    if (p->prealloc_text && !prealloc_parse(p->prealloc_text, &p->prealloc, e))
        return false;
    u64 least = p->ext_l2 ? 16384 : 512;
    if (!is_pow2(p->cluster_size) || p->cluster_size < 512 || p->cluster_size > 2 << 20)
        return err_set(e, EINVAL, "Cluster size must be a power of two between 512 and 2048k");
    if (p->cluster_size < least)
        return err_set(e, EINVAL, "Extended L2 entries are only supported with cluster sizes of at least 16384 bytes");
    if (!is_pow2(p->refcount_bits) || p->refcount_bits > 64)
        return err_set(e, EINVAL, "Refcount width must be a power of two and may not exceed 64 bits");
    if (p->version < 3 && p->refcount_bits != 16)
        return err_set(e, EINVAL, "Different refcount widths than 16 bits require compatibility level 1.1 or above (use version=v3 or greater)");
    if (p->version < 3 && p->lazy)
        return err_set(e, EINVAL, "Lazy refcounts only supported with compatibility level 1.1 and above (use version=v3 or greater)");
    if (p->version < 3 && p->ext_l2)
        return err_set(e, EINVAL, "Extended L2 entries are only supported with compatibility level 1.1 and above (use version=v3 or greater)");
    if (p->version < 3 && p->data_file)
        return err_set(e, EINVAL, "External data files are only supported with compatibility level 1.1 and above (use version=v3 or greater)");
    if (p->compression && strcmp(p->compression, "zlib") && strcmp(p->compression, "zstd"))
        return err_set(e, EINVAL, "Parameter 'compression-type' does not accept value '%s'", p->compression);
    if (p->version < 3 && p->compression && !strcmp(p->compression, "zstd"))
        return err_set(e, EINVAL, "Non-zlib compression type is only supported with compatibility level 1.1 and above (use version=v3 or greater)");
    if (p->backing && p->prealloc != PREALLOC_OFF && !p->ext_l2)
        return err_set(e, EINVAL, "Backing file and preallocation can only be used at the same time if extended_l2 is enabled");
    if (p->backing && p->data_raw)
        return err_set(e, EINVAL, "Backing file and data-file-raw cannot be used at the same time");
    if (p->data_raw && p->prealloc == PREALLOC_OFF)
        p->prealloc = PREALLOC_METADATA; /* the data file alone must show the disk, also what the image says nothing of */
    if (p->data_raw && !p->data_file)
        return err_set(e, EINVAL, "data-file-raw requires data-file");
    u64 span = p->cluster_size * (p->cluster_size / (p->ext_l2 ? 16 : 8));
    if (p->size / span >= MAX_L1_BYTES / 8)
        return err_set(e, EFBIG, "The image size is too large for file format 'qcow2' (try using a larger cluster size)");
    if (p->backing && strlen(p->backing) > 1023)
        return err_set(e, EINVAL, "Backing file name too long");
    return true;
}

/* ---- size ---- */

struct range_job {
    struct fmt_job job;
    u64 at, end;
    enum step (*change)(struct qcow2 *q, u64 *at, u64 end);
};

static enum step range_step(struct fmt *f, struct fmt_job *j)
{
    struct range_job *r = container_of(j, struct range_job, job);
    return r->change(qcow2_of(f), &r->at, r->end);
}

bool change_range(struct qcow2 *q, u64 at, u64 end, enum step (*change)(struct qcow2 *, u64 *, u64), struct err *e)
{
    struct range_job r = {.job.step = range_step, .at = at, .end = end, .change = change};
    return fmt_run(&q->fmt, &r.job, e);
}

bool grow_l1(struct qcow2 *q, u64 size, struct err *e)
{
    u64 span = (u64)q->cluster_size << q->l2_bits, needed = size / span + (size % span != 0);
    if (needed <= q->l1_size)
        return true;
    if (needed > MAX_L1_BYTES / 8)
        return err_set(e, EFBIG, "The image size is too large for its cluster size of %u bytes", q->cluster_size);
    u64 old = q->l1_offset, offset;
    u32 old_size = q->l1_size;
    node_event(q->fmt.node->file, EVENT_L1_GROW_ALLOC_TABLE);
    if (!l1_copy(q, old, old_size, (u32)needed, false, &offset, e))
        return false;
    q->l1_offset = offset;
    q->l1_size = (u32)needed;
    if (old_size)
        clusters_free_later(q, old, 8ull * old_size, FREED_OTHERWISE);
    return header_write_now(q, e);
}

/* Make the file long enough for what was allocated in it. */
static bool extend_file(struct qcow2 *q, enum prealloc p, struct err *e)
{
    struct node *file = q->fmt.node->file, *data = q->fmt.node->data;
    u64 size = q->fmt.node->size, end = MAX(file->size, q->free_hint << q->cluster_bits);
    enum prealloc how = p == PREALLOC_METADATA ? PREALLOC_OFF : p;
    if (data && data->size < size && !node_truncate(data, size, how, e))
        return false;
    return end <= file->size || node_truncate(file, end, how, e);
}

/* Room is taken behind the end of the file, which reads as zeros; what was in use before does not. */
static bool preallocate(struct qcow2 *q, u64 from, u64 to, enum prealloc p, struct err *e)
{
    u64 hint = q->free_hint;
    q->free_hint = MAX(hint, clusters_of(q, q->fmt.node->file->size));
    bool good = change_range(q, ALIGN_DOWN(from, (u64)q->cluster_size), ALIGN_UP(to, (u64)q->cluster_size), map_prealloc, e) &&
                extend_file(q, p, e);
    q->free_hint = MIN(hint, q->free_hint);
    return good;
}

/* Without regard to the backing file. */
static bool resize(struct node *n, u64 size, enum prealloc p, struct err *e)
{
    struct qcow2 *q = qcow2_of_node(n);
    if (size % 512)
        size = ALIGN_UP(size, (u64)512);
    if (q->nsnapshots && q->version < 3)
        return err_set(e, ENOTSUP, "Can't resize a version 2 image which has snapshots");
    u64 old = n->size, from = ALIGN_UP(size, (u64)q->cluster_size);
    if (size < old) {
        u64 tail = MIN(from, old) - size;
        int error = tail && !has_data_file(q) ? node_io(n, BLK_ZERO, size, NULL, tail, 0) : 0;
        if (error)
            return err_set(e, error, "cannot clear the last cluster of '%s': %s", n->filename, strerror(error));
        if (!change_range(q, from, vmstate_start(q), map_drop, e))
            return false;
    } else if (!grow_l1(q, size, e)) {
        return false;
    }
    n->size = size;
    if (!header_write_now(q, e))
        return false;
    bool good = size <= old || (p != PREALLOC_OFF ? preallocate(q, old, size, p, e) : !n->data || extend_file(q, p, e));
    return good && settle_all(q, e);
}

/* Before it has `size` bytes: where its backing file is longer than the image was, it must not show. */
static bool hide_backing(struct qcow2 *q, u64 size, struct err *e)
{
    struct node *n = q->fmt.node;
    u64 old = n->size, end = !n->backing_name ? 0 : n->backing ? MIN(size, n->backing->size) : size;
    if (end <= old)
        return true;
    n->size = size;
    int error = node_io(n, BLK_ZERO, old, NULL, end - old, BLK_MAY_UNMAP);
    n->size = old;
    return !error || err_set(e, error, "cannot hide the backing file behind the end of '%s': %s", n->filename, strerror(error));
}

bool qcow2_truncate(struct node *n, u64 size, enum prealloc p, struct err *e)
{
    struct qcow2 *q = qcow2_of_node(n);
    bool grows = size > n->size;
    return (!grows || (vmstate_drop(q, e) && grow_l1(q, size, e) && hide_backing(q, size, e))) && resize(n, size, p, e);
}

bool qcow2_make_empty(struct node *n, struct err *e)
{
    struct qcow2 *q = qcow2_of_node(n);
    node_event(n->file, EVENT_EMPTY_IMAGE_PREPARE);
    return change_range(q, 0, vmstate_start(q), map_drop, e) && settle_all(q, e);
}

/* ---- creating ---- */

static void set_bit_field(u8 *p, unsigned index, unsigned order)
{
    if (order < 3)
        p[index >> (3 - order)] |= (u8)(1 << ((index << order) & 7));
    else
        p[((index + 1) << (order - 3)) - 1] = 1;
}

/* An image of no size: header, refcount table, and one block that counts these three clusters. */
static bool write_empty(int fd, const char *filename, const struct plan *p, struct err *e)
{
    struct node n = {.filename = (char *)filename, .backing_name = p->backing};
    struct qcow2 q = {.version = p->version, .cluster_size = (u32)p->cluster_size,
                      .cluster_bits = ctz64(p->cluster_size), .refcount_order = ctz64(p->refcount_bits),
                      .reftable_offset = p->cluster_size, .reftable_clusters = 1, .l1_offset = p->cluster_size * 3};
    q.fmt.node = &n;
    q.ext_l2 = p->ext_l2;
    q.compression = p->compression && !strcmp(p->compression, "zstd") ? ZSTD : ZLIB;
    q.incompatible = (p->ext_l2 ? INCOMPAT_EXT_L2 : 0) | (q.compression ? INCOMPAT_COMPRESSION : 0) |
                     (p->data_file ? INCOMPAT_DATA_FILE : 0);
    q.compatible = p->lazy ? COMPAT_LAZY_REFCOUNTS : 0;
    q.autoclear = p->data_raw ? AUTOCLEAR_DATA_RAW : 0;
    if (p->backing && p->backing_format)
        extension_set(&q, (u32)EXT_BACKING_FORMAT, p->backing_format, (u32)strlen(p->backing_format));
    if (p->data_file)
        extension_set(&q, EXT_DATA_FILE, p->data_file, (u32)strlen(p->data_file));
    size_t len = 3 * p->cluster_size;
    u8 *bytes = xcalloc(1, len);
    bool good = header_bytes(&q, bytes, q.cluster_size) ||
                err_set(e, EINVAL, "The header of '%s' does not fit into a cluster; use larger clusters", filename);
    put_be64(bytes + p->cluster_size, p->cluster_size * 2);
    for (unsigned i = 0; i < 3; i++)
        set_bit_field(bytes + 2 * p->cluster_size, i, q.refcount_order);
    if (good && pwrite(fd, bytes, len, 0) != (ssize_t)len)
        good = err_set(e, errno ? errno : ENOSPC, "Could not write '%s': %s", filename, strerror(errno ? errno : ENOSPC));
    free(bytes);
    for (size_t i = 0; i < q.ext_count; i++)
        free(q.ext[i].data);
    free(q.ext);
    return good;
}

static bool create_data_file(struct block_graph *g, const char *filename, const struct plan *p, struct err *e)
{
    struct json *none = json_object();
    char *path = path_beside(filename, p->data_file);
    bool good = driver_by_name("file")->create(g, path, none, e);
    free(path);
    json_free(none);
    return good;
}

bool qcow2_create(struct block_graph *g, const char *filename, struct json *options, struct err *e)
{
    struct plan p = {.cluster_size = 65536, .refcount_bits = 16, .version = 3};
    struct json *file = opt_of_file(options);
    bool good = take_options(options, &p, e) && check_plan(&p, e) && driver_by_name("file")->create(g, filename, file, e) &&
                (!p.data_file || create_data_file(g, filename, &p, e));
    json_free(file);
    int fd = good ? open(filename, O_RDWR | O_CLOEXEC) : -1;
    if (good && fd < 0)
        good = err_set(e, errno, "Could not open '%s': %s", filename, strerror(errno));
    good = good && write_empty(fd, filename, &p, e);
    if (fd >= 0)
        close(fd);
    struct node *n = good ? node_open(g, filename, "qcow2", NULL, OPEN_WRITE | OPEN_NO_BACKING | OPEN_NO_FLUSH, e) : NULL;
    if (n) {
        good = resize(n, p.size, p.prealloc, e) && qcow2_encrypt(n, &p.crypto, e);
        good = node_close(n, good ? e : NULL) && good;
    }
    plan_free(&p);
    return good && n;
}

/* ---- names and version ---- */

bool qcow2_set_backing(struct node *n, const char *file, const char *format, struct err *e)
{
    struct qcow2 *q = qcow2_of_node(n);
    if (file && strlen(file) > 1023)
        return err_set(e, EINVAL, "Backing file name too long");
    if (file && *file && !format)
        return err_set(e, EINVAL, "backing format must be specified");
    if (file && (q->autoclear & AUTOCLEAR_DATA_RAW))
        return err_set(e, EINVAL, "Cannot set a backing file for images with data-file-raw");
    free(n->backing_name);
    free(n->backing_format);
    n->backing_name = file && *file ? xstrdup(file) : NULL;
    n->backing_format = n->backing_name && format ? xstrdup(format) : NULL;
    extension_set(q, (u32)EXT_BACKING_FORMAT, n->backing_format, n->backing_format ? (u32)strlen(format) : 0);
    return header_fits(q, e) && header_write_now(q, e);
}

/* The name of the data file in the header; "": none. */
static bool amend_data_file(struct qcow2 *q, const char *name, struct err *e)
{
    if (!has_data_file(q))
        return err_set(e, EINVAL, "data-file can only be set for images that use an external data file");
    free(q->data_file);
    q->data_file = *name ? xstrdup(name) : NULL;
    extension_set(q, EXT_DATA_FILE, q->data_file, (u32)strlen(name));
    return header_fits(q, e) && header_write_now(q, e);
}

static bool amend_data_raw(struct qcow2 *q, bool raw, struct err *e)
{
    if (raw && !(q->autoclear & AUTOCLEAR_DATA_RAW))
        return err_set(e, EINVAL, "data-file-raw cannot be set on existing images");
    if (raw == !!(q->autoclear & AUTOCLEAR_DATA_RAW))
        return true;
    q->autoclear &= ~(u64)AUTOCLEAR_DATA_RAW;
    return header_write_now(q, e);
}

static bool amend_plan(struct node *n, const struct json *options, struct plan *p, struct err *e)
{
    struct qcow2 *q = qcow2_of_node(n);
    if (p->compat && !parse_version(p->compat, &p->version, NULL))
        return err_set(e, EINVAL, "Unknown compatibility level %s", p->compat);
    if (!is_pow2(p->refcount_bits) || p->refcount_bits > 64)
        return err_set(e, EINVAL, "Refcount width must be a power of two and may not exceed 64 bits");
    bool wants_lazy = json_get(options, "lazy_refcounts");
    if (wants_lazy && p->lazy && p->version < 3)
        return err_set(e, EINVAL, "Lazy refcounts only supported with compatibility level 1.1 and above (use compat=1.1 or greater)");
    p->lazy &= wants_lazy || p->version >= 3;
    if ((p->data_file && !amend_data_file(q, p->data_file, e)) || !amend_data_raw(q, p->data_raw, e) ||
        !qcow2_change_version(q, p->version, ctz64(p->refcount_bits), p->lazy, e))
        return false;
    if (p->backing && strcmp(p->backing, n->backing_name ? n->backing_name : ""))
        return err_set(e, EINVAL, "Cannot amend the backing file\nUse rebase to change it.");
    if (p->backing_format && n->backing_name && !qcow2_set_backing(n, n->backing_name, p->backing_format, e))
        return false;
    return p->size == n->size || qcow2_truncate(n, p->size, PREALLOC_OFF, e);
}

bool qcow2_amend(struct node *n, const struct json *options, bool force, struct err *e)
{
    struct qcow2 *q = qcow2_of_node(n);
    struct json *o = json_copy(options);
    struct plan p = {.size = n->size, .version = q->version, .lazy = q->compatible & COMPAT_LAZY_REFCOUNTS,
                     .refcount_bits = 1u << q->refcount_order, .data_raw = q->autoclear & AUTOCLEAR_DATA_RAW};
    struct luks_change keys = {0};
    bool lazy = q->lazy;
    node_drain(n);
    q->lazy = false; /* meanwhile */
    bool good = (!q->late || counts_end(q, e)) && luks_change_take(&keys, "encrypt.", o, e) && take_options(o, &p, e);
    good = good && (!keys.wanted || qcow2_change_keys(q, &keys, force, e)) && amend_plan(n, options, &p, e);
    q->lazy = q->version >= 3 && (json_get(options, "lazy_refcounts") ? q->compatible & COMPAT_LAZY_REFCOUNTS : lazy);
    luks_change_free(&keys);
    json_free(o);
    plan_free(&p);
    return good;
}

/* ---- measuring ---- */

/* Clusters of all metadata of an image with `data` clusters of data. */
static u64 metadata_clusters(const struct plan *p, u64 data)
{
    u64 entry = p->ext_l2 ? 16 : 8, per_l2 = p->cluster_size / entry;
    u64 l2 = (data + per_l2 - 1) / per_l2, l1 = MAX((l2 * 8 + p->cluster_size - 1) / p->cluster_size, 1u);
    u64 fixed = 1 + l1 + l2 + data, blocks = 0, table = 1, before;
    do {
        before = blocks + table;
        u64 per_block = p->cluster_size * 8 / p->refcount_bits;
        blocks = (fixed + before + per_block - 1) / per_block;
        table = MAX((blocks * 8 + p->cluster_size - 1) / p->cluster_size, 1u);
    } while (blocks + table > before);
    return 1 + l1 + l2 + blocks + table;
}

bool qcow2_measure(const struct json *options, u64 size, struct node *source, u64 *required, u64 *full,
                   u64 *bitmaps, struct err *e)
{
    struct json *o = json_copy(options);
    struct plan p = {.cluster_size = 65536, .refcount_bits = 16, .version = 3};
    bool good = take_options(o, &p, e);
    if (good && o->first)
        good = err_set(e, EINVAL, "Invalid parameter '%s'", o->first->key);
    json_free(o);
    p.size = size;
    u64 luks = 0;
    good = good && check_plan(&p, e) && crypto_plan_room(&p.crypto, &luks, e);
    u64 all = (size + p.cluster_size - 1) / p.cluster_size, data = 0;
    for (u64 at = 0; good && source && at < size;) {
        struct blk_status s;
        unsigned depth;
        int error = node_status_chain(source, at, size - at, &s, &depth);
        if (error)
            good = err_set(e, error, "cannot read the metadata of '%s': %s", source->filename, strerror(error));
        else if ((s.flags & STATUS_DATA) && !(s.flags & STATUS_ZERO))
            data += (at + s.len + p.cluster_size - 1) / p.cluster_size - at / p.cluster_size;
        at += s.len;
    }
    bool may_have = source && source->drv == driver_by_name("qcow2") && qcow2_of_node(source)->version >= 3;
    *bitmaps = may_have && good ? bitmaps_measure(source, size, p.cluster_size) : UINT64_MAX;
    if (good) {
        u64 header = (luks + p.cluster_size - 1) / p.cluster_size;
        u64 meta = metadata_clusters(&p, all) + header;
        *full = (meta + all) * p.cluster_size;
        *required = (meta + (p.prealloc >= PREALLOC_FALLOC ? all : MIN(data, all))) * p.cluster_size;
    }
    plan_free(&p);
    return good;
}
