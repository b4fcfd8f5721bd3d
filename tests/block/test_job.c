/* Jobs while a guest writes: whatever the interleaving, no byte is lost. Random writes go on while a job
 * runs over images in memory; at the end the graph must hold what a plain array holds. */
#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "block/format.h"
#include "block/job.h"
#include "block/memory.h"
#include "check.h"

enum { DISK = 4 << 20, SECTOR = 512, LAYERS = 3, AT_ONCE = 6 };

struct world {
    struct block_graph *g;
    struct rng rng;
    struct memory m[LAYERS + 1]; /* the chain, base first; the target */
    struct node *layers[LAYERS], *root, *target;
    u8 *model, *then; /* then: as it was when the job began */
};

static struct node *image(struct world *w, unsigned i, u32 flags)
{
    struct err e;
    if (!memory_create(w->g, &w->m[i], "{'cluster_size': 4096}", DISK))
        exit(1);
    return node_open_above(memory_node(w->g, &w->m[i], flags), "qcow2", NULL, flags, &e);
}

static int write_at(struct world *w, struct node *n, u64 at, u64 len)
{
    u8 value = (u8)rng_next(&w->rng), *buf = xmalloc(len);
    bool zero = !rng_below(&w->rng, 5);
    memset(buf, zero ? 0 : value, len);
    int error = zero ? node_io(n, BLK_ZERO, at, NULL, len, BLK_MAY_UNMAP) : node_io(n, BLK_WRITE, at, buf, len, 0);
    memcpy(w->model + at, buf, len);
    free(buf);
    return error;
}

static void random_place(struct world *w, u64 *at, u64 *len)
{
    *at = rng_below(&w->rng, DISK / SECTOR) * SECTOR;
    u64 wanted = (rng_below(&w->rng, 200) + 1) * SECTOR;
    *len = MIN(wanted, DISK - *at);
}

/* A chain of three images, each with some writes. */
static void world_open(struct world *w)
{
    struct err e;
    u64 at, len;
    w->g = block_graph_new(BLOCK_AIO_THREADS, &e);
    w->model = xcalloc(1, DISK);
    w->then = xcalloc(1, DISK);
    for (unsigned i = 0; i < LAYERS; i++) {
        w->layers[i] = image(w, i, OPEN_WRITE);
        w->layers[i]->backing = i ? w->layers[i - 1] : NULL;
        for (unsigned k = 0; k < 12; k++) {
            random_place(w, &at, &len);
            CHECK_EQ(write_at(w, w->layers[i], at, len), 0);
        }
    }
    w->root = node_root(w->layers[LAYERS - 1]);
    w->target = image(w, LAYERS, OPEN_WRITE);
    memcpy(w->then, w->model, DISK);
}

static void world_close(struct world *w)
{
    struct err e;
    CHECK(node_close(w->root, &e));
    CHECK(node_close(w->target, &e));
    CHECK_EQ(w->g->nodes, 0);
    for (unsigned i = 0; i <= LAYERS; i++)
        memory_free(&w->m[i]);
    block_graph_free(w->g);
    free(w->model);
    free(w->then);
}

static bool holds(struct node *n, const u8 *want)
{
    u8 *buf = xmalloc(DISK);
    bool good = !node_io(n, BLK_READ, 0, buf, DISK, 0);
    for (u64 i = 0; i < DISK && good; i++) {
        good = buf[i] == want[i];
        if (!good)
            printf("# byte %llu is %02x, should be %02x\n", (unsigned long long)i, buf[i], want[i]);
    }
    free(buf);
    return good;
}

struct flight {
    struct blk_req r;
    struct iovec iov;
    bool busy;
    u8 buf[64 << 10];
};

static void landed(struct blk_req *r)
{
    struct flight *f = container_of(r, struct flight, r);
    CHECK_EQ(r->error, 0);
    f->busy = false;
}

