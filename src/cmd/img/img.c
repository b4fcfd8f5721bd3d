/* `lyre img` and `qemu-img`: the command line, and what the commands share. */
#include "cmd/img/img.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "cmd/cmd.h"
#include "event/tls.h"

/* ---- messages ---- */

static void message(const struct img *m, const char *fmt, va_list ap)
{
    fflush(stdout);
    fprintf(stderr, "%s: ", m->name);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
}

int img_fail(struct img *m, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    message(m, fmt, ap);
    va_end(ap);
    return 1;
}

int img_usage(struct img *m, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    message(m, fmt, ap);
    va_end(ap);
    fprintf(stderr, "Try '%s%s%s --help' for more information\n", m->name, m->qemu || !m->command ? "" : " ", m->qemu || !m->command ? "" : m->command);
    return 1;
}

int img_error(struct img *m)
{
    return img_fail(m, "%s", m->e.text);
}

bool img_json(const struct img *m)
{
    return m->output && !strcmp(m->output, "json");
}

const char *img_size(u64 bytes, char *text, size_t size)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double v = (double)bytes;
    unsigned i = 0;
    while (v >= 1000 && i < ARRAY_LEN(units) - 1) {
        v /= 1024;
        i++;
    }
    snprintf(text, size, "%0.3g %s", v, units[i]);
    return text;
}

/* ---- progress ---- */

enum { BAR = 40 };

void progress_start(struct progress *p, struct img *m, u64 total)
{
    *p = (struct progress){.m = m, .total = total, .started = loop_now()};
    p->bar = !m->qemu && !m->quiet && isatty(STDERR_FILENO);
    if (m->qemu && m->progress) {
        printf("    (0.00/100%%)\r");
        fflush(stdout);
    }
}

void progress_show(struct progress *p, u64 done)
{
    double share = p->total ? (double)done / (double)p->total : 1;
    if (p->m->qemu && p->m->progress && share - p->last >= 0.01 && share < 1) {
        p->last = share;
        printf("    (%.2f/100%%)\r", share * 100);
        fflush(stdout);
    }
    u64 now = p->bar ? loop_now() : 0;
    if (p->bar && now - p->started > 1000000000u && now - p->shown_at > 100000000u) {
        p->shown_at = now;
        char a[32], b[32];
        int full = (int)(share * BAR);
        double left = share > 0 ? (double)(now - p->started) * 1e-9 * (1 - share) / share : 0;
        fprintf(stderr, "\r[%.*s%*s] %3d %%  %s of %s, %.0f s left \x1b[K", full,
                "########################################", BAR - full, "", (int)(share * 100),
                img_size(done, a, sizeof(a)), img_size(p->total, b, sizeof(b)), left);
    }
}

void progress_end(struct progress *p)
{
    if (p->m->qemu && p->m->progress)
        printf("    (100.00/100%%)\n");
    progress_clear(p);
}

void progress_clear(struct progress *p)
{
    if (p->shown_at)
        fprintf(stderr, "\r\x1b[K");
}

/* ---- options ---- */

/* "key=value,flag,nokey=off": ",," stands for a comma in a value. */
bool img_parse_options(const char *text, const char *first, struct json *to, struct err *e)
{
    while (*text) {
        char *word = xmalloc(strlen(text) + 1), *end = word;
        while (*text && (*text != ',' || text[1] == ',')) {
            if (*text == ',')
                text++;
            *end++ = *text++;
        }
        text += *text == ',';
        *end = 0;
        char *eq = strchr(word, '=');
        if (!*word || eq == word) {
            free(word);
            return err_set(e, EINVAL, "Invalid parameter '%s'", eq ? "" : word);
        }
        if (eq) {
            *eq = 0;
            json_set_string(to, word, eq + 1);
        } else if (first) {
            json_set_string(to, first, word);
        } else {
            json_set_string(to, word, "on");
        }
        first = NULL;
        free(word);
    }
    return true;
}

bool img_number(struct img *m, const char *what, const char *text, u64 *v)
{
    char *end;
    errno = 0;
    *v = strtoull(text, &end, 0);
    if (!errno && end != text && !*end && *text != '-')
        return true;
    img_fail(m, m->qemu ? "Invalid %s specified" : "Invalid %s specified: '%s'", what, text);
    return false;
}

