/* For monitors: how much memory a balloon is to leave to the guest. */
#ifndef LYRE_DEV_VIRTIO_BALLOON_H
#define LYRE_DEV_VIRTIO_BALLOON_H

#include "dev/dev.h"

/* Is this one? */
bool balloon_is(const struct dev *d);
/* Ask the guest to give back all but so many bytes of `ram`. On the loop's thread. */
void balloon_set(struct dev *d, u64 ram, u64 bytes);
/* What the guest has left, as it says. */
u64 balloon_left(struct dev *d, u64 ram);

#endif
