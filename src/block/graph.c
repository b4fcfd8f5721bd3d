/* Graphs: which driver a node gets, its children, its end. */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "block/bitmap.h"
#include "block/file.h"
#include "block/format.h"
#include "block/nbd.h"
#include "block/node.h"

enum {
    POOL_THREADS = 8,
    MAX_DEPTH = 200, /* of a backing chain; one that is longer is probably a circle */
    MAX_NAME = 32, /* of a node */
};

/* ---- graphs ---- */

static void count_cpus(unsigned *n)
{
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    *n = cpus < 1 ? 1 : (unsigned)cpus;
}

struct block_graph *block_graph_new(enum block_aio aio, struct err *e)
{
    struct block_graph *g = xcalloc(1, sizeof(*g));
    unsigned cpus;
    count_cpus(&cpus);
    g->loop = loop_new(e);
    g->copy_at_once = aio == BLOCK_AIO_AUTO;
    if (g->loop) {
        g->pool = pool_new(g->loop, MAX(POOL_THREADS, cpus));
        if (aio != BLOCK_AIO_THREADS)
            g->aio = aio_new(g->loop, g->pool, AIO_URING, e);
        if (!g->aio && aio != BLOCK_AIO_URING)
            g->aio = aio_new(g->loop, g->pool, AIO_THREADS, e);
    }
    if (!g->aio) {
        block_graph_free(g);
        return NULL;
    }
    return g;
}

void block_graph_free(struct block_graph *g)
{
    if (!g)
        return;
    aio_free(g->aio);
    pool_free(g->pool);
    throttle_groups_free(g);
    tls_creds_free(g);
    loop_free(g->loop);
    for (struct secret *s = g->secrets, *next; s; s = next) {
        next = s->next;
        explicit_bzero(s->data, s->len);
        free(s->data);
        free(s->id);
        free(s);
    }
    free(g);
}

struct loop *block_graph_loop(struct block_graph *g)
{
    return g->loop;
}

void block_graph_restrict(struct block_graph *g, bool (*may_open)(void *opaque, const char *name, bool write), void *opaque)
{
    g->may_open = may_open;
    g->may_open_opaque = opaque;
}

bool node_may_open(const struct node *n, struct err *e)
{
    const struct block_graph *g = n->graph;
    return !g->may_open || g->may_open(g->may_open_opaque, n->filename, n->flags & OPEN_WRITE) ||
           err_set(e, EACCES, "'%s' may not be opened here", n->filename);
}

struct pool *block_graph_pool(struct block_graph *g)
{
    return g->pool;
}

void block_secret_set(struct block_graph *g, const char *id, const u8 *data, size_t len)
{
    struct secret *s = xcalloc(1, sizeof(*s));
    s->id = xstrdup(id);
    s->data = xmalloc(len + 1);
    memcpy(s->data, data, len);
    s->len = len;
    s->next = g->secrets;
    g->secrets = s;
}

const struct secret *secret_find(const struct block_graph *g, const char *id, struct err *e)
{
    const struct secret *s = g->secrets;
    while (s && strcmp(s->id, id))
        s = s->next;
    if (!s)
        err_set(e, ENOENT, "No secret with id '%s'", id);
    return s;
}

/* ---- options ---- */

/* Members of members as "a.b", in place of objects in objects. */
static void flatten(const struct json *from, const char *prefix, struct json *to)
{
    unsigned i = 0;
    for (const struct json *c = from->first; c; c = c->next, i++) {
        char *key = c->key ? xprintf("%s%s", prefix, c->key) : xprintf("%s%u", prefix, i);
        if (c->kind == JSON_OBJECT || c->kind == JSON_LIST) {
            char *inner = xprintf("%s.", key);
            flatten(c, inner, to);
            free(inner);
        } else {
            json_set(to, key, json_copy(c));
        }
        free(key);
    }
}

/* "json:{...}" as options. */
static bool parse_json(const char *filename, struct json *options, struct err *e)
{
    struct json *j = json_parse(filename + 5, e);
    if (j && j->kind != JSON_OBJECT) {
        json_free(j);
        return err_set(e, EINVAL, "the text after 'json:' is no object");
    }
    if (!j)
        return err_prefix(e, "Could not parse the JSON options");
    flatten(j, "", options);
    json_free(j);
    return true;
}

