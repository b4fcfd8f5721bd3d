/* Encryption of sectors, and the LUKS header (LUKS On-Disk Format Specification 1.2.3; names are its).
 *
 * A cipher works on sectors of 512 bytes; each gets an initialisation vector made from its number. */
#ifndef LYRE_BLOCK_CRYPT_H
#define LYRE_BLOCK_CRYPT_H

#include "block/node.h"

enum { CRYPT_SECTOR = 512, CRYPT_MAX_KEY = 64, HASH_MAX = 64 /* bytes of a digest */ };

struct crypt;

/* cipher: "aes", "serpent", "twofish". mode: "xts", "cbc", "ecb". ivgen: "plain64", "plain", "essiv" with
 * the hash `iv_hash`, or NULL. The key of xts is two keys. NULL: there is no such. Used from any thread. */
struct crypt *crypt_new(const char *cipher, const char *mode, const char *ivgen, const char *iv_hash, const u8 *key,
                        size_t key_len, struct err *e);
void crypt_free(struct crypt *c);
/* In place; `len` is whole sectors, the first of which has the number `sector`. */
void crypt_sectors(const struct crypt *c, bool encrypt, u64 sector, u8 *data, size_t len);

/* ---- hashes ---- */

bool hash_known(const char *name);
size_t hash_size(const char *name); /* bytes; of a hash that is known, as below */
void hash_bytes(const char *name, const u8 *data, size_t len, u8 *digest);
/* PBKDF2 (RFC 8018) with HMAC. */
void derive_key(const char *hash, const u8 *pass, size_t pass_len, u64 iterations, const u8 *salt, size_t salt_len, u8 *to,
                size_t len);

/* ---- LUKS ---- */

enum { LUKS_HEADER = 592, LUKS_SLOTS = 8, LUKS_SALT = 32, LUKS_DIGEST = 20, LUKS_STRIPES = 4000, LUKS_ITER_TIME = 2000 /* ms */ };

struct luks_slot {
    bool active;
    u32 iterations, stripes;
    u64 offset; /* bytes */
    u8 salt[LUKS_SALT];
};

struct luks {
    char cipher[33], mode[33], hash[33], uuid[41]; /* mode: "xts", the iv's names apart */
    char ivgen[33], iv_hash[33];                   /* iv_hash "": none */
    u32 key_len, digest_iterations;
    u64 payload; /* bytes */
    u8 digest[LUKS_DIGEST], digest_salt[LUKS_SALT];
    struct luks_slot slots[LUKS_SLOTS];
};

/* Whether a header of version 1 begins here. */
bool luks_magic(const u8 *h);
/* The header in its first LUKS_HEADER bytes. */
bool luks_parse(struct luks *l, const u8 *h, struct err *e);
/* Try a passphrase on the header that lies at `base` in the file; waits. NULL: it opens no slot. */
struct crypt *luks_unlock(const struct luks *l, struct node *file, u64 base, const struct secret *pass, struct err *e);

struct luks_options {
    char *cipher, *mode, *ivgen, *iv_hash, *hash, *key_secret; /* as users write them: "aes-256"; NULL: the usual */
    u64 iter_time;                                            /* milliseconds; 0: the usual */
};
/* Take the options whose names begin with `prefix`. */
bool luks_options_take(struct luks_options *o, const char *prefix, struct json *from, struct err *e);
void luks_options_free(struct luks_options *o);
/* A header with all its key slots, *len bytes, for a new random key that `pass` opens. The caller frees it. */
u8 *luks_create(const struct luks_options *o, const struct secret *pass, u64 *len, struct err *e);
/* How long such a header is. */
bool luks_measure(const struct luks_options *o, u64 *len, struct err *e);

/* A change of key slots, as `amend` has it. */
#define LUKS_SLOTS_ANY UINT64_MAX
struct luks_change {
    bool wanted; /* some option was given */
    char *state, *new_secret, *old_secret; /* "active" or "inactive"; names of secrets */
    u64 slot;      /* LUKS_SLOTS_ANY: not given */
    u64 iter_time; /* milliseconds; UINT64_MAX: not given */
};
bool luks_change_take(struct luks_change *c, const char *prefix, struct json *from, struct err *e);
void luks_change_free(struct luks_change *c);
/* Change the header that lies at `base` in the file, and *l. `opened_with` opens a slot of it. What would lose data
 * is only done by force. Waits; a crash leaves all slots usable but the one that is written. */
bool luks_change(struct luks *l, struct node *file, u64 base, const struct luks_change *c, const struct secret *opened_with, bool force,
                 struct err *e);

/* What users see of it. */
void luks_info(const struct luks *l, bool in_qcow2, struct json *o);

#endif
