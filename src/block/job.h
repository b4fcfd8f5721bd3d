/* Jobs: long work on a graph that is in use meanwhile. A job runs on the graph's loop, a few pieces at a
 * time. When its work is done it tells its owner, who then calls job_finish() from outside of the loop's
 * callbacks: that changes the graph (or leaves it as it was) and frees the job.
 *
 *   stream   what comes from backing files above `base` goes into the top image
 *   commit   what images from `top` down to `base` hold goes into `base`
 *   backup   the content of the moment of the start goes to a target; writes wait until what they
 *            overwrite is copied
 *   mirror   the content goes to a target, with what is written meanwhile, until both are the same; then
 *            the target may take the source's place
 *
 * A root is a node that does nothing but pass requests on, so that what is below it can be exchanged. */
#ifndef LYRE_BLOCK_JOB_H
#define LYRE_BLOCK_JOB_H

#include "block/block.h"

struct block_job;

/* Takes `n` over. */
struct node *node_root(struct node *n);
/* What is below a root now. */
struct node *node_root_child(const struct node *root);

/* A new empty image on top of what the root has, which becomes its backing file: an external snapshot. The
 * file must not be in use; the image has the size of the old one. Waits. */
bool node_overlay(struct node *root, const char *filename, const char *format, struct err *e);
/* The same with an image that is open for writing, without its backing file ("backing": null); what it has as that file's name
 * stays. It is taken over, also on failure. */
bool node_put_overlay(struct node *root, struct node *overlay, struct err *e);

/* A filter in front of what the root has, with these options of its own, while devices use the root; and away with it. Wait. */
bool node_put_filter(struct node *root, const char *driver, const struct json *options, struct err *e);
bool node_take_filter(struct node *root, struct err *e);

enum job_sync {
    SYNC_FULL,   /* everything */
    SYNC_TOP,    /* what the source's own layer holds */
    SYNC_BITMAP, /* what a dirty bitmap says; it is clean from the start of the job on if the job succeeds */
    SYNC_NONE,   /* what is written after the start */
};
enum job_on_error { ON_ERROR_REPORT, ON_ERROR_IGNORE, ON_ERROR_STOP };

struct job_options {
    enum job_sync sync;         /* of backup and mirror */
    const char *bitmap;         /* of SYNC_BITMAP: the source's */
    enum job_on_error on_error; /* REPORT: the job fails. IGNORE: the piece is tried again later. STOP: pause */
    u64 speed;                  /* bytes a second; 0: as fast as it goes */
    bool target_is_zero;
    void (*changed)(struct block_job *j, void *opaque); /* the state has; may be NULL */
    void *opaque;
};

enum job_state {
    JOB_RUNNING,
    JOB_PAUSED,
    JOB_READY,   /* mirror: source and target are the same; goes on until job_complete() or job_cancel() */
    JOB_PENDING, /* nothing more to do but job_finish() */
};

/* NULL on failure. Nodes stay the caller's and outlive the job, `root` has `top` or the source below it. While it
 * runs, another job, an overlay, a change of the size and the like are refused with EBUSY. */
struct block_job *job_stream(struct node *root, struct node *base, const struct job_options *o, struct err *e);
/* `top` (NULL: what the root has) and below it `base` (NULL: its backing file) are in the chain. The base is made writable, and
 * takes the place of `top`: below the root, or as the backing file of the image above. */
struct block_job *job_commit(struct node *root, struct node *top, struct node *base, const struct job_options *o, struct err *e);
struct block_job *job_backup(struct node *root, struct node *target, const struct job_options *o, struct err *e);
struct block_job *job_mirror(struct node *root, struct node *target, const struct job_options *o, struct err *e);

const char *job_type(const struct block_job *j); /* "stream", "commit", "backup" or "mirror" */
enum job_state job_state(const struct block_job *j);
int job_error(const struct block_job *j); /* what it has met and does not go on from; 0: nothing */
u64 job_speed(const struct block_job *j); /* bytes a second; 0: as fast as it goes */
void job_progress(const struct block_job *j, u64 *done, u64 *total); /* bytes; of a mirror both may grow */
void job_pause(struct block_job *j);
void job_resume(struct block_job *j);
void job_set_speed(struct block_job *j, u64 speed);
/* Pieces under way end, soon; then the job is pending and will have changed nothing. */
void job_cancel(struct block_job *j);
/* Of a mirror that is ready: become pending, with the target in the source's place at the end. */
void job_complete(struct block_job *j);

/* End a pending job. False: it failed or was cancelled, and the graph is as it was. Waits. */
bool job_finish(struct block_job *j, struct err *e);
/* Turn the loop until the job is pending, then finish it; a mirror is completed when it is ready. */
bool job_run(struct block_job *j, struct err *e);

#endif
