/* Machines: `lyre boot` and the names qemu-system-<isa>. The options are one table for both. */
#include <ctype.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "accel/cpus.h"
#include "base/log.h"
#include "base/mem.h"
#include "cmd/cmd.h"
#include "cmd/system/config.h"
#include "cmd/system/parts.h"
#include "machine/machine.h"
#include "cmd/system/daemon.h"
#include "cmd/system/hints.h"
#include "cmd/system/refused.h"
#include "monitor/hmp.h"
#include "monitor/qmp.h"

enum { MONITORS_MAX = 8 };

#define BOOT_MEMORY (512ull << 20) /* what lyre boot gives; the compatible names give what their board does */

struct boot {
    const char *isa;  /* the name says it; NULL: lyre boot */
    const char *name; /* for messages */
    struct machine_opts machine;
    char **words; /* that others point into */
    size_t word_count, word_cap;
    size_t loader_cap, fw_file_cap, object_cap, chardev_cap, board_option_cap, drive_cap, device_cap, global_cap, netdev_cap;
    unsigned drives; /* of -drive, for their names */
    unsigned serials;
    const char *board;
    bool nographic, headless, qtest;
    bool accelerated;    /* -accel has named a way that there is; */
    const char *missing; /* the first that it has named and there is not */
    size_t nics;    /* devices that are cards of -nic; they are the first */
    const char *net_card, *net_network; /* of -net: what follows nic, and the other; NULL: not said */
    bool networked; /* it was said what networks there are; else there is one */
    char *qtest_chardev;
    struct monitor_line {
        char *chardev;
        bool qmp;
        struct qmp *program;
        struct hmp *person;
    } monitors[MONITORS_MAX];
    unsigned monitor_count;
    bool monitor_chosen; /* it was said where the monitor for people is; else -nographic has one */
    bool daemonize;
    int waiter; /* who waits for the daemon; -1: nobody */
    const char *pidfile, *dumpdtb;
};

enum answer { GO_ON, DONE, FAILED };

struct option {
    const char *name; /* without dashes */
    const char *arg;  /* name of its argument; NULL: it takes none */
    enum answer (*set)(struct boot *b, const struct option *o, const char *arg);
    const char *help; /* NULL: not listed */
};

static enum answer complain(struct boot *b, const char *fmt, ...) PRINTF_LIKE(2, 3);

static enum answer complain(struct boot *b, const char *fmt, ...)
{
    char text[600];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    fprintf(stderr, "%s: %s\n", b->name, text);
    return FAILED;
}

static bool is_help(const char *arg)
{
    return !strcmp(arg, "help") || !strcmp(arg, "?");
}

/* ---- the machine ---- */

static enum answer list_boards(struct boot *b)
{
    printf("Supported machines are:\n");
    for (unsigned i = 0; board_at(i); i++) {
        const struct board *k = board_at(i);
        if (!b->isa)
            printf("%s/%-12s %s\n", k->isa, k->name, k->help);
        else if (!strcmp(b->isa, k->isa))
            printf("%-20s %s\n", k->name, k->help);
    }
    return DONE;
}

static const struct {
    const char *name, *help;
    enum engine_kind kind;
} engines[] = {
    {"tcg", "translation to host code (also: jit)", ENGINE_JIT},
    {"jit", NULL, ENGINE_JIT},
    {"interp", "interpretation, for comparison", ENGINE_INTERP},
    {"lockstep", "translation, each step compared with interpretation", ENGINE_LOCKSTEP},
};

/* False: there is no such way. */
static bool choose_engine(struct boot *b, const char *name, size_t len)
{
    b->qtest = len == 5 && !strncmp(name, "qtest", len);
    for (unsigned i = 0; i < ARRAY_LEN(engines); i++) {
        if (strlen(engines[i].name) == len && !strncmp(engines[i].name, name, len)) {
            b->machine.engine.kind = engines[i].kind;
            return true;
        }
    }
    return b->qtest;
}

/* "kvm:tcg": the first that there is. */
static bool choose_of(struct boot *b, const char *names)
{
    for (const char *at = names; *at; at += at[strcspn(at, ":")] ? strcspn(at, ":") + 1 : strlen(at)) {
        if (choose_engine(b, at, strcspn(at, ":")))
            return true;
    }
    return false;
}

static enum answer refuse_accelerator(struct boot *b, const char *names)
{
    const char *why = !strncmp(names, "kvm", 3) ? ": KVM runs CPUs of the host's kind alone" : "";
    return complain(b, "invalid accelerator %s%s; there are: tcg, interp, lockstep, qtest", names, why);
}

static enum answer set_machine_word(struct boot *b, char *word, bool first)
{
    struct machine_opts *m = &b->machine;
    const struct {
        const char *name;
        const char **to;
    } texts[] = {{"type=", &b->board}, {"dumpdtb=", &b->dumpdtb}, {"memory-backend=", &m->ram_object}, {"kernel=", &m->kernel},
                 {"initrd=", &m->initrd}, {"append=", &m->append}, {"dtb=", &m->dtb}, {"firmware=", &m->bios},
                 {"pflash0=", &m->flash[0]}, {"pflash1=", &m->flash[1]}};
    for (unsigned i = 0; i < ARRAY_LEN(texts); i++) {
        if (!strncmp(word, texts[i].name, strlen(texts[i].name))) {
            *texts[i].to = word + strlen(texts[i].name);
            return GO_ON;
        }
    }
    if (first && !strchr(word, '='))
        b->board = word;
    else if (!strncmp(word, "accel=", 6))
        return choose_of(b, word + 6) ? GO_ON : refuse_accelerator(b, word + 6);
    else
        VEC_PUSH(m->board_options, m->board_option_count, b->board_option_cap) = word;
    return GO_ON;
}

static enum answer opt_machine(struct boot *b, const struct option *o, const char *arg)
{
    if (is_help(arg))
        return list_boards(b);
    bool first = true;
    enum answer a = GO_ON;
    for (char *w; a == GO_ON && (w = next_word(&arg)); first = false) {
        VEC_PUSH(b->words, b->word_count, b->word_cap) = w;
        a = set_machine_word(b, w, first);
    }
    return a;
}

static enum answer opt_cpu(struct boot *b, const struct option *o, const char *arg)
{
    if (!strncmp(arg, "host", 4) && (!arg[4] || arg[4] == ','))
        return complain(b, "-cpu host: it requires KVM, which runs CPUs of the host's kind alone; max has all that there is");
    b->machine.cpu = arg;
    return GO_ON;
}

static enum answer list_engines(void)
{
    printf("Accelerators supported in QEMU binary:\n");
    for (unsigned i = 0; i < ARRAY_LEN(engines); i++) {
        if (engines[i].help)
            printf("%-10s %s\n", engines[i].name, engines[i].help);
    }
    printf("%-10s %s\n", "qtest", "no CPU runs: tests of devices (-qtest)");
    return DONE;
}

/* What follows -accel tcg. */
static enum answer engine_word(struct boot *b, const char *word)
{
    char *end;
    if (!strcmp(word, "thread=multi"))
        return GO_ON;
    unsigned long mib = !strncmp(word, "tb-size=", 8) ? strtoul(word + 8, &end, 10) : 0;
    if (!mib || *end || mib > 4096)
        return complain(b, "-accel: %s is not supported; there are thread=multi and tb-size=MIB, up to 4096", word);
    b->machine.engine.cache_size = mib << 20;
    return GO_ON;
}

