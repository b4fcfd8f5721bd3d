/* Commands that look at images: info, map, check, measure. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "cmd/img/img.h"

/* ---- info ---- */

static void print_value(const struct json *j)
{
    if (j->kind == JSON_BOOL)
        printf("%s\n", j->boolean ? "true" : "false");
    else if (j->kind == JSON_INT)
        printf("%" PRId64 "\n", j->integer);
    else
        printf("%s\n", j->kind == JSON_STRING ? j->string : "");
}

void img_print_specific(const struct json *j, unsigned depth)
{
    unsigned i = 0;
    for (const struct json *c = j->first; c; c = c->next, i++) {
        char index[32];
        snprintf(index, sizeof(index), "[%u]", i);
        printf("%*s", (int)depth * 4, "");
        for (const char *s = c->key ? c->key : index; *s; s++)
            putchar(c->key && *s == '-' ? ' ' : *s);
        bool nested = c->kind == JSON_OBJECT || c->kind == JSON_LIST;
        printf(nested ? ":\n" : ": ");
        if (nested)
            img_print_specific(c, depth + 1);
        else
            print_value(c);
    }
}

static void print_snapshots(const struct snapshot_info *list, size_t count)
{
    printf("Snapshot list:\n%-10s%-17s%8s%20s%13s%11s\n", "ID", "TAG", "VM SIZE", "DATE", "VM CLOCK", "ICOUNT");
    for (size_t i = 0; i < count; i++) {
        const struct snapshot_info *s = &list[i];
        char size[32], date[32], clock[64], icount[32] = "";
        time_t t = (time_t)s->date_sec;
        struct tm tm;
        localtime_r(&t, &tm);
        strftime(date, sizeof(date), "%Y-%m-%d %H:%M:%S", &tm);
        u64 sec = s->vm_clock_nsec / 1000000000;
        snprintf(clock, sizeof(clock), "%02" PRIu64 ":%02d:%02d.%03d", sec / 3600, (int)(sec / 60 % 60),
                 (int)(sec % 60), (int)(s->vm_clock_nsec / 1000000 % 1000));
        if (s->has_icount)
            snprintf(icount, sizeof(icount), "%" PRIu64, s->icount);
        printf("%-9s %-16s %8s%20s%13s%11s\n", s->id, s->name, img_size(s->vm_size, size, sizeof(size)), date, clock, icount);
    }
}

static struct json *snapshots_json(const struct snapshot_info *list, size_t count)
{
    struct json *all = json_list();
    for (size_t i = 0; i < count; i++) {
        const struct snapshot_info *s = &list[i];
        struct json *o = json_object();
        if (s->has_icount)
            json_set_int(o, "icount", (s64)s->icount);
        json_set_int(o, "vm-clock-nsec", (s64)(s->vm_clock_nsec % 1000000000));
        json_set_string(o, "name", s->name);
        json_set_int(o, "date-sec", (s64)s->date_sec);
        json_set_int(o, "date-nsec", s->date_nsec);
        json_set_int(o, "vm-clock-sec", (s64)(s->vm_clock_nsec / 1000000000));
        json_set_string(o, "id", s->id);
        json_set_int(o, "vm-state-size", (s64)s->vm_size);
        json_push(all, o);
    }
    return all;
}

static struct json *info_json(const char *filename, struct node *n, const struct image_info *i,
                              const struct snapshot_info *list, size_t count)
{
    struct json *o = json_object();
    if (count)
        json_set(o, "snapshots", snapshots_json(list, count));
    if (i->backing_format)
        json_set_string(o, "backing-filename-format", i->backing_format);
    json_set_int(o, "virtual-size", (s64)node_size(n));
    json_set_string(o, "filename", filename);
    if (i->cluster_size)
        json_set_int(o, "cluster-size", (s64)i->cluster_size);
    json_set_string(o, "format", node_format(n));
    if (i->actual_size != UINT64_MAX)
        json_set_int(o, "actual-size", (s64)i->actual_size);
    if (i->specific) {
        struct json *s = json_set(o, "format-specific", json_object());
        json_set_string(s, "type", node_format(n));
        json_set(s, "data", json_copy(i->specific));
    }
    if (i->encrypted)
        json_set_bool(o, "encrypted", true);
    if (i->full_backing)
        json_set_string(o, "full-backing-filename", i->full_backing);
    if (i->backing)
        json_set_string(o, "backing-filename", i->backing);
    if (i->actual_size != UINT64_MAX || i->cluster_size)
        json_set_bool(o, "dirty-flag", i->dirty);
    return o;
}