/* "blkdebug:CONFIG:FILE" and "blkverify:RAW:FILE". */
static bool parse_debug(const char *filename, const char *first, const char *second, struct json *options, struct err *e)
{
    const char *rest = strchr(filename, ':') + 1, *colon = strchr(rest, ':');
    if (!colon)
        return err_set(e, EINVAL, "'%s' needs two names with a colon in between", filename);
    char *name = xprintf("%.*s", (int)(colon - rest), rest);
    json_set_string(options, first, name);
    json_set_string(options, second, colon + 1);
    free(name);
    return true;
}

const struct driver *protocol_of(const char *filename, struct json *options, const char **rest, struct err *e)
{
    static const struct { const char *prefix, *driver; } prefixes[] = {
        {"null-co://", "null-co"}, {"null-aio://", "null-aio"}, {"nbd:", "nbd"}, {"nbd+", "nbd"},
        {"blkdebug:", "blkdebug"}, {"blkverify:", "blkverify"},
    };
    const char *name = "file";
    for (unsigned i = 0; i < ARRAY_LEN(prefixes); i++) {
        if (!strncmp(filename, prefixes[i].prefix, strlen(prefixes[i].prefix)))
            name = prefixes[i].driver;
    }
    *rest = NULL;
    struct json *place = json_object(), *to = options ? options : place;
    bool good = true;
    if (!strcmp(name, "nbd"))
        good = nbd_parse_filename(filename, to, e);
    else if (!strcmp(name, "blkdebug"))
        good = parse_debug(filename, "config", "image.filename", to, e);
    else if (!strcmp(name, "blkverify"))
        good = parse_debug(filename, "raw.filename", "test.filename", to, e);
    else if (!strcmp(name, "file"))
        *rest = strncmp(filename, "file:", 5) ? filename : filename + 5;
    json_free(place);
    return good ? driver_by_name(name) : NULL;
}

char *path_beside(const char *image, const char *name)
{
    const char *slash = image ? strrchr(image, '/') : NULL;
    const char *colon = strchr(name, ':'), *first = strchr(name, '/');
    bool protocol = colon && (!first || colon < first);
    if (name[0] == '/' || protocol || !slash)
        return xstrdup(name);
    return xprintf("%.*s/%s", (int)(slash - image), image, name);
}

/* ---- opening ---- */

struct node *node_new(struct block_graph *g, const struct driver *drv, const char *filename, u32 flags)
{
    struct node *n = xcalloc(1, sizeof(*n));
    n->drv = drv;
    n->graph = g;
    n->refs = 1;
    n->flags = flags;
    n->filename = filename ? xstrdup(filename) : NULL;
    g->nodes++;
    return n;
}

/* Whatever the driver did not take is an option that does not exist. */
static bool all_taken(const struct json *options, const struct driver *drv, struct err *e)
{
    if (!options->first)
        return true;
    return err_set(e, EINVAL, drv->kind == NODE_FORMAT ? "Block format '%s' does not support the option '%s'"
                                                       : "Block protocol '%s' doesn't support the option '%s'", drv->name, options->first->key);
}

const struct driver *format_of(const u8 *head)
{
    const struct driver *best = NULL;
    int best_score = 0;
    for (unsigned i = 0; drivers[i]; i++) {
        int score = drivers[i]->probe ? drivers[i]->probe(head, PROBE_SIZE) : 0;
        if (score > best_score) {
            best = drivers[i];
            best_score = score;
        }
    }
    return best;
}

static const struct driver *probe(struct node *file, struct err *e)
{
    u8 head[PROBE_SIZE] = {0};
    int error = node_io(file, BLK_READ, 0, head, sizeof(head), 0);
    if (error) {
        err_set(e, error, "Could not read image for determining its format: %s", strerror(error));
        return NULL;
    }
    return format_of(head);
}

/* ---- names ---- */

struct node *node_find(const struct block_graph *g, const char *name)
{
    struct node *n = g->named;
    while (n && strcmp(n->name, name))
        n = n->next_named;
    return n;
}

struct node *node_next_named(const struct block_graph *g, const struct node *before)
{
    return before ? before->next_named : g->named;
}

const char *node_name(const struct node *n)
{
    return n->name;
}

/* A letter, then letters, digits, and some signs. */
static bool may_be_name(const struct block_graph *g, const char *name, struct err *e)
{
    size_t len = strlen(name);
    bool good = isalpha((u8)*name);
    if (len >= MAX_NAME)
        return err_set(e, EINVAL, "Node name too long");
    for (const char *c = name; *c && good; c++)
        good = isalnum((u8)*c) || strchr("-._", *c);
    if (!good)
        return err_set(e, EINVAL, "Invalid node-name: '%s'", name);
    return !node_find(g, name) || err_set(e, EEXIST, "Duplicate nodes with node-name='%s'", name);
}

