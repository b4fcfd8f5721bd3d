/* Images that refer to each other by name: -blockdev describes a graph node by node, each after those that it uses. */
#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "machine/impl.h"

/* The image of that name that was described before number `before`; -1: none. */
static s64 find(const struct machine *m, const char *name, size_t before)
{
    for (size_t i = 0; i < before; i++) {
        if (m->opts->drives[i].options && !strcmp(m->opts->drives[i].id, name))
            return (s64)i;
    }
    return -1;
}

/* What another description means where its name stands. */
static struct json *describe(const struct machine *m, size_t of, bool *used)
{
    const struct machine_drive *d = &m->opts->drives[of];
    struct json *j = machine_blockdev(m, of, used);
    json_free(json_take(j, "node-name"));
    json_free(json_take(j, "auto-read-only")); /* a node is opened as the one above needs it */
    if (!(d->flags & OPEN_WRITE))
        json_set_bool(j, "read-only", true);
    used[of] = true;
    return j;
}

struct json *machine_blockdev(const struct machine *m, size_t i, bool *used)
{
    static const char *const children[] = {"file", "backing", "data-file"};
    struct json *j = json_copy(m->opts->drives[i].options);
    for (unsigned k = 0; k < ARRAY_LEN(children); k++) {
        const char *name = json_get_string(j, children[k]);
        s64 other = name ? find(m, name, i) : -1;
        if (other >= 0)
            json_set(j, children[k], describe(m, (size_t)other, used));
    }
    return j;
}
