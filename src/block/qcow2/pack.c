/* Compressed clusters: raw deflate with a window of 4 KiB, or a zstd frame. */
#include <libdeflate.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "base/mem.h"
#include "block/qcow2/qcow2.h"

/* What compressing needs is kept for the next cluster: setting it up costs as much as a small one. */
struct packer {
    z_stream deflate;
    bool has_deflate;
    ZSTD_CCtx *zstd_out;
    ZSTD_DCtx *zstd_in;
    struct libdeflate_decompressor *inflate;
    struct packer *next;
};

static struct packer *packer_take(struct qcow2 *q)
{
    pthread_mutex_lock(&q->packers_lock);
    struct packer *k = q->packers;
    if (k)
        q->packers = k->next;
    pthread_mutex_unlock(&q->packers_lock);
    return k ? k : xcalloc(1, sizeof(*k));
}

static void packer_give(struct qcow2 *q, struct packer *k)
{
    pthread_mutex_lock(&q->packers_lock);
    k->next = q->packers;
    q->packers = k;
    pthread_mutex_unlock(&q->packers_lock);
}

void packers_free(struct qcow2 *q)
{
    for (struct packer *k = q->packers, *next; k; k = next) {
        next = k->next;
        if (k->has_deflate)
            deflateEnd(&k->deflate);
        ZSTD_freeCCtx(k->zstd_out);
        ZSTD_freeDCtx(k->zstd_in);
        libdeflate_free_decompressor(k->inflate);
        free(k);
    }
    q->packers = NULL;
}

static size_t pack_deflate(struct packer *k, const u8 *from, size_t len, u8 *to, size_t room)
{
    if (k->has_deflate)
        deflateReset(&k->deflate);
    else if (deflateInit2(&k->deflate, Z_DEFAULT_COMPRESSION, Z_DEFLATED, -12, 9, Z_DEFAULT_STRATEGY) != Z_OK)
        return 0;
    k->has_deflate = true;
    k->deflate.next_in = (u8 *)from;
    k->deflate.avail_in = (uInt)len;
    k->deflate.next_out = to;
    k->deflate.avail_out = (uInt)room;
    return deflate(&k->deflate, Z_FINISH) == Z_STREAM_END ? room - k->deflate.avail_out : 0;
}

size_t qcow2_pack(const struct fmt *f, const u8 *from, u8 *to, size_t room)
{
    struct qcow2 *q = qcow2_of((struct fmt *)f);
    struct packer *k = packer_take(q);
    size_t n = 0;
    if (q->compression == ZSTD) {
        if (!k->zstd_out)
            k->zstd_out = ZSTD_createCCtx();
        n = ZSTD_compressCCtx(k->zstd_out, to, room, from, q->cluster_size, ZSTD_CLEVEL_DEFAULT);
        n = ZSTD_isError(n) ? 0 : n;
    } else {
        n = pack_deflate(k, from, q->cluster_size, to, room);
    }
    packer_give(q, k);
    return n;
}

bool qcow2_unpack(const struct fmt *f, const u8 *from, size_t len, u8 *to)
{
    struct qcow2 *q = qcow2_of((struct fmt *)f);
    struct packer *k = packer_take(q);
    bool good = false;
    if (q->compression == ZSTD) {
        if (!k->zstd_in)
            k->zstd_in = ZSTD_createDCtx();
        ZSTD_DCtx_reset(k->zstd_in, ZSTD_reset_session_only);
        ZSTD_inBuffer in = {from, len, 0};
        ZSTD_outBuffer out = {to, q->cluster_size, 0};
        /* The end of the frame is followed by whatever fills the sector. */
        while (out.pos < out.size) {
            size_t before = in.pos + out.pos, left = ZSTD_decompressStream(k->zstd_in, &out, &in);
            if (ZSTD_isError(left) || in.pos + out.pos == before)
                break;
        }
        good = out.pos == out.size;
    } else {
        if (!k->inflate)
            k->inflate = libdeflate_alloc_decompressor();
        size_t used, got = 0;
        good = libdeflate_deflate_decompress_ex(k->inflate, from, len, to, q->cluster_size, &used, &got) == LIBDEFLATE_SUCCESS &&
               got == q->cluster_size;
    }
    packer_give(q, k);
    return good;
}
