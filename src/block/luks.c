/* LUKS version 1: the header, its key slots, and the format "luks", which is nothing but that header and
 * encrypted sectors behind it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "block/crypt.h"
#include "block/format.h"

enum {
    SLOT_AT = 208, SLOT_LEN = 48, ACTIVE = 0x00ac71f3, INACTIVE = 0x0000dead,
    ALIGN = 4096,      /* of key material and payload */
    ITER_TIME = 2000,  /* milliseconds */
    MIN_ITERATIONS = 1000,
};
static const u8 magic[8] = {'L', 'U', 'K', 'S', 0xba, 0xbe, 0, 1};

/* ---- reading ---- */

static void copy_text(char *to, const u8 *from, size_t len)
{
    memcpy(to, from, len);
    to[len] = 0;
}

/* "xts-plain64", "cbc-essiv:sha256" into its parts. */
static bool split_mode(struct luks *l, struct err *e)
{
    char *dash = strchr(l->mode, '-'), *colon = dash ? strchr(dash, ':') : NULL;
    if (colon) {
        snprintf(l->iv_hash, sizeof(l->iv_hash), "%s", colon + 1);
        *colon = 0;
    }
    if (dash) {
        snprintf(l->ivgen, sizeof(l->ivgen), "%s", dash + 1);
        *dash = 0;
    }
    return dash || !strcmp(l->mode, "ecb") || err_set(e, EINVAL, "Unexpected cipher mode string format '%s'", l->mode);
}

static bool read_slot(const struct luks *l, const u8 *p, struct luks_slot *s, struct err *e)
{
    u32 state = be32_at(p);
    s->active = state == ACTIVE;
    s->iterations = be32_at(p + 4);
    memcpy(s->salt, p + 8, LUKS_SALT);
    s->offset = (u64)be32_at(p + 40) * CRYPT_SECTOR;
    s->stripes = be32_at(p + 44);
    u64 end = s->offset + (u64)l->key_len * LUKS_STRIPES;
    bool good = (state == ACTIVE || state == INACTIVE) && s->stripes == LUKS_STRIPES && s->offset >= LUKS_HEADER &&
                end <= l->payload && (!s->active || s->iterations);
    return good || err_set(e, EINVAL, "a key slot of the LUKS header is corrupt");
}

bool luks_parse(struct luks *l, const u8 *h, struct err *e)
{
    *l = (struct luks){.payload = (u64)be32_at(h + 104) * CRYPT_SECTOR, .key_len = be32_at(h + 108),
                       .digest_iterations = be32_at(h + 164)};
    if (memcmp(h, magic, sizeof(magic)))
        return memcmp(h, magic, 6) ? err_set(e, EINVAL, "Volume is not in LUKS format")
                                   : err_set(e, ENOTSUP, "LUKS version %u is not supported", be16_at(h + 6));
    copy_text(l->cipher, h + 8, 32);
    copy_text(l->mode, h + 40, 32);
    copy_text(l->hash, h + 72, 32);
    memcpy(l->digest, h + 112, LUKS_DIGEST);
    memcpy(l->digest_salt, h + 132, LUKS_SALT);
    copy_text(l->uuid, h + 168, 40);
    if (!hash_known(l->hash))
        return err_set(e, ENOTSUP, "Hash algorithm '%s' is not supported", l->hash);
    if (!l->key_len || l->key_len > CRYPT_MAX_KEY || !l->digest_iterations)
        return err_set(e, EINVAL, "the LUKS header is corrupt");
    for (unsigned i = 0; i < LUKS_SLOTS; i++) {
        if (!read_slot(l, h + SLOT_AT + i * SLOT_LEN, &l->slots[i], e))
            return false;
    }
    return split_mode(l, e);
}

/* ---- the anti-forensic splitter ---- */

/* Each part of a digest's length is replaced by the hash of its number and itself. */
static void diffuse(const char *hash, u8 *block, size_t len)
{
    size_t step = hash_size(hash);
    for (size_t at = 0, i = 0; at < len; at += step, i++) {
        u8 in[4 + HASH_MAX], out[HASH_MAX];
        size_t n = MIN(step, len - at);
        put_be32(in, (u32)i);
        memcpy(in + 4, block + at, n);
        hash_bytes(hash, in, 4 + n, out);
        memcpy(block + at, out, n);
    }
}