/* "throttle-group,id=...,x-iops-total=..." or "limits.iops-total=...". */
static bool add_throttle_group(struct img *m, struct json *o, const char *id)
{
    static const char *const names[THROTTLE_LIMITS] = {"bps-total", "bps-read", "bps-write", "iops-total", "iops-read", "iops-write"};
    struct throttle_limits l = {0};
    for (const struct json *c = o->first; c; c = c->next) {
        const char *name = !strncmp(c->key, "x-", 2) ? c->key + 2 : !strncmp(c->key, "limits.", 7) ? c->key + 7 : c->key;
        bool known = !strcmp(c->key, "id") || !strcmp(c->key, "qom-type");
        for (unsigned i = 0; i < THROTTLE_LIMITS && !known; i++) {
            size_t n = strlen(names[i]);
            u64 *v = !strcmp(name, names[i]) ? &l.rate[i] : !strncmp(name, names[i], n) && !strcmp(name + n, "-max") ? &l.burst[i] : NULL;
            known = v;
            if (v && !size_parse(c->string, v))
                return err_set(&m->e, EINVAL, "Parameter '%s' expects a number", c->key);
        }
        if (!known)
            return err_set(&m->e, ENOTSUP, "Property 'throttle-group.%s' is not supported", c->key);
    }
    return block_throttle_group_set(m->g, id, &l, &m->e);
}

/* "tls-creds-x509,id=...,dir=...,endpoint=server" and its like. */
static bool add_tls_creds(struct img *m, const struct json *o, const char *id, const char *kind)
{
    const char *endpoint = json_get_string(o, "endpoint"), *verify = json_get_string(o, "verify-peer");
    struct tls_config c = {.server = endpoint && !strcmp(endpoint, "server"), .verify = !verify || strcmp(verify, "off"),
                           .kind = !strcmp(kind, "x509") ? TLS_X509 : !strcmp(kind, "psk") ? TLS_PSK : TLS_ANON,
                           .dir = json_get_string(o, "dir"), .username = json_get_string(o, "username"),
                           .priority = json_get_string(o, "priority")};
    static const char *const known[] = {"qom-type", "id", "endpoint", "verify-peer", "dir", "username", "priority"};
    for (const struct json *x = o->first; x; x = x->next) {
        unsigned i = 0;
        while (i < ARRAY_LEN(known) && strcmp(known[i], x->key))
            i++;
        if (i == ARRAY_LEN(known))
            return err_set(&m->e, EINVAL, "Property 'tls-creds-%s.%s' not found", kind, x->key);
    }
    return block_tls_creds_set(m->g, id, &c, &m->e);
}

/* "authz-simple,id=...,identity=...": who may connect. */
static bool add_authz(struct img *m, const struct json *o)
{
    const char *id = json_get_string(o, "id"), *identity = json_get_string(o, "identity");
    if (!id || !identity)
        return err_set(&m->e, EINVAL, "Parameter '%s' is missing", id ? "identity" : "id");
    if (!m->authz)
        m->authz = json_object();
    json_set_string(m->authz, id, identity);
    return true;
}

bool img_add_object(struct img *m, const char *text)
{
    struct json *o = json_object();
    bool good = img_parse_options(text, "qom-type", o, &m->e);
    const char *type = json_get_string(o, "qom-type"), *id = json_get_string(o, "id");
    const char *data = json_get_string(o, "data"), *file = json_get_string(o, "file");
    bool group = type && !strcmp(type, "throttle-group");
    bool authz = type && !strcmp(type, "authz-simple");
    const char *tls = type && !strncmp(type, "tls-creds-", 10) ? type + 10 : NULL;
    if (good && tls && strcmp(tls, "x509") && strcmp(tls, "psk") && strcmp(tls, "anon"))
        good = err_set(&m->e, EINVAL, "invalid object type: %s", type);
    else if (good && authz)
        good = add_authz(m, o);
    else if (good && (!type || (!group && !tls && strcmp(type, "secret"))))
        good = err_set(&m->e, EINVAL, "Parameter 'qom-type' does not accept value '%s'\n"
                       "The objects that are supported are secret, throttle-group, tls-creds-* and authz-simple.", type ? type : "");
    else if (good && !id)
        good = err_set(&m->e, EINVAL, "Parameter 'id' is missing");
    else if (good && tls)
        good = add_tls_creds(m, o, id, tls);
    else if (good && group)
        good = add_throttle_group(m, o, id);
    else if (good && json_get(o, "keyid"))
        good = err_set(&m->e, ENOTSUP, "encrypted secrets ('keyid') are not supported");
    else if (good && !data == !file)
        good = err_set(&m->e, EINVAL, data ? "'file' and 'data' are mutually exclusive" : "Either 'file' or 'data' must be provided");
    group |= tls || authz; /* not a secret, and done */
    if (good && data && !group) {
        block_secret_set(m->g, id, (const u8 *)data, strlen(data));
    } else if (good && !group) {
        u8 buf[4096];
        FILE *f = fopen(file, "rbe");
        size_t n = f ? fread(buf, 1, sizeof(buf), f) : 0;
        if (f)
            fclose(f);
        if (!f)
            good = err_set(&m->e, errno, "Unable to read %s: %s", file, strerror(errno));
        else
            block_secret_set(m->g, id, buf, n);
        explicit_bzero(buf, sizeof(buf));
    }
    json_free(o);
    return good;
}