static void info_text(const char *filename, struct node *n, const struct image_info *i,
                      const struct snapshot_info *list, size_t count)
{
    char a[32], b[32];
    printf("image: %s\nfile format: %s\nvirtual size: %s (%" PRIu64 " bytes)\ndisk size: %s\n", filename,
           node_format(n), img_size(node_size(n), a, sizeof(a)), node_size(n),
           i->actual_size == UINT64_MAX ? "unavailable" : img_size(i->actual_size, b, sizeof(b)));
    if (i->encrypted)
        printf("encrypted: yes\n");
    if (i->cluster_size)
        printf("cluster_size: %" PRIu64 "\n", i->cluster_size);
    if (i->dirty)
        printf("cleanly shut down: no\n");
    if (i->backing) {
        printf("backing file: %s", i->backing);
        if (i->full_backing && strcmp(i->full_backing, i->backing))
            printf(" (actual path: %s)", i->full_backing);
        printf("\n");
        if (i->backing_format)
            printf("backing file format: %s\n", i->backing_format);
    }
    if (count)
        print_snapshots(list, count);
    if (i->specific) {
        printf("Format specific information:\n");
        img_print_specific(i->specific, 1);
    }
}

/* One image of the chain; *next is the name of the one behind it. */
static bool info_one(struct img *m, const char *filename, const char *format, struct json **json, bool first,
                     char **next, char **next_format)
{
    struct node *n = img_open(m, filename, format, m->image_opts && first, OPEN_NO_BACKING | OPEN_NO_IO | OPEN_CHECK, NULL);
    struct image_info info;
    struct snapshot_info *list = NULL;
    size_t count = 0;
    if (!n)
        return false;
    bool good = node_info(n, &info, &m->e) && node_snapshot_list(n, &list, &count, &m->e);
    bool by_options = m->image_opts || !strncmp(filename, "json:", 5);
    const char *shown = node_file(n) && (by_options || strcmp(node_format(node_file(n)), "file")) ? node_filename(node_file(n)) : filename;
    if (!good) {
        img_error(m);
    } else if (img_json(m)) {
        *json = info_json(shown, n, &info, list, count);
    } else {
        if (!first)
            printf("\n");
        info_text(shown, n, &info, list, count);
    }
    if (good && m->chain && info.full_backing) {
        *next = xstrdup(info.full_backing);
        *next_format = info.backing_format ? xstrdup(info.backing_format) : NULL;
    }
    snapshot_list_free(list, count);
    image_info_free(&info);
    node_close(n, NULL);
    return good;
}

int img_info(struct img *m)
{
    if (m->nfiles != 1)
        return img_usage(m, "Expecting one image file name");
    struct json *all = json_list();
    char *name = xstrdup(m->files[0]), *format = m->format ? xstrdup(m->format) : NULL;
    bool good = true;
    for (unsigned depth = 0; name && good; depth++) {
        char *next = NULL, *next_format = NULL;
        struct json *one = NULL;
        good = depth < 1000 ? info_one(m, name, format, &one, !depth, &next, &next_format)
                            : img_fail(m, "Backing file '%s' creates an infinite loop.", name) == 0;
        if (one)
            json_push(all, one);
        free(name);
        free(format);
        name = next;
        format = next_format;
    }
    free(name);
    free(format);
    if (good && img_json(m)) {
        char *text = json_text(m->chain ? all : all->first, true);
        printf("%s\n", text);
        free(text);
    }
    json_free(all);
    return good ? 0 : 1;
}

