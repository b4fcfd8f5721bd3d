/* Reading files that are memory: what cannot be read is noticed. */
#ifndef LYRE_CMD_IMG_LENT_H
#define LYRE_CMD_IMG_LENT_H

#include "block/block.h"

/* From now on until lent_end(), this thread may read what lent_memory() returned; the rest is as it was. */
bool lent_begin(void);
void lent_end(void);

/* As node_memory(). Pieces that do not overlap are not in one page, so that what is broken belongs to one of them. */
const u8 *lent_memory(struct node *n, u64 offset, u64 len);

/* Whether something could not be read, and zeros were seen in its place, since lent_begin(). */
bool lent_broken(void);

#endif
