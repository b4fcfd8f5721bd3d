/* Encrypted guest data: LUKS, whose header lies in clusters of the image, or the older AES-CBC with the
 * passphrase itself as the key (crypt_method 2 and 1 of the specification). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "block/crypt.h"
#include "block/qcow2/qcow2.h"

enum { METHOD_AES = 1, METHOD_LUKS = 2, EXT_LEN = 16, AES_KEY = 16, MAX_LUKS = 64 << 20 };

struct qcow2_crypto {
    struct crypt *crypt; /* NULL: not unlocked */
    char *secret;        /* the name of what it was unlocked with */
    struct luks luks;
    u64 base;            /* of its header */
};

/* AES counts sectors of the guest, LUKS those of the file. */
void qcow2_crypt(const struct fmt *f, bool encrypt, u64 guest, u64 host, u8 *data, size_t len)
{
    const struct qcow2 *q = qcow2_of((struct fmt *)f);
    u64 at = q->crypt_method == METHOD_LUKS ? host : guest;
    crypt_sectors(q->crypto->crypt, encrypt, at / CRYPT_SECTOR, data, len);
}

static struct crypt *aes_of(const struct secret *pass, struct err *e)
{
    u8 key[AES_KEY] = {0};
    memcpy(key, pass->data, MIN(pass->len, sizeof(key)));
    struct crypt *c = crypt_new("aes", "cbc", "plain64", NULL, key, sizeof(key), e);
    explicit_bzero(key, sizeof(key));
    return c;
}

static bool read_luks(struct qcow2 *q, struct err *e)
{
    u64 *base = &q->crypto->base;
    const struct extension *x = extension_get(q, EXT_CRYPTO);
    struct node *file = q->fmt.node->file;
    u8 h[LUKS_HEADER];
    if (!x || x->len != EXT_LEN)
        return err_set(e, EINVAL, "CRYPTO header extension is missing or has a wrong length");
    *base = be64_at(x->data);
    u64 len = be64_at(x->data + 8);
    if (*base % q->cluster_size || len < LUKS_HEADER || len > MAX_LUKS || *base > file->size || len > ALIGN_UP(file->size, (u64)q->cluster_size) - *base)
        return err_set(e, EINVAL, "Encryption header offset or length is wrong");
    int error = node_io(file, BLK_READ, *base, h, sizeof(h), 0);
    if (error)
        return err_set(e, error, "cannot read the encryption header: %s", strerror(error));
    return luks_parse(&q->crypto->luks, h, e) &&
           (q->crypto->luks.payload <= len || err_set(e, EINVAL, "Encryption header length is wrong"));
}

/* Unlock with the secret of that name. */
static bool unlock(struct qcow2 *q, const char *format, const char *key, struct err *e)
{
    bool luks = q->crypt_method == METHOD_LUKS;
    if (format && strcmp(format, luks ? "luks" : "aes"))
        return err_set(e, EINVAL, "Header reported '%s' encryption format but options specify '%s'", luks ? "luks" : "aes", format);
    if (!key)
        return err_set(e, EINVAL, "Parameter 'encrypt.key-secret' is required for cipher");
    const struct secret *pass = secret_find(q->fmt.node->graph, key, e);
    if (pass)
        q->crypto->crypt = luks ? luks_unlock(&q->crypto->luks, q->fmt.node->file, q->crypto->base, pass, e) : aes_of(pass, e);
    q->crypto->secret = xstrdup(key);
    return q->crypto->crypt;
}

bool qcow2_crypto_open(struct qcow2 *q, struct json *options, u32 flags, struct err *e)
{
    char *format = NULL, *key = NULL;
    bool good = opt_string(options, "encrypt.format", &format, e) && opt_string(options, "encrypt.key-secret", &key, e);
    if (good && q->crypt_method) {
        q->crypto = xcalloc(1, sizeof(*q->crypto));
        q->fmt.encrypted = true;
        if (q->crypt_method == METHOD_LUKS)
            good = read_luks(q, e);
        good = good && ((flags & OPEN_NO_IO) || unlock(q, format, key, e));
    } else if (good && format) {
        good = err_set(e, EINVAL, "No encryption in image header, but options specified format '%s'", format);
    }
    free(format);
    free(key);
    return good;
}

void qcow2_crypto_close(struct qcow2 *q)
{
    if (q->crypto) {
        crypt_free(q->crypto->crypt);
        free(q->crypto->secret);
    }
    free(q->crypto);
}

bool qcow2_change_keys(struct qcow2 *q, const struct luks_change *c, bool force, struct err *e)
{
    if (!q->crypto)
        return err_set(e, EINVAL, "Can't amend encryption options - encryption not present");
    if (q->crypt_method != METHOD_LUKS)
        return err_set(e, EINVAL, "Only LUKS encryption options can be amended for qcow2 with encryption");
    const struct secret *pass = secret_find(q->fmt.node->graph, q->crypto->secret ? q->crypto->secret : "", e);
    return pass && luks_change(&q->crypto->luks, q->fmt.node->file, q->crypto->base, c, pass, force, e);
}

/* ---- creating ---- */

bool crypto_plan_take(struct crypto_plan *p, struct json *options, struct err *e)
{
    bool old = false;
    if (!opt_string(options, "encrypt.format", &p->format, e) || !opt_bool(options, "encryption", &old, e) ||
        !luks_options_take(&p->luks, "encrypt.", options, e))
        return false;
    if (old && !p->format)
        p->format = xstrdup("aes");
    if (!p->format)
        return !p->luks.key_secret || err_set(e, EINVAL, "Parameter 'encrypt.format' is missing");
    if (strcmp(p->format, "aes") && strcmp(p->format, "luks"))
        return err_set(e, EINVAL, "Parameter 'format' does not accept value '%s'", p->format);
    return true;
}

void crypto_plan_free(struct crypto_plan *p)
{
    free(p->format);
    luks_options_free(&p->luks);
}

bool crypto_plan_room(const struct crypto_plan *p, u64 *bytes, struct err *e)
{
    *bytes = 0;
    return !p->format || strcmp(p->format, "luks") || luks_measure(&p->luks, bytes, e);
}

bool qcow2_encrypt(struct node *n, const struct crypto_plan *p, struct err *e)
{
    struct qcow2 *q = qcow2_of_node(n);
    u64 len = 0, offset;
    if (!p->format)
        return true;
    if (!p->luks.key_secret)
        return err_set(e, EINVAL, "Parameter 'encrypt.key-secret' is required for cipher");
    const struct secret *pass = secret_find(n->graph, p->luks.key_secret, e);
    if (!pass)
        return false;
    q->crypt_method = strcmp(p->format, "luks") ? METHOD_AES : METHOD_LUKS;
    if (q->crypt_method == METHOD_LUKS) {
        u8 *h = luks_create(&p->luks, pass, &len, e), x[EXT_LEN];
        bool good = h && store_bytes(q, h, len, &offset, e);
        free(h);
        if (!good)
            return false;
        put_be64(x, offset);
        put_be64(x + 8, len);
        extension_set(q, EXT_CRYPTO, x, sizeof(x));
    }
    return header_fits(q, e) && header_write_now(q, e);
}

void qcow2_crypto_info(const struct qcow2 *q, struct json *o)
{
    if (!q->crypto)
        return;
    struct json *x = json_set(o, "encrypt", json_object());
    if (q->crypt_method == METHOD_LUKS)
        luks_info(&q->crypto->luks, true, x);
    else
        json_set_string(x, "format", "aes");
}