static enum answer opt_accel(struct boot *b, const struct option *o, const char *arg)
{
    if (is_help(arg))
        return list_engines();
    size_t len = strcspn(arg, ",");
    if (!strncmp(arg, "accel=", 6)) {
        arg += 6;
        len -= 6;
    }
    if (b->accelerated)
        return GO_ON; /* of several the first that there is */
    b->accelerated = choose_engine(b, arg, len);
    if (!b->accelerated && !b->missing)
        b->missing = arg;
    if (!b->accelerated)
        return GO_ON;
    const char *at = arg + len + (arg[len] == ',');
    enum answer a = GO_ON;
    for (char *w; a == GO_ON && (w = next_word(&at)); free(w))
        a = engine_word(b, w);
    return a;
}

static enum answer take_ms(struct boot *b, const struct option *o, const char *arg, u32 *to)
{
    char *end;
    unsigned long ms = strtoul(arg, &end, 10);
    if (!isdigit((u8)*arg) || *end || ms > 60000)
        return complain(b, "-%s %s: it wants milliseconds, up to 60000", o->name, arg);
    *to = (u32)ms;
    return GO_ON;
}

static enum answer opt_stress(struct boot *b, const struct option *o, const char *arg)
{
    return take_ms(b, o, arg, &b->machine.engine.stress_ms);
}

static enum answer opt_lockstep(struct boot *b, const struct option *o, const char *arg)
{
    return take_ms(b, o, arg, &b->machine.engine.lockstep_ms);
}

/* A number of MiB, or with K, M, G or T; false: it is none. */
static bool parse_size(const char *text, u64 *size)
{
    static const char units[] = "KMGT";
    char *end;
    errno = 0;
    u64 v = strtoull(text, &end, 10);
    const char *unit = *end ? strchr(units, *end & ~32) : units + 1;
    unsigned shift = unit ? 10 * (unsigned)(unit - units + 1) : 0;
    *size = v << shift;
    return !errno && end != text && v && shift && !(*end && end[1]) && v <= ~0ull >> shift;
}

/* "[size=]SIZE,slots=N,maxmem=SIZE": room for memory that comes later is no more than said, as none can come. */
static enum answer opt_memory(struct boot *b, const struct option *o, const char *arg)
{
    const char *at = arg;
    u64 size = 0, most = 0, slots = 0;
    bool good = true, first = true;
    for (char *w; good && (w = next_word(&at)); free(w), first = false) {
        char *end;
        if (!strncmp(w, "slots=", 6)) {
            slots = strtoull(w + 6, &end, 10);
            good = end != w + 6 && !*end;
        } else if (!strncmp(w, "maxmem=", 7)) {
            good = parse_size(w + 7, &most);
        } else {
            good = (first || !strncmp(w, "size=", 5)) && parse_size(!strncmp(w, "size=", 5) ? w + 5 : w, &size);
        }
    }
    if (!good)
        return complain(b, "-m %s: it wants a size, such as 512M or 2G", arg);
    if (slots && !most)
        return complain(b, "invalid -m option value: missing 'maxmem' option");
    if (most && most < size)
        return complain(b, "invalid value of maxmem: maximum memory size (0x%llx) must be at least the initial memory size (0x%llx)",
                        (unsigned long long)most, (unsigned long long)size);
    if (slots > 256)
        return complain(b, "invalid value of slots: there are at most 256");
    b->machine.ram = size ? size : b->machine.ram;
    return GO_ON;
}

struct smp {
    u64 cpus, product;
    bool grouped;
};

/* "4", "cpus=4", or a way of grouping them; false: it is none. */
static bool smp_word(struct smp *s, const char *word)
{
    static const char *const groups[] = {"sockets", "clusters", "cores", "threads"};
    const char *value = strchr(word, '='), *number = value ? value + 1 : word;
    size_t len = value ? (size_t)(value - word) : 0;
    char *end;
    u64 v = strtoull(number, &end, 10);
    if (end == number || *end || !v || v > 1024)
        return false;
    for (unsigned i = 0; i < ARRAY_LEN(groups); i++) {
        if (len == strlen(groups[i]) && !strncmp(word, groups[i], len)) {
            s->product *= v;
            s->grouped = true;
            return true;
        }
    }
    if (!value || (len == 4 && !strncmp(word, "cpus", len)))
        s->cpus = v;
    else if (len == 7 && !strncmp(word, "maxcpus", len))
        s->cpus = s->cpus ? s->cpus : v;
    else
        return false;
    return true;
}

/* Groups must come to as many as there are CPUs. */
static enum answer opt_smp(struct boot *b, const struct option *o, const char *arg)
{
    struct smp s = {.product = 1};
    const char *at = arg;
    bool good = true;
    for (char *w; good && (w = next_word(&at)); free(w))
        good = smp_word(&s, w);
    if (!good)
        return complain(b, "-smp %s: it wants numbers of cpus, or of sockets, clusters, cores and threads", arg);
    if (s.grouped && s.cpus && s.product != s.cpus)
        return complain(b, "-smp %s: groups of %llu are not %llu CPUs", arg, (unsigned long long)s.product,
                        (unsigned long long)s.cpus);
    b->machine.cpus = (unsigned)(s.cpus ? s.cpus : s.product);
    return GO_ON;
}

static enum answer opt_kernel(struct boot *b, const struct option *o, const char *arg)
{
    b->machine.kernel = arg;
    return GO_ON;
}

static enum answer opt_initrd(struct boot *b, const struct option *o, const char *arg)
{
    b->machine.initrd = arg;
    return GO_ON;
}

static enum answer opt_append(struct boot *b, const struct option *o, const char *arg)
{
    b->machine.append = arg;
    return GO_ON;
}

static enum answer opt_dtb(struct boot *b, const struct option *o, const char *arg)
{
    b->machine.dtb = arg;
    return GO_ON;
}

static enum answer opt_fw_cfg(struct boot *b, const struct option *o, const char *arg)
{
    struct err e;
    struct json *j = parse_fw_cfg(arg, &e);
    if (!j)
        return complain(b, "-fw_cfg %s: %s", arg, e.text);
    VEC_PUSH(b->machine.fw_files, b->machine.fw_file_count, b->fw_file_cap) = j;
    return GO_ON;
}

static enum answer opt_bios(struct boot *b, const struct option *o, const char *arg)
{
    b->machine.bios = arg;
    return GO_ON;
}

static enum answer opt_no_reboot(struct boot *b, const struct option *o, const char *arg)
{
    b->machine.no_reboot = true;
    return GO_ON;
}

/* "base=utc", "base=localtime", "base=2026-11-21T22:00:00" */
static bool rtc_base(struct machine_opts *m, const char *base, struct err *e)
{
    struct tm tm = {0};
    time_t now = time(NULL);
    const char *end;
    bool local = !strcmp(base, "localtime");
    m->rtc_dated = !local && strcmp(base, "utc");
    m->rtc_zone = local && localtime_r(&now, &tm) ? tm.tm_gmtoff : 0;
    if (!m->rtc_dated)
        return true;
    tm = (struct tm){0};
    end = strptime(base, strchr(base, 'T') ? "%Y-%m-%dT%H:%M:%S" : "%Y-%m-%d", &tm);
    m->rtc_epoch = end ? timegm(&tm) : 0;
    return (end && !*end) || err_set(e, EINVAL, "invalid datetime format\nvalid formats: '2006-06-17T16:01:21' or '2006-06-17'");
}

