/* The text of -strace, in the form that people know: `1234 write(1,0x4000,5) = 5`. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "base/guard.h"
#include "base/log.h"
#include "user/linux/headers.h"
#include "user/linux/syscall.h"
#include "user/process.h"

struct text {
    char *at, *end;
};

static void PRINTF_LIKE(2, 3) add(struct text *x, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(x->at, (size_t)(x->end - x->at), fmt, ap);
    va_end(ap);
    x->at = n < x->end - x->at ? x->at + n : x->end - 1;
}

static void add_set(struct text *x, enum sys_set_id id, u64 v)
{
    const struct sys_set *set = &sys_sets[id];
    const struct sys_set_member *m = set->member;
    u64 rest = (u32)v;
    bool first = true;
    if (set->values) {
        for (; m->name; m++) {
            if (m->value == rest) {
                add(x, "%s", m->name);
                return;
            }
        }
        add(x, "%" PRId64, (s64)(s32)v);
        return;
    }
    for (; m->name; m++) {
        bool choice = m->mask != m->value;
        if (choice ? (v & m->mask) == m->value && (rest & m->mask || !m->value)
                   : m->value && (rest & m->value) == m->value) {
            /* "none" of a choice is only worth a word when nothing else is set */
            if (!m->value && (id != SYS_SET_open && id != SYS_SET_futex))
                continue;
            add(x, "%s%s", first ? "" : "|", m->name);
            first = false;
            rest &= ~m->mask;
        }
    }
    if (rest)
        add(x, "%s%#" PRIx64, first ? "" : "|", rest);
    else if (first)
        add(x, "%s", id == SYS_SET_prot ? "PROT_NONE" : "0");
}

static void add_string(struct text *x, struct thread *t, u64 addr)
{
    char buf[512];
    if (!addr) {
        add(x, "NULL");
        return;
    }
    s64 n = space_string(&t->process->space, buf, sizeof(buf), addr);
    if (n == -EFAULT) {
        add(x, "%#" PRIx64, addr);
        return;
    }
    buf[sizeof(buf) - 1] = 0;
    add(x, "\"");
    for (const char *s = buf; *s; s++)
        *s >= ' ' && *s < 127 ? add(x, "%c", *s) : add(x, "\\x%02x", (u8)*s);
    add(x, n < 0 ? "\"..." : "\"");
}

static void add_strings(struct text *x, struct thread *t, u64 addr)
{
    add(x, "{");
    for (int i = 0;; i++) {
        u64 p;
        if (!process_read_word(t->process, addr + t->process->word * (u64)i, &p) || !p)
            break;
        if (i == 32) {
            add(x, ",...");
            break;
        }
        add(x, i ? "," : "");
        add_string(x, t, p);
    }
    add(x, "}");
}

static void add_pointer(struct text *x, u64 v)
{
    v ? add(x, "0x%016" PRIx64, v) : add(x, "NULL");
}

static void add_arg(struct text *x, struct thread *t, const struct sys_arg *arg, u64 v)
{
    switch (arg->kind) {
    case ARG_INT:
    case ARG_PID:
    case ARG_FD:
        add(x, "%d", (int)v);
        break;
    case ARG_UINT:
        add(x, "%u", (u32)v);
        break;
    case ARG_LONG:
    case ARG_OFF:
    case ARG_OFFHI:
        add(x, "%" PRId64, (s64)v);
        break;
    case ARG_ULONG:
    case ARG_SIZE:
        add(x, "%" PRIu64, v);
        break;
    case ARG_HEX:
        add(x, v ? "%#" PRIx64 : "%" PRIx64, v);
        break;
    case ARG_OMODE:
        add(x, "%04o", (u32)v);
        break;
    case ARG_SIG: {
        const char *name = (int)v > 0 && (int)v < 32 ? sigabbrev_np((int)v) : NULL;
        name ? add(x, "SIG%s", name) : add(x, "%d", (int)v);
        break;
    }
    case ARG_DIRFD:
        (int)v == AT_FDCWD ? add(x, "AT_FDCWD") : add(x, "%d", (int)v);
        break;
    case ARG_PATH:
    case ARG_LPATH:
    case ARG_NPATH:
    case ARG_ATPATH:
    case ARG_STR:
        add_string(x, t, v);
        break;
    case ARG_STRV:
        add_strings(x, t, v);
        break;
    case ARG_FLAGS:
        add_set(x, arg->set, flags_to_host(t->process, arg->set, v));
        break;
    default:
        add_pointer(x, v);
    }
}

void strace_args(struct thread *t, const struct sys_call *c, const u64 *a, char *text, size_t size)
{
    struct text x = {text, text + size};
    *text = 0;
    for (unsigned i = 0; i < c->args; i++) {
        if (i)
            add(&x, ",");
        add_arg(&x, t, &c->arg[i], a[i]);
    }
    if (c->result == RESULT_NONE)
        log_print(LOG_STRACE, "%d %s(%s)\n", (int)getpid(), c->name, text);
}

void strace_line(const struct sys_call *c, const char *args, s64 r)
{
    char result[160];
    if (r == SYS_RESTART)
        snprintf(result, sizeof(result), "? (interrupted by a signal)");
    else if (r < 0 && r > -4096)
        snprintf(result, sizeof(result), "-1 errno=%d (%s)", (int)-r, strerror((int)-r));
    else if (c->result == RESULT_HEX)
        snprintf(result, sizeof(result), "0x%016" PRIx64, (u64)r);
    else
        snprintf(result, sizeof(result), "%" PRId64, r);
    log_print(LOG_STRACE, "%d %s(%s) = %s\n", (int)getpid(), c->name, args, result);
}

void strace_unknown(u64 number)
{
    log_print(LOG_STRACE, "%d Unknown syscall %" PRIu64 "\n", (int)getpid(), number);
}