static void mix(u8 *to, const u8 *from, size_t len)
{
    for (size_t i = 0; i < len; i++)
        to[i] ^= from[i];
}

static void af_merge(const char *hash, const u8 *stripes, size_t len, u8 *key)
{
    memset(key, 0, len);
    for (unsigned i = 0; i < LUKS_STRIPES - 1; i++) {
        mix(key, stripes + i * len, len);
        diffuse(hash, key, len);
    }
    mix(key, stripes + (LUKS_STRIPES - 1) * len, len);
}

/* `stripes` is full of random bytes; the last stripe is made to fit. */
static void af_split(const char *hash, const u8 *key, size_t len, u8 *stripes)
{
    u8 *last = stripes + (LUKS_STRIPES - 1) * len, sum[CRYPT_MAX_KEY] = {0};
    for (unsigned i = 0; i < LUKS_STRIPES - 1; i++) {
        mix(sum, stripes + i * len, len);
        diffuse(hash, sum, len);
    }
    memcpy(last, key, len);
    mix(last, sum, len);
}

/* ---- unlocking ---- */

static struct crypt *cipher_with(const struct luks *l, const u8 *key, struct err *e)
{
    return crypt_new(l->cipher, l->mode, l->ivgen, l->iv_hash[0] ? l->iv_hash : NULL, key, l->key_len, e);
}

/* The key of one slot, if the passphrase is its. */
static bool try_slot(const struct luks *l, const struct luks_slot *s, const struct secret *pass, u8 *material, u8 *key, struct err *e)
{
    u8 slot_key[CRYPT_MAX_KEY], digest[LUKS_DIGEST];
    derive_key(l->hash, pass->data, pass->len, s->iterations, s->salt, LUKS_SALT, slot_key, l->key_len);
    struct crypt *c = cipher_with(l, slot_key, e);
    explicit_bzero(slot_key, sizeof(slot_key));
    if (!c)
        return false;
    size_t len = (size_t)l->key_len * LUKS_STRIPES;
    crypt_sectors(c, false, 0, material, ALIGN_UP(len, (size_t)CRYPT_SECTOR));
    crypt_free(c);
    af_merge(l->hash, material, l->key_len, key);
    derive_key(l->hash, key, l->key_len, l->digest_iterations, l->digest_salt, LUKS_SALT, digest, LUKS_DIGEST);
    return !memcmp(digest, l->digest, LUKS_DIGEST);
}

struct crypt *luks_unlock(const struct luks *l, struct node *file, u64 base, const struct secret *pass, struct err *e)
{
    size_t len = ALIGN_UP((size_t)l->key_len * LUKS_STRIPES, (size_t)CRYPT_SECTOR);
    u8 *material = xmalloc(len), key[CRYPT_MAX_KEY];
    struct crypt *c = NULL;
    err_set(e, EPERM, "Invalid password, cannot unlock any keyslot");
    for (unsigned i = 0; i < LUKS_SLOTS && !c; i++) {
        if (!l->slots[i].active)
            continue;
        int error = node_io(file, BLK_READ, base + l->slots[i].offset, material, len, 0);
        if (error)
            err_set(e, error, "cannot read a LUKS key slot: %s", strerror(error));
        else if (try_slot(l, &l->slots[i], pass, material, key, e))
            c = cipher_with(l, key, e);
    }
    explicit_bzero(material, len);
    explicit_bzero(key, sizeof(key));
    free(material);
    return c;
}

/* ---- creating ---- */

bool luks_options_take(struct luks_options *o, const char *prefix, struct json *from, struct err *e)
{
    struct { const char *name; char **to; } texts[] = {
        {"cipher-alg", &o->cipher}, {"cipher-mode", &o->mode}, {"ivgen-alg", &o->ivgen},
        {"ivgen-hash-alg", &o->iv_hash}, {"hash-alg", &o->hash}, {"key-secret", &o->key_secret},
    };
    char name[64];
    for (unsigned i = 0; i < ARRAY_LEN(texts); i++) {
        snprintf(name, sizeof(name), "%s%s", prefix, texts[i].name);
        if (!opt_string(from, name, texts[i].to, e))
            return false;
    }
    snprintf(name, sizeof(name), "%siter-time", prefix);
    return opt_size(from, name, &o->iter_time, e);
}

