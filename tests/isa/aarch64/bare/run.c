/* Runs a bare program on the board and prints what it prints:
 *
 *     a64_bare ENGINE MODEL CPUS SECONDS FILE
 *
 * ENGINE hot: the JIT, which translates code again after a few entries; stress: which does, and frees all code all the time;
 * sampled: which compares what it runs with the interpreter every millisecond; lockstep: always. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "board.h"

#define HOT_AFTER 6

static int usage(void)
{
    fprintf(stderr, "usage: a64_bare interp|jit|hot|stress|lockstep|sampled MODEL CPUS SECONDS FILE\n");
    return 2;
}

int main(int argc, char **argv)
{
    struct engine_opts opts = {.pins = UINT32_MAX};
    struct err e;
    u64 entry;
    u32 mask = 0;
    const char *log = getenv("LYRE_LOG");
    if (argc != 6)
        return usage();
    if (log && log_parse(log, &mask, &e))
        log_enable(mask);
    cpus_take_signals();
    opts.stress_ms = !strcmp(argv[1], "stress");
    opts.hot_at_once = opts.stress_ms || !strcmp(argv[1], "hot");
    opts.hot_after = opts.hot_at_once ? HOT_AFTER : 0;
    opts.lockstep_ms = !strcmp(argv[1], "sampled");
    opts.kind = !strcmp(argv[1], "interp") ? ENGINE_INTERP : !strcmp(argv[1], "lockstep") ? ENGINE_LOCKSTEP : ENGINE_JIT;
    struct board *b = board_new(argv[2], (unsigned)atoi(argv[3]), &opts, &e);
    if (!b || !board_load(b, argv[5], &entry, &e)) {
        fprintf(stderr, "a64_bare: %s\n", e.text);
        return 2;
    }
    bool off = board_run(b, entry, (unsigned)atoi(argv[4]));
    fputs(board_output(b), stdout);
    board_free(b);
    if (!off)
        fprintf(stderr, "a64_bare: the program did not end in time\n");
    return !off;
}
