/* The format "luks": a LUKS header and encrypted sectors behind it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "block/crypt.h"
#include "block/format.h"

enum { UNIT = 64 << 10, BLOCK = 4096 /* of a cache that nothing is kept in */ };

struct luks_node {
    struct fmt fmt;
    struct luks l;
    struct crypt *crypt;
    char *secret; /* the name of what it was unlocked with */
};

static struct luks_node *node_of(const struct fmt *f)
{
    return container_of(f, struct luks_node, fmt);
}

static enum step map(struct fmt *f, u64 offset, u64 len, struct extent *x)
{
    *x = (struct extent){.kind = EXTENT_DATA, .len = len, .file = f->node->file, .host = offset + node_of(f)->l.payload, .in_place = true};
    return STEP_DONE;
}

/* For parts of sectors: the place is there, but has to be read first. */
static enum step alloc(struct fmt *f, u64 offset, u64 len, struct extent *x)
{
    *x = (struct extent){.kind = EXTENT_DATA, .start = offset, .len = len, .file = f->node->file, .host = offset + node_of(f)->l.payload,
                         .has_room = true};
    return STEP_DONE;
}

static enum step link(struct fmt *f, const struct extent *x)
{
    return STEP_DONE;
}

static void release(struct fmt *f, const struct extent *x)
{
}

static enum step zero(struct fmt *f, u64 offset, u64 len, u32 flags, u64 *done)
{
    *done = 0;
    return STEP_DONE;
}

static enum step discard(struct fmt *f, u64 offset, u64 len, u64 *done)
{
    *done = len; /* there would be noise where it was */
    return STEP_DONE;
}

/* Sectors are counted from the beginning of the payload. */
static void crypt(const struct fmt *f, bool encrypt, u64 guest, u64 host, u8 *data, size_t len)
{
    crypt_sectors(node_of(f)->crypt, encrypt, guest / CRYPT_SECTOR, data, len);
}

static const struct format_ops luks_ops = {
    .map = map, .alloc = alloc, .link = link, .release = release, .zero = zero, .discard = discard, .crypt = crypt,
};

static bool luks_open(struct node *n, struct json *options, u32 flags, struct err *e)
{
    struct luks_node *s = xcalloc(1, sizeof(*s));
    u8 h[LUKS_HEADER];
    fmt_init(&s->fmt, n, &luks_ops);
    s->fmt.unit = CRYPT_SECTOR;
    s->fmt.cluster = UNIT;
    s->fmt.encrypted = true;
    meta_init(&s->fmt.meta, n->file, BLOCK, 1);
    int error = node_io(n->file, BLK_READ, 0, h, sizeof(h), 0);
    if (error)
        return err_set(e, error, "cannot read the LUKS header: %s", strerror(error));
    if (!luks_parse(&s->l, h, e) || !opt_string(options, "key-secret", &s->secret, e))
        return false;
    bool good = n->file->size >= s->l.payload || err_set(e, EINVAL, "the file is shorter than its LUKS header says");
    n->size = good ? n->file->size - s->l.payload : 0;
    n->device = n->file->device;
    if (good && !(flags & OPEN_NO_IO)) {
        const struct secret *pass = s->secret ? secret_find(n->graph, s->secret, e) : NULL;
        if (!s->secret)
            err_set(e, EINVAL, "Parameter 'key-secret' is required for cipher");
        s->crypt = pass ? luks_unlock(&s->l, n->file, 0, pass, e) : NULL;
        good = s->crypt;
    }
    return good;
}

static bool luks_close(struct node *n, struct err *e)
{
    if (n->fmt) {
        struct luks_node *s = node_of(n->fmt);
        crypt_free(s->crypt);
        free(s->secret);
        fmt_free(&s->fmt);
        free(s);
        n->fmt = NULL;
    }
    return true;
}

static bool luks_image_info(struct node *n, struct image_info *info, struct err *e)
{
    info->encrypted = true;
    info->specific = json_object();
    luks_info(&node_of(n->fmt)->l, false, info->specific);
    return true;
}