void luks_options_free(struct luks_options *o)
{
    free(o->cipher);
    free(o->mode);
    free(o->ivgen);
    free(o->iv_hash);
    free(o->hash);
    free(o->key_secret);
}

static u64 slot_room(const struct luks *l)
{
    return ALIGN_UP((u64)l->key_len * LUKS_STRIPES, (u64)ALIGN);
}

static bool no_such(const char *what, const char *value, struct err *e)
{
    return err_set(e, EINVAL, "Parameter '%s' does not accept value '%s'", what, value);
}

static bool one_of(const char *s, const char *a, const char *b, const char *c)
{
    return !strcmp(s, a) || !strcmp(s, b) || !strcmp(s, c);
}

/* The options as a header without keys. */
static bool plan(const struct luks_options *o, struct luks *l, struct err *e)
{
    const char *cipher = o->cipher ? o->cipher : "aes-256", *dash = strrchr(cipher, '-');
    const char *mode = o->mode ? o->mode : "xts", *ivgen = o->ivgen ? o->ivgen : "plain64";
    const char *hash = o->hash ? o->hash : "sha256", *iv_hash = o->iv_hash ? o->iv_hash : !strcmp(ivgen, "essiv") ? "sha256" : "";
    unsigned long bits = dash ? strtoul(dash + 1, NULL, 10) : 0;
    *l = (struct luks){0};
    if (!hash_known(hash) || strlen(hash) > 32)
        return no_such("hash-alg", hash, e);
    if (!one_of(mode, "xts", "cbc", "ecb"))
        return no_such("cipher-mode", mode, e);
    if (!dash || (bits != 128 && bits != 192 && bits != 256))
        return no_such("cipher-alg", cipher, e);
    snprintf(l->cipher, sizeof(l->cipher), "%.*s", (int)(dash - cipher), cipher);
    if (!one_of(l->cipher, "aes", "serpent", "twofish"))
        return no_such("cipher-alg", cipher, e);
    snprintf(l->mode, sizeof(l->mode), "%s", mode);
    snprintf(l->hash, sizeof(l->hash), "%s", hash);
    snprintf(l->ivgen, sizeof(l->ivgen), "%s", ivgen);
    snprintf(l->iv_hash, sizeof(l->iv_hash), "%s", strcmp(ivgen, "essiv") ? "" : iv_hash);
    l->key_len = (u32)bits / 8 * (strcmp(mode, "xts") ? 1 : 2);
    l->payload = ALIGN + LUKS_SLOTS * slot_room(l);
    static const u8 zero[CRYPT_MAX_KEY];
    struct crypt *c = cipher_with(l, zero, e);
    crypt_free(c);
    return c;
}

bool luks_measure(const struct luks_options *o, u64 *len, struct err *e)
{
    struct luks l;
    bool good = plan(o, &l, e);
    *len = l.payload;
    return good;
}

/* How many iterations this machine does in `ms` milliseconds. */
static u64 count_iterations(const struct luks *l, u64 ms)
{
    u8 salt[LUKS_SALT] = {0}, key[CRYPT_MAX_KEY];
    u64 n = MIN_ITERATIONS, ns = 0;
    while (ns < 5000000) { /* long enough to be measured */
        n *= 2;
        u64 start = loop_now();
        derive_key(l->hash, salt, sizeof(salt), n, salt, sizeof(salt), key, l->key_len);
        ns = loop_now() - start;
    }
    u64 wanted = (u64)((double)n * (double)ms * 1e6 / (double)ns);
    return MIN(MAX(wanted, MIN_ITERATIONS), UINT32_MAX);
}

static bool random_bytes(u8 *to, size_t len)
{
    while (len) {
        ssize_t n = getrandom(to, len, 0);
        if (n < 0 && errno != EINTR)
            return false;
        to += MAX(n, 0);
        len -= (size_t)MAX(n, 0);
    }
    return true;
}

