/* The state of an object as a table of its members: one line each gives save, load and its checks.
 *
 *      static const struct state_field pl031_state[] = {
 *          STATE(struct pl031, offset),
 *          STATE_MAX(struct pl031, mask, 1),
 *          {0},
 *      };
 *
 * Members are unsigned integers of fixed width, bool, or arrays of these. */
#ifndef LYRE_STATE_STATE_H
#define LYRE_STATE_STATE_H

#include "base/err.h"
#include "base/types.h"
#include "data/json.h"

struct state_field {
    const char *name; /* the member's; NULL ends a table */
    u32 offset, count;
    u8 size;          /* bytes of an element */
    u64 max;          /* the largest value that an element may have */
};

#define STATE_MAX(type, member, most)                                                              \
    {#member, offsetof(type, member), 1, sizeof(((type *)0)->member), most}
#define STATE(type, member) STATE_MAX(type, member, ~0ull)
/* `element` is the type of what the array, of any dimensions, holds. */
#define STATE_ARRAY_MAX(type, member, element, most)                                               \
    {#member, offsetof(type, member), sizeof(((type *)0)->member) / (sizeof(element)), sizeof(element), most}
#define STATE_ARRAY(type, member, element) STATE_ARRAY_MAX(type, member, element, ~0ull)

/* An object with a member for each field; the caller frees it. */
struct json *state_save(const struct state_field *fields, const void *object);

/* All of the fields, or, on failure, none: a value that is missing, unknown or out of range is named. */
bool state_load(const struct state_field *fields, void *object, const struct json *from, struct err *e);

#endif
