#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct {
    const char *name;
    u32 mask;
    const char *what;
} classes[] = {
    {"in_asm", LOG_IN_ASM, "guest code of each region that is translated"},
    {"ir", LOG_IR, "IR as lifted from guest code"},
    {"op", LOG_IR, "the same as ir"},
    {"ir_opt", LOG_IR_OPT, "IR as the back end gets it"},
    {"op_opt", LOG_IR_OPT, "the same as ir_opt"},
    {"out_asm", LOG_OUT_ASM, "generated host code"},
    {"exec", LOG_EXEC, "each region entered from the exec loop"},
    {"strace", LOG_STRACE, "system calls of the guest"},
    {"unimp", LOG_UNIMP, "guest code that asks for what is not there"},
    {"guest_errors", LOG_GUEST_ERROR, "mistakes of the guest"},
    {"verify", LOG_VERIFY, "check the IR of every region (no output unless it is broken)"},
    {"stats", LOG_STATS, "counters when the program ends"},
    {"hot", LOG_HOT, "where hot code is translated again, a line each time"},
    {"profile", LOG_PROFILE, "functions that took the time, when the program ends"},
};

static const char *const trace_names[TRACE_EVENTS] = {
    [TRACE_MEMORY_READ] = "memory_region_ops_read", [TRACE_MEMORY_WRITE] = "memory_region_ops_write",
    [TRACE_VIRTIO_STATUS] = "virtio_set_status", [TRACE_VIRTIO_QUEUE] = "virtio_queue_notify",
    [TRACE_VIRTIO_INTERRUPT] = "virtio_notify", [TRACE_BLK_READ] = "virtio_blk_handle_read",
    [TRACE_BLK_WRITE] = "virtio_blk_handle_write", [TRACE_BLK_DONE] = "virtio_blk_req_complete",
    [TRACE_QMP] = "handle_qmp_command",
};

static struct {
    _Atomic u32 mask, traced; /* traced: a bit for each event */
    int fd;
} logger = {.fd = 2};

bool log_parse(const char *list, u32 *mask, struct err *e)
{
    *mask = 0;
    while (*list) {
        size_t n = strcspn(list, ",");
        size_t i;
        for (i = 0; i < ARRAY_LEN(classes); i++) {
            if (strlen(classes[i].name) == n && !strncmp(classes[i].name, list, n))
                break;
        }
        if (i == ARRAY_LEN(classes)) {
            char names[256] = "";
            for (size_t k = 0; k < ARRAY_LEN(classes); k++) {
                size_t used = strlen(names);
                snprintf(names + used, sizeof(names) - used, "%s%s", k ? ", " : "",
                         classes[k].name);
            }
            return err_set(e, EINVAL, "unknown log class '%.*s'; the classes are %s", (int)n, list,
                           names);
        }
        *mask |= classes[i].mask;
        list += n + (list[n] == ',');
    }
    return true;
}

void log_list(FILE *to)
{
    for (size_t i = 0; i < ARRAY_LEN(classes); i++)
        fprintf(to, "  %-14s %s\n", classes[i].name, classes[i].what);
}

void log_enable(u32 mask)
{
    atomic_fetch_or(&logger.mask, mask);
}

void log_choose(u32 mask)
{
    atomic_store(&logger.mask, mask);
}

bool log_on(u32 mask)
{
    return (atomic_load_explicit(&logger.mask, memory_order_relaxed) & mask) != 0;
}

bool log_open(const char *path, struct err *e)
{
    char name[4096];
    const char *pid = strstr(path, "%d");
    if (pid)
        snprintf(name, sizeof(name), "%.*s%d%s", (int)(pid - path), path, (int)getpid(), pid + 2);
    else
        snprintf(name, sizeof(name), "%s", path);
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_APPEND, 0666);
    if (fd < 0)
        return err_set(e, errno, "cannot open log file '%s': %s", name, strerror(errno));
    /* Out of the way of those who count on low numbers. */
    int high = fcntl(fd, F_DUPFD_CLOEXEC, 900);
    if (high >= 0) {
        close(fd);
        fd = high;
    }
    logger.fd = fd;
    return true;
}

int log_fd(void)
{
    return logger.fd == 2 ? -1 : logger.fd;
}

static void emit(const char *prefix, const char *fmt, va_list ap)
{
    char small[1024];
    char *text = small;
    va_list again;
    va_copy(again, ap);
    int pre = (int)strlen(prefix);
    memcpy(small, prefix, (size_t)pre);
    int n = vsnprintf(small + pre, sizeof(small) - (size_t)pre, fmt, ap);
    if (n >= (int)sizeof(small) - pre) {
        text = malloc((size_t)(pre + n) + 1);
        if (text) {
            memcpy(text, prefix, (size_t)pre);
            vsnprintf(text + pre, (size_t)n + 1, fmt, again);
        } else {
            text = small;
            n = (int)sizeof(small) - pre - 1;
        }
    }
    va_end(again);
    for (size_t done = 0, len = (size_t)(pre + n); done < len;) {
        ssize_t k = write(logger.fd, text + done, len - done);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            break;
        done += (size_t)k;
    }
    if (text != small)
        free(text);
}

void log_print(u32 mask, const char *fmt, ...)
{
    if (!log_on(mask))
        return;
    va_list ap;
    va_start(ap, fmt);
    emit("", fmt, ap);
    va_end(ap);
}

void log_warn(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    emit("lyre: ", fmt, ap);
    va_end(ap);
}

/* ---- events ---- */

const char *trace_name(enum trace_event t)
{
    return trace_names[t];
}

bool trace_on(enum trace_event t)
{
    return atomic_load_explicit(&logger.traced, memory_order_relaxed) >> t & 1;
}

unsigned trace_choose(const char *pattern, bool on)
{
    u32 found = 0;
    for (unsigned t = 0; t < TRACE_EVENTS; t++)
        found |= (u32)!fnmatch(pattern, trace_names[t], 0) << t;
    if (on)
        atomic_fetch_or(&logger.traced, found);
    else
        atomic_fetch_and(&logger.traced, ~found);
    return (unsigned)__builtin_popcount(found);
}

void trace(enum trace_event t, const char *fmt, ...)
{
    char text[512], name[64];
    if (!trace_on(t))
        return;
    snprintf(text, sizeof(text), "%s\n", fmt);
    snprintf(name, sizeof(name), "%s ", trace_names[t]);
    va_list ap;
    va_start(ap, fmt);
    emit(name, text, ap);
    va_end(ap);
}