static const struct option long_options[] = {
    {"output", 1, NULL, OPT_OUTPUT}, {"object", 1, NULL, OPT_OBJECT}, {"image-opts", 0, NULL, OPT_IMAGE_OPTS},
    {"target-image-opts", 0, NULL, OPT_TARGET_IMAGE_OPTS}, {"backing-chain", 0, NULL, OPT_BACKING_CHAIN},
    {"size", 1, NULL, OPT_SIZE}, {"shrink", 0, NULL, OPT_SHRINK}, {"preallocation", 1, NULL, OPT_PREALLOCATION},
    {"target-is-zero", 0, NULL, OPT_TARGET_IS_ZERO}, {"bitmaps", 0, NULL, OPT_BITMAPS},
    {"skip-broken-bitmaps", 0, NULL, OPT_SKIP_BROKEN}, {"salvage", 0, NULL, OPT_SALVAGE},
    {"start-offset", 1, NULL, OPT_START_OFFSET}, {"max-length", 1, NULL, OPT_MAX_LENGTH},
    {"force", 0, NULL, OPT_FORCE}, {"add", 0, NULL, OPT_ADD}, {"remove", 0, NULL, OPT_REMOVE},
    {"clear", 0, NULL, OPT_CLEAR}, {"enable", 0, NULL, OPT_ENABLE}, {"disable", 0, NULL, OPT_DISABLE},
    {"merge", 1, NULL, OPT_MERGE}, {"flush-interval", 1, NULL, OPT_FLUSH_INTERVAL},
    {"no-drain", 0, NULL, OPT_NO_DRAIN}, {"pattern", 1, NULL, OPT_PATTERN}, {"aio", 1, NULL, OPT_AIO},
    {"help", 0, NULL, 'h'}, {"force-share", 0, NULL, 'U'}, {"quiet", 0, NULL, 'q'}, {"format", 1, NULL, 'f'},
    {"source-format", 1, NULL, 'f'}, {"target-format", 1, NULL, 'O'}, {"repair", 1, NULL, 'r'},
    {"options", 1, NULL, 'o'}, {NULL},
};

struct command {
    const char *name;
    int (*run)(struct img *m);
    const char *letters; /* as getopt wants them; the first ':' tells it to be quiet */
    const char *longs;   /* names of the long options that are this command's, in blanks */
    const char *help;
};

#define COMMON " object image-opts help aio "

