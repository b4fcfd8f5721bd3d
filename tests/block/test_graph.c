/* Graphs: several in one process, and what they may open. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "block/nbd.h"
#include "block/node.h"
#include "check.h"
#include "event/stream.h"

enum { SIZE = 1 << 20 };

static char *make(struct block_graph *g, const char *dir, const char *name, const char *backing)
{
    struct err e;
    char *path = xprintf("%s/%s", dir, name);
    struct json *o = json_object();
    json_set_int(o, "size", SIZE);
    if (backing) {
        json_set_string(o, "backing_file", backing);
        json_set_string(o, "backing_fmt", "qcow2");
    }
    CHECK(block_create(g, "qcow2", path, o, &e));
    json_free(o);
    return path;
}

static char *temporary(void)
{
    char *dir = xstrdup("/tmp/lyre-graph-XXXXXX");
    CHECK(mkdtemp(dir) != NULL);
    return dir;
}

static void clean(char *dir, char *a, char *b)
{
    unlink(a);
    unlink(b);
    rmdir(dir);
    free(a);
    free(b);
    free(dir);
}

TEST(two_graphs_do_not_know_of_each_other)
{
    struct err e;
    char *dir = temporary();
    struct block_graph *g[2] = {block_graph_new(BLOCK_AIO_AUTO, &e), block_graph_new(BLOCK_AIO_THREADS, &e)};
    char *path[2] = {make(g[0], dir, "a", NULL), make(g[1], dir, "b", NULL)};
    struct node *n[2];
    u8 buf[512];
    block_secret_set(g[0], "s", (const u8 *)"x", 1);
    CHECK(secret_find(g[1], "s", NULL) == NULL);
    for (unsigned i = 0; i < 2; i++) {
        n[i] = node_open(g[i], path[i], "qcow2", NULL, OPEN_WRITE, &e);
        memset(buf, (int)i + 1, sizeof(buf));
        CHECK_EQ(node_io(n[i], BLK_WRITE, 0, buf, sizeof(buf), 0), 0);
    }
    for (unsigned i = 0; i < 2; i++) {
        CHECK_EQ(node_io(n[i], BLK_READ, 0, buf, sizeof(buf), 0), 0);
        CHECK_EQ(buf[0], i + 1);
        CHECK(node_close(n[i], &e));
        block_graph_free(g[i]);
    }
    clean(dir, path[0], path[1]);
}

static bool only_overlays(void *opaque, const char *name, bool write)
{
    return strstr(name, "/over") || (opaque && !write);
}

TEST(what_an_image_names_is_opened_only_if_it_may_be)
{
    struct err e;
    char *dir = temporary();
    struct block_graph *g = block_graph_new(BLOCK_AIO_THREADS, &e);
    char *base = make(g, dir, "base", NULL), *over = make(g, dir, "over", "base");
    block_graph_restrict(g, only_overlays, NULL);
    CHECK(node_open(g, over, "qcow2", NULL, OPEN_WRITE, &e) == NULL);
    CHECK(strstr(e.text, "base' may not be opened here") != NULL);
    CHECK(node_open(g, "nbd://127.0.0.1:1/x", "raw", NULL, 0, &e) == NULL);
    CHECK(strstr(e.text, "may not be opened here") != NULL);
    block_graph_restrict(g, only_overlays, dir); /* others to be read */
    struct node *n = node_open(g, over, "qcow2", NULL, OPEN_WRITE, &e);
    CHECK(n != NULL);
    CHECK(node_close(n, &e));
    CHECK_EQ(g->nodes, 0);
    block_graph_free(g);
    clean(dir, base, over);
}

/* ---- names ---- */

static struct node *open_as(struct block_graph *g, const char *options, u32 flags, struct err *e)
{
    struct json *o = json_parse(options, e);
    struct node *n = node_open(g, NULL, NULL, o, flags, e);
    json_free(o);
    return n;
}

