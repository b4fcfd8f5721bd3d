/* blkdebug: fails requests by rules, to see what becomes of it. A rule belongs to an event of the format
 * above (or to none: then to each request), may hold for a state only, for a kind of request, for a sector.
 * Rules come as options or from a file of sections [inject-error] and [set-state]. Breakpoints hold requests (stops.h). */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "block/filter/filter.h"
#include "block/filter/stops.h"

enum { ANY_STATE = 0, FIRST_STATE = 1, MAX_RULES = 1000 };

static const char *const event_names[BLK_EVENTS] = {
    [EVENT_NONE] = "none",           [EVENT_READ_AIO] = "read_aio",     [EVENT_WRITE_AIO] = "write_aio",
    [EVENT_COW_READ] = "cow_read",   [EVENT_COW_WRITE] = "cow_write",   [EVENT_L1_UPDATE] = "l1_update",
    [EVENT_L2_UPDATE] = "l2_update", [EVENT_L2_LOAD] = "l2_load",       [EVENT_REFTABLE_UPDATE] = "reftable_update",
    [EVENT_REFBLOCK_UPDATE] = "refblock_update", [EVENT_FLUSH_TO_OS] = "flush_to_os",
    [EVENT_FLUSH_TO_DISK] = "flush_to_disk",         [EVENT_READ_BACKING_AIO] = "read_backing_aio",
    [EVENT_READ_COMPRESSED] = "read_compressed",     [EVENT_WRITE_COMPRESSED] = "write_compressed",
    [EVENT_COR_WRITE] = "cor_write",                 [EVENT_VMSTATE_LOAD] = "vmstate_load",
    [EVENT_VMSTATE_SAVE] = "vmstate_save",           [EVENT_CLUSTER_ALLOC] = "cluster_alloc",
    [EVENT_CLUSTER_ALLOC_BYTES] = "cluster_alloc_bytes", [EVENT_CLUSTER_FREE] = "cluster_free",
    [EVENT_REFBLOCK_ALLOC] = "refblock_alloc",       [EVENT_REFTABLE_GROW] = "reftable_grow",
    [EVENT_L1_GROW_ALLOC_TABLE] = "l1_grow_alloc_table", [EVENT_EMPTY_IMAGE_PREPARE] = "empty_image_prepare",
    [EVENT_PWRITEV] = "pwritev",     [EVENT_PWRITEV_ZERO] = "pwritev_zero",
};

struct rule {
    bool set_state;
    enum blk_event event;
    int state, new_state, error; /* error: an errno value */
    u32 ops;      /* bits of blk_op */
    s64 sector;   /* -1: any */
    bool once, armed, gone;
};

struct blkdebug {
    struct rule *rules;
    size_t count, cap;
    int state;
    struct stops stops;
};

static bool find_event(const char *name, enum blk_event *event, struct err *e)
{
    for (unsigned i = 0; i < BLK_EVENTS; i++) {
        if (!strcmp(event_names[i], name)) {
            *event = i;
            return true;
        }
    }
    return err_set(e, EINVAL, "Invalid event name \"%s\"", name);
}

static bool find_ops(const char *name, u32 *ops, struct err *e)
{
    static const char *const names[] = {[BLK_READ] = "read", [BLK_WRITE] = "write", [BLK_ZERO] = "write-zeroes",
                                        [BLK_DISCARD] = "discard", [BLK_FLUSH] = "flush", [BLK_STATUS] = "block-status"};
    for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
        if (!strcmp(names[i], name)) {
            *ops = 1u << i;
            return true;
        }
    }
    return err_set(e, EINVAL, "Invalid iotype \"%s\"", name);
}