static const struct command commands[] = {
    {"create", img_create, ":f:F:b:o:quh", COMMON, "[-f FORMAT] [-b BACKING -F FORMAT] [-o OPTIONS] FILE [SIZE]"},
    {"info", img_info, ":f:Uh", COMMON "output backing-chain force-share format ", "[--output=json] [--backing-chain] FILE"},
    {"map", img_map, ":f:s:l:Uh", COMMON "output start-offset max-length force-share format ", "[--output=json] FILE"},
    {"check", img_check, ":f:r:T:qUh", COMMON "output force-share format repair ", "[-r leaks|all] FILE"},
    {"convert", img_convert, ":f:O:B:F:CcepS:t:T:o:qnm:Wl:r:Uh",
     COMMON "target-image-opts target-is-zero bitmaps skip-broken-bitmaps salvage force-share source-format target-format options quiet ",
     "[-O FORMAT] [-c] [-o OPTIONS] FILE... OUTPUT"},
    {"compare", img_compare, ":f:F:T:pqsUh", COMMON "force-share ", "[-s] FILE1 FILE2"},
    {"commit", img_commit, ":f:t:b:r:dpqh", COMMON, "[-d] FILE"},
    {"rebase", img_rebase, ":f:F:b:t:T:pquUh", COMMON "force-share ", "[-u] -b BACKING [-F FORMAT] FILE"},
    {"snapshot", img_snapshot, ":la:c:d:qUh", COMMON "force-share ", "-l | -c NAME | -a NAME | -d NAME FILE"},
    {"resize", img_resize, ":f:qh", COMMON "shrink preallocation ", "[--shrink] FILE [+|-]SIZE"},
    {"amend", img_amend, ":f:o:t:pqh", COMMON "force ", "-o OPTIONS FILE"},
    {"measure", img_measure, ":f:O:o:l:Uh", COMMON "output size force-share ", "[-O FORMAT] --size SIZE | FILE"},
    {"bitmap", img_bitmap, ":b:f:F:g:h", COMMON "add remove clear enable disable merge ", "--add|--remove|--clear|--enable|--disable|--merge NAME [-b FILE [-F FORMAT]] FILE NAME"},
    {"dd", img_dd, ":f:O:Uh", COMMON "force-share ", "if=FILE of=FILE [bs=SIZE] [count=N] [skip=N]"},
    {"bench", img_bench, ":hc:d:f:ni:o:qs:S:t:wU", COMMON "flush-interval no-drain pattern force-share ", "[-c COUNT] [-d DEPTH] [-w] FILE"},
    {"compact", img_compact, ":f:qh", COMMON, "FILE"},
};

static int print_help(const struct img *m)
{
    printf("usage: %s COMMAND [OPTIONS]\n\nDisk images: make, look at, check, change, convert.\n\n", m->name);
    for (unsigned i = 0; i < ARRAY_LEN(commands); i++)
        printf("  %-9s %s\n", commands[i].name, commands[i].help);
    printf("\nFORMAT is guessed if it is not given. Formats:");
    for (const char *const *n = block_driver_names(); *n; n++)
        printf(" %s", *n);
    printf("\nSizes are bytes, or end in k, M, G, T, P or E. -o help lists the options of a format.\n");
    return 0;
}

static bool set_number(struct img *m, const char *what, const char *text, u64 *v)
{
    if (size_parse(text, v))
        return true;
    img_fail(m, "Invalid %s specified. You may use k, M, G, T, P or E suffixes for\n"
                "%s: kilobytes, megabytes, gigabytes, terabytes, petabytes and exabytes.", what, m->name);
    return false;
}

static bool not_zero(struct img *m, const char *what, u64 v)
{
    return v || img_fail(m, "Invalid %s specified", what) == 0;
}

/* -l of convert and measure: a name, or what it is by. */
static bool take_snapshot(struct img *m, const char *text)
{
    m->snapshot = text;
    if (strncmp(text, "snapshot.", 9))
        return true;
    struct json *o = json_object();
    bool good = img_parse_options(text, NULL, o, &m->e) || img_error(m) == 0;
    for (const struct json *c = o->first; c && good; c = c->next)
        good = !strcmp(c->key, "snapshot.id") || !strcmp(c->key, "snapshot.name") || img_fail(m, "Invalid parameter '%s'", c->key) == 0;
    json_free(o);
    return good;
}

