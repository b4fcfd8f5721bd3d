/* The protocol that QEMU's tests of devices speak: a line for each access to the machine's memory, step of its
 * clock or level of a wire, and a line back. docs/machine.md lists the commands. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "machine/impl.h"

enum { LINE_MAX = 1 << 20, WORDS_MAX = 5 };

struct qtest {
    struct machine *machine;
    struct chardev *chardev;
    struct char_user user;
    FILE *log; /* NULL: none */
    u64 begun; /* loop_now() when the protocol began */
    char *line;
    size_t len, cap;
    struct dev *watched;
    struct dev_watch watch;
    u8 *levels; /* of the watched wires, as last told */
};

/* A line of the log: 'R' it was received, 'S' it was sent, and when. */
static void note(struct qtest *q, char way, const char *line)
{
    u64 us = (loop_now() - q->begun) / 1000;
    if (q->log)
        fprintf(q->log, "[%c +%llu.%06llu] %s\n", way, (unsigned long long)(us / 1000000), (unsigned long long)(us % 1000000), line);
}

static void reply(struct qtest *q, const char *fmt, ...) PRINTF_LIKE(2, 3);

static void reply(struct qtest *q, const char *fmt, ...)
{
    char text[256];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    note(q, 'S', text);
    char_write(q->chardev, text, MIN((size_t)n, sizeof(text) - 1));
    char_write(q->chardev, "\n", 1);
}

static bool number(const char *text, u64 *value)
{
    char *end;
    errno = 0;
    *value = text ? strtoull(text, &end, 0) : 0;
    return text && !errno && end != text && !*end;
}

/* ---- memory ---- */

/* The size that the last letter of "readl" stands for; 0: none. */
static unsigned access_size(const char *command, const char *stem)
{
    static const char letters[] = "bwlq";
    size_t n = strlen(stem);
    const char *at = !strncmp(command, stem, n) && command[n] && !command[n + 1] ? strchr(letters, command[n]) : NULL;
    return at ? 1u << (at - letters) : 0;
}

static void do_read_value(struct qtest *q, char **w)
{
    u64 addr, value = 0;
    if (!number(w[1], &addr))
        reply(q, "FAIL bad address");
    else if (mem_read(q->machine->memory, addr, access_size(w[0], "read"), &value) == MEM_OK)
        reply(q, "OK 0x%016llx", (unsigned long long)value);
    else
        reply(q, "OK 0x%016x", 0); /* as the peer answers */
}

static void do_write_value(struct qtest *q, char **w)
{
    u64 addr, value;
    if (!number(w[1], &addr) || !number(w[2], &value)) {
        reply(q, "FAIL bad number");
        return;
    }
    mem_write(q->machine->memory, addr, access_size(w[0], "write"), value);
    reply(q, "OK");
}

/* Copies are made of the largest accesses that are aligned and that a device takes: a register of two bytes is read once. */
static unsigned largest(u64 addr, u64 len)
{
    unsigned size = 8;
    while (size > len || addr % size)
        size /= 2;
    return size;
}

static void copy_out(struct qtest *q, u64 addr, u8 *to, u64 len)
{
    unsigned size;
    for (u64 i = 0; i < len; i += size) {
        u64 v = 0;
        size = largest(addr + i, len - i);
        while (mem_read(q->machine->memory, addr + i, size, &v) == MEM_ERROR && size > 1)
            size /= 2;
        memcpy(to + i, &v, size);
    }
}

static void copy_in(struct qtest *q, u64 addr, const u8 *from, u64 len)
{
    unsigned size;
    for (u64 i = 0; i < len; i += size) {
        u64 v = 0;
        size = largest(addr + i, len - i);
        memcpy(&v, from + i, size);
        while (mem_write(q->machine->memory, addr + i, size, v) == MEM_ERROR && size > 1)
            size /= 2;
    }
}

static bool span_of(struct qtest *q, char **w, u64 *addr, u64 *len)
{
    if (number(w[1], addr) && number(w[2], len) && *len && *len <= LINE_MAX / 4)
        return true;
    reply(q, "FAIL bad span");
    return false;
}

