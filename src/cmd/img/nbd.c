/* `lyre nbd` and `qemu-nbd`: an image for others to use over NBD. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "block/nbd.h"
#include "cmd/cmd.h"
#include "cmd/img/img.h"
#include "event/stream.h"

enum {
    O_OBJECT = 256, O_CACHE, O_AIO, O_DISCARD, O_DETECT, O_IMAGE_OPTS, O_FORK, O_PID_FILE, O_TLS_CREDS, O_TLS_AUTHZ,
    O_HOSTNAME, O_SELINUX,
};

enum { MAX_OBJECTS = 16, SOCKET_ACTIVATION_FD = 3 };

struct nbd_cmd {
    struct img m; /* messages, secrets, opening */
    const char *file, *port, *bind, *socket, *pid_file, *snapshot, *name, *description, *bitmap, *cache, *tls_creds, *tls_authz, *hostname, *detect_zeroes;
    const char *objects[MAX_OBJECTS];
    unsigned nobjects;
    u64 offset, clients_max;
    bool read_only, temporary, persistent, list, fork, image_opts, depth, has_offset, has_port, no_discard, native;
    int ready; /* with --fork: the parent waits for a byte; otherwise -1 */

    struct node *node;
    bool stop, had_client;
};

/* ---- the command line ---- */

static const struct option long_options[] = {
    {"help", 0, NULL, 'h'}, {"version", 0, NULL, 'V'}, {"port", 1, NULL, 'p'}, {"bind", 1, NULL, 'b'},
    {"socket", 1, NULL, 'k'}, {"shared", 1, NULL, 'e'}, {"persistent", 0, NULL, 't'}, {"verbose", 0, NULL, 'v'},
    {"export-name", 1, NULL, 'x'}, {"description", 1, NULL, 'D'}, {"offset", 1, NULL, 'o'},
    {"allocation-depth", 0, NULL, 'A'}, {"bitmap", 1, NULL, 'B'}, {"list", 0, NULL, 'L'}, {"format", 1, NULL, 'f'},
    {"read-only", 0, NULL, 'r'}, {"snapshot", 0, NULL, 's'}, {"load-snapshot", 1, NULL, 'l'}, {"nocache", 0, NULL, 'n'},
    {"connect", 1, NULL, 'c'}, {"disconnect", 0, NULL, 'd'}, {"object", 1, NULL, O_OBJECT}, {"cache", 1, NULL, O_CACHE},
    {"aio", 1, NULL, O_AIO}, {"discard", 1, NULL, O_DISCARD}, {"detect-zeroes", 1, NULL, O_DETECT},
    {"image-opts", 0, NULL, O_IMAGE_OPTS}, {"fork", 0, NULL, O_FORK}, {"pid-file", 1, NULL, O_PID_FILE},
    {"tls-creds", 1, NULL, O_TLS_CREDS}, {"tls-authz", 1, NULL, O_TLS_AUTHZ}, {"tls-hostname", 1, NULL, O_HOSTNAME},
    {"selinux-label", 1, NULL, O_SELINUX}, {NULL},
};

static void print_help(const struct img *m)
{
    printf("usage: %s [OPTIONS] FILE\n"
           "       %s --list [-p PORT | -k SOCKET] [-b HOST]\n\n"
           "Serve a disk image over the network block device protocol.\n\n"
           "  -p, --port=PORT           TCP port (10809)\n"
           "  -b, --bind=HOST           address to listen on (0.0.0.0)\n"
           "  -k, --socket=PATH         a unix socket instead\n"
           "  -x, --export-name=NAME    name of the export (empty)\n"
           "  -D, --description=TEXT    text that goes with it\n"
           "  -e, --shared=NUM          so many clients at once (1; 0: any number)\n"
           "  -t, --persistent          go on when the last client has left\n"
           "  -f, --format=FORMAT       format of the image (guessed)\n"
           "  -r, --read-only           clients cannot write\n"
           "  -s, --snapshot            writes go to a temporary file\n"
           "  -l, --load-snapshot=NAME  serve an internal snapshot, read-only\n"
           "  -o, --offset=OFFSET       leave out so many bytes at the beginning\n"
           "  -A, --allocation-depth    tell clients in which layer data lie\n"
           "  -B, --bitmap=NAME         tell clients what this dirty bitmap holds\n"
           "      --cache=MODE          none, writeback, writethrough, directsync or unsafe (-n: none)\n"
           "      --discard=MODE        ignore or unmap\n"
           "      --detect-zeroes=MODE  off, on or unmap: zeros that are written become holes\n"
           "      --aio=MODE            threads or io_uring\n"
           "      --object=TYPE,...     a passphrase (secret) or TLS credentials (tls-creds-x509, -psk, -anon)\n"
           "      --tls-creds=ID        clients must use TLS with these credentials\n"
           "      --tls-authz=ID        ... and a certificate of the name that an object authz-simple has\n"
           "      --image-opts          FILE is a list of options\n"
           "      --fork                go on in the background once clients can connect\n"
           "      --pid-file=PATH       write the process's number there\n"
           "  -L, --list                list what a server has\n", m->name, m->name);
}

