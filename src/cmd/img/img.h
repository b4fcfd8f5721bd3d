/* The commands of `lyre img` and `qemu-img`, and what they share. */
#ifndef LYRE_CMD_IMG_IMG_H
#define LYRE_CMD_IMG_IMG_H

#include "block/block.h"

/* Long options without a letter. */
enum {
    OPT_OUTPUT = 256, OPT_OBJECT, OPT_IMAGE_OPTS, OPT_TARGET_IMAGE_OPTS, OPT_BACKING_CHAIN, OPT_SIZE,
    OPT_SHRINK, OPT_PREALLOCATION, OPT_TARGET_IS_ZERO, OPT_BITMAPS, OPT_SKIP_BROKEN, OPT_SALVAGE,
    OPT_START_OFFSET, OPT_MAX_LENGTH, OPT_FORCE, OPT_ADD, OPT_REMOVE, OPT_CLEAR, OPT_ENABLE, OPT_DISABLE,
    OPT_MERGE, OPT_FLUSH_INTERVAL, OPT_NO_DRAIN, OPT_PATTERN, OPT_AIO,
};

/* A command line, parsed. Strings belong to argv. */
struct img {
    bool qemu;           /* texts and exit codes of qemu-img */
    const char *name;    /* in front of messages */
    const char *command;
    struct block_graph *g;

    const char *format, *out_format, *backing_format;
    const char *backing, *cache, *src_cache, *output, *snapshot, *repair, *prealloc, *size;
    struct json *options; /* -o, and what other options add */
    struct json *open_options; /* that img_open() adds for its next image; NULL: none */
    struct json *authz;        /* identities of authz-simple objects, by id; NULL: none */
    bool has_options, options_help;
    bool quiet, progress, share, image_opts, target_image_opts, unsafe, compress, no_create, out_of_order;
    bool chain, shrink, target_is_zero, strict, force, drop, copy_offload, bitmaps, skip_broken, salvage, write;
    int action;          /* of snapshot: the option's letter */
    const char *action_arg;
    struct {
        int code; /* OPT_ADD ... */
        const char *from;
    } bitmap_actions[16]; /* in the order of the command line */
    unsigned nbitmap_actions;
    u64 sparse, start, max_length, granularity, count, depth, buf_size, step, pattern, flush_interval, rate;
    bool has_sparse, has_max_length, has_count;
    unsigned parallel;

    char **files;        /* operands */
    int nfiles;
    struct err e;
};

/* Print an error; returns 1, the exit status. */
int img_fail(struct img *m, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* The same with a pointer to the help. */
int img_usage(struct img *m, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Print m->e. */
int img_error(struct img *m);
bool img_json(const struct img *m);

/* Open an operand; prints what went wrong. */
struct node *img_open(struct img *m, const char *name, const char *format, bool image_opts, u32 flags,
                      const char *cache);
/* Say so if an image is written to whose format was guessed as raw. */
void img_warn_guessed(const struct node *n, const char *name);
/* An image below an overlay that is gone when the program ends, for writes that nobody is to keep. */
struct node *img_open_temporary(struct block_graph *g, const char *file, const char *format, struct err *e);
/* What -l names: a snapshot by name or id, or "snapshot.id=...,snapshot.name=...". */
bool img_load_snapshot(struct node *n, const char *text, struct err *e);
/* Whether an image says that it holds much more than its file does: preallocated, and never written. The limit is the
 * one that the peer is seen to have. */
bool img_is_hollow(struct img *m, struct node *n);
/* As node_status_chain(); what is data in the top layer of a hollow image may be zeros by what the file system says. */
int img_status(struct node *n, bool hollow, u64 at, u64 len, struct blk_status *s, unsigned *depth);
/* Close, and turn an error into an exit status. */
int img_close(struct img *m, struct node *n, int status);

/* "a=b,c=d" (",," is a comma) into an object. */
bool img_parse_options(const char *text, const char *first, struct json *to, struct err *e);
/* A size as people read it: "64 KiB". */
const char *img_size(u64 bytes, char *text, size_t size);
bool img_add_object(struct img *m, const char *text);
bool img_known_cache(const char *cache);
bool img_cache_flags(struct img *m, const char *cache, u32 *flags);
/* How to do I/O: --aio MODE anywhere, or LYRE_AIO. */
enum block_aio img_aio_mode(int argc, char **argv);
bool img_number(struct img *m, const char *what, const char *text, u64 *v);

/* A bar or percentage while something runs. */
struct progress {
    struct img *m;
    u64 total, shown_at, started;
    double last;
    bool bar;
};
void progress_start(struct progress *p, struct img *m, u64 total);
void progress_show(struct progress *p, u64 done);
void progress_end(struct progress *p);
/* Take a bar away, for something else to be printed, or because what it showed has no percentage. */
void progress_clear(struct progress *p);

int img_create(struct img *m);
int img_resize(struct img *m);
int img_amend(struct img *m);
int img_snapshot(struct img *m);
int img_rebase(struct img *m);
int img_commit(struct img *m);
int img_bitmap(struct img *m);
int img_info(struct img *m);
int img_map(struct img *m);
int img_check(struct img *m);
int img_compare(struct img *m);
int img_measure(struct img *m);
int img_convert(struct img *m);
int img_dd(struct img *m);
int img_bench(struct img *m);
int img_compact(struct img *m);

/* What --help says of a command: what it is for, and its options. */
const char *img_help(const char *command);
/* Text of `info`, for qemu-io too. */
void img_print_specific(const struct json *j, unsigned depth);

/* Create from m->options after checking them; prints what qemu-img prints unless quiet. */
int img_create_file(struct img *m, const char *format, const char *filename, bool quiet);

#endif
