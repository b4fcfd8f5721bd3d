/* Opening and closing: the header, its extensions, and what the user sees of them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/mem.h"
#include "block/bitmap.h"
#include "block/qcow2/qcow2.h"

enum {
    CACHE_BYTES = 32 << 20,
    CACHE_BLOCK = 64 << 10,
    MAX_HEADER = 64 << 10, /* of which extensions are read, in small clusters less */
};

/* ---- extensions ---- */

const struct extension *extension_get(const struct qcow2 *q, u32 type)
{
    for (size_t i = 0; i < q->ext_count; i++) {
        if (q->ext[i].type == type)
            return &q->ext[i];
    }
    return NULL;
}

void extension_set(struct qcow2 *q, u32 type, const void *data, u32 len)
{
    struct extension *x = (struct extension *)extension_get(q, type);
    if (!data) {
        if (x) {
            free(x->data);
            *x = q->ext[--q->ext_count];
        }
        return;
    }
    u8 *copy = xmalloc(len + 1);
    memcpy(copy, data, len);
    copy[len] = 0;
    if (x)
        free(x->data);
    else
        x = &VEC_PUSH(q->ext, q->ext_count, q->ext_cap);
    *x = (struct extension){type, len, copy};
}

static bool read_extensions(struct qcow2 *q, const u8 *h, u32 from, u32 end, struct err *e)
{
    while (from + 8 <= end) {
        u32 type = be32_at(h + from), len = be32_at(h + from + 4);
        if (type == EXT_END)
            return true;
        from += 8;
        if (len > end - from)
            return err_set(e, EINVAL, "Header extension too large");
        if (type != EXT_FEATURE_NAMES)
            extension_set(q, type, h + from, len);
        from += ALIGN_UP(len, 8u);
    }
    return true;
}

/* ---- writing ---- */

static u8 *put_extension(u8 *to, const u8 *end, u32 type, const void *data, u32 len)
{
    if (!to || to + 8 + ALIGN_UP(len, 8u) > end)
        return NULL;
    put_be32(to, type);
    put_be32(to + 4, len);
    if (len)
        memcpy(to + 8, data, len);
    return to + 8 + ALIGN_UP(len, 8u);
}

/* What a program that does not know a feature tells its user. */
static u8 *put_feature_names(u8 *to, const u8 *end)
{
    static const struct { u8 kind, bit; const char *name; } names[] = {
        {0, 0, "dirty bit"}, {0, 1, "corrupt bit"}, {0, 2, "external data file"}, {0, 3, "compression type"},
        {0, 4, "extended L2 entries"}, {1, 0, "lazy refcounts"}, {2, 0, "bitmaps"}, {2, 1, "raw external data"},
    };
    u8 table[ARRAY_LEN(names) * 48] = {0};
    for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
        table[i * 48] = names[i].kind;
        table[i * 48 + 1] = names[i].bit;
        memcpy(table + i * 48 + 2, names[i].name, strlen(names[i].name));
    }
    u8 *after = put_extension(to, end, EXT_FEATURE_NAMES, table, sizeof(table));
    return after ? after : to; /* a cluster of 512 bytes may have no room: it is only a help */
}

