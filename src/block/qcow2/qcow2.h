/* The qcow2 format (the specification is docs/interop/qcow2.txt of the QEMU project; names are its).
 *
 * Guest offsets are mapped by two levels of tables (L1, L2) to clusters of the file. Each cluster of the
 * file has a reference count, in blocks that a table lists. Ranks of metadata, in the order in which a
 * change goes to disk:
 *
 *   reference counts  <  their table  <  L2  <  L1, snapshot table, bitmaps  <  header
 *
 * so that whatever is referred to is counted first. A cluster that is given up is uncounted only after
 * what referred to it has been overwritten on disk (struct freed). */
#ifndef LYRE_BLOCK_QCOW2_QCOW2_H
#define LYRE_BLOCK_QCOW2_QCOW2_H

#include <pthread.h>

#include "base/bytes.h"
#include "block/crypt.h"
#include "block/format.h"

enum { RANK_REFCOUNT, RANK_REFTABLE, RANK_L2, RANK_L1 };

enum {
    QCOW2_MAGIC = 0x514649fb,
    HEADER_V2 = 72,
    HEADER_V3 = 112, /* what is written: with the compression type */
    MAX_L1_BYTES = 32 << 20,
    MAX_REFTABLE_BYTES = 8 << 20,
    MAX_SNAPSHOTS = 65536,
    MAX_SNAPSHOT_TABLE = 64 << 20,
    SUBCLUSTERS = 32,
    MAX_BITMAP_TABLE = 1 << 20, /* entries */
};

enum { /* incompatible features */
    INCOMPAT_DIRTY = 1 << 0,
    INCOMPAT_CORRUPT = 1 << 1,
    INCOMPAT_DATA_FILE = 1 << 2,
    INCOMPAT_COMPRESSION = 1 << 3,
    INCOMPAT_EXT_L2 = 1 << 4,
    INCOMPAT_KNOWN = (1 << 5) - 1,
};
enum { COMPAT_LAZY_REFCOUNTS = 1 << 0 };
enum { AUTOCLEAR_BITMAPS = 1 << 0, AUTOCLEAR_DATA_RAW = 1 << 1 };

/* Header extensions. */
enum {
    EXT_END = 0,
    EXT_BACKING_FORMAT = (int)0xe2792aca,
    EXT_FEATURE_NAMES = 0x6803f857,
    EXT_BITMAPS = 0x23852875,
    EXT_CRYPTO = 0x0537be77,
    EXT_DATA_FILE = 0x44415441,
};

#define L2_COPIED     (1ull << 63)
#define L2_COMPRESSED (1ull << 62)
#define L2_ZERO       1ull
#define OFFSET_MASK   0x00fffffffffffe00ull

enum { ZLIB = 0, ZSTD = 1 };

struct extension { /* one that is kept as it is */
    u32 type, len;
    u8 *data;
};

struct snapshot {
    u64 l1_offset;
    u32 l1_size;
    struct snapshot_info info;
    u32 vm_size_low;
    u8 *more; /* extra data that is not known here */
    u32 more_len;
};

struct l1_place {
    u64 offset;
    u32 size; /* entries */
};

/* A bitmap as the directory on disk has it. */
struct stored_bitmap {
    u64 table;
    u32 table_size, flags, extra_len;
    u8 granularity_bits;
    u8 *extra; /* data that is not known here */
    char *name;
};

/* Why clusters lose a reference: whether the file gives up their room depends on it. */
enum freed_by { FREED_BY_REQUEST, FREED_BY_SNAPSHOT, FREED_OTHERWISE, FREED_REASONS };

/* Clusters that lost a reference. */
struct freed {
    u64 offset;
    u64 count; /* clusters */
    enum freed_by by;
};

struct freed_list {
    struct freed *items;
    size_t count, cap;
};