/* What it follows: the host's clock, the host's time, which nobody sets, or that of the machine, which stands while that does. */
static bool rtc_clock(struct machine_opts *m, const char *name, struct err *e)
{
    static const struct {
        const char *name;
        enum vclock_kind kind;
    } kinds[] = {{"host", VCLOCK_HOST}, {"rt", VCLOCK_REAL}, {"vm", VCLOCK_VIRTUAL}};
    for (unsigned i = 0; i < ARRAY_LEN(kinds); i++) {
        if (!strcmp(name, kinds[i].name)) {
            m->rtc_clock = kinds[i].kind;
            return true;
        }
    }
    return err_set(e, EINVAL, "invalid option value '%s'", name);
}

/* driftfix= is for clocks that tick, and make up for ticks that a guest has missed: ours tell the time. */
static enum answer opt_rtc(struct boot *b, const struct option *o, const char *arg)
{
    const char *at = arg;
    struct err e = {0};
    bool good = true;
    for (char *w; good && (w = next_word(&at)); free(w)) {
        if (!strncmp(w, "base=", 5))
            good = rtc_base(&b->machine, w + 5, &e);
        else if (!strncmp(w, "clock=", 6))
            good = rtc_clock(&b->machine, w + 6, &e);
        else if (strncmp(w, "driftfix=", 9))
            good = err_set(&e, EINVAL, "Invalid parameter '%.*s'", (int)strcspn(w, "="), w);
        else if (strcmp(w + 9, "none") && strcmp(w + 9, "slew"))
            good = err_set(&e, EINVAL, "invalid option value '%s'", w + 9);
    }
    return good ? GO_ON : complain(b, "-rtc %s: %s", arg, e.text);
}

/* ---- what is connected ---- */

static struct char_opts *new_chardev(struct boot *b)
{
    struct char_opts *c = &VEC_PUSH(b->machine.chardevs, b->machine.chardev_count, b->chardev_cap);
    *c = (struct char_opts){0};
    return c;
}

static enum answer opt_chardev(struct boot *b, const struct option *o, const char *arg)
{
    struct err e;
    return char_opts_chardev(new_chardev(b), arg, &e) ? GO_ON : complain(b, "-chardev %s: %s", arg, e.text);
}

/* What -serial and its like say: "chardev:ID" or a back end of its own, which gets the name `id`. NULL on failure. */
static char *connect_line(struct boot *b, const char *option, const char *arg, char *id)
{
    struct err e;
    if (!strncmp(arg, "chardev:", 8)) {
        free(id);
        return xstrdup(arg + 8);
    }
    struct char_opts *c = new_chardev(b);
    if (!char_opts_serial(c, arg, &e)) {
        complain(b, "-%s %s: %s", option, arg, e.text);
        b->machine.chardev_count--;
        free(id);
        return NULL;
    }
    c->id = xstrdup(id);
    return id;
}

static enum answer add_serial(struct boot *b, const char *arg)
{
    if (b->serials == MACHINE_SERIALS)
        return complain(b, "-serial: there are at most %u", MACHINE_SERIALS);
    unsigned n = b->serials++;
    if (!strcmp(arg, "none"))
        return GO_ON;
    b->machine.serial[n] = connect_line(b, "serial", arg, xprintf("serial%u", n));
    return b->machine.serial[n] ? GO_ON : FAILED;
}

static enum answer opt_serial(struct boot *b, const struct option *o, const char *arg)
{
    return add_serial(b, arg);
}

static enum answer opt_device(struct boot *b, const struct option *o, const char *arg)
{
    struct err e;
    if (is_help(arg)) {
        devices_list();
        return DONE;
    }
    struct machine_device *d = &VEC_PUSH(b->machine.devices, b->machine.device_count, b->device_cap);
    bool good = parse_device(d, arg, &e), help = good && d->count > 1 && is_help(d->words[1]);
    if (!good || (help && !devices_describe(d->words[0], &e)))
        return complain(b, "-device %s: %s", arg, e.text);
    if (help)
        return DONE;
    if (strcmp(d->words[0], "loader"))
        return GO_ON;
    struct machine_loader *l = &VEC_PUSH(b->machine.loaders, b->machine.loader_count, b->loader_cap);
    good = parse_loader(l, d, &e);
    device_free(d);
    b->machine.device_count--;
    return good ? GO_ON : complain(b, "-device %s: %s", arg, e.text);
}

/* A property of all devices of a class. */
static enum answer opt_global(struct boot *b, const struct option *o, const char *arg)
{
    char *driver = NULL, *prop = NULL, *value = NULL;
    bool whole = sscanf(arg, "driver=%m[^,],property=%m[^,],value=%m[^\n]", &driver, &prop, &value) == 3;
    if (whole) {
        char *text = VEC_PUSH(b->words, b->word_count, b->word_cap) = xprintf("%s.%s=%s", driver, prop, value);
        VEC_PUSH(b->machine.globals, b->machine.global_count, b->global_cap) = text;
    }
    free(driver);
    free(prop);
    free(value);
    if (whole)
        return GO_ON;
    const char *dot = strrchr(arg, '.');
    if (!dot || dot == arg || !strchr(dot, '='))
        return complain(b, "-global %s: it wants CLASS.PROPERTY=VALUE", arg);
    VEC_PUSH(b->machine.globals, b->machine.global_count, b->global_cap) = arg;
    return GO_ON;
}

/* In the bank of its number, or the first that is free. */
static enum answer place_flash(struct boot *b, const struct machine_drive *d, int unit, const char *arg)
{
    const char **flash = b->machine.flash;
    for (int i = 0; unit < 0 && i < BOARD_FLASHES; i++)
        unit = flash[i] ? unit : i;
    if (unit < 0 || unit >= BOARD_FLASHES || flash[unit])
        return complain(b, "-drive %s: there are %d banks of flash, for one image each", arg, BOARD_FLASHES);
    flash[unit] = d->id;
    return GO_ON;
}

static enum answer opt_drive(struct boot *b, const struct option *o, const char *arg)
{
    struct err e;
    struct drive_place place;
    struct machine_drive *d = &VEC_PUSH(b->machine.drives, b->machine.drive_count, b->drive_cap);
    if (!parse_drive(d, arg, b->drives++, &place, &e))
        return complain(b, "-drive %s: %s", arg, e.text);
    if (place.kind == DRIVE_FLASH)
        return place_flash(b, d, place.unit, arg);
    char *device = xprintf("virtio-blk-pci,drive=%s", d->id);
    enum answer a = place.kind == DRIVE_VIRTIO ? opt_device(b, o, device) : GO_ON;
    free(device);
    return a;
}

/* A file with its commas doubled, as the rest of a list of words has it. */
static char *file_word(const char *path)
{
    char *text = xcalloc(2 * strlen(path) + 1, 1), *to = text;
    for (; *path; path++) {
        *to++ = *path;
        if (*path == ',')
            *to++ = ',';
    }
    return text;
}