static int refuse(const struct nbd_cmd *n, const char *what)
{
    fprintf(stderr, "%s: %s is not supported\n", n->m.name, what);
    return 1;
}

/* 0: taken. Otherwise ends the program with that status + 1, -1: it is no option. */
static int set_cache(struct nbd_cmd *n, const char *cache)
{
    if (n->cache)
        return img_fail(&n->m, "-n and --cache can only be specified once");
    n->cache = cache;
    return img_known_cache(cache) ? 0 : img_fail(&n->m, "Invalid cache mode `%s'", cache);
}

static int take_option(struct nbd_cmd *n, int c, const char *arg)
{
    struct img *m = &n->m;
    u64 v;
    switch (c) {
    case 'p':
        if (size_parse(arg, &v) && v > 65535)
            return img_fail(m, "port %s is none: there are 65535", arg);
        n->port = arg;
        n->has_port = true;
        return 0;
    case 'b':
        n->bind = arg;
        return 0;
    case 'k':
        n->socket = arg;
        return arg[0] == '/' ? 0 : img_fail(m, "socket path must be absolute");
    case 'e':
        if (!size_parse(arg, &n->clients_max) || n->clients_max > INT32_MAX)
            return img_fail(m, "Invalid shared device number '%s'", arg);
        return 0;
    case 't':
        n->persistent = true;
        return 0;
    case 'v':
        return 0;
    case 'x':
        n->name = arg;
        return strlen(arg) <= NBD_MAX_NAME ? 0 : img_fail(m, "export name '%s' too long", arg);
    case 'D':
        n->description = arg;
        return strlen(arg) <= NBD_MAX_NAME ? 0 : img_fail(m, "export description '%s' too long", arg);
    case 'o':
        n->has_offset = true;
        return size_parse(arg, &n->offset) ? 0 : img_fail(m, "Invalid offset '%s'", arg);
    case 'A':
        n->depth = true;
        return 0;
    case 'B':
        n->bitmap = arg;
        return 0;
    case 'L':
        n->list = true;
        return 0;
    case 'f':
        m->format = arg;
        return 0;
    case 'r':
        n->read_only = true;
        return 0;
    case 's':
        n->temporary = true;
        return 0;
    case 'l':
        n->snapshot = arg;
        n->read_only = true;
        return 0;
    case 'n':
        return set_cache(n, "none");
    case 'c':
    case 'd':
        refuse(n, "the kernel's NBD device (-c, -d)");
        fputs("Serve the image on a socket (-k) and attach it with nbd-client.\n", stderr);
        return 1;
    case O_OBJECT:
        if (n->nobjects < MAX_OBJECTS)
            n->objects[n->nobjects++] = arg;
        return 0;
    case O_CACHE:
        return set_cache(n, arg);
    case O_AIO: /* taken before the graph was made */
        n->native = !strcmp(arg, "native");
        return n->native || !strcmp(arg, "threads") || !strcmp(arg, "io_uring") ? 0 : img_fail(m, "Invalid aio mode '%s'", arg);
    case O_DISCARD:
        n->no_discard = !strcmp(arg, "ignore") || !strcmp(arg, "off");
        return n->no_discard || !strcmp(arg, "unmap") || !strcmp(arg, "on") ? 0 : img_fail(m, "Invalid discard mode `%s'", arg);
    case O_DETECT:
        n->detect_zeroes = arg;
        return !strcmp(arg, "off") || !strcmp(arg, "on") || !strcmp(arg, "unmap")
                   ? 0 : img_fail(m, "Failed to parse detect_zeroes mode: invalid parameter value: %s", arg);
    case O_IMAGE_OPTS:
        n->image_opts = true;
        return 0;
    case O_FORK:
        n->fork = true;
        return 0;
    case O_PID_FILE:
        n->pid_file = arg;
        return 0;
    case O_TLS_CREDS:
        n->tls_creds = arg;
        return 0;
    case O_HOSTNAME:
        n->hostname = arg;
        return 0;
    case O_TLS_AUTHZ:
        n->tls_authz = arg;
        return 0;
    case O_SELINUX:
        return refuse(n, "--selinux-label");
    default:
        return -1;
    }
}

