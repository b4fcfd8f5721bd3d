/* A monitor that a person types into: a line with an editor, a history, completion. The keys are those of GNU readline,
 * as far as a terminal of the VT100 kind sends them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "monitor/hmp.h"

enum { LINE_MAX_BYTES = 4096, HISTORY_MAX = 64 };

#define PROMPT "(qemu) "
enum { KEY_DELETE = 127 };

struct hmp {
    struct hmp_context context;
    struct chardev *chardev;
    struct char_user user;
    char line[LINE_MAX_BYTES];
    size_t len, cursor, shown; /* shown: where the terminal's cursor is */
    char escape[8];            /* of a key that sends several bytes, those that have come */
    size_t escape_len;
    char *history[HISTORY_MAX];
    size_t history_count, history_at; /* at: the line that is looked at; count: the one that is typed */
    bool open;
};

/* ---- out ---- */

static void say(struct hmp *h, const char *text)
{
    char_write(h->chardev, text, strlen(text));
}

/* The line anew; the terminal's cursor goes to ours. */
static void redraw(struct hmp *h)
{
    for (; h->shown; h->shown--)
        say(h, "\033[D");
    char_write(h->chardev, h->line, h->len);
    say(h, "\033[K");
    for (h->shown = h->len; h->shown > h->cursor; h->shown--)
        say(h, "\033[D");
}

static void prompt(struct hmp *h)
{
    h->len = h->cursor = h->shown = 0;
    h->history_at = h->history_count;
    say(h, PROMPT);
}

static void greet(struct hmp *h)
{
    struct json *v = monitor_query(h->context.monitor, "query-version"), *q = json_get(v, "qemu");
    char *text = xprintf("QEMU %lld.%lld.%lld monitor - type 'help' for more information\r\n",
                         (long long)json_get(q, "major")->integer, (long long)json_get(q, "minor")->integer,
                         (long long)json_get(q, "micro")->integer);
    say(h, text);
    free(text);
    json_free(v);
    prompt(h);
}

/* ---- editing ---- */

static void insert(struct hmp *h, const char *text, size_t n)
{
    if (h->len + n >= LINE_MAX_BYTES)
        return;
    memmove(h->line + h->cursor + n, h->line + h->cursor, h->len - h->cursor);
    memcpy(h->line + h->cursor, text, n);
    h->len += n;
    h->cursor += n;
}

static void erase(struct hmp *h, size_t from, size_t to)
{
    memmove(h->line + from, h->line + to, h->len - to);
    h->len -= to - from;
    h->cursor = from;
}

static size_t word_start(const struct hmp *h)
{
    size_t at = h->cursor;
    while (at && h->line[at - 1] == ' ')
        at--;
    while (at && h->line[at - 1] != ' ')
        at--;
    return at;
}

static void show_history(struct hmp *h, size_t at)
{
    if (at > h->history_count)
        return;
    const char *text = at < h->history_count ? h->history[at] : "";
    h->history_at = at;
    h->len = h->cursor = 0;
    insert(h, text, strlen(text));
}

static void remember(struct hmp *h)
{
    if (!h->len || (h->history_count && !strcmp(h->history[h->history_count - 1], h->line)))
        return;
    if (h->history_count == HISTORY_MAX) {
        free(h->history[0]);
        memmove(h->history, h->history + 1, sizeof(h->history) - sizeof(*h->history));
        h->history_count--;
    }
    h->history[h->history_count++] = xstrdup(h->line);
}

/* ---- completion ---- */

struct candidates {
    struct hmp *h;
    char common[64]; /* what all have in common */
    size_t typed, count;
    bool list;       /* show them */
};

static void candidate(void *opaque, const char *word, size_t typed)
{
    struct candidates *c = opaque;
    size_t n = 0;
    if (c->list) {
        say(c->h, word);
        say(c->h, "\r\n");
    }
    c->typed = typed;
    if (!c->count++) {
        strncpy(c->common, word, sizeof(c->common) - 1);
        return;
    }
    while (c->common[n] && c->common[n] == word[n])
        n++;
    c->common[n] = 0;
}

static void complete(struct hmp *h)
{
    struct candidates c = {.h = h};
    if (h->cursor != h->len)
        return;
    h->line[h->len] = 0;
    hmp_complete(h->line, candidate, &c);
    if (!c.count)
        return;
    if (strlen(c.common) > c.typed)
        insert(h, c.common + c.typed, strlen(c.common) - c.typed);
    if (c.count == 1) {
        insert(h, " ", 1);
        return;
    }
    if (strlen(c.common) > c.typed)
        return;
    struct candidates all = {.h = h, .list = true};
    say(h, "\r\n");
    hmp_complete(h->line, candidate, &all);
    say(h, PROMPT);
    h->shown = 0;
}