/* Takes `name` over. */
static void give_name(struct node *n, char *name)
{
    n->name = name;
    n->next_named = n->graph->named;
    n->graph->named = n;
}

static void forget_name(struct node *n)
{
    struct node **p = &n->graph->named;
    while (*p && *p != n)
        p = &(*p)->next_named;
    if (*p)
        *p = n->next_named;
    free(n->name);
}

/* The node that the option `child` names, with a reference; NULL: none is named (*named is false), or it cannot be had. */
static struct node *take_named(struct block_graph *g, struct json *options, const char *child, u32 flags, bool *named, struct err *e)
{
    struct json *j = json_get(options, child);
    *named = j && j->kind == JSON_STRING;
    if (!*named)
        return NULL;
    j = json_take(options, child);
    struct node *n = node_find(g, j->string);
    if (!n) {
        err_set(e, ENOENT, "Cannot find device='%s' nor node-name='%s'", j->string, j->string);
    } else if ((flags & OPEN_WRITE) && !(n->flags & OPEN_WRITE)) {
        err_set(e, EPERM, "Block node is read-only: '%s'", j->string);
        n = NULL;
    } else if (n->refs > 1 && (n->flags & OPEN_WRITE)) { /* two that write would not know of each other */
        err_set(e, EBUSY, "node '%s' is in use", j->string);
        n = NULL;
    }
    json_free(j);
    return n ? node_ref(n) : NULL;
}

/* ---- the layers ---- */

static struct node *open_node(struct block_graph *g, const char *filename, const char *format,
                              struct json *options, u32 flags, unsigned depth, struct err *e);

/* The protocol below a format or filter. */
static struct node *open_file(struct block_graph *g, const char *filename, struct json *options, u32 flags,
                              struct err *e)
{
    bool named;
    struct node *n = take_named(g, options, "file", flags, &named, e);
    if (named)
        return n;
    struct json *group = opt_group(options, "file");
    struct json *name = json_take(options, "filename");
    if (!group && !name && !filename) {
        err_set(e, EINVAL, "A block device must be specified for \"file\"");
        return NULL;
    }
    if (!group)
        group = json_object();
    if (name)
        json_set(group, "filename", name);
    const char *rest = filename;
    const struct driver *drv = filename && !json_get(group, "driver") ? protocol_of(filename, group, &rest, e) : NULL;
    bool good = drv || !filename || json_get(group, "driver");
    if (!json_get(group, "driver"))
        json_set_string(group, "driver", drv ? drv->name : "file");
    if (good)
        n = open_node(g, rest, NULL, group, flags, 0, e);
    json_free(group);
    return n;
}

static bool open_backing(struct node *n, struct json *options, unsigned depth, struct err *e)
{
    struct json *none = json_get(options, "backing");
    struct json *group = opt_group(options, "backing");
    if (none && none->kind == JSON_NULL) {
        json_free(json_take(options, "backing"));
        return true;
    }
    bool named;
    n->backing = take_named(n->graph, options, "backing", 0, &named, e);
    if (named) {
        json_free(group);
        return n->backing || err_prefix(e, "Could not open backing file");
    }
    if ((n->flags & OPEN_NO_BACKING) || (!n->backing_name && !group)) {
        json_free(group);
        return true;
    }
    bool good = depth < MAX_DEPTH;
    if (!good)
        err_set(e, ELOOP, "the chain of backing files is longer than %d: do they name each other?", MAX_DEPTH);
    char *name = group && (json_get(group, "driver") || json_get(group, "filename") || json_get(group, "file.filename"))
                     ? NULL
                     : path_beside(n->filename, n->backing_name);
    if (!group)
        group = json_object();
    u32 flags = n->flags & ~(u32)(OPEN_WRITE | OPEN_CHECK | OPEN_ALONE | OPEN_SAME_SIZE);
    if (good)
        n->backing = open_node(n->graph, name, n->backing_format, group, flags, depth + 1, e);
    if (good && !n->backing) /* of a long chain the reason alone is worth words */
        good = (!e || e->code != ELOOP) && err_prefix(e, "Could not open backing file");
    free(name);
    json_free(group);
    return good;
}

static bool is_file(const struct node *n)
{
    return n && (!strcmp(n->drv->name, "file") || !strcmp(n->drv->name, "host_device"));
}

