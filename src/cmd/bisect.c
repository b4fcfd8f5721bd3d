/* `lyre bisect`: run a program in several ways and compare what it says and how it ends. The interpreter, which does
 * nothing but what the IR says, is taken to be right. Where translated code differs the passes are left out one by
 * one, then hot regions are counted off, until what remains is one pass and one place. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "cmd/cmd.h"
#include "jit/ir/passes.h"

#define MOST_REGIONS (1u << 20)
#define TRIES        3 /* of ways in which hot code is found by time, and so not always the same */

struct bisect {
    char **words;      /* of `lyre run`: its options, the program and its arguments */
    const char *input; /* file that is the program's standard input */
    unsigned seconds;  /* that each run may take */
    int right;         /* what the interpreter made of it: a memory file */
    int status;        /* how the last run ended, as wait() says it */
    bool late;         /* it was killed because its time was up */
    unsigned runs;
};

/* ---- one run ---- */

static NORETURN void child(const struct bisect *b, int out, const char *engine, const char *opt, const char *log)
{
    int in = open(b->input, O_RDONLY);
    if (in < 0 || dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0)
        _exit(125);
    setpgid(0, 0);
    setenv("LYRE_ENGINE", engine, 1);
    setenv("LYRE_OPT", opt, 1);
    if (log) {
        setenv("QEMU_LOG", "hot", 1);
        setenv("QEMU_LOG_FILENAME", log, 1);
    }
    execv("/proc/self/exe", b->words);
    _exit(125);
}

/* Wait for it; kill it when its time is up. How it ended, as wait() says it. */
static int wait_for(struct bisect *b, pid_t pid)
{
    int status = 0;
    b->late = false;
    const struct timespec nap = {0, 2000000};
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    for (time_t end = now.tv_sec + b->seconds; !waitpid(pid, &status, WNOHANG); nanosleep(&nap, NULL)) {
        clock_gettime(CLOCK_MONOTONIC, &now);
        if (now.tv_sec > end) {
            b->late = true;
            kill(-pid, SIGKILL);
        }
    }
    return status;
}

/* Run the program. Returns a memory file with its output and the way it ended; -1: it could not be run. log: NULL, or
 * the file for the places of hot code. */
static int run_once(struct bisect *b, const char *engine, const char *opt, const char *log)
{
    int out = memfd_create("output", MFD_CLOEXEC);
    pid_t pid = out < 0 ? -1 : fork();
    if (!pid)
        child(b, out, engine, opt, log);
    if (pid < 0) {
        fprintf(stderr, "lyre: cannot run the program: %s\n", strerror(errno));
        return -1;
    }
    b->status = wait_for(b, pid);
    b->runs++;
    lseek(out, 0, SEEK_END);
    dprintf(out, "\n%d\n", b->status);
    return out;
}

static bool same_bytes(int x, int y)
{
    struct stat p, q;
    if (fstat(x, &p) || fstat(y, &q) || p.st_size != q.st_size)
        return false;
    void *m = mmap(NULL, (size_t)p.st_size, PROT_READ, MAP_SHARED, x, 0);
    void *n = mmap(NULL, (size_t)q.st_size, PROT_READ, MAP_SHARED, y, 0);
    bool same = m != MAP_FAILED && n != MAP_FAILED && !memcmp(m, n, (size_t)p.st_size);
    munmap(m, (size_t)p.st_size);
    munmap(n, (size_t)q.st_size);
    return same;
}

static bool goes_right(struct bisect *b, const char *opt)
{
    int out = run_once(b, "jit", opt, NULL);
    bool same = out >= 0 && same_bytes(out, b->right);
    close(out);
    return same;
}

/* ---- the search ---- */

/* A way of running it that goes wrong; NULL: none was found. */
static const char *find_wrong(struct bisect *b)
{
    static const char *const ways[] = {"1", "50", "off", "on"};
    for (unsigned i = 0; i < ARRAY_LEN(ways); i++) {
        for (unsigned n = strcmp(ways[i], "on") ? 1 : TRIES; n; n--) {
            if (!goes_right(b, ways[i]))
                return ways[i];
        }
    }
    return NULL;
}

/* Which pass makes it right when left out; IR_PASSES: none. */
static unsigned find_pass(struct bisect *b, const char *way)
{
    unsigned found = IR_PASSES;
    for (unsigned p = 0; p < IR_PASSES; p++) {
        char *opt = xprintf("%s,-%s", way, ir_pass_info[p].name);
        bool right = goes_right(b, opt);
        printf("without %-7s %s\n", ir_pass_info[p].name, right ? "right" : "wrong");
        fflush(stdout);
        if (right && (found == IR_PASSES || found == IR_PASS_HOT)) /* that leaves out others, too */
            found = p;
        free(opt);
    }
    return found;
}

static bool right_with_regions(struct bisect *b, const char *way, u32 n)
{
    char *opt = xprintf("%s,regions=%u", way, n);
    bool right = goes_right(b, opt);
    free(opt);
    return right;
}

/* With how many hot regions it goes wrong for the first time; 0: that cannot be said, or has nothing to do with it. */
static u32 find_region(struct bisect *b, const char *way)
{
    char *off = xprintf("%s,-hot", way);
    bool hot = goes_right(b, off);
    free(off);
    u32 right = 0, wrong = 1;
    if (!hot)
        return 0;
    while (wrong < MOST_REGIONS && right_with_regions(b, way, wrong)) {
        right = wrong;
        wrong *= 2;
    }
    if (wrong == MOST_REGIONS)
        return 0; /* not each time, so counting does not find it */
    while (wrong - right > 1) {
        u32 middle = right + (wrong - right) / 2;
        *(right_with_regions(b, way, middle) ? &right : &wrong) = middle;
    }
    return wrong;
}