static void do_read(struct qtest *q, char **w)
{
    u64 addr, len;
    if (!span_of(q, w, &addr, &len))
        return;
    u8 *data = xmalloc(len);
    char *text = xmalloc(2 * len + 1);
    copy_out(q, addr, data, len);
    for (u64 i = 0; i < len; i++)
        snprintf(text + 2 * i, 3, "%02x", data[i]);
    char_write(q->chardev, "OK 0x", 5);
    char_write(q->chardev, text, 2 * len);
    char_write(q->chardev, "\n", 1);
    free(text);
    free(data);
}

static unsigned hex(char c)
{
    return c >= '0' && c <= '9' ? (unsigned)(c - '0') : ((unsigned)c | 32) - 'a' + 10;
}

/* What the data lacks is zero. */
static void do_write(struct qtest *q, char **w)
{
    u64 addr, len;
    if (!span_of(q, w, &addr, &len))
        return;
    u8 *data = xcalloc(1, len);
    const char *text = w[3] && !strncmp(w[3], "0x", 2) ? w[3] + 2 : "";
    for (u64 i = 0; i < len && text[2 * i] && text[2 * i + 1]; i++)
        data[i] = (u8)(hex(text[2 * i]) << 4 | hex(text[2 * i + 1]));
    copy_in(q, addr, data, len);
    free(data);
    reply(q, "OK");
}

static void do_memset(struct qtest *q, char **w)
{
    u64 addr, len, value;
    if (!span_of(q, w, &addr, &len))
        return;
    if (!number(w[3], &value)) {
        reply(q, "FAIL bad number");
        return;
    }
    u8 *data = xmalloc(len);
    memset(data, (int)value, len);
    copy_in(q, addr, data, len);
    free(data);
    reply(q, "OK");
}

/* ---- clock ---- */

/* False: CPUs run, and the clock with them. */
static bool may_step(struct qtest *q)
{
    if (q->machine->opts->without_cpus)
        return true;
    reply(q, "FAIL the clock is stepped with -accel qtest alone");
    return false;
}

static void do_clock_step(struct qtest *q, char **w)
{
    if (!may_step(q))
        return;
    struct vclock *c = q->machine->clock;
    u64 ns, next = vclock_next(c);
    if (w[1] && !number(w[1], &ns)) {
        reply(q, "FAIL bad number");
        return;
    }
    u64 to = w[1] ? vclock_now(c) + ns : next == UINT64_MAX ? vclock_now(c) : next;
    vclock_step(c, to);
    reply(q, "OK %llu", (unsigned long long)vclock_now(c));
}

static void do_clock_set(struct qtest *q, char **w)
{
    u64 ns;
    if (!may_step(q))
        return;
    if (!number(w[1], &ns)) {
        reply(q, "FAIL bad number");
        return;
    }
    vclock_step(q->machine->clock, ns);
    reply(q, "OK %llu", (unsigned long long)vclock_now(q->machine->clock));
}

/* ---- wires ---- */

static void told(void *opaque, unsigned line, bool level)
{
    struct qtest *q = opaque;
    if (q->levels[line] == level)
        return;
    q->levels[line] = level;
    reply(q, "IRQ %s %u", level ? "raise" : "lower", line);
}

/* The device that a path ends with. */
static struct dev *device(struct qtest *q, const char *path)
{
    const char *slash = path ? strrchr(path, '/') : NULL;
    struct dev *d = path ? machine_dev(q->machine, slash ? slash + 1 : path) : NULL;
    if (!d)
        reply(q, "FAIL Unknown device");
    return d;
}

static void do_intercept(struct qtest *q, char **w)
{
    struct dev *d = device(q, w[1]);
    if (!d)
        return;
    if (q->watched && q->watched != d) {
        reply(q, "FAIL IRQ intercept already enabled");
        return;
    }
    q->watched = d;
    free(q->levels);
    q->levels = xcalloc(MAX(d->class->outs, d->class->ins) + 1, 1);
    bool out = !strcmp(w[0], "irq_intercept_out");
    q->watch = (struct dev_watch){out ? told : NULL, out ? NULL : told, q};
    d->watch = &q->watch;
    reply(q, "OK");
}