/* Keep writes in flight, each in a part of the disk of its own, until the job is pending or `rounds` are over. */
static void write_meanwhile(struct world *w, struct block_job *j, unsigned rounds)
{
    static struct flight all[AT_ONCE];
    for (unsigned round = 0; round < rounds && job_state(j) != JOB_PENDING; round++) {
        for (unsigned i = 0; i < AT_ONCE; i++) {
            struct flight *f = &all[i];
            if (f->busy)
                continue;
            u64 part = DISK / AT_ONCE / SECTOR, at = (i * part + rng_below(&w->rng, part)) * SECTOR;
            u64 wanted = (rng_below(&w->rng, 100) + 1) * SECTOR, len = MIN(wanted, (i + 1) * part * SECTOR - at);
            memset(f->buf, (int)rng_next(&w->rng), len);
            memcpy(w->model + at, f->buf, len);
            f->busy = true;
            f->iov = (struct iovec){f->buf, len};
            f->r = (struct blk_req){.op = BLK_WRITE, .offset = at, .len = len, .iov = &f->iov, .niov = 1, .done = landed};
            node_submit(w->root, &f->r);
        }
        for (u64 turns = rng_below(&w->rng, 4); turns; turns--)
            loop_turn(block_graph_loop(w->g), false);
    }
    node_drain(w->root);
}

static bool consistent(struct node *n)
{
    struct check_result c = {0};
    struct err e;
    return !node_flush(n) && node_check(n, 0, &c, &e) && !c.corruptions;
}

static struct block_job *start(struct world *w, unsigned kind, const struct job_options *o, struct err *e)
{
    return kind == 0   ? job_stream(w->root, NULL, o, e)
           : kind == 1 ? job_commit(w->root, NULL, NULL, o, e)
           : kind == 2 ? job_backup(w->root, w->target, o, e)
                       : job_mirror(w->root, w->target, o, e);
}

TEST(stream_takes_over_what_is_behind)
{
    struct rng rng = rng_seeded();
    for (unsigned round = 0; round < 10; round++) {
        struct world w = {.rng = rng};
        struct err e = {0};
        world_open(&w);
        struct node *base = round & 1 ? w.layers[0] : NULL;
        struct block_job *j = job_stream(w.root, base, &(struct job_options){0}, &e);
        write_meanwhile(&w, j, 30);
        CHECK(job_run(j, &e));
        CHECK(node_backing(node_root_child(w.root)) == base);
        CHECK(holds(w.root, w.model));
        CHECK(consistent(node_root_child(w.root)));
        rng = w.rng;
        world_close(&w);
    }
}

TEST(commit_goes_down)
{
    struct rng rng = rng_seeded();
    for (unsigned round = 0; round < 10; round++) {
        struct world w = {.rng = rng};
        struct err e = {0};
        world_open(&w);
        struct node *base = w.layers[round & 1];
        struct block_job *j = job_commit(w.root, NULL, base, &(struct job_options){0}, &e);
        write_meanwhile(&w, j, 30);
        CHECK(job_run(j, &e));
        CHECK(node_root_child(w.root) == base);
        CHECK(holds(w.root, w.model));
        CHECK(consistent(base));
        rng = w.rng;
        world_close(&w);
    }
}

/* The image in the middle goes into the base, and the top one stands on that. */
TEST(commit_from_within_the_chain)
{
    struct rng rng = rng_seeded();
    for (unsigned round = 0; round < 10; round++) {
        struct world w = {.rng = rng};
        struct err e = {0};
        world_open(&w);
        CHECK(!job_commit(w.root, w.target, NULL, &(struct job_options){0}, &e));
        struct block_job *j = job_commit(w.root, w.layers[1], NULL, &(struct job_options){.speed = round & 1 ? 32 << 20 : 0}, &e);
        CHECK(!strcmp(job_type(j), "commit"));
        write_meanwhile(&w, j, 30);
        if (round == 9)
            job_cancel(j);
        CHECK_EQ(job_run(j, &e), round < 9);
        struct node *top = node_root_child(w.root);
        CHECK(top == w.layers[LAYERS - 1]);
        CHECK(node_backing(top) == w.layers[round < 9 ? 0 : 1]);
        CHECK(holds(w.root, w.model));
        CHECK(consistent(top) && consistent(w.layers[0]));
        rng = w.rng;
        world_close(&w);
    }
}

