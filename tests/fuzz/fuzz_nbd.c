/* An NBD peer that says anything: bytes that come to our server, or to our client. Nothing may crash, hang
 * or take memory out of proportion, and every request ends. */
#include "fuzz/fuzz.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "block/nbd.h"
#include "block/node.h"

enum { MAX_TURNS = 2000, DISK = 1 << 20, PIECE = 4096 };

static struct node *disk(struct block_graph *g)
{
    struct err e;
    struct json *o = json_parse("{\"driver\": \"null-co\", \"size\": 1048576, \"read-zeroes\": true}", &e);
    struct node *n = node_open(g, NULL, NULL, o, OPEN_WRITE, &e);
    json_free(o);
    return n;
}

/* Bytes in, what comes back is thrown away. */
static void feed_server(struct block_graph *g, int ours, int peer)
{
    struct err e;
    struct node *n = disk(g);
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    struct nbd_server *s = listener >= 0 ? nbd_server_new(g, listener, 1, NULL, NULL, NULL, &e) : NULL;
    if (!s || !n)
        abort();
    nbd_server_add(s, &(struct nbd_export){.node = n, .name = "", .depth = true});
    nbd_server_take(s, ours);
    u8 buf[65536];
    for (unsigned i = 0; i < MAX_TURNS; i++) {
        loop_turn(block_graph_loop(g), false);
        if (recv(peer, buf, sizeof(buf), MSG_DONTWAIT) == 0)
            break;
    }
    nbd_server_free(s);
    node_close(n, NULL);
}

static void feed_client(struct block_graph *g, int ours)
{
    struct err e = {0};
    struct json *o = json_object();
    char *fd = xprintf("%d", ours);
    json_set_string(o, "driver", "nbd");
    json_set_string(o, "server.type", "fd");
    json_set_string(o, "server.str", fd);
    struct node *n = node_open(g, NULL, NULL, o, OPEN_WRITE, &e);
    free(fd);
    json_free(o);
    if (!n && !e.text[0])
        abort(); /* a refusal says why */
    u8 buf[PIECE];
    for (unsigned i = 0; n && i < 4 && node_size(n) >= PIECE; i++) {
        struct blk_status st;
        u64 at = (node_size(n) - PIECE) / 4 * i;
        node_io(n, BLK_READ, at, buf, PIECE, 0);
        if (!node_status(n, at, PIECE, &st) && (!st.len || st.len > PIECE))
            abort();
        node_io(n, BLK_WRITE, at, buf, PIECE, 0);
        node_io(n, BLK_ZERO, at, NULL, PIECE, BLK_MAY_UNMAP);
        node_flush(n);
    }
    node_close(n, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err e;
    int ends[2];
    struct block_graph *g = block_graph_new(BLOCK_AIO_THREADS, &e);
    if (!g || size < 1 || size > 100000 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends)) {
        block_graph_free(g);
        return 0;
    }
    fcntl(ends[1], F_SETFL, O_NONBLOCK);
    if (send(ends[1], data + 1, size - 1, MSG_NOSIGNAL) >= 0) { /* what does not fit does not come */
        shutdown(ends[1], SHUT_WR);
        if (data[0] & 1)
            feed_server(g, ends[0], ends[1]);
        else
            feed_client(g, ends[0]);
    } else {
        close(ends[0]);
    }
    close(ends[1]);
    for (unsigned i = 0; i < 4; i++)
        loop_turn(block_graph_loop(g), false);
    block_graph_free(g);
    return 0;
}