/* -hda and its like, -cdrom, -pflash: a drive of one word. */
static enum answer opt_file(struct boot *b, const struct option *o, const char *arg)
{
    const char *head = *o->name == 'c' ? "media=cdrom," : *o->name == 'p' ? "if=pflash,format=raw," : "";
    char *file = file_word(arg), *text = xprintf("%sfile=%s", head, file);
    enum answer a = opt_drive(b, o, text);
    free(file);
    free(text);
    return a;
}

static enum answer opt_blockdev(struct boot *b, const struct option *o, const char *arg)
{
    struct err e;
    struct machine_drive *d = &VEC_PUSH(b->machine.drives, b->machine.drive_count, b->drive_cap);
    return parse_blockdev(d, arg, &e) ? GO_ON : complain(b, "-blockdev %s: %s", arg, e.text);
}

static enum answer add_netdev(struct boot *b, const char *arg, char **rest)
{
    struct err e;
    struct net_opts *n = &VEC_PUSH(b->machine.netdevs, b->machine.netdev_count, b->netdev_cap);
    struct json *j = *arg == '{' && !rest ? json_parse(arg, &e) : NULL;
    bool good = *arg == '{' && !rest ? j && net_opts_json(n, j, &e) : net_opts_parse(n, arg, rest, &e);
    json_free(j);
    if (!good)
        return complain(b, "-netdev %s: %s", arg, e.text);
    if (!n->id && !rest)
        return complain(b, "-netdev %s: Parameter 'id' is missing", arg);
    b->networked = true;
    return GO_ON;
}

static enum answer opt_netdev(struct boot *b, const struct option *o, const char *arg)
{
    return add_netdev(b, arg, NULL);
}

/* The device that came last goes to place `at`, before the others. */
static void move_device(struct boot *b, size_t at)
{
    struct machine_device *d = b->machine.devices, last = d[b->machine.device_count - 1];
    memmove(d + at + 1, d + at, (b->machine.device_count - 1 - at) * sizeof(*d));
    d[at] = last;
}

/* Take "model=" out of the words for a card; the caller frees it. NULL: it is not there. */
static char *take_model(char *words)
{
    char *at = words;
    while (at && strncmp(at, "model=", 6)) {
        at = strchr(at, ',');
        at += at != NULL;
    }
    if (!at)
        return NULL;
    char *end = at + strcspn(at, ","), *model = xprintf("%.*s", (int)(end - at - 6), at + 6);
    memmove(at, end + (*end == ','), strlen(end + (*end == ',')) + 1);
    return model;
}

/* A network and its card, which gets what the network does not know. The board's own cards are in the slots before those
 * of other devices. */
static enum answer opt_nic(struct boot *b, const struct option *o, const char *arg)
{
    char *rest = NULL;
    if (!strcmp(arg, "none")) {
        b->networked = true;
        return GO_ON;
    }
    if (add_netdev(b, arg, &rest) != GO_ON)
        return FAILED;
    struct net_opts *n = &b->machine.netdevs[b->machine.netdev_count - 1];
    if (!n->id)
        n->id = xprintf("net%zu", b->machine.netdev_count - 1);
    char *model = take_model(rest);
    char *device = xprintf("%s,netdev=%s%s%s", model && strcmp(model, "virtio") ? model : "virtio-net-pci", n->id,
                           rest && *rest ? "," : "", rest ? rest : "");
    free(model);
    enum answer a = opt_device(b, o, device);
    move_device(b, b->nics++);
    free(device);
    free(rest);
    return a;
}

/* One card and one network behind it, said in two options: together they are a -nic. */
static enum answer opt_net(struct boot *b, const struct option *o, const char *arg)
{
    bool card = !strncmp(arg, "nic", 3) && (!arg[3] || arg[3] == ',');
    const char **to = card ? &b->net_card : &b->net_network;
    if (!strcmp(arg, "none"))
        return opt_nic(b, o, arg);
    if (*to)
        return complain(b, "-net %s: it is there already; say -nic for each card", arg);
    *to = card ? arg + 3 : arg;
    b->networked = true;
    return GO_ON;
}

static enum answer join_net(struct boot *b)
{
    if (!b->net_card && !b->net_network)
        return GO_ON;
    if (!b->net_card || !b->net_network)
        return complain(b, b->net_card ? "-net nic: say what it is connected to: -net user, or -nic user"
                                       : "-net %s: say -net nic, too, or -nic", b->net_network);
    char *mac = strstr(b->net_card, ",macaddr="), *text;
    if (mac)
        text = xprintf("%s%.*s,mac=%s", b->net_network, (int)(mac - b->net_card), b->net_card, mac + 9);
    else
        text = xprintf("%s%s", b->net_network, b->net_card);
    enum answer a = opt_nic(b, NULL, text);
    free(text);
    return a;
}

static enum answer opt_nodefaults(struct boot *b, const struct option *o, const char *arg)
{
    b->networked = true;
    return GO_ON;
}

static enum answer opt_qtest(struct boot *b, const struct option *o, const char *arg)
{
    b->qtest_chardev = connect_line(b, "qtest", arg, xstrdup("qtest"));
    return b->qtest_chardev ? GO_ON : FAILED;
}

static enum answer opt_qtest_log(struct boot *b, const struct option *o, const char *arg)
{
    b->machine.qtest_log = strcmp(arg, "none") ? arg : NULL;
    return GO_ON;
}

static enum answer add_monitor(struct boot *b, char *chardev, bool qmp)
{
    if (!chardev || b->monitor_count == MONITORS_MAX) {
        free(chardev);
        return chardev ? complain(b, "there are at most %u monitors", MONITORS_MAX) : FAILED;
    }
    b->monitors[b->monitor_count++] = (struct monitor_line){.chardev = chardev, .qmp = qmp};
    return GO_ON;
}

/* -qmp and -monitor. */
static enum answer opt_monitor(struct boot *b, const struct option *o, const char *arg)
{
    bool qmp = *o->name == 'q';
    b->monitor_chosen |= !qmp;
    if (!strcmp(arg, "none"))
        return GO_ON;
    return add_monitor(b, connect_line(b, o->name, arg, xprintf("compat_monitor%u", b->monitor_count)), qmp);
}

/* "chardev=ID,mode=control|readline" */
static enum answer opt_mon(struct boot *b, const struct option *o, const char *arg)
{
    char *id = NULL;
    bool control = false, known = true;
    const char *at = arg;
    for (char *w; (w = next_word(&at)); free(w)) {
        if ((!strncmp(w, "chardev=", 8) || !strchr(w, '=')) && !id)
            id = xstrdup(!strncmp(w, "chardev=", 8) ? w + 8 : w);
        else if (!strcmp(w, "mode=control") || !strcmp(w, "mode=readline"))
            control = w[5] == 'c';
        else if (strncmp(w, "id=", 3) && strcmp(w, "pretty=off"))
            known = false;
    }
    b->monitor_chosen |= !control;
    if (known && id)
        return add_monitor(b, id, control);
    free(id);
    return complain(b, "-mon %s: it wants chardev=ID, and mode=control or mode=readline", arg);
}

static enum answer opt_stopped(struct boot *b, const struct option *o, const char *arg)
{
    b->machine.stopped = true;
    return GO_ON;
}

