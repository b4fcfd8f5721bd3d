/* JSON values as trees (RFC 8259), as QMP, `json:` file names and --output=json use them. Members of
 * an object keep their order. A tree is freed as a whole, by whoever holds its root. */
#ifndef LYRE_DATA_JSON_H
#define LYRE_DATA_JSON_H

#include "base/err.h"
#include "base/types.h"

enum json_kind { JSON_NULL, JSON_BOOL, JSON_INT, JSON_REAL, JSON_STRING, JSON_LIST, JSON_OBJECT };

struct json {
    enum json_kind kind;
    bool large; /* JSON_INT: one from 2^63 on, and `integer` is that less 2^64; they are written, and read as JSON_REAL */
    char *key;  /* in an object */
    union {
        bool boolean;
        s64 integer;
        double real;
        char *string;
        struct json *first; /* list, object */
    };
    struct json *last, *next; /* last child; next sibling */
};

/* At most 64 levels deep; objects with a member twice are refused. NULL on failure. */
struct json *json_parse(const char *text, struct err *e);
void json_free(struct json *j);
struct json *json_copy(const struct json *j);

struct json *json_object(void);
struct json *json_list(void);
struct json *json_string(const char *s);
struct json *json_int(s64 v);
struct json *json_bool(bool v);

/* Put a value at the end of an object (in place of a member of that name) or of a list; takes it over. */
struct json *json_set(struct json *object, const char *key, struct json *value);
void json_push(struct json *list, struct json *value);
void json_set_string(struct json *object, const char *key, const char *v);
void json_set_owned(struct json *object, const char *key, char *v); /* frees it */
void json_set_int(struct json *object, const char *key, s64 v);
void json_set_u64(struct json *object, const char *key, u64 v);
void json_set_bool(struct json *object, const char *key, bool v);
void json_set_null(struct json *object, const char *key);

/* The member, NULL if there is none. */
struct json *json_get(const struct json *object, const char *key);
/* Its string; NULL if there is none or it is something else. */
const char *json_get_string(const struct json *object, const char *key);

/* Take a member out; the caller frees it. */
struct json *json_take(struct json *object, const char *key);

/* Text on one line, or with members on lines of their own, indented by four. The caller frees it. */
char *json_text(const struct json *j, bool pretty);

#endif