int img_snapshot(struct img *m)
{
    if (m->nfiles != 1)
        return img_usage(m, "Expecting one image file name");
    if (m->qemu && !m->action)
        return 0;
    int what = m->action ? m->action : 'l';
    bool list_only = what == 'l';
    struct node *n = img_open(m, m->files[0], m->format, m->image_opts,
                              list_only ? OPEN_NO_BACKING | OPEN_NO_IO : OPEN_WRITE, NULL);
    if (!n)
        return 1;
    struct snapshot_info *list;
    size_t count;
    const char *name = m->action_arg;
    int status = 0;
    if (list_only) {
        if (!node_snapshot_list(n, &list, &count, &m->e))
            status = img_error(m);
        else if (count)
            print_snapshots(list, count);
        snapshot_list_free(list, count);
    } else if (what == 'c' && !node_snapshot_create(n, name, NULL, &m->e)) {
        status = m->e.code == ENOTSUP ? img_fail(m, "Could not create snapshot '%s': -95 (Operation not supported)", name)
                                      : img_fail(m, "Could not create snapshot '%s': %s", name, m->e.text);
    } else if (what == 'a' && !node_snapshot_apply(n, name, &m->e)) {
        status = img_fail(m, "Could not apply snapshot '%s': %s", name,
                          m->qemu && m->e.code == ENOENT ? "Failed to load snapshot: No such file or directory" : m->e.text);
    } else if (what == 'd' && !node_snapshot_delete(n, name, &m->e)) {
        status = img_fail(m, "Could not delete snapshot '%s': %s", name, m->e.text);
    }
    return img_close(m, n, status);
}

/* ---- map ---- */

struct map_entry {
    u64 start, len, offset;
    u32 flags;
    unsigned depth;
    const char *file;
};

static bool continues(const struct map_entry *a, const struct map_entry *b)
{
    u32 shown = STATUS_DATA | STATUS_ZERO | STATUS_OFFSET | STATUS_ALLOCATED | STATUS_COMPRESSED;
    return a->len && a->depth == b->depth && !((a->flags ^ b->flags) & shown) && a->file == b->file &&
           (!(a->flags & STATUS_OFFSET) || a->offset + a->len == b->offset);
}

static const char *yes(bool v)
{
    return v ? "true" : "false";
}

static int map_print(struct img *m, const struct map_entry *x, bool first, bool last)
{
    if (img_json(m)) {
        printf("%s{ \"start\": %" PRIu64 ", \"length\": %" PRIu64 ", \"depth\": %u, \"present\": %s, \"zero\": %s, \"data\": %s",
               first ? "[" : "", x->start, x->len, x->depth, yes(x->flags & STATUS_ALLOCATED),
               yes(x->flags & STATUS_ZERO), yes(x->flags & STATUS_DATA));
        if (x->flags & STATUS_OFFSET)
            printf(", \"offset\": %" PRIu64, x->offset);
        printf(last ? "}]\n" : "},\n");
        return 0;
    }
    if ((x->flags & STATUS_DATA) && !(x->flags & STATUS_OFFSET))
        return img_fail(m, "File contains external, encrypted or compressed clusters.");
    if ((x->flags & (STATUS_DATA | STATUS_ZERO)) == STATUS_DATA)
        printf("%#-16" PRIx64 "%#-16" PRIx64 "%#-16" PRIx64 "%s\n", x->start, x->len, x->offset, x->file);
    return 0;
}

bool img_is_hollow(struct img *m, struct node *n)
{
    struct image_info info;
    if (!node_file(n) || !node_info(n, &info, &m->e))
        return false;
    const struct json *data_file = info.specific ? json_get(info.specific, "data-file-raw") : NULL;
    u64 there = info.cluster_size ? info.actual_size / info.cluster_size : 0, most = MAX(there * 10 / 9, there + 2) - 1;
    u64 bytes = most * info.cluster_size;
    bool hollow = info.cluster_size && !data_file && bytes < node_size(node_file(n));
    image_info_free(&info);
    return hollow && node_uses_more(n, bytes, &hollow, &m->e) && hollow;
}

int img_status(struct node *n, bool hollow, u64 at, u64 len, struct blk_status *s, unsigned *depth)
{
    struct blk_status below;
    int error = node_status_chain(n, at, len, s, depth);
    if (error)
        return error;
    if (hollow && (s->flags & STATUS_DATA) && (s->flags & STATUS_OFFSET) && !*depth &&
        !node_status(s->file, s->host, s->len, &below)) {
        s->len = below.len;
        s->flags |= below.flags & STATUS_ZERO;
    }
    return 0;
}

static int map_at(struct node *n, u64 at, u64 len, bool hollow, struct map_entry *x)
{
    struct blk_status s;
    int error = img_status(n, hollow, at, len, &s, &x->depth);
    if (error)
        return error;
    *x = (struct map_entry){.start = at, .len = s.len, .flags = s.flags, .depth = x->depth};
    if (s.flags & STATUS_OFFSET) {
        x->offset = s.host;
        x->file = node_filename(s.file);
    }
    return 0;
}

