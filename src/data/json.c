#include "data/json.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum { MAX_DEPTH = 64 };

/* ---- making ---- */

static struct json *make(enum json_kind kind)
{
    struct json *j = xcalloc(1, sizeof(*j));
    j->kind = kind;
    return j;
}

struct json *json_object(void)
{
    return make(JSON_OBJECT);
}

struct json *json_list(void)
{
    return make(JSON_LIST);
}

struct json *json_string(const char *s)
{
    struct json *j = make(JSON_STRING);
    j->string = xstrdup(s);
    return j;
}

struct json *json_int(s64 v)
{
    struct json *j = make(JSON_INT);
    j->integer = v;
    return j;
}

struct json *json_bool(bool v)
{
    struct json *j = make(JSON_BOOL);
    j->boolean = v;
    return j;
}

void json_free(struct json *j)
{
    if (!j)
        return;
    if (j->kind == JSON_STRING)
        free(j->string);
    if (j->kind == JSON_LIST || j->kind == JSON_OBJECT) {
        struct json *next;
        for (struct json *c = j->first; c; c = next) {
            next = c->next;
            json_free(c);
        }
    }
    free(j->key);
    free(j);
}

void json_push(struct json *list, struct json *value)
{
    value->next = NULL;
    if (list->last)
        list->last->next = value;
    else
        list->first = value;
    list->last = value;
}

struct json *json_take(struct json *object, const char *key)
{
    struct json *prev = NULL;
    for (struct json *c = object->first; c; prev = c, c = c->next) {
        if (strcmp(c->key, key))
            continue;
        *(prev ? &prev->next : &object->first) = c->next;
        if (object->last == c)
            object->last = prev;
        c->next = NULL;
        return c;
    }
    return NULL;
}

struct json *json_set(struct json *object, const char *key, struct json *value)
{
    json_free(json_take(object, key));
    free(value->key);
    value->key = xstrdup(key);
    json_push(object, value);
    return value;
}

void json_set_string(struct json *object, const char *key, const char *v)
{
    json_set(object, key, json_string(v));
}

void json_set_owned(struct json *object, const char *key, char *v)
{
    json_set_string(object, key, v);
    free(v);
}

void json_set_u64(struct json *object, const char *key, u64 v)
{
    json_set(object, key, json_int((s64)v))->large = v > INT64_MAX;
}

void json_set_int(struct json *object, const char *key, s64 v)
{
    json_set(object, key, json_int(v));
}

void json_set_bool(struct json *object, const char *key, bool v)
{
    json_set(object, key, json_bool(v));
}

void json_set_null(struct json *object, const char *key)
{
    json_set(object, key, make(JSON_NULL));
}

struct json *json_get(const struct json *object, const char *key)
{
    struct json *c = object && object->kind == JSON_OBJECT ? object->first : NULL;
    while (c && strcmp(c->key, key))
        c = c->next;
    return c;
}

const char *json_get_string(const struct json *object, const char *key)
{
    const struct json *j = json_get(object, key);
    return j && j->kind == JSON_STRING ? j->string : NULL;
}

struct json *json_copy(const struct json *j)
{
    struct json *copy = make(j->kind);
    if (j->kind == JSON_STRING) {
        copy->string = xstrdup(j->string);
    } else if (j->kind == JSON_LIST || j->kind == JSON_OBJECT) {
        for (const struct json *c = j->first; c; c = c->next) {
            struct json *child = json_copy(c);
            child->key = c->key ? xstrdup(c->key) : NULL;
            json_push(copy, child);
        }
    } else {
        copy->integer = j->integer;
        if (j->kind == JSON_REAL)
            copy->real = j->real;
    }
    return copy;
}

/* ---- reading ---- */

struct parser {
    const char *text, *at;
    struct err *e;
    unsigned depth;
};

static struct json *parse_value(struct parser *p);

static void *fail(struct parser *p, const char *what)
{
    err_set(p->e, EINVAL, "JSON: %s at character %zu", what, (size_t)(p->at - p->text) + 1);
    return NULL;
}

