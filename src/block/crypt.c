#include "block/crypt.h"

#include <errno.h>
#include <nettle/aes.h>
#include <nettle/cbc.h>
#include <nettle/hmac.h>
#include <nettle/nettle-meta.h>
#include <nettle/pbkdf2.h>
#include <nettle/serpent.h>
#include <nettle/twofish.h>
#include <nettle/xts.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum { BLOCK = 16, HASH_CONTEXT = 256 };

/* ---- ciphers ---- */

struct cipher {
    const char *name;
    size_t key_len, context;
    nettle_set_key_func *set_encrypt, *set_decrypt;
    nettle_cipher_func *encrypt, *decrypt;
};

#define AES(bits)                                                                                                      \
    {"aes", bits / 8, sizeof(struct aes##bits##_ctx), (nettle_set_key_func *)aes##bits##_set_encrypt_key,              \
     (nettle_set_key_func *)aes##bits##_set_decrypt_key, (nettle_cipher_func *)aes##bits##_encrypt,                    \
     (nettle_cipher_func *)aes##bits##_decrypt}
#define BOTH_WAYS(family, bits)                                                                                        \
    {#family, bits / 8, sizeof(struct family##_ctx), (nettle_set_key_func *)family##bits##_set_key,                    \
     (nettle_set_key_func *)family##bits##_set_key, (nettle_cipher_func *)family##_encrypt,                            \
     (nettle_cipher_func *)family##_decrypt}

static const struct cipher ciphers[] = {
    AES(128), AES(192), AES(256), BOTH_WAYS(serpent, 128), BOTH_WAYS(serpent, 192), BOTH_WAYS(serpent, 256),
    BOTH_WAYS(twofish, 128), BOTH_WAYS(twofish, 192), BOTH_WAYS(twofish, 256),
};

static const struct cipher *find_cipher(const char *name, size_t key_len)
{
    for (unsigned i = 0; i < ARRAY_LEN(ciphers); i++) {
        if (!strcmp(ciphers[i].name, name) && ciphers[i].key_len == key_len)
            return &ciphers[i];
    }
    return NULL;
}

enum mode { MODE_XTS, MODE_CBC, MODE_ECB };
enum ivgen { IV_NONE, IV_PLAIN, IV_PLAIN64, IV_ESSIV };

struct crypt {
    const struct cipher *cipher, *iv_cipher;
    enum mode mode;
    enum ivgen ivgen;
    void *encrypt, *decrypt, *tweak, *iv; /* contexts with keys */
};

static void *keyed(const struct cipher *c, nettle_set_key_func *set, const u8 *key)
{
    void *context = xcalloc(1, c->context);
    set(context, key);
    return context;
}

static void wipe(void *context, const struct cipher *c)
{
    if (context)
        explicit_bzero(context, c->context);
    free(context);
}

void crypt_free(struct crypt *c)
{
    if (!c)
        return;
    wipe(c->encrypt, c->cipher);
    wipe(c->decrypt, c->cipher);
    wipe(c->tweak, c->cipher);
    wipe(c->iv, c->iv_cipher);
    free(c);
}

/* ---- hashes ---- */

static const struct nettle_hash *find_hash(const char *name)
{
    static const char *const known[] = {"sha1", "sha224", "sha256", "sha384", "sha512", "ripemd160"};
    for (unsigned i = 0; i < ARRAY_LEN(known); i++) {
        const struct nettle_hash *h = strcmp(known[i], name) ? NULL : nettle_lookup_hash(name);
        if (h && h->context_size <= HASH_CONTEXT && h->digest_size <= HASH_MAX)
            return h;
    }
    return NULL;
}

bool hash_known(const char *name)
{
    return find_hash(name);
}

union hash_context {
    u8 bytes[HASH_CONTEXT];
    u64 align;
};

struct mac {
    const struct nettle_hash *hash;
    union hash_context outer, inner, state;
};

static void mac_update(void *ctx, size_t len, const u8 *data)
{
    struct mac *m = ctx;
    m->hash->update(&m->state, len, data);
}

static void mac_digest(void *ctx, size_t len, u8 *to)
{
    struct mac *m = ctx;
    hmac_digest(&m->outer, &m->inner, &m->state, m->hash, len, to);
}

void derive_key(const char *hash, const u8 *pass, size_t pass_len, u64 iterations, const u8 *salt, size_t salt_len, u8 *to,
                size_t len)
{
    struct mac m = {.hash = find_hash(hash)};
    hmac_set_key(&m.outer, &m.inner, &m.state, m.hash, pass_len, pass);
    pbkdf2(&m, mac_update, mac_digest, m.hash->digest_size, (unsigned)iterations, salt_len, salt, len, to);
    explicit_bzero(&m, sizeof(m));
}

void hash_bytes(const char *name, const u8 *data, size_t len, u8 *digest)
{
    const struct nettle_hash *h = find_hash(name);
    union hash_context c;
    h->init(&c);
    h->update(&c, len, data);
    h->digest(&c, h->digest_size, digest);
    explicit_bzero(&c, sizeof(c));
}

size_t hash_size(const char *name)
{
    return find_hash(name)->digest_size;
}

/* ---- making one ---- */

static bool set_ivgen(struct crypt *c, const char *ivgen, const char *iv_hash, const u8 *key, size_t key_len, struct err *e)
{
    if (!strcmp(ivgen, "plain64")) {
        c->ivgen = IV_PLAIN64;
    } else if (!strcmp(ivgen, "plain")) {
        c->ivgen = IV_PLAIN;
    } else if (!strcmp(ivgen, "essiv") && iv_hash && hash_known(iv_hash)) {
        u8 digest[HASH_MAX];
        hash_bytes(iv_hash, key, key_len, digest);
        c->ivgen = IV_ESSIV;
        c->iv_cipher = find_cipher(c->cipher->name, hash_size(iv_hash));
        if (c->iv_cipher)
            c->iv = keyed(c->iv_cipher, c->iv_cipher->set_encrypt, digest);
        explicit_bzero(digest, sizeof(digest));
        return c->iv || err_set(e, ENOTSUP, "the hash %s is not of a length that %s has keys of", iv_hash, c->cipher->name);
    } else {
        return err_set(e, ENOTSUP, "initialisation vectors '%s%s%s' are not supported", ivgen, iv_hash ? ":" : "", iv_hash ? iv_hash : "");
    }
    return true;
}

struct crypt *crypt_new(const char *cipher, const char *mode, const char *ivgen, const char *iv_hash, const u8 *key,
                        size_t key_len, struct err *e)
{
    struct crypt *c = xcalloc(1, sizeof(*c));
    bool xts = !strcmp(mode, "xts");
    c->mode = xts ? MODE_XTS : !strcmp(mode, "cbc") ? MODE_CBC : MODE_ECB;
    size_t one = xts ? key_len / 2 : key_len;
    c->cipher = key_len % (xts ? 2 : 1) ? NULL : find_cipher(cipher, one);
    if (!c->cipher || (c->mode == MODE_ECB && strcmp(mode, "ecb"))) {
        err_set(e, ENOTSUP, "encryption by %s-%s with a key of %zu bits is not supported", cipher, mode, key_len * 8);
        free(c);
        return NULL;
    }
    c->encrypt = keyed(c->cipher, c->cipher->set_encrypt, key);
    c->decrypt = keyed(c->cipher, c->cipher->set_decrypt, key);
    if (xts)
        c->tweak = keyed(c->cipher, c->cipher->set_encrypt, key + one);
    if (c->mode == MODE_ECB || set_ivgen(c, ivgen, iv_hash, key, key_len, e))
        return c;
    crypt_free(c);
    return NULL;
}

/* ---- sectors ---- */

static void make_iv(const struct crypt *c, u64 sector, u8 iv[BLOCK])
{
    memset(iv, 0, BLOCK);
    u64 number = c->ivgen == IV_PLAIN ? (u32)sector : sector;
    for (unsigned i = 0; i < 8; i++)
        iv[i] = (u8)(number >> 8 * i);
    if (c->ivgen == IV_ESSIV)
        c->iv_cipher->encrypt(c->iv, BLOCK, iv, iv);
}

void crypt_sectors(const struct crypt *c, bool encrypt, u64 sector, u8 *data, size_t len)
{
    const struct cipher *k = c->cipher;
    for (; len; sector++, data += CRYPT_SECTOR, len -= CRYPT_SECTOR) {
        u8 iv[BLOCK];
        if (c->mode != MODE_ECB)
            make_iv(c, sector, iv);
        if (c->mode == MODE_ECB)
            (encrypt ? k->encrypt : k->decrypt)(encrypt ? c->encrypt : c->decrypt, CRYPT_SECTOR, data, data);
        else if (c->mode == MODE_XTS && encrypt)
            xts_encrypt_message(c->encrypt, c->tweak, k->encrypt, iv, CRYPT_SECTOR, data, data);
        else if (c->mode == MODE_XTS)
            xts_decrypt_message(c->decrypt, c->tweak, k->decrypt, k->encrypt, iv, CRYPT_SECTOR, data, data);
        else if (encrypt)
            cbc_encrypt(c->encrypt, k->encrypt, BLOCK, iv, CRYPT_SECTOR, data, data);
        else
            cbc_decrypt(c->decrypt, k->decrypt, BLOCK, iv, CRYPT_SECTOR, data, data);
    }
}