/* The long options that take something; those of one letter are in take_letter. */
static bool take_long(struct img *m, int c, const char *arg)
{
    switch (c) {
    case OPT_OUTPUT:
        m->output = arg;
        if (strcmp(arg, "json") && strcmp(arg, "human"))
            return img_fail(m, "--output must be used with human or json as argument.") == 0;
        return true;
    case OPT_OBJECT:
        return img_add_object(m, arg) || img_error(m) == 0;
    case OPT_IMAGE_OPTS:
        return m->image_opts = true;
    case OPT_TARGET_IMAGE_OPTS:
        return m->target_image_opts = true;
    case OPT_BACKING_CHAIN:
        return m->chain = true;
    case OPT_SIZE:
        m->size = arg;
        return true;
    case OPT_SHRINK:
        return m->shrink = true;
    case OPT_PREALLOCATION:
        m->prealloc = arg;
        return true;
    case OPT_TARGET_IS_ZERO:
        return m->target_is_zero = true;
    case OPT_BITMAPS:
        return m->bitmaps = true;
    case OPT_SKIP_BROKEN:
        return m->skip_broken = true;
    case OPT_SALVAGE:
        return m->salvage = true;
    case OPT_START_OFFSET:
        return set_number(m, "start offset", arg, &m->start);
    case OPT_MAX_LENGTH:
        return m->has_max_length = set_number(m, "max length", arg, &m->max_length);
    case OPT_FORCE:
        return m->force = true;
    case OPT_MERGE:
    case OPT_ADD:
    case OPT_REMOVE:
    case OPT_CLEAR:
    case OPT_ENABLE:
    case OPT_DISABLE:
        if (m->nbitmap_actions == ARRAY_LEN(m->bitmap_actions))
            return img_fail(m, "that is too much at once") == 0;
        m->bitmap_actions[m->nbitmap_actions].code = c;
        m->bitmap_actions[m->nbitmap_actions++].from = arg;
        return true;
    case OPT_FLUSH_INTERVAL:
        return img_number(m, "flush interval", arg, &m->flush_interval);
    case OPT_PATTERN:
        return img_number(m, "pattern byte", arg, &m->pattern);
    case OPT_NO_DRAIN:
    case OPT_AIO: /* taken before the graph was made */
        return true;
    default:
        return false;
    }
}

static bool take_letter(struct img *m, int c, const char *arg)
{
    bool bench = !strcmp(m->command, "bench"), convert = !strcmp(m->command, "convert");
    bool snapshot = !strcmp(m->command, "snapshot"), map = !strcmp(m->command, "map");
    switch (c) {
    case 'f':
        m->format = arg;
        return true;
    case 'O':
        m->out_format = arg;
        return true;
    case 'F':
        m->backing_format = arg;
        return true;
    case 'b':
    case 'B':
        m->backing = arg;
        return true;
    case 't':
        m->cache = arg;
        return true;
    case 'T':
        m->src_cache = arg;
        return img_known_cache(arg) || img_fail(m, "Invalid source cache option: %s", arg) == 0;
    case 'q':
        return m->quiet = true;
    case 'p':
        return m->progress = true;
    case 'U':
        return m->share = true;
    case 'u':
        return m->unsafe = true;
    case 'W':
        return m->out_of_order = true;
    case 'C':
        return m->copy_offload = true;
    case 'n':
        return m->no_create = true; /* of bench: no host cache */
    case 'w':
        return m->write = true;
    case 'e':
        return img_fail(m, "option -e is deprecated, please use '-o encrypt.format=...' instead!") == 0;
    case 'i': /* as --aio: taken before the graph was made */
        return !strcmp(arg, "threads") || !strcmp(arg, "native") || !strcmp(arg, "io_uring") || img_fail(m, "Invalid aio option: %s", arg) == 0;
    case 'g':
        return set_number(m, "granularity", arg, &m->granularity);
    case 'o':
        if (bench)
            return set_number(m, "offset", arg, &m->start);
        m->has_options = true;
        if (!strcmp(arg, "help") || !strcmp(arg, "?"))
            return m->options_help = true;
        return img_parse_options(arg, NULL, m->options, &m->e) || img_error(m) == 0;
    case 'c':
    case 'd':
    case 'a':
    case 'l':
        if (map && c == 'l')
            return m->has_max_length = set_number(m, "max length", arg, &m->max_length);
        if (snapshot) {
            if (m->action)
                return img_usage(m, "Cannot mix '-l', '-a', '-c', '-d'") == 0;
            m->action = c;
            m->action_arg = arg;
            return true;
        }
        if (bench)
            return c == 'c' ? (m->has_count = img_number(m, "request count", arg, &m->count))
                            : img_number(m, "queue depth", arg, &m->depth) && not_zero(m, "queue depth", m->depth);
        if (c == 'l')
            return take_snapshot(m, arg);
        if (c == 'c')
            m->compress = true;
        else
            m->drop = true;
        return true;
    case 'm': {
        u64 n;
        if (!size_parse(arg, &n) || n < 1 || n > 16)
            return img_fail(m, "Invalid number of coroutines. Allowed number of coroutines is between 1 and 16") == 0;
        m->parallel = (unsigned)n;
        return true;
    }
    case 'r':
        m->repair = arg;
        return convert || !strcmp(m->command, "commit") ? set_number(m, "rate limit", arg, &m->rate) : true;
    case 's':
        if (!bench && !map)
            return m->strict = true;
        return set_number(m, map ? "start offset" : "buffer size", arg, map ? &m->start : &m->buf_size) &&
               (map || not_zero(m, "buffer size", m->buf_size));
    case 'S':
        m->has_sparse = true;
        return set_number(m, bench ? "step_size" : "buffer size for sparse output", arg, bench ? &m->step : &m->sparse);
    default:
        return take_long(m, c, arg);
    }
}