static bool lock(struct node *file, enum file_role role, struct err *e)
{
    while (file && file->drv->kind == NODE_FILTER)
        file = file->file;
    return !is_file(file) || file_set_lock(file, role, e);
}

bool node_set_alone(struct node *n, bool alone, struct err *e)
{
    struct node *file = n;
    while (file->file)
        file = file->file;
    return n->flags & OPEN_SHARE || !is_file(file) || file_set_alone(file, alone, e);
}

bool node_lock_data(struct node *n, struct err *e)
{
    return (n->flags & OPEN_SHARE) || lock(n->data, FILE_OF_DATA, e);
}

static bool lock_file(struct node *n, struct err *e)
{
    bool owner = n->drv->kind == NODE_FORMAT && strcmp(n->drv->name, "raw");
    bool wants = !(n->flags & OPEN_SHARE) && (owner || !(n->flags & OPEN_NO_IO));
    return (!wants || lock(n->file, owner ? FILE_OF_FORMAT : FILE_SHARED, e)) && node_lock_data(n, e);
}

/* A format on its protocol; takes `file` over. */
static struct node *open_on(struct node *file, const struct driver *drv, const char *filename,
                            struct json *options, u32 flags, unsigned depth, struct err *e)
{
    struct block_graph *g = file->graph;
    bool probed = !drv;
    if (!drv)
        drv = probe(file, e);
    struct node *n = node_new(g, drv, filename ? filename : file->filename, flags);
    n->file = file;
    n->probed = probed;
    n->depth = depth;
    if (!drv || !lock_file(n, e) || !drv->open(n, options, flags, e) || !open_backing(n, options, depth, e) ||
        !all_taken(options, drv, e)) {
        node_close(n, NULL);
        return NULL;
    }
    return n;
}

static struct node *open_format(struct block_graph *g, const struct driver *drv, const char *filename,
                                struct json *options, u32 flags, unsigned depth, struct err *e)
{
    struct node *file = open_file(g, filename, options, flags & ~(u32)OPEN_WRITE_THROUGH, e);
    return file ? open_on(file, drv, filename, options, flags, depth, e) : NULL;
}

struct node *node_open_above(struct node *file, const char *format, const struct json *options, u32 flags, struct err *e)
{
    struct json *flat = json_object();
    if (options)
        flatten(options, "", flat);
    const struct driver *drv = driver_by_name(format);
    struct node *n;
    if (drv->kind == NODE_FILTER) {
        n = node_new(file->graph, drv, NULL, flags);
        n->file = file;
        if (!drv->open(n, flat, flags, e)) {
            node_close(n, NULL);
            n = NULL;
        }
    } else {
        n = open_on(file, drv, file->filename, flat, flags, 0, e);
    }
    json_free(flat);
    return n;
}

/* What options that nodes of all kinds have set in the node. */
struct common {
    bool no_discard;
    int detect_zeroes;
    char *node_name; /* the caller's to free, or to give to a node */
};

static bool parse_detect(const char *text, struct common *c, struct err *e)
{
    static const char *const names[] = {[DETECT_OFF] = "off", [DETECT_ON] = "on", [DETECT_UNMAP] = "unmap"};
    int i = 0;
    while (i < (int)ARRAY_LEN(names) && strcmp(text, names[i]))
        i++;
    if (i == ARRAY_LEN(names))
        return err_set(e, EINVAL, "invalid parameter value: %s", text);
    c->detect_zeroes = i;
    return i != DETECT_UNMAP || !c->no_discard ||
           err_set(e, EINVAL, "setting detect-zeroes to unmap is not allowed without setting discard operation to unmap");
}

/* Take them out of `options`. */
static bool take_common(const struct block_graph *g, struct json *options, u32 *flags, struct common *c, struct err *e)
{
    char *discard = NULL, *detect = NULL;
    bool read_only = !(*flags & OPEN_WRITE), share = *flags & OPEN_SHARE;
    bool good = opt_string(options, "node-name", &c->node_name, e) && opt_bool(options, "read-only", &read_only, e) &&
                opt_bool(options, "force-share", &share, e) && opt_string(options, "discard", &discard, e) &&
                opt_string(options, "detect-zeroes", &detect, e);
    bool ignore = discard && (!strcmp(discard, "ignore") || !strcmp(discard, "off"));
    c->no_discard = discard ? ignore : *flags & OPEN_NO_DISCARD;
    *flags &= ~(u32)OPEN_NO_DISCARD; /* of this node alone */
    if (good && discard && !ignore && strcmp(discard, "unmap") && strcmp(discard, "on"))
        good = err_set(e, EINVAL, "Invalid discard option");
    good = good && (!c->node_name || may_be_name(g, c->node_name, e)) && (!detect || parse_detect(detect, c, e));
    if (good && share && !read_only)
        good = err_set(e, EINVAL, "force-share=on can only be used with read-only images");
    if (read_only)
        *flags &= ~(u32)OPEN_WRITE;
    if (share)
        *flags |= OPEN_SHARE;
    free(discard);
    free(detect);
    return good;
}