/* A filter comes and goes below the root, and stays where it is when a job changes what is behind it. */
TEST(filters_while_jobs_run)
{
    struct rng rng = rng_seeded();
    struct throttle_limits fast = {.rate[IOPS_TOTAL] = 1000000};
    for (unsigned kind = 0; kind < 4; kind++) {
        struct world w = {.rng = rng};
        struct err e = {0};
        world_open(&w);
        struct json *o = json_parse("{'throttle-group': 'g'}", &e);
        CHECK(!node_put_filter(w.root, "throttle", o, &e));
        CHECK(!node_take_filter(w.root, &e));
        CHECK(block_throttle_group_set(w.g, "g", &fast, &e));
        CHECK(node_put_filter(w.root, "throttle", o, &e));
        struct node *filter = node_root_child(w.root);
        CHECK(!strcmp(node_format(filter), "throttle"));
        struct block_job *j = start(&w, kind, &(struct job_options){0}, &e);
        CHECK(!node_take_filter(w.root, &e));
        CHECK_EQ(e.code, EBUSY);
        write_meanwhile(&w, j, 20);
        CHECK(job_run(j, &e));
        CHECK(node_root_child(w.root) == filter);
        struct node *below = kind == 1 ? w.layers[1] : kind == 3 ? w.target : w.layers[LAYERS - 1];
        CHECK(node_file(filter) == below);
        CHECK(holds(w.root, w.model));
        CHECK(node_take_filter(w.root, &e));
        CHECK(node_root_child(w.root) == below);
        CHECK(holds(w.root, w.model));
        json_free(o);
        rng = w.rng;
        world_close(&w);
    }
}

TEST(an_overlay_that_is_open)
{
    struct world w = {.rng = rng_seeded()};
    struct err e = {0};
    world_open(&w);
    CHECK(!node_put_overlay(w.root, node_open(w.g, NULL, "null-co", NULL, OPEN_WRITE, &e), &e));
    struct node *top = node_root_child(w.root);
    CHECK(node_put_overlay(w.root, node_ref(w.target), &e));
    CHECK(node_root_child(w.root) == w.target && node_backing(w.target) == top);
    for (unsigned i = 0; i < 5; i++) {
        u64 at, len;
        random_place(&w, &at, &len);
        CHECK_EQ(write_at(&w, w.root, at, len), 0);
    }
    CHECK(holds(w.root, w.model));
    CHECK(holds(top, w.then));
    CHECK(!node_put_overlay(w.root, node_ref(w.target), &e)); /* it has a backing file */
    world_close(&w);
}

/* The target does not answer: a job that is cancelled ends all the same. */
TEST(a_job_that_is_stuck_is_cancelled)
{
    struct world w = {.rng = rng_seeded()};
    struct err e = {0};
    struct throttle_limits slow = {.rate[BPS_WRITE] = 1};
    world_open(&w);
    CHECK(block_throttle_group_set(w.g, "slow", &slow, &e));
    struct json *o = json_parse("{'throttle-group': 'slow'}", &e);
    struct node *target = node_open_above(node_ref(w.target), "throttle", o, OPEN_WRITE, &e);
    struct block_job *j = job_mirror(w.root, target, &(struct job_options){.speed = 1 << 30}, &e);
    CHECK_EQ(job_speed(j), 1 << 30);
    write_meanwhile(&w, j, 30);
    CHECK_EQ(job_error(j), 0);
    CHECK(job_state(j) == JOB_RUNNING);
    job_cancel(j);
    CHECK(!job_run(j, &e));
    CHECK(holds(w.root, w.model));
    CHECK(node_close(target, &e));
    json_free(o);
    world_close(&w);
}