/* ---- --list ---- */

static void print_flags(u16 flags)
{
    static const struct { u16 bit; const char *name; } names[] = {
        {2, "readonly"}, {4, "flush"}, {8, "fua"}, {16, "rotational"}, {32, "trim"}, {64, "zeroes"}, {128, "df"},
        {256, "multi"}, {512, "resize"}, {1024, "cache"}, {2048, "fast-zero"},
    };
    printf("  flags: 0x%x (", flags);
    for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
        if (flags & names[i].bit)
            printf(" %s", names[i].name);
    }
    printf(" )\n");
}

static void print_listed(const struct nbd_listed *x)
{
    printf(" export: '%s'\n", x->name);
    if (x->description && *x->description)
        printf("  description: %s\n", x->description);
    if (!(x->flags & 1))
        return;
    printf("  size:  %" PRIu64 "\n", x->size);
    print_flags(x->flags);
    if (x->min_block)
        printf("  min block: %u\n  opt block: %u\n  max block: %u\n", x->min_block, x->preferred_block, x->max_block);
    if (x->ncontexts)
        printf("  available meta contexts: %zu\n", x->ncontexts);
    for (size_t i = 0; i < x->ncontexts; i++)
        printf("   %s\n", x->contexts[i]);
}

static char *address(const struct nbd_cmd *n)
{
    return n->socket ? xprintf("unix:%s", n->socket) : xprintf("%s:%s", n->bind ? n->bind : "0.0.0.0", n->port);
}

static int list(struct nbd_cmd *n)
{
    struct nbd_listed *all;
    size_t count;
    char *where = address(n);
    bool good = nbd_list(n->m.g, where, n->tls_creds, n->hostname, &all, &count, &n->m.e);
    free(where);
    if (good)
        printf("exports available: %zu\n", count);
    for (size_t i = 0; good && i < count; i++)
        print_listed(&all[i]);
    nbd_list_free(all, count);
    return good ? 0 : img_error(&n->m);
}

/* ---- opening ---- */