TEST(a_node_is_found_by_its_name)
{
    struct err e;
    struct block_graph *g = block_graph_new(BLOCK_AIO_THREADS, &e);
    struct node *file = open_as(g, "{'driver': 'null-co', 'size': 4096, 'node-name': 'f'}", OPEN_WRITE, &e);
    struct node *read_only = open_as(g, "{'driver': 'null-co', 'size': 4096, 'node-name': 'r'}", 0, &e);
    CHECK(node_find(g, "f") == file && node_find(g, "r") == read_only && !node_find(g, "x"));
    CHECK(!open_as(g, "{'driver': 'null-co', 'node-name': 'f'}", 0, &e));
    struct node *raw = open_as(g, "{'driver': 'raw', 'file': 'f', 'node-name': 'd'}", OPEN_WRITE, &e);
    CHECK(node_file(raw) == file && !strcmp(node_name(raw), "d"));
    CHECK_EQ(node_size(raw), 4096);
    CHECK(!open_as(g, "{'driver': 'raw', 'file': 'f'}", OPEN_WRITE, &e)); /* two would write */
    CHECK_EQ(e.code, EBUSY);
    CHECK(!open_as(g, "{'driver': 'raw', 'file': 'r'}", OPEN_WRITE, &e));
    CHECK_EQ(e.code, EPERM);
    struct node *a = open_as(g, "{'driver': 'raw', 'file': 'r'}", 0, &e), *b = open_as(g, "{'driver': 'raw', 'file': 'r'}", 0, &e);
    CHECK(a && b);
    unsigned count = 0;
    for (struct node *n = node_next_named(g, NULL); n; n = node_next_named(g, n))
        count++;
    CHECK_EQ(count, 3);
    node_close(raw, &e);
    CHECK(!node_find(g, "d") && node_find(g, "f") == file);
    struct node *all[] = {a, b, file, read_only};
    for (unsigned i = 0; i < ARRAY_LEN(all); i++)
        CHECK(node_close(all[i], &e));
    CHECK_EQ(g->nodes, 0);
    block_graph_free(g);
}

/* ---- limits that change ---- */


enum { REQUESTS = 200 };

static void count_down(struct blk_req *r)
{
    unsigned *left = (unsigned *)r->iov->iov_base;
    CHECK_EQ(r->error, 0);
    --*left;
}

/* One operation a second would take minutes; without a limit nothing waits any more. */
TEST(a_throttle_group_changes_while_requests_wait)
{
    struct err e;
    struct block_graph *g = block_graph_new(BLOCK_AIO_THREADS, &e);
    struct throttle_limits slow = {.rate[IOPS_TOTAL] = 1}, bad = {.rate[BPS_TOTAL] = 100, .burst[BPS_TOTAL] = 10}, none = {0};
    CHECK(block_throttle_group_set(g, "g", &slow, &e));
    struct json *o = json_parse("{'driver': 'throttle', 'throttle-group': 'g', 'file': {'driver': 'null-co', 'size': 4096}}", &e);
    struct node *n = node_open(g, NULL, NULL, o, OPEN_WRITE, &e);
    json_free(o);
    CHECK(n != NULL);
    struct blk_req *r = xcalloc(REQUESTS, sizeof(*r));
    unsigned left = REQUESTS;
    struct iovec iov = {&left, 0};
    for (unsigned i = 0; i < REQUESTS; i++) {
        r[i] = (struct blk_req){.op = BLK_DISCARD, .len = 512, .iov = &iov, .done = count_down};
        node_submit(n, &r[i]);
    }
    for (unsigned i = 0; i < 10; i++)
        loop_turn(block_graph_loop(g), false);
    CHECK(left > REQUESTS / 2);
    CHECK(!block_throttle_group_set(g, "g", &bad, &e));
    CHECK(block_throttle_group_set(g, "g", &none, &e));
    node_drain(n);
    CHECK_EQ(left, 0);
    node_close(n, NULL);
    block_graph_free(g);
    free(r);
}

/* ---- cancelled from above ---- */

static void end_cancelled(struct blk_req *r)
{
    unsigned *left = (unsigned *)r->iov->iov_base;
    CHECK_EQ(r->error, ECANCELED);
    --*left;
}

/* What waits two layers below would take minutes. */
static void cancel_through(struct block_graph *g, const char *options)
{
    struct err e;
    struct json *o = json_parse(options, &e);
    struct node *n = node_open(g, NULL, NULL, o, OPEN_WRITE, &e);
    json_free(o);
    CHECK(n != NULL);
    enum { MANY = 20 };
    struct blk_req r[MANY];
    unsigned buf[128] = {MANY};
    struct iovec iov = {buf, sizeof(buf)};
    for (unsigned i = 0; i < MANY; i++) {
        r[i] = (struct blk_req){.op = BLK_WRITE, .len = sizeof(buf), .iov = &iov, .niov = 1, .done = end_cancelled};
        node_submit(n, &r[i]);
    }
    for (unsigned i = 0; i < 10; i++)
        loop_turn(block_graph_loop(g), false);
    CHECK_EQ(buf[0], MANY);
    for (unsigned i = 0; i < MANY; i++)
        node_cancel(&r[i]);
    node_drain(n);
    CHECK_EQ(buf[0], 0);
    node_close(n, NULL);
}