bool header_bytes(const struct qcow2 *q, u8 *h, u32 room)
{
    const struct node *n = q->fmt.node;
    u32 header = q->version < 3 ? HEADER_V2 : HEADER_V3;
    memset(h, 0, room);
    put_be32(h, QCOW2_MAGIC);
    put_be32(h + 4, q->version);
    put_be32(h + 20, q->cluster_bits);
    put_be64(h + 24, n->size);
    put_be32(h + 32, q->crypt_method);
    put_be32(h + 36, q->active.size ? q->active.size : q->l1_size);
    put_be64(h + 40, q->active.size ? q->active.offset : q->l1_offset);
    put_be64(h + 48, q->reftable_offset);
    put_be32(h + 56, q->reftable_clusters);
    put_be32(h + 60, q->nsnapshots);
    put_be64(h + 64, q->snapshots_offset);
    if (q->version >= 3) {
        put_be64(h + 72, q->incompatible);
        put_be64(h + 80, q->compatible);
        put_be64(h + 88, q->autoclear);
        put_be32(h + 96, q->refcount_order);
        put_be32(h + 100, header);
        h[104] = q->compression;
    }
    u8 *end = h + room, *at = h + header;
    size_t backing = n->backing_name ? strlen(n->backing_name) : 0;
    for (size_t i = 0; i < q->ext_count; i++)
        at = put_extension(at, end, q->ext[i].type, q->ext[i].data, q->ext[i].len);
    if (q->version >= 3 && at && (u64)(end - at) > 8 * 48 + 16 + 8 + backing)
        at = put_feature_names(at, end);
    at = put_extension(at, end, EXT_END, NULL, 0);
    if (!at || (u64)(end - at) < backing)
        return false;
    if (backing) {
        memcpy(at, n->backing_name, backing);
        put_be64(h + 8, (u64)(at - h));
        put_be32(h + 16, (u32)backing);
    }
    return true;
}

u8 *qcow2_header(void *opaque, u32 *len, unsigned *rank)
{
    struct qcow2 *q = opaque;
    if (!q->header_changed)
        return NULL;
    u8 *h = xmalloc(q->cluster_size);
    if (!header_bytes(q, h, q->cluster_size)) { /* whoever makes it longer has checked that */
        free(h);
        return NULL;
    }
    q->header_written = q->header_version;
    *len = q->cluster_size;
    *rank = q->header_early ? RANK_L2 : META_RANKS;
    return h;
}

void header_touch(struct qcow2 *q, bool early)
{
    q->header_early = early && (!q->header_changed || q->header_early);
    q->header_changed = true;
    q->header_version++;
}

bool header_write_now(struct qcow2 *q, struct err *e)
{
    header_touch(q, false);
    return fmt_run_barrier(&q->fmt, e);
}

/* ---- reading ---- */

/* A table of `bytes` bytes at `offset` that must lie where a table may lie. */
static bool table_fits(const struct qcow2 *q, u64 offset, u64 bytes, u64 most, const char *what, struct err *e)
{
    const struct node *n = q->fmt.node;
    if (bytes > most)
        return err_set(e, EFBIG, "%s is too large", what);
    if (offset & (q->cluster_size - 1) || offset > (1ull << 56) - bytes)
        return err_set(e, EINVAL, "%s offset invalid", what);
    if (offset + bytes > ALIGN_UP(n->file->size, (u64)q->cluster_size) && !(n->flags & OPEN_CHECK))
        return err_set(e, EINVAL, "%s lies beyond the end of '%s': is the file complete?", what, n->filename);
    return true;
}