static void put_header(const struct luks *l, u8 *h)
{
    memcpy(h, magic, sizeof(magic));
    memcpy(h + 8, l->cipher, strlen(l->cipher));
    char *mode = xprintf("%s-%s%s%s", l->mode, l->ivgen, l->iv_hash[0] ? ":" : "", l->iv_hash);
    memcpy(h + 40, mode, MIN(strlen(mode), 32u)); /* the names that are known are short */
    free(mode);
    memcpy(h + 72, l->hash, strlen(l->hash));
    put_be32(h + 104, (u32)(l->payload / CRYPT_SECTOR));
    put_be32(h + 108, l->key_len);
    memcpy(h + 112, l->digest, LUKS_DIGEST);
    memcpy(h + 132, l->digest_salt, LUKS_SALT);
    put_be32(h + 164, l->digest_iterations);
    memcpy(h + 168, l->uuid, strlen(l->uuid));
    for (unsigned i = 0; i < LUKS_SLOTS; i++) {
        const struct luks_slot *s = &l->slots[i];
        u8 *p = h + SLOT_AT + i * SLOT_LEN;
        put_be32(p, s->active ? ACTIVE : INACTIVE);
        put_be32(p + 4, s->iterations);
        memcpy(p + 8, s->salt, LUKS_SALT);
        put_be32(p + 40, (u32)(s->offset / CRYPT_SECTOR));
        put_be32(p + 44, LUKS_STRIPES);
    }
}

/* The key material of a slot: the key, split and encrypted with the passphrase. */
static bool fill_slot(const struct luks *l, const struct luks_slot *s, const struct secret *pass, const u8 *key, u8 *material, struct err *e)
{
    u8 slot_key[CRYPT_MAX_KEY];
    size_t len = (size_t)l->key_len * LUKS_STRIPES;
    if (!random_bytes(material, len))
        return err_set(e, errno, "no random bytes: %s", strerror(errno));
    af_split(l->hash, key, l->key_len, material);
    derive_key(l->hash, pass->data, pass->len, s->iterations, s->salt, LUKS_SALT, slot_key, l->key_len);
    struct crypt *c = cipher_with(l, slot_key, e);
    explicit_bzero(slot_key, sizeof(slot_key));
    if (c)
        crypt_sectors(c, true, 0, material, ALIGN_UP(len, (size_t)CRYPT_SECTOR));
    crypt_free(c);
    return c;
}

static void make_uuid(struct luks *l, const u8 *r)
{
    snprintf(l->uuid, sizeof(l->uuid), "%02x%02x%02x%02x-%02x%02x-4%x%02x-%x%x%02x-%02x%02x%02x%02x%02x%02x", r[0], r[1], r[2],
             r[3], r[4], r[5], r[6] & 15, r[7], 8 | (r[8] & 3), r[8] >> 4, r[9], r[10], r[11], r[12], r[13], r[14], r[15]);
}

u8 *luks_create(const struct luks_options *o, const struct secret *pass, u64 *len, struct err *e)
{
    struct luks l;
    u8 key[CRYPT_MAX_KEY], id[16];
    if (!plan(o, &l, e))
        return NULL;
    struct luks_slot *first = &l.slots[0];
    if (!random_bytes(key, sizeof(key)) || !random_bytes(id, sizeof(id)) || !random_bytes(l.digest_salt, LUKS_SALT) ||
        !random_bytes(first->salt, LUKS_SALT)) {
        err_set(e, errno, "no random bytes: %s", strerror(errno));
        return NULL;
    }
    make_uuid(&l, id);
    u64 iterations = count_iterations(&l, o->iter_time ? o->iter_time : ITER_TIME);
    l.digest_iterations = (u32)MAX(iterations / 8, MIN_ITERATIONS);
    derive_key(l.hash, key, l.key_len, l.digest_iterations, l.digest_salt, LUKS_SALT, l.digest, LUKS_DIGEST);
    for (unsigned i = 0; i < LUKS_SLOTS; i++)
        l.slots[i].offset = ALIGN + i * slot_room(&l);
    first->active = true;
    first->iterations = (u32)iterations;
    u8 *h = xcalloc(1, l.payload);
    put_header(&l, h);
    bool good = fill_slot(&l, first, pass, key, h + first->offset, e);
    explicit_bzero(key, sizeof(key));
    *len = l.payload;
    if (good)
        return h;
    free(h);
    return NULL;
}

