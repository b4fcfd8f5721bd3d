/* Breakpoints of blkdebug: requests that are held until somebody lets them go. */
#ifndef LYRE_BLOCK_FILTER_STOPS_H
#define LYRE_BLOCK_FILTER_STOPS_H

#include "block/node.h"

struct stop;

struct stops {
    struct stop *first; /* the newest */
};

void stops_add(struct stops *s, enum blk_event event, const char *tag, const struct break_watch *watch);
/* The event of a breakpoint: it holds the request that comes next. */
void stops_event(struct stops *s, enum blk_event event);
/* Whether the request is held now. */
bool stops_hold(struct stops *s, struct blk_req *r);
/* Take out what no request has come to yet, by tag (NULL: all); returns whether there was any. */
bool stops_remove(struct stops *s, const char *tag);
/* Take out one that holds a request, by tag (NULL: any). False: there is none. *r: who may go on now; NULL: another one holds it, too. */
bool stops_resume(struct stops *s, const char *tag, struct blk_req **r);
bool stops_reached(const struct stops *s, const char *tag);
/* Let go of the request without a word; returns whether it was held. */
bool stops_forget(struct stops *s, const struct blk_req *r);

#endif