static bool read_fields(struct qcow2 *q, const u8 *h, struct err *e)
{
    struct node *n = q->fmt.node;
    q->version = be32_at(h + 4);
    q->cluster_bits = be32_at(h + 20);
    if (be32_at(h) != QCOW2_MAGIC)
        return err_set(e, EINVAL, "Image is not in qcow2 format");
    if (q->version < 2 || q->version > 3)
        return err_set(e, ENOTSUP, "Unsupported qcow2 version %u", q->version);
    if (q->cluster_bits < 9 || q->cluster_bits > 21)
        return err_set(e, EINVAL, "Unsupported cluster size: 2^%u", q->cluster_bits);
    q->cluster_size = 1u << q->cluster_bits;
    n->size = be64_at(h + 24);
    q->crypt_method = be32_at(h + 32);
    q->l1_size = be32_at(h + 36);
    q->l1_offset = be64_at(h + 40);
    q->reftable_offset = be64_at(h + 48);
    q->reftable_clusters = be32_at(h + 56);
    q->nsnapshots = be32_at(h + 60);
    q->snapshots_offset = be64_at(h + 64);
    q->refcount_order = 4;
    u32 header = HEADER_V2;
    if (q->version >= 3) {
        q->incompatible = be64_at(h + 72);
        q->compatible = be64_at(h + 80);
        q->autoclear = be64_at(h + 88);
        q->refcount_order = be32_at(h + 96);
        header = be32_at(h + 100);
        if (header < 104)
            return err_set(e, EINVAL, "qcow2 header too short");
        if (header > q->cluster_size)
            return err_set(e, EINVAL, "qcow2 header exceeds cluster size");
        q->compression = header > 104 ? h[104] : ZLIB;
    }
    if (q->incompatible & ~(u64)INCOMPAT_KNOWN)
        return err_set(e, ENOTSUP, "Unsupported qcow2 feature(s): Unknown incompatible feature: %llx",
                       (unsigned long long)(q->incompatible & ~(u64)INCOMPAT_KNOWN));
    if (q->refcount_order > 6)
        return err_set(e, EINVAL, "Reference count entry width too large; may not exceed 64 bits");
    if (!(q->incompatible & INCOMPAT_COMPRESSION) && q->compression)
        return err_set(e, EINVAL, "qcow2: Compression type incompatible feature bit must not be set");
    if (q->compression > ZSTD)
        return err_set(e, ENOTSUP, "qcow2: unknown compression type: %u", q->compression);
    if (q->crypt_method > 2)
        return err_set(e, EINVAL, "Unsupported encryption method %u", q->crypt_method);
    q->ext_l2 = q->incompatible & INCOMPAT_EXT_L2;
    if (q->ext_l2 && q->cluster_bits < 14)
        return err_set(e, EINVAL, "Subclusters are at least 512 bytes: extended L2 entries need clusters of 16 KiB");
    q->l2_entry = q->ext_l2 ? 16 : 8;
    q->l2_bits = q->cluster_bits - (q->ext_l2 ? 4 : 3);
    return read_extensions(q, h, header, MIN(q->cluster_size, (u32)MAX_HEADER), e);
}

static bool check_tables(struct qcow2 *q, struct err *e)
{
    u64 size = q->fmt.node->size, span = (u64)q->cluster_size << q->l2_bits;
    if (size > INT64_MAX)
        return err_set(e, EFBIG, "Image is too big");
    if (!table_fits(q, q->reftable_offset, (u64)q->reftable_clusters << q->cluster_bits, MAX_REFTABLE_BYTES, "Image refcount table", e) ||
        !table_fits(q, q->l1_offset, (u64)q->l1_size * 8, MAX_L1_BYTES, "Active L1 table", e))
        return false;
    if (!q->reftable_clusters && !(q->fmt.node->flags & OPEN_CHECK))
        return err_set(e, EINVAL, "Image does not contain a reference count table");
    if (q->nsnapshots > MAX_SNAPSHOTS)
        return err_set(e, EINVAL, "Snapshot table too large");
    if (q->nsnapshots && !table_fits(q, q->snapshots_offset, 40, MAX_SNAPSHOT_TABLE, "Snapshot table", e))
        return false;
    if (size / span + (size % span != 0) > q->l1_size)
        return err_set(e, EINVAL, "L1 table is too small");
    return true;
}

static bool read_backing(struct qcow2 *q, const u8 *h, struct err *e)
{
    struct node *n = q->fmt.node;
    u64 at = be64_at(h + 8);
    u32 len = be32_at(h + 16);
    if (!at)
        return true;
    if (len > 1023 || at > q->cluster_size || len > q->cluster_size - at || at + len > MAX_HEADER)
        return err_set(e, EINVAL, "Backing file name too long");
    n->backing_name = xprintf("%.*s", (int)len, (const char *)h + at);
    const struct extension *x = extension_get(q, EXT_BACKING_FORMAT);
    if (x)
        n->backing_format = xprintf("%.*s", (int)x->len, (const char *)x->data);
    return true;
}

static bool open_data_file(struct qcow2 *q, struct json *options, struct err *e)
{
    struct node *n = q->fmt.node;
    const struct extension *x = extension_get(q, EXT_DATA_FILE);
    if (x)
        q->data_file = xprintf("%.*s", (int)x->len, (const char *)x->data);
    if (!has_data_file(q) || (n->flags & OPEN_NO_IO))
        return true;
    char *path = q->data_file ? path_beside(n->filename, q->data_file) : NULL;
    struct json *empty = json_object();
    json_set_string(empty, "data-file.driver", "file");
    for (struct json *c = options->first, *next; c; c = next) {
        next = c->next;
        if (!strncmp(c->key, "data-file.", 10)) {
            json_set(empty, c->key, json_copy(c));
            json_free(json_take(options, c->key));
        }
    }
    n->data = node_open_child(n, "data-file", path, "file", empty, n->flags & ~(u32)OPEN_CHECK, e);
    json_free(empty);
    free(path);
    return n->data ? node_lock_data(n, e) : err_prefix(e, "Could not open the external data file");
}