/* "guest=NAME,debug-threads=on", or the name alone. */
static enum answer opt_name(struct boot *b, const struct option *o, const char *arg)
{
    bool known = true;
    for (char *w; known && (w = next_word(&arg));) {
        VEC_PUSH(b->words, b->word_count, b->word_cap) = w;
        if (!strncmp(w, "guest=", 6) || !strchr(w, '='))
            b->machine.name = strncmp(w, "guest=", 6) ? w : w + 6;
        else if (!strncmp(w, "process=", 8))
            prctl(PR_SET_NAME, w + 8);
        else
            known = !strncmp(w, "debug-threads=", 14);
        if (!known)
            return complain(b, "-name: Invalid parameter '%.*s'", (int)strcspn(w, "="), w);
    }
    return GO_ON;
}

static enum answer opt_uuid(struct boot *b, const struct option *o, const char *arg)
{
    static const char form[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
    size_t i = 0;
    while (form[i] && (form[i] == 'x' ? isxdigit((u8)arg[i]) : arg[i] == '-'))
        i++;
    if (form[i] || arg[i])
        return complain(b, "failed to parse UUID string: %s", arg);
    b->machine.uuid = arg;
    return GO_ON;
}

static enum answer opt_no_shutdown(struct boot *b, const struct option *o, const char *arg)
{
    b->machine.no_shutdown = true;
    return GO_ON;
}

static enum answer opt_daemonize(struct boot *b, const struct option *o, const char *arg)
{
    b->daemonize = true;
    return GO_ON;
}

static enum answer opt_pidfile(struct boot *b, const struct option *o, const char *arg)
{
    b->pidfile = arg;
    return GO_ON;
}

/* Options whose words, if they are among these, ask for what is so anyway. */
static enum answer opt_granted(struct boot *b, const struct option *o, const char *arg)
{
    static const struct {
        const char *option, *word;
    } granted[] = {{"msg", "timestamp=on"}, {"msg", "timestamp=off"}, {"overcommit", "mem-lock=off"},
                   {"overcommit", "cpu-pm=off"}, {"boot", "strict=on"}, {"boot", "strict=off"}, {"msg", "guest-name=on"}, {"msg", "guest-name=off"},
                   {"sandbox", "off"}, {"watchdog-action", "reset"}, {"watchdog-action", "shutdown"}, {"watchdog-action", "poweroff"},
                   {"watchdog-action", "inject-nmi"}, {"watchdog-action", "pause"}, {"watchdog-action", "debug"},
                   {"watchdog-action", "none"}};
    const char *at = arg;
    enum answer a = GO_ON;
    for (char *w; a == GO_ON && (w = next_word(&at)); free(w)) {
        bool known = false;
        for (unsigned i = 0; i < ARRAY_LEN(granted); i++)
            known |= !strcmp(o->name, granted[i].option) && !strcmp(w, granted[i].word);
        const char *why = known ? NULL : option_refusal(o->name);
        if (!known)
            a = complain(b, "-%s: %s is not supported%s%s", o->name, w, why ? ": " : "", why ? why : "");
    }
    return a;
}

/* Boards of these kinds leave the order to firmware and bootindex=, as the peer's do. */
static enum answer opt_boot(struct boot *b, const struct option *o, const char *arg)
{
    static const char *const taken[] = {"order=", "menu=", "strict=", "splash-time=", "reboot-timeout="};
    const char *at = arg;
    enum answer a = GO_ON;
    for (char *w; a == GO_ON && (w = next_word(&at)); free(w)) {
        bool known = !strchr(w, '=');
        for (unsigned i = 0; i < ARRAY_LEN(taken); i++)
            known |= !strncmp(w, taken[i], strlen(taken[i]));
        if (!known)
            a = complain(b, !strncmp(w, "once=", 5) ? "-boot: %s is not supported: the order is that of bootindex=" : "-boot: %s is not supported", w);
    }
    return a;
}

/* What follows from what: "reboot=shutdown", "shutdown=pause". There is nothing that panics or watches yet. */
static enum answer opt_action(struct boot *b, const struct option *o, const char *arg)
{
    static const char *const others[] = {"panic=none", "panic=pause", "panic=shutdown", "panic=exit-failure", "watchdog=reset",
                                         "watchdog=shutdown", "watchdog=poweroff", "watchdog=inject-nmi", "watchdog=pause",
                                         "watchdog=debug", "watchdog=none"};
    const char *at = arg;
    enum answer a = GO_ON;
    for (char *w; a == GO_ON && (w = next_word(&at)); free(w)) {
        bool known = false;
        for (unsigned i = 0; i < ARRAY_LEN(others); i++)
            known |= !strcmp(w, others[i]);
        if (!strcmp(w, "reboot=shutdown") || !strcmp(w, "reboot=reset"))
            b->machine.no_reboot = w[7] == 's';
        else if (!strcmp(w, "shutdown=pause") || !strcmp(w, "shutdown=poweroff"))
            b->machine.no_shutdown = w[10] == 'a';
        else if (!known)
            a = complain(b, "-action: there is no %s", w);
    }
    return a;
}

static enum answer opt_prealloc(struct boot *b, const struct option *o, const char *arg)
{
    b->machine.prealloc = true;
    return GO_ON;
}

static enum answer opt_kvm(struct boot *b, const struct option *o, const char *arg)
{
    return refuse_accelerator(b, "kvm");
}

/* "device.ID.NAME=VALUE": one more property of a device that was named before. */
static enum answer opt_set(struct boot *b, const struct option *o, const char *arg)
{
    const char *dot = strchr(arg, '.'), *name = dot ? strchr(dot + 1, '.') : NULL;
    if (!name || !strchr(name, '='))
        return complain(b, "-set %s: it wants device.ID.NAME=VALUE", arg);
    if (strncmp(arg, "device.", 7))
        return complain(b, "-set %s: only properties of devices can be set so", arg);
    for (size_t i = 0; i < b->machine.device_count; i++) {
        struct machine_device *d = &b->machine.devices[i];
        const char *id = machine_device_word(d, "id");
        if (!id || strlen(id) != (size_t)(name - dot - 1) || strncmp(id, dot + 1, strlen(id)))
            continue;
        d->words = xrealloc(d->words, (d->count + 1) * sizeof(*d->words));
        d->words[d->count++] = xstrdup(name + 1);
        return GO_ON;
    }
    return complain(b, "-set %s: there is no device \"%.*s\" defined", arg, (int)(name - dot - 1), dot + 1);
}

static enum answer opt_readconfig(struct boot *b, const struct option *o, const char *arg);

static enum answer opt_object(struct boot *b, const struct option *o, const char *arg)
{
    struct err e;
    struct json *k = parse_object(arg, &e);
    if (!k)
        return complain(b, "-object %s: %s", arg, e.text);
    VEC_PUSH(b->machine.objects, b->machine.object_count, b->object_cap) = k;
    return GO_ON;
}

static enum answer opt_nographic(struct boot *b, const struct option *o, const char *arg)
{
    b->nographic = true;
    return GO_ON;
}

static enum answer opt_display(struct boot *b, const struct option *o, const char *arg)
{
    if (strcmp(arg, "none"))
        return complain(b, "-display %s: there is no display yet, only none", arg);
    b->headless = true;
    return GO_ON;
}

/* Sound: "driver=none,id=ID", or the same as JSON. */
static enum answer opt_audiodev(struct boot *b, const struct option *o, const char *arg)
{
    struct err e;
    struct json *j = parse_object(arg, &e);
    if (!j)
        return complain(b, "-audiodev %s: %s", arg, e.text);
    const char *driver = json_get_string(j, "driver") ? json_get_string(j, "driver") : json_get_string(j, "qom-type");
    bool none = driver && (!strcmp(driver, "none") || !strcmp(driver, "driver=none"));
    json_free(j);
    return none ? GO_ON : complain(b, "-audiodev %s: there is no sound yet, only the driver none", arg);
}

/* What can only be none. */
static enum answer opt_none(struct boot *b, const struct option *o, const char *arg)
{
    return strcmp(arg, "none") ? complain(b, "-%s %s is not supported yet, only none", o->name, arg) : GO_ON;
}

/* What says that nothing is to be there which is not. */
static enum answer opt_nothing(struct boot *b, const struct option *o, const char *arg)
{
    return GO_ON;
}

/* ---- logs and help ---- */

static enum answer opt_log(struct boot *b, const struct option *o, const char *arg)
{
    struct err e;
    u32 mask;
    if (is_help(arg)) {
        log_list(stdout);
        return DONE;
    }
    if (!log_parse(arg, &mask, &e))
        return complain(b, "%s", e.text);
    log_enable(mask);
    return GO_ON;
}

static bool trace_line(const char *pattern)
{
    bool on = *pattern != '-';
    return trace_choose(pattern + !on, on) || strpbrk(pattern, "*?[");
}

/* A pattern on each line of a file, with "-" before it those that are not to be. */
static bool trace_file(const char *path, struct err *e)
{
    char line[256];
    FILE *f = fopen(path, "r");
    if (!f)
        return err_set(e, errno, "cannot open '%s': %s", path, strerror(errno));
    while (fgets(line, sizeof(line), f)) {
        line[strcspn(line, "\r\n")] = 0;
        if (*line && *line != '#' && !trace_line(line))
            log_warn("trace event '%s' does not exist\n", line);
    }
    fclose(f);
    return true;
}

/* "[enable=]PATTERN,events=FILE,file=LOG" */
static enum answer opt_trace(struct boot *b, const struct option *o, const char *arg)
{
    struct err e = {0};
    const char *at = arg;
    bool good = true;
    if (is_help(arg)) {
        for (unsigned t = 0; t < TRACE_EVENTS; t++)
            printf("%s\n", trace_name(t));
        return DONE;
    }
    for (char *w; good && (w = next_word(&at)); free(w)) {
        const char *pattern = !strncmp(w, "enable=", 7) ? w + 7 : strchr(w, '=') ? NULL : w;
        if (pattern && !trace_line(pattern))
            log_warn("trace event '%s' does not exist\n", pattern);
        else if (!pattern)
            good = !strncmp(w, "events=", 7) ? trace_file(w + 7, &e) : !strncmp(w, "file=", 5) ? log_open(w + 5, &e)
                   : err_set(&e, EINVAL, "Invalid parameter '%s'", w);
    }
    return good ? GO_ON : complain(b, "-trace %s: %s", arg, e.text);
}

static enum answer opt_logfile(struct boot *b, const struct option *o, const char *arg)
{
    struct err e;
    return log_open(arg, &e) ? GO_ON : complain(b, "%s", e.text);
}

static enum answer opt_version(struct boot *b, const struct option *o, const char *arg)
{
    if (b->isa)
        printf("QEMU emulator version 7.2.0 (Lyrebird " LYRE_VERSION ")\n");
    else
        printf("lyre " LYRE_VERSION "\n");
    return DONE;
}

static enum answer opt_help(struct boot *b, const struct option *o, const char *arg);

static const struct option options[] = {
    {"h", NULL, opt_help, "this help"},
    {"help", NULL, opt_help, NULL},
    {"version", NULL, opt_version, "the version"},
    {"machine", "name[,prop=value...]", opt_machine, NULL},
    {"M", "name[,prop=value...]", opt_machine, "the machine ('-M help' lists them)"},
    {"cpu", "model[,feature=on|off...]", opt_cpu, "the CPU ('-cpu help' lists them)"},
    {"accel", "name", opt_accel, "how CPUs run ('-accel help' lists the ways)"},
    {"smp", "n", opt_smp, "number of CPUs"},
    {"m", "size[,slots=n,maxmem=size]", opt_memory, "memory, in MiB or with K, M, G, T"},
    {"kernel", "file", opt_kernel, "the kernel: for arm64 an Image, perhaps compressed (gzip, zboot), or an ELF file"},
    {"initrd", "file", opt_initrd, "its initial file system"},
    {"append", "text", opt_append, "its command line"},
    {"dtb", "file", opt_dtb, "a device tree in place of the machine's own"},
    {"bios", "file", opt_bios, "firmware, which then starts what it finds"},
    {"fw_cfg", "name=NAME,string=TEXT|file=PATH", opt_fw_cfg, "a file for firmware, and for guests that ask fw_cfg"},
    {"rtc", "base=utc|localtime|date,clock=host|rt|vm", opt_rtc, "what the clock shows first, and follows"},
    {"nographic", NULL, opt_nographic, "the first serial line is on the terminal; Ctrl-a h lists its keys"},
    {"display", "none", opt_display, "no display"},
    {"serial", "where", opt_serial,
     "a serial line: stdio, mon:stdio, null, none, file:PATH, pipe:PATH, pty, unix:PATH, tcp:HOST:PORT, chardev:ID"},
    {"chardev", "kind,id=ID[,...]", opt_chardev, "a character device: null, stdio, file, pipe, pty, socket"},
    {"drive", "file=PATH[,...]", opt_drive, "a disk: format=, readonly=on, cache=, discard=unmap; if=none,id=ID for -device"},
    {"blockdev", "driver=KIND,node-name=ID,...", opt_blockdev, "an image for -device, also as JSON"},
    {"device", "kind[,prop=value...]", opt_device, "a device: virtio-blk-pci,drive=ID; loader,file=PATH,addr=N; also as JSON"},
    {"global", "class.prop=value", opt_global, "a property of all devices of a class"},
    {"no-reboot", NULL, opt_no_reboot, "end where the machine would start again"},
    {"qmp", "where", opt_monitor, "speak QMP there"},
    {"monitor", "where", opt_monitor, "the monitor for people: stdio, or as for -serial"},
    {"mon", "chardev=ID,mode=readline|control", opt_mon, "a monitor, or QMP, on a character device"},
    {"S", NULL, opt_stopped, "wait for QMP's cont before the CPUs start"},
    {"parallel", "none", opt_none, NULL},
    {"netdev", "kind,id=ID[,...]", opt_netdev, "a network: tap, stream, dgram, socket, user with hostfwd=tcp::2222-:22, restrict=on, net=, dns=, tftp=, ..."},
    {"nic", "user|none[,...]", opt_nic, "a network with its card; mac= is the card's"},
    {"net", "nic|user|tap...", opt_net, NULL},
    {"vga", "none", opt_none, NULL},
    {"nodefaults", NULL, opt_nodefaults, NULL},
    {"audiodev", "none,id=ID", opt_audiodev, NULL},
    {"no-acpi", NULL, opt_nothing, NULL},
    {"no-user-config", NULL, opt_nothing, NULL},
    {"name", "text", opt_name, "the machine's name, for monitors"},
    {"uuid", "uuid", opt_uuid, "its UUID"},
    {"object", "kind,id=ID[,...]", opt_object, "memory-backend-ram, memory-backend-memfd, memory-backend-file, rng-random, rng-builtin, secret"},
    {"no-shutdown", NULL, opt_no_shutdown, "stay when the guest has switched itself off, for monitors to look at"},
    {"daemonize", NULL, opt_daemonize, "go on in the background when the machine is there"},
    {"pidfile", "file", opt_pidfile, "write the number of the process there"},
    {"msg", "timestamp=on|off", opt_granted, NULL},
    {"overcommit", "mem-lock=off", opt_granted, NULL},
    {"boot", "[order=][,menu=on|off]...", opt_boot, NULL},
    {"sandbox", "off", opt_granted, NULL},
    {"watchdog-action", "action", opt_granted, NULL},
    {"action", "reboot=shutdown|reset,shutdown=pause|poweroff", opt_action, "what follows when the guest starts again, or switches itself off"},
    {"enable-kvm", NULL, opt_kvm, NULL},
    {"mem-prealloc", NULL, opt_prealloc, "have all of the memory from the start"},
    {"set", "device.ID.prop=value", opt_set, "one more property of a device"},
    {"readconfig", "file", opt_readconfig, "options from a file, as QEMU has them"},
    {"hda", "file", opt_file, "a disk"},
    {"hdb", "file", opt_file, NULL},
    {"hdc", "file", opt_file, NULL},
    {"hdd", "file", opt_file, NULL},
    {"cdrom", "file", opt_file, "a disk that is read only"},
    {"pflash", "file", opt_file, "an image in the next bank of flash"},
    {"qtest", "where", opt_qtest, "speak the protocol of device tests there (with -accel qtest)"},
    {"qtest-log", "file", opt_qtest_log, "write there what is spoken"},
    {"lockstep", "ms", opt_lockstep, "compare some translations with interpretation every so many milliseconds, for tests"},
    {"stress", "ms", opt_stress, "free all translated code every so many milliseconds, for tests"},
    {"d", "list", opt_log, "log what is in the list ('-d help' says what there is)"},
    {"trace", "[enable=]pattern[,events=file][,file=log]", opt_trace, "log these events ('-trace help' lists them)"},
    {"D", "file", opt_logfile, "write logs there"},
};

static enum answer opt_help(struct boot *b, const struct option *o, const char *arg)
{
    printf("usage: %s [options]%s\nRun a machine.\n\n", b->name, b->isa ? "" : " [KERNEL]");
    for (size_t i = 0; i < ARRAY_LEN(options); i++) {
        char left[64];
        const struct option *k = &options[i];
        if (!k->help)
            continue;
        snprintf(left, sizeof(left), "-%s %s", k->name, k->arg ? k->arg : "");
        printf("%-32s %s\n", left, k->help);
    }
    return DONE;
}

/* A section of a file is an option; what -device and others name first is called "driver" or such there. */
static bool config_option(void *opaque, const char *group, const char *text, struct err *e)
{
    static const struct {
        const char *group, *option;
    } names[] = {{"device", "device"}, {"drive", "drive"}, {"netdev", "netdev"}, {"chardev", "chardev"}, {"object", "object"},
                 {"machine", "machine"}, {"global", "global"}, {"rtc", "rtc"}, {"memory", "m"}, {"smp-opts", "smp"}, {"mon", "mon"},
                 {"name", "name"}, {"boot-opts", "boot"}, {"accel", "accel"}, {"fw_cfg", "fw_cfg"}};
    static const char *const firsts[] = {"driver=", "type=", "backend=", "qom-type=", "accel="};
    struct boot *b = opaque;
    char *head = NULL, *rest = xstrdup("");
    for (char *w; (w = next_word(&text)); free(w)) {
        bool first = false;
        for (unsigned i = 0; i < ARRAY_LEN(firsts) && !head; i++)
            first |= !strncmp(w, firsts[i], strlen(firsts[i])) && strcmp(group, "global") && strcmp(group, "drive");
        if (first) {
            head = xstrdup(strchr(w, '=') + 1);
            continue;
        }
        char *word = file_word(w), *more = xprintf("%s%s%s", rest, *rest ? "," : "", word);
        free(word);
        free(rest);
        rest = more;
    }
    char *whole = VEC_PUSH(b->words, b->word_count, b->word_cap) = xprintf("%s%s%s", head ? head : "", head && *rest ? "," : "", rest);
    free(head);
    free(rest);
    for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
        for (size_t k = 0; !strcmp(names[i].group, group) && k < ARRAY_LEN(options); k++) {
            if (!strcmp(options[k].name, names[i].option))
                return options[k].set(b, &options[k], whole) == GO_ON || err_set(e, EINVAL, "in section [%s]", group);
        }
    }
    return err_set(e, EINVAL, "There is no option group '%s'", group);
}

