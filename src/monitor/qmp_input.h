/* What a client of QMP sends, cut into values: JSON (RFC 8259), where strings may also be in single quotes. */
#ifndef LYRE_MONITOR_QMP_INPUT_H
#define LYRE_MONITOR_QMP_INPUT_H

#include "base/types.h"

enum qmp_input_result {
    QMP_INPUT_MORE,  /* nothing is complete yet */
    QMP_INPUT_VALUE, /* `text` is a value; whether it is good JSON is its parser's to say */
    QMP_INPUT_STRAY, /* a byte that can be in no value: what has begun is dropped, and what follows up to a new value */
    QMP_INPUT_LONG,  /* a value longer than QMP_INPUT_MAX has ended */
};

enum { QMP_INPUT_MAX = 1 << 20 };

struct qmp_input {
    char *text; /* of the value that has begun or has just ended; the owner frees it at the end */
    size_t len, cap;
    int braces, brackets;
    char quote; /* of the string that is open; 0: none */
    bool escaped, lost, skipping, ended;
};

void qmp_input_reset(struct qmp_input *in);

/* Take a byte. A value that is no list, object or string ends with the white space behind it. */
enum qmp_input_result qmp_input_take(struct qmp_input *in, char c);

#endif