/* One rule from its members; those used are taken out. */
static bool add_rule(struct blkdebug *s, bool set_state, struct json *o, struct err *e)
{
    u64 state = ANY_STATE, new_state = 0, error = EIO, sector = UINT64_MAX;
    char *event = NULL, *type = NULL;
    bool once = false, immediately = false;
    struct rule r = {.set_state = set_state, .ops = 1u << BLK_READ | 1u << BLK_WRITE | 1u << BLK_ZERO | 1u << BLK_DISCARD | 1u << BLK_FLUSH};
    bool good = opt_string(o, "event", &event, e) && opt_string(o, "iotype", &type, e) && opt_size(o, "state", &state, e) &&
                opt_size(o, "new_state", &new_state, e) && opt_size(o, "errno", &error, e) && opt_size(o, "sector", &sector, e) &&
                opt_bool(o, "once", &once, e) && opt_bool(o, "immediately", &immediately, e);
    if (good && !event)
        good = err_set(e, EINVAL, "Missing event name for rule");
    good = good && find_event(event, &r.event, e) && (!type || find_ops(type, &r.ops, e));
    if (good && (error > 4095 || !error || s->count >= MAX_RULES))
        good = err_set(e, EINVAL, "blkdebug: errno must be 1 to 4095, and rules fewer than %d", MAX_RULES);
    if (good && set_state && r.event == EVENT_NONE)
        good = err_set(e, EINVAL, "blkdebug: a change of state needs an event");
    free(event);
    free(type);
    r.state = (int)MIN(state, (u64)INT32_MAX);
    r.new_state = (int)MIN(new_state, (u64)INT32_MAX);
    r.error = (int)error;
    r.sector = (s64)sector;
    r.once = once;
    if (good)
        VEC_PUSH(s->rules, s->count, s->cap) = r;
    return good;
}

/* ---- the file ---- */

static char *trim(char *s)
{
    while (isspace((u8)*s))
        s++;
    size_t n = strlen(s);
    while (n && isspace((u8)s[n - 1]))
        s[--n] = 0;
    if (n >= 2 && s[0] == '"' && s[n - 1] == '"') {
        s[n - 1] = 0;
        s++;
    }
    return s;
}

static bool end_section(struct blkdebug *s, const char *section, struct json **o, struct err *e)
{
    bool good = true;
    if (*section) {
        good = !strcmp(section, "inject-error") || !strcmp(section, "set-state") || err_set(e, EINVAL, "There is no option group '%s'", section);
        good = good && add_rule(s, section[0] == 's', *o, e);
        if (good && (*o)->first)
            good = err_set(e, EINVAL, "Invalid parameter '%s'", (*o)->first->key);
    }
    json_free(*o);
    *o = json_object();
    return good;
}

static bool read_config(struct blkdebug *s, const char *path, struct err *e)
{
    FILE *f = fopen(path, "re");
    if (!f)
        return err_set(e, errno, "Could not read blkdebug config file '%s': %s", path, strerror(errno));
    char line[512], section[64] = "";
    struct json *o = json_object();
    bool good = true;
    while (good && fgets(line, sizeof(line), f)) {
        char *text = trim(line), *eq = strchr(text, '=');
        if (!*text || *text == '#')
            continue;
        if (*text == '[') {
            good = end_section(s, section, &o, e);
            snprintf(section, sizeof(section), "%.*s", (int)strcspn(text + 1, "]"), text + 1);
        } else if (eq && *section) {
            *eq = 0;
            char *key = trim(text);
            json_set_string(o, key, trim(eq + 1));
        } else {
            good = err_set(e, EINVAL, "%s: parse error in '%s'", path, text);
        }
    }
    good = good && end_section(s, section, &o, e);
    json_free(o);
    fclose(f);
    return good;
}

/* Rules among the options: "inject-error.0.event" ... */
static bool take_rules(struct blkdebug *s, const char *kind, struct json *options, struct err *e)
{
    bool good = true;
    for (unsigned i = 0; good && i < MAX_RULES; i++) {
        char prefix[64];
        snprintf(prefix, sizeof(prefix), "%s.%u", kind, i);
        struct json *o = opt_group(options, prefix);
        if (!o)
            break;
        good = add_rule(s, kind[0] == 's', o, e);
        if (good && o->first)
            good = err_set(e, EINVAL, "Invalid parameter '%s.%s'", prefix, o->first->key);
        json_free(o);
    }
    return good;
}

/* ---- at work ---- */

static void blkdebug_event(struct node *n, enum blk_event event)
{
    struct blkdebug *s = n->state;
    int next = s->state;
    for (size_t i = 0; i < s->count; i++) {
        struct rule *r = &s->rules[i];
        if (r->event != event || (r->state != ANY_STATE && r->state != s->state))
            continue;
        if (r->set_state)
            next = r->new_state;
        else
            r->armed = true;
    }
    s->state = next;
    stops_event(&s->stops, event);
}