struct qcow2 {
    struct fmt fmt;
    u32 version, cluster_bits, cluster_size, refcount_order;
    u64 l1_offset, reftable_offset, snapshots_offset;
    u32 l1_size, reftable_clusters, nsnapshots, crypt_method;
    u64 incompatible, compatible, autoclear;
    u8 compression;
    bool ext_l2;
    u32 l2_bits, l2_entry; /* entries of a table (log2), bytes of an entry */
    bool header_changed, header_early; /* early: only the place of the reference counts has changed */
    u64 header_version, header_written; /* counts changes */
    char *data_file;
    struct extension *ext;
    size_t ext_count, ext_cap;
    struct snapshot *snapshots;
    size_t snapshot_cap;
    bool frozen; /* shows a snapshot */
    struct l1_place active; /* while l1_offset is a snapshot's table, to be changed: the active one; size 0: it is not */
    bool flags_stale; /* a change of snapshots has failed before COPIED was set where a count has become 1 */
    bool damaged; /* found to be while in use: not written any more */
    bool lazy;    /* reference counts may be late */
    bool late;    /* they are: the image is marked dirty for that */
    bool settling_all; /* everything is to be written now */
    struct stored_bitmap *bitmaps;
    size_t nbitmaps, bitmap_cap;
    u64 bitmap_directory, bitmap_directory_len;
    struct qcow2_crypto *crypto; /* NULL: not encrypted */
    bool bitmaps_live; /* the node has them, to be saved at the end */

    u64 free_hint;  /* no cluster before this one is free */
    u64 table_seen; /* bytes of the reference count table that load_table() has found in the cache so far */
    u64 packed_at;  /* next free byte for compressed data; 0: none */
    struct freed_list freed; /* since the last write-back began */
    struct freed_list settling; /* by the write-back that runs */
    struct freed_list ready; /* may be uncounted */
    bool gives_up[FREED_REASONS]; /* the room of such clusters goes back to the host */

    pthread_mutex_t packers_lock;
    struct packer *packers; /* compression states that are not in use */
};

static inline struct qcow2 *qcow2_of(struct fmt *f)
{
    return container_of(f, struct qcow2, fmt);
}

static inline struct qcow2 *qcow2_of_node(struct node *n)
{
    return qcow2_of(n->fmt);
}

static inline u64 clusters_of(const struct qcow2 *q, u64 bytes)
{
    return (bytes >> q->cluster_bits) + ((bytes & (q->cluster_size - 1)) != 0);
}

/* Whether guest data lies in a file of its own. */
static inline bool has_data_file(const struct qcow2 *q)
{
    return q->incompatible & INCOMPAT_DATA_FILE;
}

/* An entry of an L2 table, taken apart. */
struct l2_entry {
    u64 raw, bitmap;
    u64 host; /* of the cluster, or of the compressed bytes; 0: none */
    u32 packed_len;
    bool copied, packed, zero;
};

/* refcount.c */
u64 refcount_max(const struct qcow2 *q);
/* Put a count of 1 << order bits into its place: a byte, and for counts of less than a byte a shift. */
void refcount_store(unsigned order, u8 *p, unsigned shift, u64 v);
enum step refcount_get(struct qcow2 *q, u64 cluster, u64 *count);
/* For a cluster that refcount_get() has just found to be covered: cannot miss anything. */
void refcount_set(struct qcow2 *q, u64 cluster, u64 count);
/* One reference less to a cluster that refcount_get() has just found to have `count`, which is not 0. */
void refcount_drop(struct qcow2 *q, u64 cluster, u64 count, enum freed_by by);
bool refcount_covered(struct qcow2 *q, u64 cluster);
/* Whether one block counts both; whether the table has an entry for the block of this one. */
bool refcount_same_block(const struct qcow2 *q, u64 a, u64 b);
bool refcount_in_table(const struct qcow2 *q, u64 cluster);
/* A longer table, with an entry for the block of `cluster`; it lies behind all clusters that the present one can
 * count, and not in front of the cluster `behind`: first the blocks that count the new clusters, then the table.
 * Ends with a barrier: the header names the table before anything is allocated that only this table counts. The
 * new clusters are those from *first to the table's end. */