/* `options` are flat; what is used is taken out. */
static struct node *open_node(struct block_graph *g, const char *filename, const char *format,
                              struct json *options, u32 flags, unsigned depth, struct err *e)
{
    if (filename && !strncmp(filename, "json:", 5)) {
        if (!parse_json(filename, options, e))
            return NULL;
        filename = NULL;
    }
    char *name = NULL;
    struct common common = {0};
    if (!opt_string(options, "driver", &name, e) || !take_common(g, options, &flags, &common, e)) {
        free(name);
        free(common.node_name);
        return NULL;
    }
    const char *wanted = name ? name : format;
    const struct driver *drv = wanted ? driver_by_name(wanted) : NULL;
    struct node *n = NULL;
    if (wanted && !drv)
        err_set(e, ENOENT, "Unknown driver '%s'", wanted);
    else if (!drv || drv->kind == NODE_FORMAT)
        n = open_format(g, drv, filename, options, flags, depth, e);
    else if (!filename || drv->kind != NODE_PROTOCOL || protocol_of(filename, options, &filename, e)) {
        n = node_new(g, drv, filename, flags);
        if (!drv->open(n, options, flags, e) || !all_taken(options, drv, e)) {
            node_close(n, NULL);
            n = NULL;
        }
    }
    if (n) {
        n->no_discard = common.no_discard;
        n->detect_zeroes = common.detect_zeroes;
    }
    if (n && common.node_name && !may_be_name(g, common.node_name, e)) { /* a child has it by now */
        node_close(n, NULL);
        n = NULL;
    }
    if (n && common.node_name)
        give_name(n, common.node_name);
    else
        free(common.node_name);
    free(name);
    return n;
}

struct node *node_open(struct block_graph *g, const char *filename, const char *format,
                       const struct json *options, u32 flags, struct err *e)
{
    struct json *flat = json_object();
    if (options)
        flatten(options, "", flat);
    struct node *n = open_node(g, filename, format, flat, flags, 0, e);
    json_free(flat);
    return n;
}

struct node *node_open_child(struct node *parent, const char *name, const char *filename,
                             const char *format, struct json *options, u32 flags, struct err *e)
{
    bool named;
    struct node *other = take_named(parent->graph, options, name, flags, &named, e);
    if (named)
        return other;
    struct json *group = opt_group(options, name);
    if (!group)
        group = json_object();
    if (json_get(group, "filename"))
        filename = NULL;
    struct node *n = open_node(parent->graph, filename, format, group, flags & ~(u32)OPEN_WRITE_THROUGH, parent->depth + 1, e);
    json_free(group);
    return n;
}

struct node *node_ref(struct node *n)
{
    n->refs++;
    return n;
}

bool node_make_writable(struct node *n, struct err *e)
{
    if (n->flags & OPEN_WRITE)
        return true;
    struct node *below[] = {n->file, n->data};
    for (unsigned i = 0; i < ARRAY_LEN(below); i++) {
        if (below[i] && !node_make_writable(below[i], e))
            return false;
    }
    n->flags |= OPEN_WRITE;
    if (lock_file(n, e) && (!n->drv->make_writable || n->drv->make_writable(n, e)))
        return true;
    n->flags &= ~(u32)OPEN_WRITE;
    return false;
}

bool node_close(struct node *n, struct err *e)
{
    if (!n || --n->refs)
        return true;
    node_drain(n);
    bool good = !n->drv || n->drv->close(n, e);
    bitmaps_free(n);
    struct node *children[] = {n->data, n->backing, n->file};
    for (unsigned i = 0; i < ARRAY_LEN(children); i++)
        good = node_close(children[i], good ? e : NULL) && good;
    n->graph->nodes--;
    forget_name(n);
    free(n->filename);
    free(n->backing_name);
    free(n->backing_format);
    free(n);
    return good;
}