TEST(mirror_is_the_same_at_the_end)
{
    struct rng rng = rng_seeded();
    for (unsigned round = 0; round < 10; round++) {
        struct world w = {.rng = rng};
        struct err e = {0};
        world_open(&w);
        struct block_job *j = job_mirror(w.root, w.target, &(struct job_options){0}, &e);
        write_meanwhile(&w, j, 60);
        CHECK(job_state(j) != JOB_PENDING);
        CHECK(job_run(j, &e));
        CHECK(node_root_child(w.root) == w.target);
        CHECK(holds(w.root, w.model));
        CHECK(consistent(w.target));
        rng = w.rng;
        world_close(&w);
    }
}

TEST(backup_has_the_moment_of_the_start)
{
    struct rng rng = rng_seeded();
    for (unsigned round = 0; round < 10; round++) {
        struct world w = {.rng = rng};
        struct err e = {0};
        world_open(&w);
        struct job_options o = {.speed = round & 1 ? 64 << 20 : 0, .target_is_zero = true};
        struct block_job *j = job_backup(w.root, w.target, &o, &e);
        write_meanwhile(&w, j, 60);
        CHECK(job_run(j, &e));
        CHECK(holds(w.target, w.then));
        CHECK(holds(w.root, w.model));
        CHECK(consistent(w.target));
        CHECK(node_root_child(w.root) == w.layers[LAYERS - 1]);
        rng = w.rng;
        world_close(&w);
    }
}

TEST(backup_by_bitmap_takes_what_has_changed)
{
    struct world w = {.rng = rng_seeded()};
    struct err e = {0};
    world_open(&w);
    struct node *top = node_root_child(w.root);
    CHECK(job_run(job_backup(w.root, w.target, &(struct job_options){0}, &e), &e));
    CHECK(node_bitmap(top, BITMAP_ADD, "b", 0, &e));
    for (unsigned i = 0; i < 5; i++) {
        u64 at, len;
        random_place(&w, &at, &len);
        write_at(&w, w.root, at, len);
    }
    memcpy(w.then, w.model, DISK);
    struct block_job *j = job_backup(w.root, w.target, &(struct job_options){.sync = SYNC_BITMAP, .bitmap = "b"}, &e);
    u64 done, total;
    job_progress(j, &done, &total);
    CHECK(total < DISK);
    write_meanwhile(&w, j, 20);
    CHECK(job_run(j, &e));
    CHECK(holds(w.target, w.then));
    /* What was written during the job is the next one's. */
    CHECK(job_run(job_backup(w.root, w.target, &(struct job_options){.sync = SYNC_BITMAP, .bitmap = "b"}, &e), &e));
    CHECK(holds(w.target, w.model));
    world_close(&w);
}

TEST(a_cancelled_job_changes_nothing)
{
    struct rng rng = rng_seeded();
    for (unsigned kind = 0; kind < 4; kind++) {
        struct world w = {.rng = rng};
        struct err e = {0};
        struct job_options o = {.speed = 1 << 20};
        world_open(&w);
        struct block_job *j = start(&w, kind, &o, &e);
        write_meanwhile(&w, j, 10);
        job_cancel(j);
        CHECK(!job_run(j, &e));
        CHECK_EQ(e.code, ECANCELED);
        CHECK(node_root_child(w.root) == w.layers[LAYERS - 1]);
        CHECK(holds(w.root, w.model));
        rng = w.rng;
        world_close(&w);
    }
}