static void skip_space(struct parser *p)
{
    p->at += strspn(p->at, " \t\r\n");
}

static bool take(struct parser *p, char c)
{
    skip_space(p);
    if (*p->at != c)
        return false;
    p->at++;
    return true;
}

static bool hex4(struct parser *p, u32 *v)
{
    *v = 0;
    for (int i = 0; i < 4; i++) {
        char c = *p->at;
        int digit = c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
        if (digit < 0)
            return false;
        *v = *v << 4 | (u32)digit;
        p->at++;
    }
    return true;
}

/* One code point as UTF-8; returns how many bytes. */
static size_t put_utf8(char *to, u32 c)
{
    if (c < 0x80) {
        to[0] = (char)c;
        return 1;
    }
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i; i--, c >>= 6)
        to[i] = (char)(0x80 | (c & 0x3f));
    to[0] = (char)(c | (0xf00u >> n & 0xff));
    return n;
}

/* What follows a backslash. Returns the bytes written, 0 on failure. */
static size_t parse_escape(struct parser *p, char *to)
{
    static const char from[] = "\"\\/bfnrt", with[] = "\"\\/\b\f\n\r\t";
    char c = *p->at;
    const char *known = c ? strchr(from, c) : NULL;
    if (known) {
        p->at++;
        *to = with[known - from];
        return 1;
    }
    u32 code, low;
    if (c != 'u')
        return 0;
    p->at++;
    if (!hex4(p, &code) || !code)
        return 0;
    if (code >= 0xd800 && code < 0xdc00) {
        if (p->at[0] != '\\' || p->at[1] != 'u')
            return 0;
        p->at += 2;
        if (!hex4(p, &low) || low < 0xdc00 || low > 0xdfff)
            return 0;
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
    return put_utf8(to, code);
}

/* The text between quotes; single quotes are taken, too, as users write them in shells. */
static char *parse_string(struct parser *p)
{
    char quote = *p->at++;
    char *s = xmalloc(strlen(p->at) + 1), *to = s;
    while (*p->at != quote) {
        size_t n = 1;
        if ((u8)*p->at < 0x20) {
            n = 0;
        } else if (*p->at == '\\') {
            p->at++;
            n = parse_escape(p, to);
        } else {
            *to = *p->at++;
        }
        if (!n) {
            free(s);
            return fail(p, "bad string");
        }
        to += n;
    }
    p->at++;
    *to = 0;
    return s;
}

static struct json *parse_number(struct parser *p)
{
    char *end;
    errno = 0;
    long long v = strtoll(p->at, &end, 10);
    struct json *j;
    if (*end == '.' || *end == 'e' || *end == 'E' || errno == ERANGE) {
        double real = strtod(p->at, &end);
        j = make(JSON_REAL);
        j->real = real;
    } else {
        j = json_int(v);
    }
    if (end == p->at || *p->at == '+') {
        json_free(j);
        return fail(p, "bad number");
    }
    p->at = end;
    return j;
}

static struct json *parse_members(struct parser *p, struct json *to, char close)
{
    if (take(p, close))
        return to;
    do {
        char *key = NULL;
        skip_space(p);
        if (to->kind == JSON_OBJECT) {
            key = *p->at == '"' || *p->at == '\'' ? parse_string(p) : fail(p, "a name in quotes is missing");
            if (key && (json_get(to, key) || !take(p, ':'))) {
                fail(p, json_get(to, key) ? "a name that is there already" : "':' is missing");
                free(key);
                key = NULL;
            }
            if (!key) {
                json_free(to);
                return NULL;
            }
        }
        struct json *v = parse_value(p);
        if (!v) {
            free(key);
            json_free(to);
            return NULL;
        }
        v->key = key;
        json_push(to, v);
    } while (take(p, ','));
    if (take(p, close))
        return to;
    json_free(to);
    return fail(p, "',' or the closing bracket is missing");
}

static struct json *parse_word(struct parser *p)
{
    static const char *const words[] = {"null", "true", "false"};
    for (unsigned i = 0; i < 3; i++) {
        size_t n = strlen(words[i]);
        if (!strncmp(p->at, words[i], n)) {
            p->at += n;
            return i ? json_bool(i == 1) : make(JSON_NULL);
        }
    }
    return fail(p, "a value is missing");
}

static struct json *parse_value(struct parser *p)
{
    skip_space(p);
    if (++p->depth > MAX_DEPTH)
        return fail(p, "nested too deeply");
    struct json *j;
    char c = *p->at;
    if (c == '{' || c == '[') {
        p->at++;
        j = parse_members(p, make(c == '{' ? JSON_OBJECT : JSON_LIST), c == '{' ? '}' : ']');
    } else if (c == '"' || c == '\'') {
        char *s = parse_string(p);
        j = s ? make(JSON_STRING) : NULL;
        if (j)
            j->string = s;
    } else if (c == '-' || (c >= '0' && c <= '9')) {
        j = parse_number(p);
    } else {
        j = parse_word(p);
    }
    p->depth--;
    return j;
}

struct json *json_parse(const char *text, struct err *e)
{
    struct parser p = {.text = text, .at = text, .e = e};
    struct json *j = parse_value(&p);
    skip_space(&p);
    if (j && *p.at) {
        json_free(j);
        return fail(&p, "more text follows the value");
    }
    return j;
}

/* ---- writing ---- */

struct printer {
    char *text;
    size_t used, size;
    bool pretty;
};

static void put(struct printer *p, const char *fmt, ...) PRINTF_LIKE(2, 3);

static void put(struct printer *p, const char *fmt, ...)
{
    for (;;) {
        va_list ap;
        va_start(ap, fmt);
        int n = vsnprintf(p->text + p->used, p->size - p->used, fmt, ap);
        va_end(ap);
        if (p->used + (size_t)n < p->size) {
            p->used += (size_t)n;
            return;
        }
        p->size = (p->size + (size_t)n) * 2;
        p->text = xrealloc(p->text, p->size);
    }
}

static void put_string(struct printer *p, const char *s)
{
    put(p, "\"");
    for (; *s; s++) {
        const char *name = strchr("\"\\\b\f\n\r\t", *s);
        if (name)
            put(p, "\\%c", "\"\\bfnrt"[name - "\"\\\b\f\n\r\t"]);
        else if ((u8)*s < 0x20 || *s == 0x7f)
            put(p, "\\u%04x", *s);
        else
            put(p, "%c", *s);
    }
    put(p, "\"");
}

static void put_line(struct printer *p, unsigned depth)
{
    if (p->pretty)
        put(p, "\n%*s", (int)depth * 4, "");
}

static void put_value(struct printer *p, const struct json *j, unsigned depth)
{
    switch (j->kind) {
    case JSON_NULL:
        put(p, "null");
        break;
    case JSON_BOOL:
        put(p, j->boolean ? "true" : "false");
        break;
    case JSON_INT:
        put(p, j->large ? "%llu" : "%lld", (long long)j->integer);
        break;
    case JSON_REAL:
        put(p, isfinite(j->real) ? "%.17g" : "0", j->real);
        break;
    case JSON_STRING:
        put_string(p, j->string);
        break;
    case JSON_LIST:
    case JSON_OBJECT:
        put(p, j->kind == JSON_LIST ? "[" : "{");
        for (const struct json *c = j->first; c; c = c->next) {
            put_line(p, depth + 1);
            if (c->key) {
                put_string(p, c->key);
                put(p, ": ");
            }
            put_value(p, c, depth + 1);
            if (c->next)
                put(p, p->pretty ? "," : ", ");
        }
        put_line(p, depth);
        put(p, j->kind == JSON_LIST ? "]" : "}");
    }
}

char *json_text(const struct json *j, bool pretty)
{
    struct printer p = {.text = xmalloc(256), .size = 256, .pretty = pretty};
    put_value(&p, j, 0);
    return p.text;
}
