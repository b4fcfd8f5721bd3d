/* Errors for people: a function that can fail returns false (or NULL, or -1) and fills a struct err
 * with one line that says what is wrong and, where that is known, what to do about it. */
#ifndef LYRE_BASE_ERR_H
#define LYRE_BASE_ERR_H

#include "base/types.h"

struct err {
    int code; /* an errno value, or 0 where none fits */
    char text[512];
};

/* Fill `e` (NULL is allowed) and return false, so that `return err_set(...)` reads well. */
bool err_set(struct err *e, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Put "prefix: " before the text that is already there. Returns false. */
bool err_prefix(struct err *e, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