/* The name of the option that getopt stopped at, for messages. */
static bool is_for(const struct command *c, int code)
{
    if (code < 256)
        return true;
    for (const struct option *o = long_options; o->name; o++) {
        if (o->val != code)
            continue;
        char word[64];
        snprintf(word, sizeof(word), " %s ", o->name);
        if (strstr(c->longs, word))
            return true;
    }
    return false;
}

static int run_command(struct img *m, const struct command *c, int argc, char **argv)
{
    m->command = c->name;
    optind = 0;
    int code;
    /* "-1G" is a size and no option: it is taken away before options are looked for. */
    bool size_last = c->run == img_resize && argc > 2 && strcmp(argv[argc - 1], "--help") && strcmp(argv[argc - 1], "-h");
    argc -= size_last;
    while ((code = getopt_long(argc, argv, c->letters, long_options, NULL)) != -1) {
        const char *word = argv[optind - 1];
        if (code == ':')
            return img_usage(m, "missing argument for option '%s'", word);
        if (code == '?' || !is_for(c, code))
            return img_usage(m, "unrecognized option '%s'", word);
        if (code == 'h') {
            printf("usage: %s %s %s\n\n%s\nObjects (--object secret,id=ID,file=PATH: a passphrase) and names that are options (--image-opts): docs/img.md\n",
                   m->name, c->name, c->help, img_help(c->name));
            return 0;
        }
        if (!take_letter(m, code, optarg))
            return 1;
    }
    m->files = argv + optind;
    m->nfiles = argc - optind + size_last;
    return c->run(m);
}

/* ---- files ---- */

bool img_known_cache(const char *cache)
{
    static const char *const modes[] = {"writeback", "writethrough", "none", "off", "directsync", "unsafe"};
    unsigned i = 0;
    while (i < ARRAY_LEN(modes) && strcmp(modes[i], cache))
        i++;
    return i < ARRAY_LEN(modes);
}

bool img_cache_flags(struct img *m, const char *cache, u32 *flags)
{
    if (!cache)
        return true;
    if (!img_known_cache(cache))
        return img_fail(m, "Invalid cache option: %s", cache) == 0;
    if (!strcmp(cache, "none") || !strcmp(cache, "off") || !strcmp(cache, "directsync"))
        *flags |= OPEN_NO_CACHE;
    if (!strcmp(cache, "writethrough") || !strcmp(cache, "directsync"))
        *flags |= OPEN_WRITE_THROUGH;
    else if (!strcmp(cache, "unsafe"))
        *flags |= OPEN_NO_FLUSH;
    return true;
}

void img_warn_guessed(const struct node *n, const char *name)
{
    if (node_probed(n) && !node_read_only(n) && !strcmp(node_format(n), "raw"))
        fprintf(stderr,
                "WARNING: Image format was not specified for '%s' and probing guessed raw.\n"
                "         Automatically detecting the format is dangerous for raw images, write operations on block 0 will be restricted.\n"
                "         Specify the 'raw' format explicitly to remove the restrictions.\n", name);
}

struct node *img_open(struct img *m, const char *name, const char *format, bool image_opts, u32 flags,
                      const char *cache)
{
    if (m->share)
        flags |= OPEN_SHARE;
    if (!img_cache_flags(m, cache, &flags))
        return NULL;
    struct node *n = NULL;
    if (image_opts) {
        struct json *o = json_object();
        if (img_parse_options(name, "file", o, &m->e))
            n = node_open(m->g, NULL, NULL, o, flags, &m->e);
        json_free(o);
    } else {
        n = node_open(m->g, name, format, m->open_options, flags, &m->e);
    }
    m->open_options = NULL;
    if (!n && (m->qemu || strncmp(m->e.text, "Could not open", 14)))
        img_fail(m, "Could not open '%s': %s", name, m->e.text);
    else if (!n)
        img_error(m);
    else if (m->qemu && !m->quiet)
        img_warn_guessed(n, name);
    return n;
}