static enum answer opt_readconfig(struct boot *b, const struct option *o, const char *arg)
{
    struct err e = {0};
    return config_read(arg, config_option, b, &e) ? GO_ON : complain(b, "-readconfig %s: %s", arg, e.text);
}

static enum answer parse_one(struct boot *b, int argc, char **argv, int *i)
{
    const char *text = argv[*i];
    if (*text != '-') {
        if (b->isa || b->machine.kernel)
            return complain(b, "%s: what is this? Disks and further files are not supported yet", text);
        b->machine.kernel = text;
        return GO_ON;
    }
    text += 1 + (text[1] == '-');
    for (size_t k = 0; k < ARRAY_LEN(options); k++) {
        const struct option *o = &options[k];
        if (strcmp(o->name, text))
            continue;
        if (o->arg && *i + 1 >= argc)
            return complain(b, "-%s: requires an argument", text);
        return o->set(b, o, o->arg ? argv[++*i] : NULL);
    }
    const char *why = option_refusal(text);
    return why ? complain(b, "-%s is not supported: %s", text, why) : complain(b, "-%s: invalid option", text);
}

/* ---- running ---- */

static enum answer list_cpus(const struct board *board)
{
    const struct isa *isa = isa_by_name(board->isa);
    printf("Available CPUs:\n");
    for (unsigned i = 0; isa->model_name(i); i++)
        printf("  %s\n", isa->model_name(i));
    return DONE;
}