/* The error that a rule has for this request; 0: none. */
static int failure_of(struct blkdebug *s, const struct blk_req *q)
{
    for (size_t i = 0; i < s->count; i++) {
        struct rule *r = &s->rules[i];
        bool now = r->event == EVENT_NONE ? r->state == ANY_STATE || r->state == s->state : r->armed;
        u64 at = (u64)r->sector * 512;
        bool here = r->sector < 0 || (q->op != BLK_FLUSH && at >= ALIGN_DOWN(q->offset, (u64)512) && at < q->offset + q->len);
        if (r->set_state || r->gone || !now || !here || !(r->ops >> q->op & 1))
            continue;
        r->gone = r->once;
        return r->error;
    }
    return 0;
}

static void go_on(struct node *n, struct blk_req *r)
{
    int error = failure_of(n->state, r);
    if (error)
        node_done_later(r, error);
    else
        filter_pass(n, r, 0);
}

static void blkdebug_submit(struct node *n, struct blk_req *r)
{
    struct blkdebug *s = n->state;
    if (r->op == BLK_WRITE || r->op == BLK_ZERO)
        blkdebug_event(n, r->op == BLK_WRITE ? EVENT_PWRITEV : EVENT_PWRITEV_ZERO);
    if (r->op == BLK_STATUS || !stops_hold(&s->stops, r))
        go_on(n, r);
}

static void blkdebug_cancel(struct node *n, struct blk_req *r)
{
    struct blkdebug *s = n->state;
    if (stops_forget(&s->stops, r))
        node_done_later(r, ECANCELED);
}

static bool blkdebug_break(struct node *n, const char *event, const char *tag, const struct break_watch *watch, struct err *e)
{
    struct blkdebug *s = n->state;
    enum blk_event which = EVENT_NONE;
    if (!find_event(event, &which, NULL))
        return err_set(e, ENOENT, "%s", strerror(ENOENT));
    stops_add(&s->stops, which, tag, watch);
    return true;
}

static bool blkdebug_resume(struct node *n, const char *tag, struct err *e)
{
    struct blkdebug *s = n->state;
    struct blk_req *r;
    if (!stops_resume(&s->stops, tag, &r))
        return err_set(e, ENOENT, "%s", strerror(ENOENT));
    if (r)
        go_on(n, r);
    return true;
}

static bool blkdebug_remove_break(struct node *n, const char *tag, struct err *e)
{
    struct blkdebug *s = n->state;
    bool found = stops_remove(&s->stops, tag);
    while (blkdebug_resume(n, tag, NULL))
        ;
    return found || err_set(e, ENOENT, "%s", strerror(ENOENT));
}

static bool blkdebug_reached(const struct node *n, const char *tag)
{
    const struct blkdebug *s = n->state;
    return stops_reached(&s->stops, tag);
}

static const struct break_ops break_ops = {
    .set = blkdebug_break, .resume = blkdebug_resume, .remove = blkdebug_remove_break, .reached = blkdebug_reached,
};

static bool blkdebug_open(struct node *n, struct json *options, u32 flags, struct err *e)
{
    struct blkdebug *s = xcalloc(1, sizeof(*s));
    char *config = NULL;
    n->state = s;
    s->state = FIRST_STATE;
    bool good = opt_string(options, "config", &config, e) && (!config || !*config || read_config(s, config, e)) &&
                take_rules(s, "inject-error", options, e) && take_rules(s, "set-state", options, e) &&
                filter_open_child(n, "image", options, flags, e);
    free(config);
    return good;
}

static bool blkdebug_close(struct node *n, struct err *e)
{
    struct blkdebug *s = n->state;
    if (s) {
        stops_remove(&s->stops, NULL);
        free(s->rules);
    }
    free(s);
    return true;
}

const struct driver driver_blkdebug = {
    .name = "blkdebug",
    .kind = NODE_FILTER,
    .open = blkdebug_open,
    .close = blkdebug_close,
    .submit = blkdebug_submit,
    .cancel = blkdebug_cancel,
    .event = blkdebug_event,
    .breaks = &break_ops,
    .truncate = filter_truncate,
};