/* What happens to the room of freed clusters. */
static bool take_discards(struct qcow2 *q, struct json *options, struct err *e)
{
    q->gives_up[FREED_BY_REQUEST] = q->gives_up[FREED_BY_SNAPSHOT] = true;
    return opt_bool(options, "pass-discard-request", &q->gives_up[FREED_BY_REQUEST], e) &&
           opt_bool(options, "pass-discard-snapshot", &q->gives_up[FREED_BY_SNAPSHOT], e) &&
           opt_bool(options, "pass-discard-other", &q->gives_up[FREED_OTHERWISE], e);
}

/* Options that other programs use to tune their caches: known, and without effect here. */
static bool take_tuning(struct json *options, struct err *e)
{
    static const char *const sizes[] = {"l2-cache-size", "l2-cache-entry-size", "refcount-cache-size", "cache-size",
                                        "cache-clean-interval"};
    u64 size;
    char *text = NULL;
    for (unsigned i = 0; i < ARRAY_LEN(sizes); i++) {
        if (!opt_size(options, sizes[i], &size, e))
            return false;
    }
    bool good = opt_string(options, "overlap-check", &text, e);
    free(text);
    return good;
}

static bool take_lazy(struct qcow2 *q, struct json *options, struct err *e)
{
    q->lazy = q->compatible & COMPAT_LAZY_REFCOUNTS;
    if (!opt_bool(options, "lazy-refcounts", &q->lazy, e))
        return false;
    return !q->lazy || q->version >= 3 ||
           err_set(e, EINVAL, "Lazy refcounts require a qcow2 image with at least qemu 1.1 compatibility level");
}

bool header_fits(const struct qcow2 *q, struct err *e)
{
    u8 *h = xmalloc(q->cluster_size);
    bool fits = header_bytes(q, h, q->cluster_size);
    free(h);
    return fits || err_set(e, ENOSPC, "the header of '%s' has no room for more: its clusters have %u bytes",
                           q->fmt.node->filename, q->cluster_size);
}

/* What has to be so before anything is written. */
static bool begin_writing(struct qcow2 *q, u32 flags, struct err *e)
{
    if ((q->incompatible & INCOMPAT_CORRUPT) && !(flags & OPEN_CHECK))
        return err_set(e, EACCES, "qcow2: Image is corrupt; cannot be opened read/write");
    if (!header_fits(q, e)) /* ours is as long as another program's, or longer */
        return false;
    if (q->autoclear & ~(u64)(AUTOCLEAR_BITMAPS | AUTOCLEAR_DATA_RAW)) {
        q->autoclear &= AUTOCLEAR_BITMAPS | AUTOCLEAR_DATA_RAW;
        header_touch(q, false);
    }
    if (!(q->incompatible & INCOMPAT_DIRTY) || (flags & OPEN_CHECK))
        return true;
    struct check_result c = {0}; /* counts were written late by somebody who then died */
    return qcow2_check(q->fmt.node, FIX_LEAKS | FIX_ERRORS, &c, e);
}

static bool qcow2_make_writable(struct node *n, struct err *e)
{
    struct qcow2 *q = qcow2_of_node(n);
    if (q->frozen)
        return err_set(e, EPERM, "'%s' shows a snapshot, which cannot be written", n->filename);
    bitmaps_free(n);
    return begin_writing(q, n->flags, e) && bitmaps_open(q, n->flags, e);
}

