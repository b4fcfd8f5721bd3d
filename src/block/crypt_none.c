/* Stands in for crypt.c in lyre-static, into which nettle may not be linked (docs/decisions/0006). What is
 * encrypted can be looked at, and neither read nor made. */
#include <errno.h>
#include <string.h>

#include "block/crypt.h"

struct crypt *crypt_new(const char *cipher, const char *mode, const char *ivgen, const char *iv_hash, const u8 *key, size_t key_len,
                        struct err *e)
{
    err_set(e, ENOTSUP, "lyre-static has no encryption; use lyre");
    return NULL;
}

void crypt_free(struct crypt *c)
{
}

void crypt_sectors(const struct crypt *c, bool encrypt, u64 sector, u8 *data, size_t len)
{
}

bool hash_known(const char *name)
{
    return true;
}

size_t hash_size(const char *name)
{
    return 20;
}

void hash_bytes(const char *name, const u8 *data, size_t len, u8 *digest)
{
    memset(digest, 0, hash_size(name));
}

void derive_key(const char *hash, const u8 *pass, size_t pass_len, u64 iterations, const u8 *salt, size_t salt_len, u8 *to, size_t len)
{
    memset(to, 0, len);
}