/* The terminal is the first serial line and, behind Ctrl-a c, the monitor. */
static enum answer add_console(struct boot *b)
{
    if (add_serial(b, b->monitor_chosen ? "stdio" : "mon:stdio") != GO_ON)
        return FAILED;
    return b->monitor_chosen ? GO_ON : add_monitor(b, xstrdup(b->machine.serial[0]), false);
}

static bool uses_stdio(const struct machine_opts *m)
{
    for (size_t i = 0; i < m->chardev_count; i++) {
        if (m->chardevs[i].kind == CHAR_STDIO)
            return true;
    }
    return false;
}

/* What is not said, and what does not go together. */
static enum answer complete(struct boot *b)
{
    struct machine_opts *m = &b->machine;
    struct err e;
    if (!b->board && b->isa && !b->qtest && !(m->cpu && is_help(m->cpu)))
        return complain(b, "No machine specified, and there is no default\n"
                           "Use -machine help to list supported machines");
    m->board = board_find(b->board ? b->board : "virt", b->isa, &e);
    if (!m->board)
        return complain(b, "unsupported machine type: %s", e.text);
    if (m->cpu && is_help(m->cpu))
        return list_cpus(m->board);
    if (!m->ram)
        m->ram = b->isa ? m->board->default_ram : BOOT_MEMORY;
    if (b->missing && !b->accelerated)
        return refuse_accelerator(b, b->missing);
    if (b->qtest && !b->qtest_chardev)
        return complain(b, "-accel qtest wants -qtest, too");
    m->qtest = b->qtest_chardev;
    m->without_cpus = b->qtest || b->dumpdtb;
    if (b->isa && m->board->max_cpus && !b->nographic && !b->headless && !b->qtest && !b->dumpdtb)
        return complain(b, "there is no display yet; say -nographic, or -display none");
    if (join_net(b) != GO_ON)
        return FAILED;
    if (!b->networked && !m->without_cpus && m->board->max_cpus && opt_nic(b, NULL, "user") != GO_ON)
        return FAILED;
    if (b->nographic && !b->monitor_chosen && !b->headless && b->serials && !b->qtest && !uses_stdio(m) &&
        add_monitor(b, connect_line(b, "monitor", "stdio", xprintf("compat_monitor%u", b->monitor_count)), false) != GO_ON)
        return FAILED;
    if (!b->serials && (b->nographic || !b->isa) && !b->headless && !b->qtest && !b->dumpdtb)
        return add_console(b);
    return GO_ON;
}