enum step refcount_grow_table(struct qcow2 *q, u64 cluster, u64 behind, u64 *first);
/* A block that counts what is around `cluster`, in the free cluster `at`, which it or another block counts. */
enum step refcount_add_block(struct qcow2 *q, u64 cluster, u64 at);
/* Up to `most` free clusters in a row, at least `least`. */
enum step clusters_alloc(struct qcow2 *q, u64 least, u64 most, u64 *first, u64 *count);
/* The same in two steps. */
enum step clusters_find(struct qcow2 *q, u64 least, u64 most, u64 *first, u64 *count);
void clusters_take(struct qcow2 *q, u64 first, u64 count);
void clusters_free_later(struct qcow2 *q, u64 offset, u64 bytes, enum freed_by by);
/* Uncount what may be uncounted. */
enum step clusters_settle(struct qcow2 *q);
void freed_push(struct freed_list *l, u64 offset, u64 count, enum freed_by by);
/* Called around a write-back. */
void qcow2_begun(void *opaque);
void qcow2_settled(void *opaque);
/* Whether a host range lies over tables whose place is fixed. */
bool overlaps_tables(const struct qcow2 *q, u64 offset, u64 len);

/* map.c */
extern const struct format_ops qcow2_ops;
enum step l2_decode(struct qcow2 *q, const u8 *p, u64 guest, struct l2_entry *l);
/* Check an L1 entry: the offset of a table, 0: none. */
enum step l1_decode(struct qcow2 *q, u64 entry, u64 *table);
/* Forget what is mapped from this guest offset (a multiple of the cluster size) on. Cluster by cluster:
 * *at is where it goes on. */
enum step map_drop(struct qcow2 *q, u64 *at, u64 end);
enum step map_prealloc(struct qcow2 *q, u64 *at, u64 end);

/* header.c */
bool qcow2_open(struct node *n, struct json *options, u32 flags, struct err *e);
bool qcow2_close(struct node *n, struct err *e);
u8 *qcow2_header(void *opaque, u32 *len, unsigned *rank);
/* The header as bytes; false: it does not fit into a cluster. */
bool header_bytes(const struct qcow2 *q, u8 *to, u32 room);
void header_touch(struct qcow2 *q, bool early);
bool header_write_now(struct qcow2 *q, struct err *e);
void extension_set(struct qcow2 *q, u32 type, const void *data, u32 len);
const struct extension *extension_get(const struct qcow2 *q, u32 type);
bool qcow2_info(struct node *n, struct image_info *info, struct err *e);

/* Whether the header fits into a cluster, with all names and extensions. */
bool header_fits(const struct qcow2 *q, struct err *e);

/* bitmaps.c */
bool bitmaps_read(struct qcow2 *q, struct err *e); /* the directory alone */
bool bitmaps_open(struct qcow2 *q, u32 flags, struct err *e);
bool qcow2_bitmap_room(struct node *n, const char *name, struct err *e);
bool bitmaps_save(struct qcow2 *q, struct err *e);
void bitmaps_drop(struct qcow2 *q);
struct json *bitmaps_json(const struct qcow2 *q);
/* Bytes that the bitmaps of `source` would take in an image of that size. */
u64 bitmaps_measure(struct node *source, u64 size, u64 cluster_size);
/* Name all clusters that bitmaps refer to. */
struct bitmap_walk {
    void (*refer)(void *opaque, u64 offset, u64 len);
    void *opaque;
    size_t bitmap; /* the rest is where it goes on */
    u32 entry;
    bool begun;
};
enum step bitmaps_refer(struct qcow2 *q, struct bitmap_walk *w);

/* crypto.c */
bool qcow2_crypto_open(struct qcow2 *q, struct json *options, u32 flags, struct err *e);
void qcow2_crypto_close(struct qcow2 *q);
/* Change the keys of a LUKS header. */
bool qcow2_change_keys(struct qcow2 *q, const struct luks_change *c, bool force, struct err *e);
void qcow2_crypt(const struct fmt *f, bool encrypt, u64 guest, u64 host, u8 *data, size_t len);
void qcow2_crypto_info(const struct qcow2 *q, struct json *o);
struct crypto_plan { /* how a new image is to be encrypted; format NULL: not at all */
    char *format;
    struct luks_options luks;
};
bool crypto_plan_take(struct crypto_plan *p, struct json *options, struct err *e);
void crypto_plan_free(struct crypto_plan *p);
/* Bytes that its header takes. */
bool crypto_plan_room(const struct crypto_plan *p, u64 *bytes, struct err *e);
/* Make an image that has no data yet an encrypted one; it stays locked until it is opened again. */
bool qcow2_encrypt(struct node *n, const struct crypto_plan *p, struct err *e);