int img_map(struct img *m)
{
    if (m->nfiles != 1)
        return img_usage(m, "Expecting one image file name");
    struct node *n = img_open(m, m->files[0], m->format, m->image_opts, 0, NULL);
    if (!n)
        return 1;
    if (!img_json(m))
        printf("%-16s%-16s%-16s%s\n", "Offset", "Length", "Mapped to", "File");
    u64 at = m->start, end = node_size(n);
    if (m->has_max_length && m->max_length < end - MIN(at, end))
        end = at + m->max_length;
    struct map_entry open = {0}, x = {0};
    bool first = true, hollow = img_is_hollow(m, n);
    int status = 0;
    while (at < end && !status) {
        int error = map_at(n, at, end - at, hollow, &x);
        if (error) {
            status = img_fail(m, "Failed to read image metadata: %s", strerror(error));
            break;
        }
        at += x.len;
        if (continues(&open, &x)) {
            open.len += x.len;
            continue;
        }
        if (open.len) {
            status = map_print(m, &open, first, false);
            first = false;
        }
        open = x;
    }
    if (!status && open.len)
        status = map_print(m, &open, first, true);
    else if (!status && img_json(m))
        printf("[]\n");
    return img_close(m, n, status);
}

/* ---- check ---- */

struct check_show {
    struct img *m;
    struct progress bar;
};

static void check_line(struct check_result *c, const char *line)
{
    struct check_show *s = c->opaque;
    progress_clear(&s->bar);
    if (!s->m->quiet)
        fprintf(stderr, "%s\n", line);
}

/* As if the check went through the disk from front to back. */
static void check_progress(struct check_result *c, u64 done, u64 total)
{
    struct check_show *s = c->opaque;
    progress_show(&s->bar, (u64)((double)done / (double)total * (double)s->bar.total));
}

static void check_print(const struct check_result *c, bool repaired)
{
    if (repaired && (c->corruptions_fixed || c->leaks_fixed))
        printf("The following inconsistencies were found and repaired:\n\n"
               "    %" PRIu64 " leaked clusters\n    %" PRIu64 " corruptions\n\n"
               "Double checking the fixed image now...\n", c->leaks_fixed, c->corruptions_fixed);
}

static void check_summary(const struct check_result *c)
{
    if (!c->corruptions && !c->leaks)
        printf("No errors were found on the image.\n");
    if (c->corruptions)
        printf("\n%" PRIu64 " errors were found on the image.\n"
               "Data may be corrupted, or further writes to the image may corrupt it.\n", c->corruptions);
    if (c->leaks)
        printf("\n%" PRIu64 " leaked clusters were found on the image.\n"
               "This means waste of disk space, but no harm to data.\n", c->leaks);
    if (c->total_clusters && c->allocated_clusters)
        printf("%" PRIu64 "/%" PRIu64 " = %0.2f%% allocated, %0.2f%% fragmented, %0.2f%% compressed clusters\n",
               c->allocated_clusters, c->total_clusters,
               (double)c->allocated_clusters * 100.0 / (double)c->total_clusters,
               (double)c->fragmented_clusters * 100.0 / (double)c->allocated_clusters,
               (double)c->compressed_clusters * 100.0 / (double)c->allocated_clusters);
    if (c->image_end)
        printf("Image end offset: %" PRIu64 "\n", c->image_end);
}

static void check_json(const struct img *m, struct node *n, const struct check_result *c)
{
    struct json *o = json_object();
    const struct { const char *name; u64 v; bool always; } rows[] = {
        {"image-end-offset", c->image_end, false}, {"total-clusters", c->total_clusters, false},
        {"check-errors", 0, true}, {"corruptions", c->corruptions, false},
        {"leaks", c->leaks, false}, {"corruptions-fixed", c->corruptions_fixed, false},
        {"leaks-fixed", c->leaks_fixed, false}, {"allocated-clusters", c->allocated_clusters, false},
        {"fragmented-clusters", c->fragmented_clusters, false},
        {"compressed-clusters", c->compressed_clusters, false},
    };
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        if (rows[i].always || rows[i].v)
            json_set_int(o, rows[i].name, (s64)rows[i].v);
    }
    json_set_string(o, "filename", m->files[0]);
    json_set_string(o, "format", node_format(n));
    char *text = json_text(o, true);
    printf("%s\n", text);
    free(text);
    json_free(o);
}