TEST(a_cancelled_request_is_cancelled_below)
{
    struct err e;
    struct block_graph *g = block_graph_new(BLOCK_AIO_THREADS, &e);
    struct throttle_limits slow = {.rate[BPS_WRITE] = 1};
    CHECK(block_throttle_group_set(g, "g", &slow, &e));
    u8 byte = 0; /* fills the bucket */
    struct json *o = json_parse("{'driver': 'throttle', 'throttle-group': 'g', 'file': {'driver': 'null-co', 'size': 4096}}", &e);
    struct node *first = node_open(g, NULL, NULL, o, OPEN_WRITE, &e);
    json_free(o);
    CHECK_EQ(node_io(first, BLK_WRITE, 0, &byte, 1, 0), 0);
    cancel_through(g, "{'driver': 'raw', 'file': {'driver': 'throttle', 'throttle-group': 'g', 'file': {'driver': 'null-co', 'size': 4096}}}");
    cancel_through(g, "{'driver': 'quorum', 'vote-threshold': 1, 'children': [{'driver': 'throttle', 'throttle-group': 'g',"
                      " 'file': {'driver': 'null-co', 'size': 4096}}]}");
    node_close(first, NULL);
    block_graph_free(g);
}

TEST(a_request_held_at_a_breakpoint_is_cancelled)
{
    struct err e;
    struct block_graph *g = block_graph_new(BLOCK_AIO_AUTO, &e);
    struct json *o = json_object();
    json_set_string(o, "driver", "blkdebug");
    json_set_string(o, "image.driver", "null-co");
    struct node *n = node_open(g, NULL, NULL, o, OPEN_WRITE, &e);
    CHECK(n != NULL);
    json_free(o);
    unsigned buf[128] = {1};
    struct iovec iov = {buf, sizeof(buf)};
    struct blk_req r = {.op = BLK_WRITE, .len = sizeof(buf), .iov = &iov, .niov = 1, .done = end_cancelled};
    CHECK(node_break_set(n, "pwritev", "a", &(struct break_watch){0}, &e));
    node_submit(n, &r);
    CHECK(node_break_reached(n, "a"));
    node_cancel(&r);
    node_drain(n);
    CHECK_EQ(buf[0], 0);
    CHECK(!node_break_resume(n, "a", &e) && e.code == ENOENT);
    CHECK(node_close(n, &e));
    block_graph_free(g);
}

TEST(a_request_that_waits_for_a_server_is_cancelled)
{
    struct err e;
    char *dir = temporary(), *path = xprintf("%s/socket", dir), *where = xprintf("unix:%s", path);
    char *text = xprintf("{'driver': 'nbd', 'server': {'type': 'unix', 'path': '%s'}, 'reconnect-delay': 600}", path);
    struct block_graph *g = block_graph_new(BLOCK_AIO_THREADS, &e);
    struct node *served = node_open(g, NULL, "null-co", NULL, OPEN_WRITE, &e);
    struct nbd_server *server = nbd_server_new(g, socket_listen(where, &e), 0, NULL, NULL, NULL, &e);
    nbd_server_add(server, &(struct nbd_export){.node = served, .name = ""});
    struct json *o = json_parse(text, &e);
    struct node *n = node_open(g, NULL, NULL, o, OPEN_WRITE, &e);
    CHECK(n != NULL);
    unsigned buf[128] = {1};
    struct iovec iov = {buf, sizeof(buf)};
    CHECK_EQ(node_io(n, BLK_WRITE, 0, buf, sizeof(buf), 0), 0);
    nbd_server_free(server);
    struct blk_req r = {.op = BLK_WRITE, .len = sizeof(buf), .iov = &iov, .niov = 1, .done = end_cancelled};
    node_submit(n, &r);
    for (unsigned i = 0; i < 10; i++)
        loop_turn(block_graph_loop(g), false);
    CHECK_EQ(buf[0], 1);
    node_cancel(&r);
    node_drain(n);
    CHECK_EQ(buf[0], 0);
    node_close(n, NULL);
    node_close(served, NULL);
    block_graph_free(g);
    json_free(o);
    clean(dir, path, where);
    free(text);
}

TEST_MAIN()