/* snapshot.c */
bool snapshots_read(struct qcow2 *q, struct err *e);
void snapshots_drop(struct qcow2 *q);
bool qcow2_snapshot_list(struct node *n, struct snapshot_info **list, size_t *count, struct err *e);
bool qcow2_snapshot_create(struct node *n, const char *name, const struct snapshot_vm *vm, struct err *e);
bool qcow2_snapshot_apply(struct node *n, const char *name, struct err *e);
bool qcow2_snapshot_delete(struct node *n, const char *name, struct err *e);
bool qcow2_snapshot_load(struct node *n, const char *id, const char *name, struct err *e);

/* Visit the tables that an L1 table lists: add to all reference counts, or with addend 0 set the COPIED
 * flags by them. */
struct walk {
    struct fmt_job job;
    u64 l1_offset;
    u32 l1_size, next;
    int addend;
    bool dry; /* only find out whether the counts have room for the addend */
};
bool walk_run(struct qcow2 *q, u64 l1_offset, u32 l1_size, int addend, bool dry, struct err *e);
/* Copy an L1 table to new clusters; `plain`: without COPIED flags. */
bool l1_copy(struct qcow2 *q, u64 from, u32 size, u32 new_size, bool plain, u64 *offset, struct err *e);
/* Allocate and fill clusters with bytes, as metadata of the rank of L1 tables. */
bool store_bytes(struct qcow2 *q, const u8 *bytes, u64 len, u64 *offset, struct err *e);
/* Write back, uncount what can be, write back. */
bool settle_all(struct qcow2 *q, struct err *e);

/* Set COPIED wherever the active table alone refers, if that is still to be done. */
bool refresh_flags(struct qcow2 *q, struct err *e);
bool counts_begin(struct qcow2 *q, struct err *e);
/* Nothing is late any more, and the mark goes. */
bool counts_end(struct qcow2 *q, struct err *e);

/* vmstate.c */
u64 vmstate_start(const struct qcow2 *q);
/* Give up what is mapped behind the end of the disk. */
bool vmstate_drop(struct qcow2 *q, struct err *e);
bool qcow2_vmstate_write(struct node *n, u64 offset, const void *data, u64 len, struct err *e);
bool qcow2_vmstate_read(struct node *n, u64 offset, void *data, u64 len, struct err *e);

/* amend.c: no request may be in flight. */
bool qcow2_change_version(struct qcow2 *q, u32 version, unsigned order, bool lazy, struct err *e);

/* map.c: the image is damaged. Nothing is written to it any more, and its header will say so. */
enum step qcow2_damaged(struct qcow2 *q, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* create.c */
/* Run `change` (map_drop, map_prealloc) over a range of whole clusters. */
/* An L1 table that maps at least `size` bytes. */
bool grow_l1(struct qcow2 *q, u64 size, struct err *e);
bool change_range(struct qcow2 *q, u64 at, u64 end, enum step (*change)(struct qcow2 *, u64 *, u64), struct err *e);
bool qcow2_create(struct block_graph *g, const char *filename, struct json *options, struct err *e);
bool qcow2_truncate(struct node *n, u64 size, enum prealloc p, struct err *e);
bool qcow2_set_backing(struct node *n, const char *file, const char *format, struct err *e);
bool qcow2_amend(struct node *n, const struct json *options, bool force, struct err *e);
bool qcow2_make_empty(struct node *n, struct err *e);
bool qcow2_give_back(struct node *n, struct err *e);
bool qcow2_uses_more(struct node *n, u64 bytes, bool *more, struct err *e);
bool qcow2_measure(const struct json *options, u64 size, struct node *source, u64 *required, u64 *full,
                   u64 *bitmaps, struct err *e);

/* check.c */
bool qcow2_check(struct node *n, u32 fix, struct check_result *c, struct err *e);

/* pack.c */
size_t qcow2_pack(const struct fmt *f, const u8 *from, u8 *to, size_t room);
bool qcow2_unpack(const struct fmt *f, const u8 *from, size_t len, u8 *to);
void packers_free(struct qcow2 *q);

#endif