/* ---- what users see ---- */

void luks_info(const struct luks *l, bool in_qcow2, struct json *o)
{
    char cipher[48];
    bool xts = !strcmp(l->mode, "xts");
    snprintf(cipher, sizeof(cipher), "%s-%u", l->cipher, l->key_len * 8 / (xts ? 2 : 1));
    json_set_string(o, "ivgen-alg", l->ivgen);
    json_set_string(o, "hash-alg", l->hash);
    json_set_string(o, "cipher-alg", cipher);
    json_set_string(o, "uuid", l->uuid);
    if (l->iv_hash[0])
        json_set_string(o, "ivgen-hash-alg", l->iv_hash);
    if (in_qcow2)
        json_set_string(o, "format", "luks");
    json_set_string(o, "cipher-mode", l->mode);
    struct json *slots = json_set(o, "slots", json_list());
    for (unsigned i = 0; i < LUKS_SLOTS; i++) {
        const struct luks_slot *s = &l->slots[i];
        struct json *x = json_object();
        json_set_bool(x, "active", s->active);
        if (s->active)
            json_set_int(x, "iters", s->iterations);
        json_set_int(x, "key-offset", (s64)s->offset);
        if (s->active)
            json_set_int(x, "stripes", s->stripes);
        json_push(slots, x);
    }
    json_set_int(o, "payload-offset", (s64)l->payload);
    json_set_int(o, "master-key-iters", l->digest_iterations);
}

/* ---- the format ---- */

enum { UNIT = 64 << 10 };

struct luks_node {
    struct fmt fmt;
    struct luks l;
    struct crypt *crypt;
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
    char *key = NULL;
    fmt_init(&s->fmt, n, &luks_ops);
    s->fmt.unit = CRYPT_SECTOR;
    s->fmt.cluster = UNIT;
    s->fmt.encrypted = true;
    meta_init(&s->fmt.meta, n->file, ALIGN, 1);
    int error = node_io(n->file, BLK_READ, 0, h, sizeof(h), 0);
    if (error)
        return err_set(e, error, "cannot read the LUKS header: %s", strerror(error));
    if (!luks_parse(&s->l, h, e) || !opt_string(options, "key-secret", &key, e))
        return false;
    bool good = n->file->size >= s->l.payload || err_set(e, EINVAL, "the file is shorter than its LUKS header says");
    n->size = good ? n->file->size - s->l.payload : 0;
    n->device = n->file->device;
    if (good && !(flags & OPEN_NO_IO)) {
        const struct secret *pass = key ? secret_find(n->graph, key, e) : NULL;
        if (!key)
            err_set(e, EINVAL, "Parameter 'key-secret' is required for cipher");
        s->crypt = pass ? luks_unlock(&s->l, n->file, 0, pass, e) : NULL;
        good = s->crypt;
    }
    free(key);
    return good;
}

static bool luks_close(struct node *n, struct err *e)
{
    if (n->fmt) {
        struct luks_node *s = node_of(n->fmt);
        crypt_free(s->crypt);
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
    struct json *none = json_object();
    json_set_int(none, "size", (s64)(len + ALIGN_UP(size, (u64)CRYPT_SECTOR)));
    good = h && driver_by_name("file")->create(g, filename, none, e);
    json_free(none);
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

static int luks_probe(const u8 *head, size_t len)
{
    return len >= sizeof(magic) && !memcmp(head, magic, sizeof(magic)) ? 100 : 0;
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

const struct driver driver_luks = {
    .name = "luks",
    .kind = NODE_FORMAT,
    .probe = luks_probe,
    .open = luks_open,
    .close = luks_close,
    .submit = path_submit,
    .create = luks_create_image,
    .create_options = create_options,
    .truncate = luks_truncate,
    .info = luks_image_info,
    .measure = luks_measure_image,
};
