/* The human monitor on devices: most are commands of QMP in words. */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "monitor/hmp_impl.h"

bool hmp_order(struct hmp_call *h, const char *command, struct json *args, struct err *e)
{
    struct json *j = monitor_execute(h->m, command, args, e);
    bool good = j;
    json_free(args);
    json_free(j);
    if (good)
        return true;
    fprintf(h->out, "Error: %s\n", e->text);
    return true;
}

unsigned hmp_words(const char *args, char *words[], unsigned max, char **copy)
{
    unsigned n = 0;
    *copy = xstrdup(args);
    for (char *at = *copy; n < max && *(at += strspn(at, " \t"));) {
        words[n++] = at;
        at += n < max ? strcspn(at, " \t") : strlen(at);
        if (*at)
            *at++ = 0;
    }
    return n;
}

static struct json *with_string(const char *key, const char *value)
{
    struct json *j = json_object();
    json_set_string(j, key, value);
    return j;
}

/* "WORD,name=value,..." as on the command line: the first word is the value of `first`. */
static struct json *with_options(const char *text, const char *first)
{
    char *copy = xstrdup(text), *save = NULL, *word = strtok_r(copy, ",", &save);
    struct json *args = with_string(first, word ? word : "");
    while ((word = strtok_r(NULL, ",", &save))) {
        char *value = strchr(word, '=');
        if (value)
            *value++ = 0;
        json_set_string(args, word, value ? value : "on");
    }
    free(copy);
    return args;
}

/* ---- commands ---- */

bool hmp_balloon(struct hmp_call *h, struct err *e)
{
    const char *at = h->args;
    u64 mib;
    if (!hmp_expression(h, &at, &mib, e))
        return false;
    struct json *args = json_object();
    json_set_int(args, "value", (s64)(mib << 20));
    return hmp_order(h, "balloon", args, e);
}

/* Bytes: a number of MiB, or with b, k, M, G or T. */
static bool parse_size(const char *text, u64 *size)
{
    static const char units[] = "bkMGT";
    char *end;
    errno = 0;
    u64 v = strtoull(text, &end, 10);
    const char *unit = *end ? strchr(units, *end == 'K' ? 'k' : *end) : units + 2;
    if (errno || !isdigit((u8)*text) || !unit || (*end && end[1]) || v > (u64)INT64_MAX >> 10 * (unit - units))
        return false;
    *size = v << 10 * (unit - units);
    return true;
}

bool hmp_block_resize(struct hmp_call *h, struct err *e)
{
    char *words[2], *copy;
    u64 size = 0;
    bool good = hmp_words(h->args, words, 2, &copy) == 2 && parse_size(words[1], &size);
    struct json *args = good ? with_string("device", words[0]) : NULL;
    free(copy);
    if (!good)
        return err_set(e, EINVAL, "invalid size");
    json_set_int(args, "size", (s64)size);
    return hmp_order(h, "block_resize", args, e);
}

bool hmp_device_add(struct hmp_call *h, struct err *e)
{
    return hmp_order(h, "device_add", with_options(h->args, "driver"), e);
}

bool hmp_netdev_add(struct hmp_call *h, struct err *e)
{
    return hmp_order(h, "netdev_add", with_options(h->args, "type"), e);
}

bool hmp_netdev_del(struct hmp_call *h, struct err *e)
{
    return hmp_order(h, "netdev_del", with_string("id", h->args), e);
}

typedef struct chardev *machine_chardev_fn(struct machine *m, const struct char_opts *o, struct err *e);

/* What has been made of a text goes to the machine, or is freed. */
static bool give_chardev(struct hmp_call *h, bool parsed, struct char_opts *o, machine_chardev_fn *to, struct err *e)
{
    if (parsed && to(h->m->machine, o, e))
        return true;
    char_opts_free(o);
    fprintf(h->out, "Error: %s\n", e->text);
    return true;
}

bool hmp_chardev_add(struct hmp_call *h, struct err *e)
{
    struct char_opts o;
    bool parsed = char_opts_chardev(&o, h->args, e);
    return give_chardev(h, parsed, &o, machine_add_chardev, e);
}

bool hmp_chardev_change(struct hmp_call *h, struct err *e)
{
    struct char_opts o;
    char *words[2], *copy;
    if (hmp_words(h->args, words, 2, &copy) != 2) {
        free(copy);
        return err_set(e, EINVAL, "it wants an id and a character device");
    }
    char *text = xprintf("%s,id=%s", words[1], words[0]);
    bool parsed = char_opts_chardev(&o, text, e);
    free(text);
    free(copy);
    return give_chardev(h, parsed, &o, machine_change_chardev, e);
}

bool hmp_chardev_remove(struct hmp_call *h, struct err *e)
{
    return hmp_order(h, "chardev-remove", with_string("id", h->args), e);
}

bool hmp_chardev_send_break(struct hmp_call *h, struct err *e)
{
    return hmp_order(h, "chardev-send-break", with_string("id", h->args), e);
}

bool hmp_device_del(struct hmp_call *h, struct err *e)
{
    return hmp_order(h, "device_del", with_string("id", h->args), e);
}