/* Where the nth hot region starts, as the log of a run says. */
static u64 place_of_region(struct bisect *b, const char *way, u32 n)
{
    char path[] = "/tmp/lyre-bisect-XXXXXX", line[128];
    u64 pc = 0;
    int fd = mkstemp(path);
    char *opt = xprintf("%s,regions=%u", way, n);
    close(run_once(b, "jit", opt, path));
    FILE *log = fd < 0 ? NULL : fdopen(fd, "r");
    while (log && fgets(line, sizeof(line), log)) {
        unsigned long long k, at;
        if (sscanf(line, "hot region %llu at 0x%llx", &k, &at) == 2 && k == n)
            pc = at;
    }
    if (log)
        fclose(log);
    unlink(path);
    free(opt);
    return pc;
}

static int search(struct bisect *b)
{
    int again = b->right < 0 || b->late ? -1 : run_once(b, "interp", "off", NULL);
    if (b->late)
        fprintf(stderr, "lyre: the interpreter is not done after %u seconds; --seconds gives it more, or --input less to do\n",
                b->seconds);
    if (again < 0 || b->late)
        return 2;
    if (!same_bytes(b->right, again)) {
        fprintf(stderr, "lyre: under the interpreter the program does not do the same twice; there is nothing to "
                        "compare with\n");
        return 2;
    }
    close(again);
    const char *way = find_wrong(b);
    if (!way) {
        printf("translated code does what the interpreter does: %u runs, each ended with %s %d\n", b->runs,
               WIFEXITED(b->status) ? "exit status" : "signal",
               WIFEXITED(b->status) ? WEXITSTATUS(b->status) : WTERMSIG(b->status));
        return 0;
    }
    printf("with -opt %s the program does something else than under the interpreter\n", way);
    unsigned pass = find_pass(b, way);
    if (pass == IR_PASSES)
        printf("no single pass is the cause; `lyre run -engine lockstep` compares each instruction\n");
    else
        printf("the cause is in pass '%s': %s\n", ir_pass_info[pass].name, ir_pass_info[pass].help);
    u32 region = find_region(b, way);
    u64 place = region ? place_of_region(b, way, region) : 0;
    if (place)
        printf("it goes wrong with hot region %u, at 0x%llx: `lyre run -opt %s,regions=%u -d in_asm,ir,out_asm`\n", region,
               (unsigned long long)place, way, region);
    return 1;
}

/* ---- the command ---- */

static int usage(FILE *to)
{
    fputs("usage: lyre bisect [--input FILE] [--seconds N] [OPTIONS OF lyre run] PROGRAM [ARGUMENTS]\n"
          "Run the program under the interpreter and translated, and if that differs find out which pass of the\n"
          "translator, and which hot code, makes the difference. What counts is its output and how it ends.\n\n"
          "  --input FILE   its standard input (default: none)\n"
          "  --seconds N    how long each run may take (default: 60)\n\n"
          "The exit status is 0 if nothing was found, 1 if something was, 2 if the search was not possible.\n",
          to);
    return to == stdout ? 0 : 2;
}

/* The option among those of `lyre run` that is chosen here; NULL: none. They end with the first word that is neither an
 * option nor, perhaps, the argument of one. */
static const char *own_option(char **words)
{
    static const char *const own[] = {"opt", "engine", "d", "D"};
    for (bool option = true; *words && (option || **words == '-'); words++) {
        const char *name = *words + strspn(*words, "-");
        option = **words == '-';
        for (size_t i = 0; i < ARRAY_LEN(own) && option; i++) {
            if (strcspn(name, "=") == strlen(own[i]) && !strncmp(name, own[i], strlen(own[i])))
                return *words;
        }
    }
    return NULL;
}

int cmd_bisect(int argc, char **argv)
{
    struct bisect b = {.input = "/dev/null", .seconds = 60};
    int i = 1;
    for (; i < argc && !strncmp(argv[i], "--", 2); i += 2) {
        bool input = !strcmp(argv[i], "--input"), seconds = !strcmp(argv[i], "--seconds");
        if (!strcmp(argv[i], "--help"))
            return usage(stdout);
        if ((!input && !seconds) || i + 1 == argc)
            break;
        if (input)
            b.input = argv[i + 1];
        else
            b.seconds = (unsigned)strtoul(argv[i + 1], NULL, 10);
    }
    if (i >= argc || !b.seconds)
        return usage(stderr);
    if (access(b.input, R_OK)) {
        fprintf(stderr, "lyre: %s: %s\n", b.input, strerror(errno));
        return 2;
    }
    const char *own = own_option(argv + i);
    if (own) {
        fprintf(stderr, "lyre: bisect chooses %s itself\n", own);
        return 2;
    }
    b.words = xcalloc((size_t)(argc - i) + 3, sizeof(*b.words));
    b.words[0] = "lyre";
    b.words[1] = "run";
    memcpy(b.words + 2, argv + i, (size_t)(argc - i) * sizeof(*b.words));
    b.right = run_once(&b, "interp", "off", NULL);
    int status = search(&b);
    free(b.words);
    return status;
}
