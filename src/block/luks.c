/* LUKS version 1: the header and its key slots. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "block/crypt.h"

enum {
    SLOT_AT = 208, SLOT_LEN = 48, ACTIVE = 0x00ac71f3, INACTIVE = 0x0000dead,
    ALIGN = 4096,      /* of key material and payload */
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

bool luks_magic(const u8 *h)
{
    return !memcmp(h, magic, sizeof(magic));
}

bool luks_parse(struct luks *l, const u8 *h, struct err *e)
{
    *l = (struct luks){.payload = (u64)be32_at(h + 104) * CRYPT_SECTOR, .key_len = be32_at(h + 108),
                       .digest_iterations = be32_at(h + 164)};
    if (!luks_magic(h))
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

static size_t material_len(const struct luks *l)
{
    return ALIGN_UP((size_t)l->key_len * LUKS_STRIPES, (size_t)CRYPT_SECTOR);
}

/* Which slots the passphrase opens, as bits; `first`: be content with one. `key` (CRYPT_MAX_KEY bytes) is the
 * volume's if there is any. Why there is none is in *e. */
static u32 find_slots(const struct luks *l, struct node *file, u64 base, const struct secret *pass, bool first, u8 *key, struct err *e)
{
    size_t len = material_len(l);
    u8 *material = xmalloc(len), found[CRYPT_MAX_KEY];
    u32 slots = 0;
    err_set(e, EPERM, "Invalid password, cannot unlock any keyslot");
    for (unsigned i = 0; i < LUKS_SLOTS && !(first && slots); i++) {
        if (!l->slots[i].active)
            continue;
        int error = node_io(file, BLK_READ, base + l->slots[i].offset, material, len, 0);
        if (error) {
            err_set(e, error, "cannot read a LUKS key slot: %s", strerror(error));
        } else if (try_slot(l, &l->slots[i], pass, material, found, e)) {
            memcpy(key, found, sizeof(found));
            slots |= 1u << i;
        }
    }
    explicit_bzero(material, len);
    explicit_bzero(found, sizeof(found));
    free(material);
    return slots;
}

struct crypt *luks_unlock(const struct luks *l, struct node *file, u64 base, const struct secret *pass, struct err *e)
{
    u8 key[CRYPT_MAX_KEY];
    struct crypt *c = find_slots(l, file, base, pass, true, key, e) ? cipher_with(l, key, e) : NULL;
    explicit_bzero(key, sizeof(key));
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
    u64 iterations = count_iterations(&l, o->iter_time ? o->iter_time : LUKS_ITER_TIME);
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

/* ---- changing key slots ---- */

bool luks_change_take(struct luks_change *c, const char *prefix, struct json *from, struct err *e)
{
    char name[64];
    *c = (struct luks_change){.slot = LUKS_SLOTS_ANY, .iter_time = UINT64_MAX};
    struct { const char *name; char **text; u64 *number; } options[] = {
        {"state", &c->state, NULL}, {"new-secret", &c->new_secret, NULL}, {"old-secret", &c->old_secret, NULL},
        {"keyslot", NULL, &c->slot}, {"iter-time", NULL, &c->iter_time},
    };
    for (unsigned i = 0; i < ARRAY_LEN(options); i++) {
        snprintf(name, sizeof(name), "%s%s", prefix, options[i].name);
        c->wanted |= json_get(from, name) != NULL;
        bool good = options[i].text ? opt_string(from, name, options[i].text, e) : opt_size(from, name, options[i].number, e);
        if (!good)
            return false;
    }
    return true;
}

void luks_change_free(struct luks_change *c)
{
    free(c->state);
    free(c->new_secret);
    free(c->old_secret);
}

static unsigned count_active(const struct luks *l)
{
    unsigned n = 0;
    for (unsigned i = 0; i < LUKS_SLOTS; i++)
        n += l->slots[i].active;
    return n;
}

/* A header, and what users changed in it, in a file at `base`. */
struct place {
    struct luks *l;
    struct node *file;
    u64 base;
};

static bool write_header(const struct place *p, struct err *e)
{
    u8 h[LUKS_HEADER] = {0};
    put_header(p->l, h);
    int error = node_io(p->file, BLK_WRITE, p->base, h, sizeof(h), BLK_FUA);
    return !error || err_set(e, error, "cannot write the LUKS header: %s", strerror(error));
}

static bool write_material(const struct place *p, unsigned slot, u8 *material, struct err *e)
{
    int error = node_io(p->file, BLK_WRITE, p->base + p->l->slots[slot].offset, material, material_len(p->l), BLK_FUA);
    return !error || err_set(e, error, "cannot write LUKS key slot %u: %s", slot, strerror(error));
}

/* The header stops to name the slot before its key material goes. */
static bool erase_slot(const struct place *p, unsigned slot, struct err *e)
{
    struct luks_slot *s = &p->l->slots[slot];
    u8 *noise = xmalloc(material_len(p->l));
    s->active = false;
    s->iterations = 0;
    memset(s->salt, 0, LUKS_SALT);
    bool good = write_header(p, e) && (random_bytes(noise, material_len(p->l)) || err_set(e, errno, "no random bytes: %s", strerror(errno))) &&
                write_material(p, slot, noise, e);
    free(noise);
    return good;
}

static bool set_slot(const struct place *p, unsigned slot, const struct secret *pass, u64 iter_time, const u8 *key, struct err *e)
{
    struct luks_slot s = p->l->slots[slot];
    u8 *material = xcalloc(1, material_len(p->l));
    s.active = true;
    s.iterations = (u32)count_iterations(p->l, iter_time);
    bool good = random_bytes(s.salt, LUKS_SALT) || err_set(e, errno, "no random bytes: %s", strerror(errno));
    good = good && fill_slot(p->l, &s, pass, key, material, e);
    if (good && p->l->slots[slot].active) /* whatever happens in between, it opens with what is there */
        good = erase_slot(p, slot, e);
    good = good && write_material(p, slot, material, e);
    if (good)
        p->l->slots[slot] = s;
    good = good && write_header(p, e);
    explicit_bzero(material, material_len(p->l));
    free(material);
    return good;
}

static bool activate(const struct place *p, const struct luks_change *c, const struct secret *opened_with, bool force, struct err *e)
{
    u64 slot = c->slot;
    u8 key[CRYPT_MAX_KEY];
    if (c->old_secret)
        return err_set(e, EINVAL, "'old-secret' must not be given when activating keyslots");
    if (!c->new_secret)
        return err_set(e, EINVAL, "'new-secret' is required to activate a keyslot");
    for (unsigned i = LUKS_SLOTS; c->slot == LUKS_SLOTS_ANY && i--;)
        slot = p->l->slots[i].active ? slot : i;
    if (slot == LUKS_SLOTS_ANY)
        return err_set(e, EINVAL, "Can't add a keyslot - all keyslots are in use");
    if (p->l->slots[slot].active && !force)
        return err_set(e, EINVAL, "Refusing to overwrite active keyslot %u - please erase it first", (unsigned)slot);
    const struct secret *pass = secret_find(p->file->graph, c->new_secret, e);
    bool good = pass && find_slots(p->l, p->file, p->base, opened_with, true, key, e) &&
                set_slot(p, (unsigned)slot, pass, c->iter_time == UINT64_MAX ? LUKS_ITER_TIME : c->iter_time, key, e);
    explicit_bzero(key, sizeof(key));
    return good;
}

/* Which slots are to be erased, as bits; 0 and an error: none may be. */
static u32 slots_to_erase(const struct place *p, const struct luks_change *c, bool force, struct err *e)
{
    u8 key[CRYPT_MAX_KEY];
    const struct secret *old = c->old_secret ? secret_find(p->file->graph, c->old_secret, e) : NULL;
    if (c->old_secret && !old)
        return 0;
    u32 matching = old ? find_slots(p->l, p->file, p->base, old, false, key, e) : 0;
    explicit_bzero(key, sizeof(key));
    bool one = c->slot != LUKS_SLOTS_ANY;
    unsigned slot = (unsigned)c->slot, active = count_active(p->l);
    bool good = true;
    if (!one && !old)
        good = err_set(e, EINVAL, "To erase keyslot(s), either explicit keyslot index or the password currently contained in them must be given");
    else if (!one && !matching)
        good = err_set(e, EINVAL, "No keyslots match given (old) password for erase operation");
    else if (!one && (unsigned)__builtin_popcount(matching) == active && !force)
        good = err_set(e, EINVAL, "All the active keyslots match the (old) password that was given and erasing them will erase all the data in the image irreversibly - refusing operation");
    else if (one && old && !(matching >> slot & 1))
        good = err_set(e, EINVAL, "Given keyslot %u doesn't contain the given old password for erase operation", slot);
    else if (one && !p->l->slots[slot].active)
        good = force || err_set(e, EINVAL, "Given keyslot %u is already erased (inactive) ", slot);
    else if (one && active == 1 && !force)
        good = err_set(e, EINVAL, "Attempt to erase the only active keyslot %u which will erase all the data in the image irreversibly - refusing operation", slot);
    return !good ? 0 : one ? 1u << slot : matching;
}

static bool deactivate(const struct place *p, const struct luks_change *c, bool force, struct err *e)
{
    if (c->new_secret)
        return err_set(e, EINVAL, "'new-secret' must not be given when erasing keyslots");
    if (c->iter_time != UINT64_MAX)
        return err_set(e, EINVAL, "'iter-time' must not be given when erasing keyslots");
    u32 slots = slots_to_erase(p, c, force, e);
    bool good = slots;
    for (unsigned i = 0; i < LUKS_SLOTS && good; i++)
        good = !(slots >> i & 1) || erase_slot(p, i, e);
    return good;
}

bool luks_change(struct luks *l, struct node *file, u64 base, const struct luks_change *c, const struct secret *opened_with, bool force,
                 struct err *e)
{
    struct place p = {l, file, base};
    if (!c->state)
        return err_set(e, EINVAL, "Parameter 'state' is missing");
    bool active = !strcmp(c->state, "active");
    if (!active && strcmp(c->state, "inactive"))
        return no_such("state", c->state, e);
    if (c->slot >= LUKS_SLOTS && c->slot != LUKS_SLOTS_ANY)
        return err_set(e, EINVAL, "Invalid keyslot %llu specified, must be between 0 and %d", (unsigned long long)c->slot, LUKS_SLOTS - 1);
    return active ? activate(&p, c, opened_with, force, e) : deactivate(&p, c, force, e);
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