int img_check(struct img *m)
{
    u32 fix = 0;
    if (m->repair && !strcmp(m->repair, "leaks"))
        fix = FIX_LEAKS;
    else if (m->repair && !strcmp(m->repair, "all"))
        fix = FIX_LEAKS | FIX_ERRORS;
    else if (m->repair)
        return img_usage(m, "Unknown option value for -r (expecting 'leaks' or 'all'): %s", m->repair);
    if (m->nfiles != 1)
        return img_usage(m, "Expecting one image file name");
    struct node *n = img_open(m, m->files[0], m->format, m->image_opts,
                              (fix ? OPEN_WRITE : 0) | OPEN_CHECK | OPEN_NO_BACKING | OPEN_NO_IO, m->src_cache);
    if (!n)
        return 1;
    struct check_show show = {.m = m};
    progress_start(&show.bar, m, node_size(n));
    struct check_result c = {.report = check_line, .progress = check_progress, .opaque = &show};
    bool good = node_check(n, fix, &c, &m->e);
    if (good && fix && (c.corruptions_fixed || c.leaks_fixed)) {
        struct check_result again = {.report = check_line, .progress = check_progress, .opaque = &show};
        if (!m->quiet && !img_json(m))
            check_print(&c, true);
        good = node_check(n, 0, &again, &m->e);
        again.corruptions_fixed = c.corruptions_fixed;
        again.leaks_fixed = c.leaks_fixed;
        c = again;
    }
    progress_clear(&show.bar);
    int status = 0;
    if (!good && m->e.code == ENOTSUP) {
        img_fail(m, "This image format does not support checks");
        status = 63;
    } else if (!good) {
        status = img_fail(m, "Check failed: %s", m->e.text);
    } else {
        if (img_json(m))
            check_json(m, n, &c);
        else if (!m->quiet)
            check_summary(&c);
        status = c.corruptions ? 2 : c.leaks ? 3 : 0;
    }
    return img_close(m, n, status);
}

/* ---- measure ---- */

int img_measure(struct img *m)
{
    if (m->size && m->nfiles)
        return img_fail(m, "--size N cannot be used together with a filename.");
    if (!m->nfiles && (m->image_opts || m->format || m->snapshot))
        return img_fail(m, "--image-opts, -f, and -l require a filename argument.");
    if (!m->size == !m->nfiles || m->nfiles > 1)
        return img_fail(m, "Either --size N or one filename must be specified.");
    struct node *n = NULL;
    u64 size = 0, required, full, bitmaps;
    if (m->size) {
        if (size_parse(m->size, &size) && size > INT64_MAX)
            return img_fail(m, "Invalid image size specified. Must be between 0 and 9223372036854775807.");
        if (!size_parse(m->size, &size))
            return img_fail(m, "Invalid image size specified. You may use k, M, G, T, P or E suffixes for\n"
                               "%s: kilobytes, megabytes, gigabytes, terabytes, petabytes and exabytes.", m->name);
    } else {
        n = img_open(m, m->files[0], m->format, m->image_opts, 0, NULL);
        if (!n)
            return 1;
        if (m->snapshot && !img_load_snapshot(n, m->snapshot, &m->e))
            return img_close(m, n, img_fail(m, "Failed to load snapshot: %s", m->e.text));
        size = node_size(n);
    }
    int status = 0;
    if (!block_measure(m->out_format ? m->out_format : "raw", m->options, size, n, &required, &full, &bitmaps, &m->e)) {
        status = img_error(m);
    } else if (img_json(m)) {
        if (bitmaps != UINT64_MAX)
            printf("{\n    \"bitmaps\": %" PRIu64 ",\n", bitmaps);
        printf("%s    \"required\": %" PRIu64 ",\n    \"fully-allocated\": %" PRIu64 "\n}\n",
               bitmaps == UINT64_MAX ? "{\n" : "", required, full);
    } else {
        printf("required size: %" PRIu64 "\nfully allocated size: %" PRIu64 "\n", required, full);
        if (bitmaps != UINT64_MAX)
            printf("bitmaps size: %" PRIu64 "\n", bitmaps);
    }
    return img_close(m, n, status);
}