static bool open_node(struct nbd_cmd *n)
{
    struct err *e = &n->m.e;
    u32 flags = OPEN_SAME_SIZE | (n->read_only ? 0 : OPEN_WRITE) | (n->no_discard ? OPEN_NO_DISCARD : 0);
    img_cache_flags(&n->m, n->cache, &flags);
    if (n->native && !(flags & OPEN_NO_CACHE))
        return img_fail(&n->m, "Failed to blk_new_open '%s': aio=native was specified, but it requires cache.direct=on, which was not specified.", n->file) == 0;
    struct json *o = json_object();
    bool parsed = !n->image_opts || img_parse_options(n->file, "file", o, e);
    if (n->detect_zeroes && !json_get(o, "detect-zeroes"))
        json_set_string(o, "detect-zeroes", n->detect_zeroes);
    if (n->temporary)
        n->node = img_open_temporary(n->m.g, n->file, n->m.format, e);
    else if (parsed)
        n->node = node_open(n->m.g, n->image_opts ? NULL : n->file, n->m.format, o, flags, e);
    json_free(o);
    if (!n->node)
        return img_fail(&n->m, "Failed to blk_new_open '%s': %s", n->file, e->text) == 0;
    if (n->m.qemu && !n->temporary)
        img_warn_guessed(n->node, node_filename(n->node));
    if (n->snapshot && !img_load_snapshot(n->node, n->snapshot, e))
        return img_fail(&n->m, "Failed to load snapshot: %s", e->text) == 0;
    if (n->bitmap && !node_bitmap_run(n->node, n->bitmap, 0, 1, &(bool){0}))
        return img_fail(&n->m, "Bitmap '%s' is not found", n->bitmap) == 0;
    if (!n->has_offset)
        return true;
    if (n->offset > node_size(n->node))
        return img_fail(&n->m, "Offset (%" PRIu64 ") cannot be greater than size of the containing file (%" PRIu64 ")", n->offset,
                        node_size(n->node)) == 0;
    struct json *window = json_object();
    json_set_int(window, "offset", (s64)n->offset);
    struct node *whole = n->node;
    n->node = node_open_above(whole, "raw", window, flags, e);
    json_free(window);
    return n->node || img_error(&n->m) == 0;
}

/* ---- serving ---- */

static void changed(void *opaque, unsigned clients)
{
    struct nbd_cmd *n = opaque;
    n->had_client |= clients != 0;
    if (!clients && n->had_client && !n->persistent)
        n->stop = true;
}

struct quit {
    struct loop_fd fd;
    struct nbd_cmd *n;
};

static void quit_ready(struct loop_fd *f, u32 events)
{
    struct signalfd_siginfo info;
    if (read(f->fd, &info, sizeof(info)) == sizeof(info))
        container_of(f, struct quit, fd)->n->stop = true;
}

/* A socket that the parent process is listening on already (systemd's protocol); -1: none. */
static int inherited_socket(void)
{
    const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
    bool ours = pid && fds && strtol(pid, NULL, 10) == getpid() && !strcmp(fds, "1");
    if (!ours)
        return -1;
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    fcntl(SOCKET_ACTIVATION_FD, F_SETFD, FD_CLOEXEC);
    return SOCKET_ACTIVATION_FD;
}

static bool write_pid(struct nbd_cmd *n)
{
    FILE *f = n->pid_file ? fopen(n->pid_file, "we") : NULL;
    if (n->pid_file && (!f || fprintf(f, "%d\n", (int)getpid()) < 0 || fclose(f)))
        return img_fail(&n->m, "Could not create '%s': %s", n->pid_file, strerror(errno)) == 0;
    return true;
}

/* Tell the parent that clients can connect, and let go of its terminal. */
static void tell_parent(struct nbd_cmd *n)
{
    if (n->ready < 0)
        return;
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    ssize_t sent = write(n->ready, "", 1);
    for (int fd = 0; fd < 3 && sent == 1 && null >= 0; fd++)
        dup2(null, fd);
    close(n->ready);
    close(null);
}

static int serve(struct nbd_cmd *n)
{
    struct loop *l = block_graph_loop(n->m.g);
    struct err *e = &n->m.e;
    struct quit quit = {.fd.ready = quit_ready, .n = n};
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
    quit.fd.fd = signalfd(-1, &set, SFD_CLOEXEC);
    char *where = address(n);
    int fd = inherited_socket();
    bool own_socket = fd < 0 && n->socket;
    if (fd < 0)
        fd = socket_listen(where, e);
    free(where);
    if (fd < 0 || quit.fd.fd < 0)
        return fd < 0 ? img_error(&n->m) : img_fail(&n->m, "signalfd: %s", strerror(errno));
    int status = 1;
    struct nbd_server *s = NULL;
    if (loop_fd_add(l, &quit.fd, EPOLLIN, e) && write_pid(n))
        s = nbd_server_new(n->m.g, fd, (unsigned)n->clients_max, n->tls_creds, changed, n, e);
    if (s && n->tls_authz)
        nbd_server_allow(s, json_get_string(n->m.authz, n->tls_authz));
    if (s) {
        nbd_server_add(s, &(struct nbd_export){.node = n->node, .name = n->name, .description = n->description,
                                               .read_only = n->read_only, .depth = n->depth, .bitmap = n->bitmap});
        tell_parent(n);
        loop_until(l, &n->stop);
        status = 0;
    }
    nbd_server_free(s);
    if (own_socket)
        unlink(n->socket);
    if (n->pid_file)
        unlink(n->pid_file);
    close(quit.fd.fd);
    return status;
}