/* What would pull the ground from under a job waits until it has ended. */
TEST(a_job_has_its_nodes_for_itself)
{
    struct rng rng = rng_seeded();
    for (unsigned kind = 0; kind < 4; kind++) {
        struct world w = {.rng = rng};
        struct err e = {0};
        world_open(&w);
        struct node *top = node_root_child(w.root);
        CHECK(node_snapshot_create(top, "s", NULL, &e));
        struct block_job *j = start(&w, kind, &(struct job_options){.speed = 8 << 20}, &e);
        write_meanwhile(&w, j, 3);
        CHECK(!node_truncate(w.root, 2 * DISK, PREALLOC_OFF, &e));
        CHECK_EQ(e.code, EBUSY);
        CHECK(!node_truncate(top, 2 * DISK, PREALLOC_OFF, &e));
        CHECK(!node_snapshot_apply(top, "s", &e));
        CHECK(!node_overlay(w.root, "/nowhere/overlay", "qcow2", &e));
        CHECK_EQ(e.code, EBUSY);
        for (unsigned other = 0; other < 4; other++)
            CHECK(!start(&w, other, &(struct job_options){0}, &e));
        CHECK_EQ(e.code, EBUSY);
        job_set_speed(j, 0);
        CHECK(job_run(j, &e));
        CHECK(holds(w.root, w.model));
        CHECK(node_truncate(w.root, 2 * DISK, PREALLOC_OFF, &e));
        CHECK_EQ(node_size(w.root), 2 * DISK);
        CHECK(holds(w.root, w.model));
        rng = w.rng;
        world_close(&w);
    }
}

struct notes {
    unsigned changes;
    enum job_state last;
};

static void note_change(struct block_job *j, void *opaque)
{
    struct notes *n = opaque;
    n->changes++;
    n->last = job_state(j);
}

TEST(a_paused_job_stands_still_and_tells)
{
    struct world w = {.rng = rng_seeded()};
    struct err e = {0};
    struct notes notes = {0};
    world_open(&w);
    struct job_options o = {.speed = 16 << 20, .changed = note_change, .opaque = &notes};
    struct block_job *j = job_mirror(w.root, w.target, &o, &e);
    u64 done, total, later;
    job_progress(j, &done, &total);
    CHECK_EQ(done, 0);
    CHECK_EQ(total, DISK);
    loop_turn(block_graph_loop(w.g), false);
    job_pause(j);
    while (job_state(j) != JOB_PAUSED)
        loop_turn(block_graph_loop(w.g), true);
    CHECK_EQ(notes.last, JOB_PAUSED);
    job_progress(j, &done, &total);
    write_meanwhile(&w, j, 10);
    job_progress(j, &later, &total);
    CHECK_EQ(later, done);
    job_resume(j);
    job_set_speed(j, 0);
    while (job_state(j) != JOB_READY)
        loop_turn(block_graph_loop(w.g), true);
    CHECK(notes.changes >= 3);
    job_progress(j, &done, &total);
    CHECK_EQ(done, total);
    CHECK(job_run(j, &e));
    CHECK(holds(w.root, w.model));
    world_close(&w);
}

TEST(errors_of_the_target)
{
    struct world w = {.rng = rng_seeded()};
    struct err e = {0};
    world_open(&w);
    for (unsigned policy = ON_ERROR_REPORT; policy <= ON_ERROR_STOP; policy++) {
        struct job_options o = {.on_error = policy};
        struct block_job *j = job_mirror(w.root, w.target, &o, &e);
        w.m[LAYERS].ops = 0;
        w.m[LAYERS].fail_at = 3;
        w.m[LAYERS].fail_count = 2;
        write_meanwhile(&w, j, 40);
        if (policy == ON_ERROR_STOP) {
            while (job_state(j) != JOB_PAUSED)
                loop_turn(block_graph_loop(w.g), true);
            job_resume(j);
        }
        w.m[LAYERS].fail_at = 0;
        if (policy == ON_ERROR_REPORT) {
            CHECK(!job_run(j, &e));
            CHECK_EQ(e.code, EIO);
            CHECK(holds(w.root, w.model));
            continue;
        }
        while (job_state(j) != JOB_READY)
            loop_turn(block_graph_loop(w.g), true);
        CHECK(holds(w.target, w.model));
        job_cancel(j);
        CHECK(!job_run(j, &e));
    }
    CHECK(holds(w.root, w.model));
    world_close(&w);
}

TEST_MAIN()