static void do_set_irq_in(struct qtest *q, char **w)
{
    u64 line, level;
    struct dev *d = device(q, w[1]);
    if (!d)
        return;
    if (!w[2] || !number(w[3], &line) || !number(w[4], &level) || line >= d->class->ins) {
        reply(q, "FAIL bad line");
        return;
    }
    struct wire in = dev_input(d, (unsigned)line);
    wire_set(&in, level);
    reply(q, "OK");
}

static void do_endianness(struct qtest *q, char **w)
{
    reply(q, "OK little");
}

/* ---- lines ---- */

static const struct {
    const char *name;
    void (*run)(struct qtest *q, char **words);
} commands[] = {
    {"clock_step", do_clock_step}, {"clock_set", do_clock_set}, {"endianness", do_endianness},
    {"irq_intercept_in", do_intercept}, {"irq_intercept_out", do_intercept}, {"set_irq_in", do_set_irq_in},
    {"read", do_read}, {"write", do_write}, {"memset", do_memset},
};

static void command(struct qtest *q, char *line)
{
    char *words[WORDS_MAX + 1] = {NULL}, *save = NULL;
    unsigned n = 0;
    for (char *w = strtok_r(line, " ", &save); w && n < WORDS_MAX; w = strtok_r(NULL, " ", &save))
        words[n++] = w;
    if (!n)
        return;
    for (unsigned i = 0; i < ARRAY_LEN(commands); i++) {
        if (!strcmp(words[0], commands[i].name)) {
            commands[i].run(q, words);
            return;
        }
    }
    if (access_size(words[0], "read"))
        do_read_value(q, words);
    else if (access_size(words[0], "write"))
        do_write_value(q, words);
    else
        reply(q, "FAIL Unknown command '%s'", words[0]);
}

static void take(struct qtest *q, u8 byte)
{
    if (byte != '\n') {
        if (byte != '\r' && q->len < LINE_MAX)
            VEC_PUSH(q->line, q->len, q->cap) = (char)byte;
        return;
    }
    VEC_PUSH(q->line, q->len, q->cap) = 0;
    q->len = 0;
    note(q, 'R', q->line);
    command(q, q->line);
}

static size_t qtest_room(void *opaque)
{
    return 4096;
}

static void qtest_receive(void *opaque, const u8 *data, size_t len)
{
    for (size_t i = 0; i < len; i++)
        take(opaque, data[i]);
}

/* The test has ended. */
static void qtest_event(void *opaque, enum char_event event)
{
    if (event == CHAR_CLOSED)
        machine_request(((struct qtest *)opaque)->machine, MACHINE_QUIT);
}

struct qtest *qtest_new(struct machine *m, struct chardev *c, struct err *e)
{
    struct qtest *q = xcalloc(1, sizeof(*q));
    q->machine = m;
    q->chardev = c;
    q->begun = loop_now();
    q->user = (struct char_user){.room = qtest_room, .receive = qtest_receive, .event = qtest_event, .opaque = q};
    const char *log = m->opts->qtest_log;
    q->log = log ? fopen(log, "w") : NULL;
    if (log && !q->log)
        err_set(e, errno, "cannot open '%s': %s", log, strerror(errno));
    else if (char_attach(c, &q->user))
        return q;
    else
        err_set(e, EBUSY, "character device '%s' is in use", char_id(c));
    if (q->log)
        fclose(q->log);
    free(q);
    return NULL;
}

void qtest_free(struct qtest *q)
{
    if (!q)
        return;
    char_detach(q->chardev, &q->user);
    if (q->watched)
        q->watched->watch = NULL;
    if (q->log)
        fclose(q->log);
    free(q->levels);
    free(q->line);
    free(q);
}