bool qcow2_open(struct node *n, struct json *options, u32 flags, struct err *e)
{
    struct qcow2 *q = xcalloc(1, sizeof(*q));
    fmt_init(&q->fmt, n, &qcow2_ops);
    pthread_mutex_init(&q->packers_lock, NULL);
    u8 *h = xcalloc(1, MAX_HEADER);
    int error = node_io(n->file, BLK_READ, 0, h, MAX_HEADER, 0);
    bool good = !error || err_set(e, error, "Could not read qcow2 header: %s", strerror(error));
    good = good && read_fields(q, h, e) && check_tables(q, e) && read_backing(q, h, e);
    free(h);
    if (!good)
        return false;
    q->fmt.cluster = q->cluster_size;
    q->fmt.unit = q->ext_l2 ? q->cluster_size / SUBCLUSTERS : q->cluster_size;
    u32 block = MIN(q->cluster_size, (u32)CACHE_BLOCK);
    meta_init(&q->fmt.meta, n->file, block, CACHE_BYTES / block);
    q->fmt.meta.opaque = q;
    q->fmt.meta.header = qcow2_header;
    q->fmt.meta.begun = qcow2_begun;
    q->fmt.meta.settled = qcow2_settled;
    if (!qcow2_crypto_open(q, options, flags, e))
        return false;
    if (!take_tuning(options, e) || !take_discards(q, options, e) || !take_lazy(q, options, e) || !snapshots_read(q, e) || !open_data_file(q, options, e))
        return false;
    if (!bitmaps_read(q, e)) {
        bitmaps_drop(q);
        if (flags & (OPEN_WRITE | OPEN_CHECK)) /* their clusters would be taken for free ones */
            return false;
    }
    return (!(flags & OPEN_WRITE) || begin_writing(q, flags, e)) && bitmaps_open(q, flags, e);
}

bool qcow2_close(struct node *n, struct err *e)
{
    if (!n->fmt)
        return true;
    struct qcow2 *q = qcow2_of_node(n);
    bool good = !(n->flags & OPEN_WRITE) || !q->fmt.meta.file || (bitmaps_save(q, e) && refresh_flags(q, e) && (q->late ? counts_end(q, e) : settle_all(q, e)));
    snapshots_drop(q);
    bitmaps_drop(q);
    qcow2_crypto_close(q);
    for (size_t i = 0; i < q->ext_count; i++)
        free(q->ext[i].data);
    free(q->ext);
    free(q->data_file);
    free(q->freed.items);
    free(q->settling.items);
    free(q->ready.items);
    packers_free(q);
    pthread_mutex_destroy(&q->packers_lock);
    fmt_free(&q->fmt);
    free(q);
    n->fmt = NULL;
    return good;
}

/* ---- what the user sees ---- */

bool qcow2_info(struct node *n, struct image_info *info, struct err *e)
{
    struct qcow2 *q = qcow2_of_node(n);
    struct json *o = info->specific = json_object();
    info->cluster_size = q->cluster_size;
    info->dirty = q->incompatible & INCOMPAT_DIRTY;
    info->encrypted = q->crypt_method;
    info->vm_state_offset = vmstate_start(q);
    bool v3 = q->version >= 3;
    json_set_string(o, "compat", v3 ? "1.1" : "0.10");
    json_set_string(o, "compression-type", q->compression == ZSTD ? "zstd" : "zlib");
    if (v3)
        json_set_bool(o, "lazy-refcounts", q->compatible & COMPAT_LAZY_REFCOUNTS);
    if (q->nbitmaps)
        json_set(o, "bitmaps", bitmaps_json(q));
    json_set_int(o, "refcount-bits", 1 << q->refcount_order);
    qcow2_crypto_info(q, o);
    if (has_data_file(q)) {
        if (q->data_file)
            json_set_string(o, "data-file", q->data_file);
        json_set_bool(o, "data-file-raw", q->autoclear & AUTOCLEAR_DATA_RAW);
    }
    if (v3) {
        json_set_bool(o, "corrupt", q->incompatible & INCOMPAT_CORRUPT);
        json_set_bool(o, "extended-l2", q->ext_l2);
    }
    return true;
}

static int qcow2_probe(const u8 *head, size_t len)
{
    return len >= 8 && be32_at(head) == QCOW2_MAGIC && be32_at(head + 4) >= 2 ? 100 : 0;
}