static bool luks_truncate(struct node *n, u64 size, enum prealloc p, struct err *e)
{
    size = ALIGN_UP(size, (u64)CRYPT_SECTOR);
    if (!node_truncate(n->file, size + node_of(n->fmt)->l.payload, p == PREALLOC_METADATA ? PREALLOC_OFF : p, e))
        return false;
    n->size = n->file->size - node_of(n->fmt)->l.payload;
    return true;
}

static bool luks_create_image(struct block_graph *g, const char *filename, struct json *options, struct err *e)
{
    struct luks_options o = {0};
    u64 size = 0, len = 0;
    bool good = opt_size(options, "size", &size, e) && luks_options_take(&o, "", options, e);
    if (good && !o.key_secret)
        good = err_set(e, EINVAL, "Parameter 'key-secret' is required for cipher");
    const struct secret *pass = good ? secret_find(g, o.key_secret, e) : NULL;
    u8 *h = pass ? luks_create(&o, pass, &len, e) : NULL;
    luks_options_free(&o);
    struct json *file = opt_of_file(options);
    json_set_int(file, "size", (s64)(len + ALIGN_UP(size, (u64)CRYPT_SECTOR)));
    good = h && driver_by_name("file")->create(g, filename, file, e);
    json_free(file);
    struct node *n = good ? node_open(g, filename, "file", NULL, OPEN_WRITE, e) : NULL;
    if (n) {
        int error = node_io(n, BLK_WRITE, 0, h, len, BLK_FUA);
        good = !error || err_set(e, error, "Could not write '%s': %s", filename, strerror(error));
        good = node_close(n, good ? e : NULL) && good;
    }
    free(h);
    return good && n;
}

static bool luks_measure_image(const struct json *options, u64 size, struct node *source, u64 *required, u64 *full, u64 *bitmaps,
                               struct err *e)
{
    struct json *copy = json_copy(options);
    struct luks_options o = {0};
    u64 len;
    bool good = luks_options_take(&o, "", copy, e) && luks_measure(&o, &len, e);
    if (good)
        *required = *full = len + size;
    *bitmaps = UINT64_MAX;
    luks_options_free(&o);
    json_free(copy);
    return good;
}

static bool luks_amend(struct node *n, const struct json *options, bool force, struct err *e)
{
    struct luks_node *s = node_of(n->fmt);
    struct json *copy = json_copy(options);
    struct luks_change c;
    node_drain(n);
    const struct secret *pass = secret_find(n->graph, s->secret, e);
    bool good = luks_change_take(&c, "", copy, e) && pass && luks_change(&s->l, n->file, 0, &c, pass, force, e);
    luks_change_free(&c);
    json_free(copy);
    return good;
}

static int luks_probe(const u8 *head, size_t len)
{
    return len >= 8 && luks_magic(head) ? 100 : 0;
}

static const struct block_option create_options[] = {
    {"cipher-alg", "str", "Name of encryption cipher algorithm"},
    {"cipher-mode", "str", "Name of encryption cipher mode"},
    {"hash-alg", "str", "Name of encryption hash algorithm"},
    {"iter-time", "num", "Time to spend in PBKDF in milliseconds"},
    {"ivgen-alg", "str", "Name of IV generator algorithm"},
    {"ivgen-hash-alg", "str", "Name of IV generator hash algorithm"},
    {"key-secret", "str", "ID of the secret that provides the keyslot passphrase"},
    {"size", "size", "Virtual disk size"},
    {NULL},
};

static const struct block_option amend_options[] = {
    {"iter-time", "num", "Time to spend in PBKDF in milliseconds"},
    {"keyslot", "num", "Select a single keyslot to modify explicitly"},
    {"new-secret", "str", "New secret to set in the matching keyslots. Empty string to erase"},
    {"old-secret", "str", "Select all keyslots that match this password"},
    {"state", "str", "Select new state of affected keyslots (active/inactive)"},
    {NULL},
};

const struct driver driver_luks = {
    .name = "luks",
    .kind = NODE_FORMAT,
    .probe = luks_probe,
    .open = luks_open,
    .close = luks_close,
    .submit = path_submit,
    .create = luks_create_image,
    .create_options = create_options,
    .amend_options = amend_options,
    .amend = luks_amend,
    .truncate = luks_truncate,
    .info = luks_image_info,
    .measure = luks_measure_image,
};