/* ---- keys ---- */

static void run_line(struct hmp *h)
{
    h->line[h->len] = 0;
    say(h, "\r\n");
    remember(h);
    h->context.history = (const char *const *)h->history;
    h->context.history_count = h->history_count;
    char *text = hmp_execute(&h->context, h->line);
    say(h, text);
    free(text);
    prompt(h);
}

static void left(struct hmp *h)
{
    h->cursor -= h->cursor > 0;
}

static void right(struct hmp *h)
{
    h->cursor += h->cursor < h->len;
}

static void to_start(struct hmp *h)
{
    h->cursor = 0;
}

static void to_end(struct hmp *h)
{
    h->cursor = h->len;
}

static void older(struct hmp *h)
{
    if (h->history_at)
        show_history(h, h->history_at - 1);
}

static void newer(struct hmp *h)
{
    show_history(h, h->history_at + 1);
}

static void delete_here(struct hmp *h)
{
    if (h->cursor < h->len)
        erase(h, h->cursor, h->cursor + 1);
}

static void delete_before(struct hmp *h)
{
    if (h->cursor)
        erase(h, h->cursor - 1, h->cursor);
}

static void delete_word(struct hmp *h)
{
    erase(h, word_start(h), h->cursor);
}

static void delete_rest(struct hmp *h)
{
    h->len = h->cursor;
}

static void delete_all(struct hmp *h)
{
    h->len = h->cursor = 0;
}

static const struct {
    const char *bytes;
    void (*act)(struct hmp *h);
} keys[] = {
    {"\001", to_start}, {"\002", left}, {"\004", delete_here}, {"\005", to_end}, {"\006", right}, {"\010", delete_before},
    {"\t", complete}, {"\013", delete_rest}, {"\016", newer}, {"\020", older}, {"\025", delete_all},
    {"\027", delete_word}, {"\177", delete_before}, {"\033[A", older}, {"\033[B", newer}, {"\033[C", right},
    {"\033[D", left}, {"\033[H", to_start}, {"\033[F", to_end}, {"\033[1~", to_start}, {"\033[3~", delete_here},
    {"\033[4~", to_end}, {"\033OA", older}, {"\033OB", newer}, {"\033OC", right}, {"\033OD", left}, {"\033OH", to_start},
    {"\033OF", to_end},
};

/* Bytes that are a key, or the beginning of one; what is neither is dropped. */
static void escaped(struct hmp *h, char byte)
{
    h->escape[h->escape_len++] = byte;
    bool begins = false;
    for (unsigned i = 0; i < ARRAY_LEN(keys); i++) {
        bool fits = !strncmp(keys[i].bytes, h->escape, h->escape_len);
        if (fits && strlen(keys[i].bytes) == h->escape_len) {
            h->escape_len = 0;
            keys[i].act(h);
            redraw(h);
            return;
        }
        begins |= fits;
    }
    if (!begins || h->escape_len == sizeof(h->escape))
        h->escape_len = 0;
}

static void key(struct hmp *h, char byte)
{
    if (h->escape_len) {
        escaped(h, byte);
    } else if (byte == '\r' || byte == '\n') {
        run_line(h);
    } else if ((u8)byte < 32 || byte == KEY_DELETE) {
        escaped(h, byte);
    } else {
        insert(h, &byte, 1);
        redraw(h);
    }
}

/* ---- the back end ---- */

static size_t line_room(void *opaque)
{
    return LINE_MAX_BYTES;
}

static void line_receive(void *opaque, const u8 *data, size_t len)
{
    for (size_t i = 0; i < len; i++)
        key(opaque, (char)data[i]);
}

/* On a mux it is greeted when it is first spoken to. */
static void line_event(void *opaque, enum char_event event)
{
    struct hmp *h = opaque;
    if (event == CHAR_FOCUSED && h->open)
        return;
    if (event == CHAR_FOCUSED || (event == CHAR_OPENED && !char_is_shared(h->chardev))) {
        h->open = true;
        greet(h);
    } else if (event == CHAR_CLOSED) {
        h->open = false;
    }
}

struct hmp *hmp_new(struct monitor *m, struct chardev *c, struct err *e)
{
    struct hmp *h = xcalloc(1, sizeof(*h));
    h->context.monitor = m;
    h->chardev = c;
    h->user = (struct char_user){.room = line_room, .receive = line_receive, .event = line_event, .opaque = h};
    if (char_attach(c, &h->user))
        return h;
    free(h);
    err_set(e, EBUSY, "character device '%s' is in use", char_id(c));
    return NULL;
}

void hmp_free(struct hmp *h)
{
    if (!h)
        return;
    char_detach(h->chardev, &h->user);
    for (size_t i = 0; i < h->history_count; i++)
        free(h->history[i]);
    free(h);
}