static const struct block_option create_options[] = {
    {"backing_file", "str", "File name of a base image"},
    {"backing_fmt", "str", "Image format of the base image"},
    {"cluster_size", "size", "qcow2 cluster size"},
    {"compat", "str", "Compatibility level (v2 [0.10] or v3 [1.1])"},
    {"compression_type", "str", "Compression method used for image cluster compression"},
    {"data_file", "str", "File name of an external data file"},
    {"data_file_raw", "bool (on/off)", "The external data file must stay valid as a raw image"},
    {"encrypt.cipher-alg", "str", "Name of encryption cipher algorithm"},
    {"encrypt.cipher-mode", "str", "Name of encryption cipher mode"},
    {"encrypt.format", "str", "Encrypt the image, format choices: 'aes', 'luks'"},
    {"encrypt.hash-alg", "str", "Name of encryption hash algorithm"},
    {"encrypt.iter-time", "num", "Time to spend in PBKDF in milliseconds"},
    {"encrypt.ivgen-alg", "str", "Name of IV generator algorithm"},
    {"encrypt.ivgen-hash-alg", "str", "Name of IV generator hash algorithm"},
    {"encrypt.key-secret", "str", "ID of secret providing qcow AES key or LUKS passphrase"},
    {"encryption", "bool (on/off)", "Encrypt the image with format 'aes'. (Deprecated in favor of encrypt.format=aes)"},
    {"extended_l2", "bool (on/off)", "Extended L2 tables"},
    {"lazy_refcounts", "bool (on/off)", "Postpone refcount updates"},
    {"preallocation", "str", "Preallocation mode (allowed values: off, metadata, falloc, full)"},
    {"refcount_bits", "num", "Width of a reference count entry in bits"},
    {"size", "size", "Virtual disk size"},
    {NULL},
};

static const struct block_option amend_options[] = {
    {"backing_file", "str", "File name of a base image"},
    {"backing_fmt", "str", "Image format of the base image"},
    {"compat", "str", "Compatibility level (v2 [0.10] or v3 [1.1])"},
    {"data_file", "str", "File name of an external data file"},
    {"data_file_raw", "bool (on/off)", "The external data file must stay valid as a raw image"},
    {"encrypt.iter-time", "num", "Time to spend in PBKDF in milliseconds"},
    {"encrypt.keyslot", "num", "Select a single keyslot to modify explicitly"},
    {"encrypt.new-secret", "str", "New secret to set in the matching keyslots. Empty string to erase"},
    {"encrypt.old-secret", "str", "Select all keyslots that match this password"},
    {"encrypt.state", "str", "Select new state of affected keyslots (active/inactive)"},
    {"lazy_refcounts", "bool (on/off)", "Postpone refcount updates"},
    {"refcount_bits", "num", "Width of a reference count entry in bits"},
    {"size", "size", "Virtual disk size"},
    {NULL},
};

const struct driver driver_qcow2 = {
    .name = "qcow2",
    .kind = NODE_FORMAT,
    .probe = qcow2_probe,
    .open = qcow2_open,
    .close = qcow2_close,
    .make_writable = qcow2_make_writable,
    .submit = path_submit,
    .copies = true,
    .create = qcow2_create,
    .create_options = create_options,
    .amend_options = amend_options,
    .truncate = qcow2_truncate,
    .check = qcow2_check,
    .snapshot_list = qcow2_snapshot_list,
    .snapshot_create = qcow2_snapshot_create,
    .snapshot_apply = qcow2_snapshot_apply,
    .snapshot_delete = qcow2_snapshot_delete,
    .snapshot_load = qcow2_snapshot_load,
    .vmstate_write = qcow2_vmstate_write,
    .vmstate_read = qcow2_vmstate_read,
    .info = qcow2_info,
    .set_backing = qcow2_set_backing,
    .bitmap_room = qcow2_bitmap_room,
    .amend = qcow2_amend,
    .make_empty = qcow2_make_empty,
    .give_back = qcow2_give_back,
    .uses_more = qcow2_uses_more,
    .measure = qcow2_measure,
};
