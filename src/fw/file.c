#include "fw/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
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

u8 *fw_file_read(const char *path, size_t *len, struct err *e)
{
    struct stat st = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    u8 *data = fd >= 0 && !fstat(fd, &st) ? read_all(fd, (size_t)st.st_size, len) : NULL;
    if (!data)
        err_set(e, errno, "could not load '%s': %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    return data;
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

u8 *fw_file_expand(const char *path, size_t most, size_t *len, struct err *e)
{
    u8 *data = fw_file_read(path, len, e);
    if (!data || *len < 2 || data[0] != 0x1f || data[1] != 0x8b)
        return data;
    u8 *plain = expand(data, *len, most, len);
    if (!plain)
        err_set(e, EINVAL, "'%s' is damaged, or larger than the machine's memory when expanded", path);
    free(data);
    return plain;
}