/* With --fork: wait for the child to be ready, or to end. */
static int parent(int from_child, pid_t child)
{
    char byte;
    int status;
    ssize_t n = read(from_child, &byte, 1);
    if (n == 1)
        return 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) && WEXITSTATUS(status) ? WEXITSTATUS(status) : 1;
}

static int run(struct nbd_cmd *n, int argc, char **argv)
{
    n->m.g = block_graph_new(img_aio_mode(argc, argv), &n->m.e);
    if (!n->m.g)
        return img_error(&n->m);
    int status = 0;
    for (unsigned i = 0; i < n->nobjects && !status; i++)
        status = img_add_object(&n->m, n->objects[i]) ? 0 : img_error(&n->m);
    if (!status && n->tls_authz && !n->tls_creds)
        status = img_fail(&n->m, "--tls-authz is not permitted without --tls-creds");
    else if (!status && n->tls_authz && !(n->m.authz && json_get(n->m.authz, n->tls_authz)))
        status = img_fail(&n->m, "there is no object authz-simple with the id '%s'", n->tls_authz);
    if (!status && n->list)
        status = list(n);
    else if (!status)
        status = open_node(n) ? serve(n) : 1;
    if (n->node)
        status = img_close(&n->m, n->node, status);
    json_free(n->m.authz);
    block_graph_free(n->m.g);
    return status;
}

int cmd_nbd(bool qemu, int argc, char **argv)
{
    struct nbd_cmd n = {.m = {.qemu = qemu, .name = qemu ? "qemu-nbd" : "lyre nbd"}, .port = "10809", .name = "",
                        .clients_max = 1, .ready = -1, .no_discard = qemu};
    struct img *m = &n.m;
    int c;
    optind = 0;
    opterr = 0;
    while ((c = getopt_long(argc, argv, "hVp:b:k:e:tvx:D:o:AB:Lf:rsl:nc:d", long_options, NULL)) != -1) {
        if (c == 'h') {
            print_help(m);
            return 0;
        }
        if (c == 'V') {
            printf("%s " LYRE_VERSION "\n", m->name);
            return 0;
        }
        int status = take_option(&n, c, optarg);
        if (status < 0 && optopt && optopt < 256)
            return img_fail(m, "invalid option -- '%c'\nTry `%s --help' for more information.", optopt, m->name);
        if (status < 0)
            return img_fail(m, "unrecognized option '%s'\nTry `%s --help' for more information.", argv[optind - 1], m->name);
        if (status)
            return status;
    }
    int left = argc - optind;
    if (n.list ? left : left != 1)
        return img_fail(m, n.list ? "List mode is incompatible with a file name" : "Invalid number of arguments\nTry `%s --help' for more information.", m->name);
    if (n.no_discard && n.detect_zeroes && !strcmp(n.detect_zeroes, "unmap"))
        return img_fail(m, "setting detect-zeroes to unmap is not allowed without setting discard operation to unmap");
    if (n.image_opts && m->format)
        return img_fail(m, "--image-opts and -f are mutually exclusive");
    n.file = n.list ? NULL : argv[optind];
    if (n.socket && (n.has_port || n.bind))
        return img_fail(m, "-k and -p/-b exclude each other");
    int ends[2];
    if (n.fork && !n.list) {
        if (pipe2(ends, O_CLOEXEC))
            return img_fail(m, "pipe: %s", strerror(errno));
        pid_t child = fork();
        if (child < 0)
            return img_fail(m, "Failed to fork: %s", strerror(errno));
        close(ends[child ? 1 : 0]);
        if (child)
            return parent(ends[0], child);
        setsid();
        n.ready = ends[1];
    }
    return run(&n, argc, argv);
}
