/* The human monitor on jobs and limits of disks: commands of QMP in words. */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "monitor/hmp_impl.h"

enum { WORDS = 7 };

/* The words of a command, its flags apart. */
struct words {
    char *word[WORDS], *copy;
    unsigned count;
    bool force, present; /* -f, -n */
};

static struct words split(const char *args)
{
    struct words w = {0};
    for (; *args == '-' && isalpha((u8)args[1]); args += 2 + strspn(args + 2, " \t")) {
        w.force |= args[1] == 'f';
        w.present |= args[1] == 'n';
    }
    w.count = hmp_words(args, w.word, WORDS, &w.copy);
    return w;
}

/* Word `i` as a string member, if it is there. */
static void set_word(struct json *to, const char *key, const struct words *w, unsigned i)
{
    if (i < w->count)
        json_set_string(to, key, w->word[i]);
}

/* "5", or with K, M, G, T; without one it is in units of 2^shift. */
static bool set_number(struct json *to, const char *key, const char *text, unsigned shift)
{
    static const char units[] = "kmgt";
    char *end;
    u64 v = strtoull(text, &end, 10);
    const char *unit = *end ? strchr(units, *end | 32) : NULL;
    shift = unit ? 10 * (unsigned)(unit - units + 1) : shift;
    bool good = isdigit((u8)*text) && (!*end || (unit && !end[1])) && v <= (u64)INT64_MAX >> shift;
    json_set_int(to, key, good ? (s64)(v << shift) : 0);
    return good;
}

static bool run(struct hmp_call *h, const char *command, struct words *w, struct json *args, bool good, struct err *e)
{
    free(w->copy);
    if (good)
        return hmp_order(h, command, args, e);
    json_free(args);
    return err_set(e, EINVAL, "%s: wrong or missing parameters", command);
}

/* block_job_cancel is block-job-cancel: the command's own name with other dashes. */
bool hmp_job(struct hmp_call *h, struct err *e)
{
    char command[32];
    struct words w = split(h->args);
    struct json *args = json_object();
    snprintf(command, sizeof(command), "%.*s", (int)strcspn(h->line, " "), h->line);
    for (char *at = command; *at; at++)
        *at = *at == '_' ? '-' : *at;
    bool speed = !strcmp(command, "block-job-set-speed"), good = w.count == 1u + speed;
    set_word(args, "device", &w, 0);
    if (speed)
        good = good && set_number(args, "speed", w.word[1], 20);
    if (w.force)
        json_set_bool(args, "force", true);
    return run(h, command, &w, args, good, e);
}

bool hmp_block_stream(struct hmp_call *h, struct err *e)
{
    struct words w = split(h->args);
    struct json *args = json_object();
    set_word(args, "device", &w, 0);
    set_word(args, "base", &w, 2);
    bool good = w.count && w.count <= 3 && (w.count == 1 || set_number(args, "speed", w.word[1], 0));
    json_set_string(args, "on-error", "report");
    return run(h, "block-stream", &w, args, good, e);
}

/* drive_backup and drive_mirror. */
bool hmp_copy(struct hmp_call *h, struct err *e)
{
    struct words w = split(h->args);
    struct json *args = json_object();
    set_word(args, "device", &w, 0);
    set_word(args, "target", &w, 1);
    set_word(args, "format", &w, 2);
    json_set_string(args, "sync", w.force ? "full" : "top");
    json_set_string(args, "mode", w.present ? "existing" : "absolute-paths");
    return run(h, h->line[6] == 'b' ? "drive-backup" : "drive-mirror", &w, args, w.count == 2 || w.count == 3, e);
}

bool hmp_snapshot(struct hmp_call *h, struct err *e)
{
    struct words w = split(h->args);
    struct json *args = json_object();
    set_word(args, "device", &w, 0);
    set_word(args, "snapshot-file", &w, 1);
    set_word(args, "format", &w, 2);
    return run(h, "blockdev-snapshot-sync", &w, args, w.count && w.count <= 3, e);
}

bool hmp_throttle(struct hmp_call *h, struct err *e)
{
    static const char *const names[] = {"device", "bps", "bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr"};
    struct words w = split(h->args);
    struct json *args = json_object();
    bool good = w.count == WORDS;
    set_word(args, names[0], &w, 0);
    for (unsigned i = 1; i < WORDS && good; i++)
        good = set_number(args, names[i], w.word[i], 0);
    return run(h, "block_set_io_throttle", &w, args, good, e);
}

bool hmp_info_jobs(struct hmp_call *h, struct err *e)
{
    struct json *list = monitor_query(h->m, "query-block-jobs");
    for (const struct json *j = list->first; j; j = j->next) {
        const char *type = json_get_string(j, "type");
        bool stream = !strcmp(type, "stream");
        fprintf(h->out, "%s%s%s %s: Completed %lld of %lld bytes, speed limit %lld bytes/s\n", stream ? "Streaming" : "Type ",
                stream ? "" : type, stream ? " device" : ", device", json_get_string(j, "device"),
                (long long)json_get(j, "offset")->integer, (long long)json_get(j, "len")->integer,
                (long long)json_get(j, "speed")->integer);
    }
    if (!list->first)
        fprintf(h->out, "No active jobs\n");
    json_free(list);
    return true;
}