/* With the usual rounds, for the cards "a,b,c" or for all. */
bool hmp_announce_self(struct hmp_call *h, struct err *e)
{
    static const struct {
        const char *name;
        s64 value;
    } usual[] = {{"initial", 50}, {"max", 550}, {"rounds", 5}, {"step", 100}};
    char *words[2], *copy, *save = NULL;
    unsigned count = hmp_words(h->args, words, 2, &copy);
    struct json *args = json_object(), *names = json_set(args, "interfaces", json_list());
    for (unsigned i = 0; i < ARRAY_LEN(usual); i++)
        json_set_int(args, usual[i].name, usual[i].value);
    for (char *w = count ? strtok_r(words[0], ",", &save) : NULL; w; w = strtok_r(NULL, ",", &save))
        json_push(names, json_string(w));
    if (count == 2)
        json_set_string(args, "id", words[1]);
    free(copy);
    return hmp_order(h, "announce-self", args, e);
}

bool hmp_set_link(struct hmp_call *h, struct err *e)
{
    char *words[2], *copy;
    bool good = hmp_words(h->args, words, 2, &copy) == 2, up = good && !strcmp(words[1], "on");
    struct json *args = good && (up || !strcmp(words[1], "off")) ? with_string("name", words[0]) : NULL;
    free(copy);
    if (!args)
        return err_set(e, EINVAL, "Expected 'on' or 'off'");
    json_set_bool(args, "up", up);
    return hmp_order(h, "set_link", args, e);
}

/* ---- info ---- */

static s64 number(const struct json *in, const char *key)
{
    const struct json *v = json_get(in, key);
    return v ? v->integer : 0;
}

bool hmp_info_balloon(struct hmp_call *h, struct err *e)
{
    struct json *j = monitor_execute(h->m, "query-balloon", NULL, e);
    if (j)
        fprintf(h->out, "balloon: actual=%lld\n", (long long)number(j, "actual") >> 20);
    else
        fprintf(h->out, "Error: %s\n", e->text);
    json_free(j);
    return true;
}

bool hmp_info_blockstats(struct hmp_call *h, struct err *e)
{
    static const char *const shown[] = {
        "rd_bytes", "wr_bytes", "rd_operations", "wr_operations", "flush_operations", "wr_total_time_ns", "rd_total_time_ns",
        "flush_total_time_ns", "rd_merged", "wr_merged", "idle_time_ns"};
    struct json *list = monitor_query(h->m, "query-blockstats");
    for (const struct json *d = list->first; d; d = d->next) {
        if (!*json_get_string(d, "device"))
            continue;
        fprintf(h->out, "%s:", json_get_string(d, "device"));
        for (unsigned i = 0; i < ARRAY_LEN(shown); i++)
            fprintf(h->out, " %s=%lld", shown[i], (long long)number(json_get(d, "stats"), shown[i]));
        fputc('\n', h->out);
    }
    json_free(list);
    return true;
}

static void show_region(FILE *out, const struct json *r)
{
    long long at = number(r, "address"), last = at + number(r, "size") - 1;
    fprintf(out, "      BAR%lld: ", (long long)number(r, "bar"));
    if (!strcmp(json_get_string(r, "type"), "io"))
        fprintf(out, "I/O at 0x%04llx [0x%04llx].\n", at, last);
    else
        fprintf(out, "%d bit%s memory at 0x%08llx [0x%08llx].\n", json_get(r, "mem_type_64")->boolean ? 64 : 32,
                json_get(r, "prefetch")->boolean ? " prefetchable" : "", at, last);
}

static void show_card(FILE *out, const struct json *c)
{
    const struct json *class = json_get(c, "class_info"), *id = json_get(c, "id");
    const char *desc = json_get_string(class, "desc");
    fprintf(out, "  Bus %2lld, device %3lld, function %lld:\n    ", (long long)number(c, "bus"), (long long)number(c, "slot"),
            (long long)number(c, "function"));
    if (desc)
        fprintf(out, "%s", desc);
    else
        fprintf(out, "Class %04lld", (long long)number(class, "class"));
    fprintf(out, ": PCI device %04llx:%04llx\n      PCI subsystem %04llx:%04llx\n", (long long)number(id, "vendor"),
            (long long)number(id, "device"), (long long)number(id, "subsystem-vendor"), (long long)number(id, "subsystem"));
    if (number(c, "irq_pin"))
        fprintf(out, "      IRQ %lld, pin %c\n", (long long)number(c, "irq"), (char)('A' + number(c, "irq_pin") - 1));
    for (const struct json *r = json_get(c, "regions")->first; r; r = r->next)
        show_region(out, r);
    fprintf(out, "      id \"%s\"\n", json_get_string(c, "qdev_id"));
}

bool hmp_info_pci(struct hmp_call *h, struct err *e)
{
    struct json *list = monitor_query(h->m, "query-pci");
    for (const struct json *bus = list->first; bus; bus = bus->next) {
        for (const struct json *c = json_get(bus, "devices")->first; c; c = c->next)
            show_card(h->out, c);
    }
    json_free(list);
    return true;
}
