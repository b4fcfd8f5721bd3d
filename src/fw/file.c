#include "fw/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "base/mem.h"

enum { GZIP_WINDOW = 15 + 16 }; /* what tells zlib that there is a gzip header */

/* Until the end, wherever the size comes from: a file may be a pipe. */
static u8 *read_all(int fd, size_t guess, size_t *len)
{
    size_t cap = guess + 1;
    u8 *data = xmalloc(cap);
    for (*len = 0;;) {
        if (*len == cap) {
            cap *= 2;
            data = xrealloc(data, cap);
        }
        ssize_t n = read(fd, data + *len, cap - *len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            free(data);
            return NULL;
        }
        if (!n)
            return data;
        *len += (size_t)n;
    }
}

/* False where it is not to be mapped. */
static bool map(struct fw_file *f, int fd, const struct stat *st)
{
    if (!S_ISREG(st->st_mode) || !st->st_size)
        return false;
    void *data = mmap(NULL, (size_t)st->st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED)
        return false;
    *f = (struct fw_file){data, (size_t)st->st_size, true};
    return true;
}

static bool load(struct fw_file *f, const char *path, bool mapped, struct err *e)
{
    struct stat st = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool there = fd >= 0 && !fstat(fd, &st);
    *f = (struct fw_file){0};
    if (there && !(mapped && map(f, fd, &st)))
        f->data = read_all(fd, (size_t)st.st_size, &f->len);
    if (!f->data)
        err_set(e, errno, "could not load '%s': %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    return f->data;
}

u8 *fw_file_read(const char *path, size_t *len, struct err *e)
{
    struct fw_file f;
    if (!load(&f, path, false, e))
        return NULL;
    *len = f.len;
    return f.data;
}

bool fw_file_open(struct fw_file *f, const char *path, struct err *e)
{
    return load(f, path, true, e);
}

void fw_file_close(struct fw_file *f)
{
    if (f->mapped)
        munmap(f->data, f->len);
    else
        free(f->data);
    *f = (struct fw_file){0};
}

/* NULL when it is damaged or larger than `most`. */
static u8 *expand(const u8 *from, size_t from_len, size_t most, size_t *len)
{
    z_stream z = {.next_in = (u8 *)(uintptr_t)from, .avail_in = (uInt)from_len};
    if (inflateInit2(&z, GZIP_WINDOW) != Z_OK)
        return NULL;
    size_t cap = MIN(8 * from_len + 4096, most);
    u8 *to = xmalloc(cap);
    int res;
    for (;;) {
        z.next_out = to + z.total_out;
        z.avail_out = (uInt)(cap - z.total_out);
        res = inflate(&z, Z_NO_FLUSH);
        if (res != Z_OK || z.avail_out || cap == most)
            break;
        cap = MIN(2 * cap, most);
        to = xrealloc(to, cap);
    }
    *len = z.total_out;
    inflateEnd(&z);
    if (res == Z_STREAM_END)
        return to;
    free(to);
    return NULL;
}

static bool is_gzip(const u8 *data, size_t len)
{
    return len >= 2 && data[0] == 0x1f && data[1] == 0x8b;
}

/* The header of zboot: "MZ", then at these offsets. */
enum { ZBOOT_MAGIC = 4, ZBOOT_OFFSET = 8, ZBOOT_SIZE = 12, ZBOOT_METHOD = 24, ZBOOT_METHOD_MAX = 32, ZBOOT_HEADER = 64 };

static u32 le32_at(const u8 *p)
{
    u32 v;
    memcpy(&v, p, 4);
    return le32toh(v);
}

/* Where in the file what is compressed lies: all of it, unless it is zboot. False: that is not for us. */
static bool find_payload(const char *path, const u8 *data, size_t len, size_t *at, size_t *size, struct err *e)
{
    *at = 0;
    *size = len;
    if (len < ZBOOT_HEADER || memcmp(data, "MZ", 2) || memcmp(data + ZBOOT_MAGIC, "zimg", 4))
        return true;
    *at = le32_at(data + ZBOOT_OFFSET);
    *size = le32_at(data + ZBOOT_SIZE);
    if (*at > len || *size > len - *at)
        return err_set(e, EINVAL, "'%s' ends before its kernel does", path);
    return is_gzip(data + *at, *size) ||
           err_set(e, ENOTSUP, "the kernel in '%s' is compressed by %.*s; only gzip is supported", path, ZBOOT_METHOD_MAX,
                   (const char *)data + ZBOOT_METHOD);
}

/* What is in the file takes its place. */
static bool expand_file(struct fw_file *f, const char *path, size_t most, struct err *e)
{
    size_t at, size, len;
    if (!find_payload(path, f->data, f->len, &at, &size, e))
        return false;
    if (!is_gzip(f->data + at, size))
        return true;
    u8 *plain = expand(f->data + at, size, most, &len);
    if (!plain)
        return err_set(e, EINVAL, "'%s' is damaged, or larger than the machine's memory when expanded", path);
    fw_file_close(f);
    *f = (struct fw_file){.data = plain, .len = len};
    return true;
}

bool fw_file_open_expanded(struct fw_file *f, const char *path, size_t most, struct err *e)
{
    if (!fw_file_open(f, path, e))
        return false;
    bool good = expand_file(f, path, most, e);
    if (!good)
        fw_file_close(f);
    return good;
}