/* The host asks for the end. */
struct signals {
    struct loop_fd fd;
    struct machine *machine;
};

static void signalled(struct loop_fd *f, u32 events)
{
    struct signalfd_siginfo info;
    if (read(f->fd, &info, sizeof(info)) == sizeof(info))
        fprintf(stderr, "lyre: terminating on signal %u from pid %u\n", info.ssi_signo, info.ssi_pid);
    machine_request(container_of(f, struct signals, fd)->machine, MACHINE_KILLED);
}

static bool write_fdt(struct boot *b, struct machine *m, struct err *e)
{
    size_t len;
    u8 *fdt = machine_fdt(m, &len, e);
    FILE *f = fdt ? fopen(b->dumpdtb, "wb") : NULL;
    bool good = f && fwrite(fdt, 1, len, f) == len;
    good = (f && !fclose(f)) && good;
    free(fdt);
    return good || err_set(e, errno, "cannot write '%s': %s", b->dumpdtb, strerror(errno));
}

static bool make_monitors(struct boot *b, struct monitor *m, struct err *e)
{
    for (unsigned i = 0; i < b->monitor_count; i++) {
        struct monitor_line *l = &b->monitors[i];
        struct chardev *c = machine_chardev(m->machine, l->chardev, e);
        if (c && l->qmp)
            l->program = qmp_new(m, c, e);
        else if (c)
            l->person = hmp_new(m, c, e);
        if (!l->program && !l->person)
            return false;
    }
    return true;
}

static bool run_machine(struct boot *b, struct machine *m, int signals, struct err *e)
{
    struct signals s = {{signals, signalled}, m};
    if (b->dumpdtb)
        return write_fdt(b, m, e);
    if (!loop_fd_add(machine_loop(m), &s.fd, EPOLLIN, e))
        return false;
    struct monitor monitor = {.machine = m, .package = "Lyrebird " LYRE_VERSION, .options = option_hints};
    bool good = make_monitors(b, &monitor, e) && (!b->pidfile || pidfile_write(b->pidfile, e));
    if (good && b->waiter >= 0)
        daemon_ready(b->waiter);
    good = good && machine_run(m, e);
    monitor_end(&monitor);
    if (b->pidfile)
        unlink(b->pidfile);
    for (unsigned i = 0; i < b->monitor_count; i++) {
        qmp_free(b->monitors[i].program);
        hmp_free(b->monitors[i].person);
    }
    loop_fd_remove(machine_loop(m), &s.fd);
    return good;
}

static int run(struct boot *b)
{
    struct err e = {0};
    sigset_t ends;
    b->waiter = b->daemonize ? daemon_begin(&e) : -1;
    if (b->daemonize && b->waiter < 0) {
        complain(b, "%s", e.text);
        return 1;
    }
    sigemptyset(&ends);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGHUP);
    sigprocmask(SIG_BLOCK, &ends, NULL); /* before there are threads */
    signal(SIGPIPE, SIG_IGN);
    cpus_take_signals();
    int signals = signalfd(-1, &ends, SFD_CLOEXEC);
    struct machine *m = machine_new(&b->machine, &e);
    bool good = m && run_machine(b, m, signals, &e);
    good = machine_free(m, &e) && good;
    close(signals);
    if (!good)
        complain(b, "%s", e.text);
    return good ? 0 : 1;
}

static void free_options(struct boot *b)
{
    struct machine_opts *m = &b->machine;
    for (size_t i = 0; i < m->chardev_count; i++)
        char_opts_free(&m->chardevs[i]);
    free(m->chardevs);
    for (size_t i = 0; i < m->drive_count; i++)
        drive_free(&m->drives[i]);
    free(m->drives);
    for (size_t i = 0; i < m->device_count; i++)
        device_free(&m->devices[i]);
    free(m->devices);
    for (size_t i = 0; i < m->loader_count; i++)
        free(m->loaders[i].file);
    free(m->loaders);
    for (size_t i = 0; i < m->fw_file_count; i++)
        json_free(m->fw_files[i]);
    free(m->fw_files);
    for (size_t i = 0; i < m->object_count; i++)
        json_free(m->objects[i]);
    free(m->objects);
    free(m->globals);
    for (size_t i = 0; i < m->netdev_count; i++)
        net_opts_free(&m->netdevs[i]);
    free(m->netdevs);
    free(m->board_options);
    for (size_t i = 0; i < b->word_count; i++)
        free(b->words[i]);
    free(b->words);
    free(b->qtest_chardev);
    for (unsigned i = 0; i < b->monitor_count; i++)
        free(b->monitors[i].chardev);
    for (unsigned i = 0; i < MACHINE_SERIALS; i++)
        free((char *)(uintptr_t)m->serial[i]);
}

int cmd_boot(const char *isa, int argc, char **argv)
{
    struct boot b = {.isa = isa, .name = isa ? argv[0] : "lyre"};
    b.machine.cpus = 1;
    b.machine.rtc_clock = VCLOCK_HOST;
    b.machine.engine.pins = ~0u;
    b.machine.engine.hot_after = ENGINE_HOT_AFTER;
    b.machine.engine.cold_runs = ENGINE_COLD_RUNS_MACHINE;
    enum answer a = GO_ON;
    for (int i = 1; i < argc && a == GO_ON; i++)
        a = parse_one(&b, argc, argv, &i);
    b.machine.engine.count_insns = log_on(LOG_STATS);
    b.machine.engine.perf_map = getenv("LYRE_PERF_MAP") != NULL;
    if (a == GO_ON)
        a = complete(&b);
    int status = a == GO_ON ? run(&b) : a == DONE ? 0 : 1;
    free_options(&b);
    return status;
}