struct node *img_open_temporary(struct block_graph *g, const char *file, const char *format, struct err *e)
{
    const char *dir = getenv("TMPDIR");
    char *name = xprintf("%s/lyre-overlay-XXXXXX", dir ? dir : "/var/tmp"), *path = realpath(file, NULL);
    struct node *base = node_open(g, file, format, NULL, 0, e), *over = NULL;
    int fd = base ? mkstemp(name) : -1;
    if (base && fd < 0)
        err_set(e, errno, "cannot create a temporary file %s: %s", name, strerror(errno));
    if (fd >= 0) {
        struct json *o = json_object();
        json_set_int(o, "size", (s64)node_size(base));
        json_set_string(o, "backing_file", path ? path : file);
        json_set_string(o, "backing_fmt", node_format(base));
        if (block_create(g, "qcow2", name, o, e))
            over = node_open(g, name, "qcow2", NULL, OPEN_WRITE | OPEN_NO_FLUSH, e);
        json_free(o);
        close(fd);
        unlink(name);
    }
    node_close(base, NULL);
    free(path);
    free(name);
    return over;
}

bool img_load_snapshot(struct node *n, const char *text, struct err *e)
{
    struct json *o = json_object();
    bool named = !strncmp(text, "snapshot.", 9);
    bool good = !named || img_parse_options(text, NULL, o, e);
    const char *id = named ? json_get_string(o, "snapshot.id") : text;
    const char *name = named ? json_get_string(o, "snapshot.name") : text;
    good = good && node_snapshot_load(n, id, name, e);
    json_free(o);
    return good;
}

int img_close(struct img *m, struct node *n, int status)
{
    if (node_close(n, &m->e))
        return status;
    img_error(m);
    return status ? status : 1;
}

/* ---- the way in ---- */

enum block_aio img_aio_mode(int argc, char **argv)
{
    const char *mode = getenv("LYRE_AIO");
    for (int i = 1; i < argc; i++) {
        if (!strncmp(argv[i], "--aio=", 6))
            mode = argv[i] + 6;
        else if (i + 1 < argc && (!strcmp(argv[i], "--aio") || !strcmp(argv[i], "-i")))
            mode = argv[i + 1];
    }
    if (mode && !strcmp(mode, "threads"))
        return BLOCK_AIO_THREADS;
    return mode && !strcmp(mode, "io_uring") ? BLOCK_AIO_URING : BLOCK_AIO_AUTO;
}

int cmd_img(bool qemu, int argc, char **argv)
{
    struct img m = {.qemu = qemu, .name = qemu ? "qemu-img" : "lyre img", .parallel = 8};
    if (argc < 2)
        return img_usage(&m, "Not enough arguments");
    const char *word = argv[1];
    if (!strcmp(word, "--help") || !strcmp(word, "-h") || !strcmp(word, "help"))
        return print_help(&m);
    if (!strcmp(word, "--version") || !strcmp(word, "-V")) {
        printf("%s version " LYRE_VERSION "\n", m.name);
        return 0;
    }
    if (!strncmp(word, "-T", 2) || !strncmp(word, "--trace", 7))
        return img_fail(&m, "tracing (-T, --trace) is not supported");
    if (*word == '-')
        return img_usage(&m, "unrecognized option '%s'", word);
    unsigned i = 0;
    while (i < ARRAY_LEN(commands) && strcmp(commands[i].name, word))
        i++;
    if (i == ARRAY_LEN(commands))
        return img_usage(&m, "Command not found: %s", word);
    m.g = block_graph_new(img_aio_mode(argc, argv), &m.e);
    if (!m.g)
        return img_error(&m);
    m.options = json_object();
    opterr = 0;
    int status = run_command(&m, &commands[i], argc - 1, argv + 1);
    json_free(m.options);
    block_graph_free(m.g);
    return fflush(stdout) || ferror(stdout) ? 1 : status;
}
