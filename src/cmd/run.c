/* Running one program: the options, in one table for both spellings (`lyre run`, `qemu-<isa>`), and
 * what becomes of the program's end. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "cmd/cmd.h"
#include "cmd/profile.h"
#include "user/user.h"

struct run {
    bool qemu;          /* texts and exit codes of qemu-<isa> */
    const char *self;   /* argv[0] */
    const char *name;   /* for messages: "lyre" or "qemu-aarch64" */
    const struct isa *isa;
    struct user_opts user;
    const char *argv0;
    char **env;
    size_t envs, env_cap;
    char **reexec;
    size_t words, word_cap;
};

/* What an option's function answers. */
enum answer { GO_ON, DONE, FAILED };

struct option {
    const char *name;  /* without dashes */
    const char *arg;   /* name of its argument; NULL: it takes none */
    const char *env;   /* variable that sets it, too */
    enum answer (*set)(struct run *r, const struct option *o, const char *arg);
    const char *help;  /* NULL: not listed */
    bool not_inherited; /* not for programs that the program starts */
};

static enum answer complain(struct run *r, const char *fmt, ...) PRINTF_LIKE(2, 3);

static enum answer complain(struct run *r, const char *fmt, ...)
{
    char text[600];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    fprintf(stderr, "%s: %s\n", r->name, text);
    return FAILED;
}

/* ---- environment ---- */

static size_t find_env(const struct run *r, const char *name, size_t len)
{
    size_t i = 0;
    while (i < r->envs && (strncmp(r->env[i], name, len) || r->env[i][len] != '='))
        i++;
    return i;
}

static void unset_env(struct run *r, const char *name, size_t len)
{
    size_t i = find_env(r, name, len);
    if (i < r->envs)
        r->env[i] = r->env[--r->envs];
}

static void set_env(struct run *r, const char *text, size_t len)
{
    const char *eq = memchr(text, '=', len);
    char *copy = xprintf("%.*s", (int)len, text);
    size_t i = find_env(r, text, (size_t)(eq - text));
    if (i < r->envs)
        r->env[i] = copy;
    else
        VEC_PUSH(r->env, r->envs, r->env_cap) = copy;
}

/* A comma-separated list of NAME=VALUE or NAME. */
static enum answer change_env(struct run *r, const struct option *o, const char *list, bool set)
{
    while (*list) {
        size_t n = strcspn(list, ",");
        bool assigns = memchr(list, '=', n) != NULL;
        if (n && set && !assigns)
            return complain(r, "-%s wants NAME=VALUE, not '%.*s'", o->name, (int)n, list);
        if (n && !set && assigns)
            return complain(r, "-%s wants a name, not '%.*s'", o->name, (int)n, list);
        if (n && set)
            set_env(r, list, n);
        else if (n)
            unset_env(r, list, n);
        list += n + (list[n] == ',');
    }
    return GO_ON;
}

static enum answer opt_set_env(struct run *r, const struct option *o, const char *arg)
{
    return change_env(r, o, arg, true);
}

static enum answer opt_unset_env(struct run *r, const struct option *o, const char *arg)
{
    return change_env(r, o, arg, false);
}

/* ---- options ---- */

static bool parse_number(const char *s, u64 *v, bool suffixes)
{
    char *end;
    errno = 0;
    unsigned long long n = strtoull(s, &end, 0);
    if (end == s || errno || *s == '-')
        return false;
    unsigned shift = 0;
    if (suffixes && *end) {
        shift = *end == 'k' || *end == 'K' ? 10 : *end == 'M' ? 20 : *end == 'G' ? 30 : 64;
        end++;
    }
    if (*end || shift == 64 || n > (~0ull >> shift))
        return false;
    *v = n << shift;
    return true;
}

static enum answer opt_sysroot(struct run *r, const struct option *o, const char *arg)
{
    r->user.sysroot = arg;
    return GO_ON;
}

static enum answer opt_stack(struct run *r, const struct option *o, const char *arg)
{
    if (!parse_number(arg, &r->user.stack_size, true) || !r->user.stack_size)
        return complain(r, "'%s' is no stack size; -s wants bytes, or a number with K, M or G", arg);
    return GO_ON;
}

static enum answer opt_cpu(struct run *r, const struct option *o, const char *arg)
{
    r->user.cpu = arg;
    return GO_ON;
}

static enum answer opt_argv0(struct run *r, const struct option *o, const char *arg)
{
    r->argv0 = arg;
    return GO_ON;
}

static enum answer opt_uname(struct run *r, const struct option *o, const char *arg)
{
    r->user.release = arg;
    return GO_ON;
}

/* Options about where guest memory lies. It lies where the guest thinks: only that can be asked for. */
static enum answer opt_zero(struct run *r, const struct option *o, const char *arg)
{
    u64 v;
    if (parse_number(arg, &v, true) && !v)
        return GO_ON;
    return complain(r, "-%s %s is not supported: guest addresses are host addresses", o->name, arg);
}

static enum answer opt_pagesize(struct run *r, const struct option *o, const char *arg)
{
    u64 v;
    if (parse_number(arg, &v, false) && v == 4096)
        return GO_ON;
    return complain(r, "-%s %s is not supported: pages have 4096 bytes", o->name, arg);
}

static enum answer opt_unsupported(struct run *r, const struct option *o, const char *arg)
{
    return complain(r, "-%s is not supported", o->name);
}

static enum answer opt_log(struct run *r, const struct option *o, const char *arg)
{
    struct err e;
    u32 mask = 0;
    if (!strcmp(arg, "help") || !strcmp(arg, "?")) {
        printf("Log items (comma separated):\n");
        log_list(stdout);
        return r->qemu ? FAILED : DONE;
    }
    if (!log_parse(arg, &mask, &e))
        return complain(r, "%s", e.text);
    log_enable(mask);
    return GO_ON;
}

static enum answer opt_logfile(struct run *r, const struct option *o, const char *arg)
{
    struct err e;
    return log_open(arg, &e) ? GO_ON : complain(r, "%s", e.text);
}

static enum answer opt_one_insn(struct run *r, const struct option *o, const char *arg)
{
    r->user.engine.one_insn = true;
    return GO_ON;
}

static enum answer opt_strace(struct run *r, const struct option *o, const char *arg)
{
    r->user.strace = true;
    return GO_ON;
}

static enum answer opt_seed(struct run *r, const struct option *o, const char *arg)
{
    r->user.seeded = true;
    if (!parse_number(arg, &r->user.seed, false))
        return complain(r, "Invalid seed number: %s", arg);
    return GO_ON;
}

static enum answer opt_engine(struct run *r, const struct option *o, const char *arg)
{
    static const char *const names[] = {"jit", "interp", "lockstep"};
    static const enum engine_kind kinds[] = {ENGINE_JIT, ENGINE_INTERP, ENGINE_LOCKSTEP};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (!strcmp(arg, names[i])) {
            r->user.engine.kind = kinds[i];
            return GO_ON;
        }
    }
    return complain(r, "'%s' is no engine; the engines are jit, interp, lockstep", arg);
}

static enum answer opt_host_cpu(struct run *r, const struct option *o, const char *arg)
{
    r->user.engine.host_cpu = arg;
    return GO_ON;
}

static enum answer opt_cache_size(struct run *r, const struct option *o, const char *arg)
{
    u64 v;
    if (!parse_number(arg, &v, true) || v < 1 << 16)
        return complain(r, "'%s' is no size for the code cache; it wants at least 64K", arg);
    r->user.engine.cache_size = v;
    return GO_ON;
}

static enum answer take_ms(struct run *r, const char *arg, u32 *ms)
{
    u64 v;
    if (!parse_number(arg, &v, false) || v > UINT32_MAX)
        return complain(r, "'%s' is no number of milliseconds", arg);
    *ms = (u32)v;
    return GO_ON;
}

static enum answer opt_stress(struct run *r, const struct option *o, const char *arg)
{
    return take_ms(r, arg, &r->user.engine.stress_ms);
}

static enum answer opt_lockstep(struct run *r, const struct option *o, const char *arg)
{
    return take_ms(r, arg, &r->user.engine.lockstep_ms);
}

static enum answer list_passes(const struct run *r)
{
    printf("What makes code quicker (-opt -NAME leaves it out):\n");
    for (unsigned p = 0; p < IR_PASSES; p++)
        printf("  %-10s %s\n", ir_pass_info[p].name, ir_pass_info[p].help);
    return r->qemu ? FAILED : DONE;
}

static enum answer leave_out(struct run *r, const char *pass)
{
    unsigned p = ir_pass_find(pass, strlen(pass));
    if (p == IR_PASSES)
        return complain(r, "'%s' is nothing that could be left out; '-opt help' lists what is", pass);
    r->user.engine.without |= 1u << p;
    return GO_ON;
}

static enum answer set_opt(struct run *r, const char *word)
{
    struct engine_opts *e = &r->user.engine;
    u64 v = 0;
    if (*word == '-')
        return leave_out(r, word + 1);
    bool regions = !strncmp(word, "regions=", 8), on = !strcmp(word, "on"), off = !strcmp(word, "off");
    if (!on && !off && (!parse_number(word + (regions ? 8 : 0), &v, false) || !v || v > INT32_MAX))
        return complain(r, "'%s' is not on, off, a number of entries, -PASS or regions=NUMBER", word);
    if (regions) {
        e->hot_regions = (u32)v;
        return GO_ON;
    }
    e->hot_after = on ? ENGINE_HOT_AFTER : off ? 0 : (u32)v;
    e->hot_at_once = !on && !off;
    return GO_ON;
}

static enum answer opt_opt(struct run *r, const struct option *o, const char *arg)
{
    if (!strcmp(arg, "help"))
        return list_passes(r);
    enum answer answer = GO_ON;
    char *words = xstrdup(arg), *rest = words, *word;
    while (answer == GO_ON && (word = strsep(&rest, ",")))
        answer = set_opt(r, word);
    free(words);
    return answer;
}

static enum answer opt_pins(struct run *r, const struct option *o, const char *arg)
{
    u64 v;
    if (!parse_number(arg, &v, false) || v > 64)
        return complain(r, "'%s' is no number of pinned registers", arg);
    r->user.engine.pins = (unsigned)v;
    return GO_ON;
}

static enum answer opt_perf_map(struct run *r, const struct option *o, const char *arg)
{
    r->user.engine.perf_map = true;
    return GO_ON;
}

static enum answer opt_profile(struct run *r, const struct option *o, const char *arg)
{
    log_enable(LOG_PROFILE);
    return GO_ON;
}

static enum answer opt_jitdump(struct run *r, const struct option *o, const char *arg)
{
    r->user.engine.jitdump = true;
    return GO_ON;
}

static enum answer opt_help(struct run *r, const struct option *o, const char *arg);
static enum answer opt_version(struct run *r, const struct option *o, const char *arg);

static const struct option options[] = {
    {"h", NULL, NULL, opt_help, "print this help"},
    {"help", NULL, NULL, opt_help, ""},
    {"g", "port", "QEMU_GDB", opt_unsupported, NULL},
    {"L", "path", "QEMU_LD_PREFIX", opt_sysroot,
     "where the program's system is: absolute paths that exist under 'path' are found there"},
    {"s", "size", "QEMU_STACK_SIZE", opt_stack, "set the stack size to 'size' bytes"},
    {"cpu", "model", "QEMU_CPU", opt_cpu, "select CPU (-cpu help for list)"},
    {"E", "var=value", "QEMU_SET_ENV", opt_set_env, "sets targets environment variable (see below)",
     true},
    {"U", "var", "QEMU_UNSET_ENV", opt_unset_env, "unsets targets environment variable (see below)",
     true},
    {"0", "argv0", "QEMU_ARGV0", opt_argv0, "forces target process argv[0] to be 'argv0'", true},
    {"r", "uname", "QEMU_UNAME", opt_uname, "set uname release string to 'uname'"},
    {"B", "address", "QEMU_GUEST_BASE", opt_zero, NULL},
    {"R", "size", "QEMU_RESERVED_VA", opt_zero, NULL},
    {"d", "item[,...]", "QEMU_LOG", opt_log,
     "enable logging of specified items (use '-d help' for a list of items)"},
    {"dfilter", "range", "QEMU_DFILTER", opt_unsupported, NULL},
    {"D", "logfile", "QEMU_LOG_FILENAME", opt_logfile,
     "write logs to 'logfile' (default stderr; %d is the process id)"},
    {"p", "pagesize", "QEMU_PAGESIZE", opt_pagesize, NULL},
    {"singlestep", NULL, "QEMU_SINGLESTEP", opt_one_insn, "translate one instruction at a time"},
    {"one-insn-per-tb", NULL, "QEMU_ONE_INSN_PER_TB", opt_one_insn, ""},
    {"strace", NULL, "QEMU_STRACE", opt_strace, "log system calls"},
    {"seed", "number", "QEMU_RAND_SEED", opt_seed, "seed of the bytes at AT_RANDOM"},
    {"trace", "pattern", "QEMU_TRACE", opt_unsupported, NULL},
    {"plugin", "file", "QEMU_PLUGIN", opt_unsupported, NULL},
    {"engine", "kind", "LYRE_ENGINE", opt_engine, "jit (default), interp, lockstep"},
    {"host-cpu", "level", "LYRE_HOST_CPU", opt_host_cpu,
     "use at most this level of the host: sse4.2, avx2, avx512"},
    {"cache-size", "size", "LYRE_CACHE_SIZE", opt_cache_size, "bytes of code cache"},
    {"lockstep", "ms", "LYRE_LOCKSTEP", opt_lockstep,
     "compare some code with the interpreter every so many milliseconds"},
    {"stress", "ms", "LYRE_STRESS", opt_stress, "free all code every so many milliseconds"},
    {"opt", "word[,...]", "LYRE_OPT", opt_opt,
     "translate hot code again: on (default), off, or after so many entries, at once; regions=N: at most N times; "
     "-PASS: leave out a pass ('help' lists them)"},
    {"pins", "number", "LYRE_PINS", opt_pins, "use at most so many pinned registers"},
    {"perf-map", NULL, "LYRE_PERF_MAP", opt_perf_map, "tell perf the names of generated code"},
    {"jitdump", NULL, "LYRE_JITDUMP", opt_jitdump, "write a jitdump file for perf"},
    {"profile", NULL, "LYRE_PROFILE", opt_profile, "say at the end which functions took the time"},
    {"version", NULL, "QEMU_VERSION", opt_version, "display version information and exit"},
};

/* ---- help ---- */

static enum answer opt_version(struct run *r, const struct option *o, const char *arg)
{
    if (r->qemu)
        printf("%s version 7.2.0 (Lyrebird " LYRE_VERSION ")\n", r->name);
    else
        printf("lyre " LYRE_VERSION "\n");
    return DONE;
}

static enum answer opt_help(struct run *r, const struct option *o, const char *arg)
{
    if (r->qemu)
        printf("usage: %s [options] program [arguments...]\n"
               "Linux CPU emulator (compiled for %s emulation)\n\n"
               "Options and associated environment variables:\n\n"
               "%-21s%-18s %s\n",
               r->name, r->isa->name, "Argument", "Env-variable", "Description");
    else
        printf("usage: lyre run [options] PROGRAM [ARGUMENTS...]\n"
               "Run a Linux program made for another computer.\n\n"
               "%-21s%-18s %s\n",
               "Option", "Or variable", "Meaning");
    for (size_t i = 0; i < ARRAY_LEN(options); i++) {
        char left[64];
        const struct option *k = &options[i];
        if (!k->help)
            continue;
        snprintf(left, sizeof(left), "-%s %s", k->name, k->arg ? k->arg : "");
        printf("%-20s %-18s %s\n", left, k->env ? k->env : "", k->help);
    }
    printf("\nDefaults:\n"
           "QEMU_LD_PREFIX  = %s\n"
           "QEMU_STACK_SIZE = %llu byte\n",
           r->user.sysroot ? r->user.sysroot : "(none)",
           r->user.stack_size ? (unsigned long long)r->user.stack_size : 8ull << 20);
    printf("\n-E and -U may be given several times; each takes a list separated by commas:\n"
           "    -E var1=val2,var2=val2 -U LD_PRELOAD,LD_DEBUG\n"
           "The last change of a variable stays in effect. -E, -U and -0 are for this program; the\n"
           "others also hold for programs that it starts.\n");
    return DONE;
}

/* ---- parsing ---- */

static const struct option *find_option(const char *name, size_t len)
{
    for (size_t i = 0; i < ARRAY_LEN(options); i++) {
        if (strlen(options[i].name) == len && !strncmp(options[i].name, name, len))
            return &options[i];
    }
    return NULL;
}

static enum answer parse_env(struct run *r)
{
    for (size_t i = 0; i < ARRAY_LEN(options); i++) {
        const char *value = options[i].env ? getenv(options[i].env) : NULL;
        if (!value)
            continue;
        enum answer a = options[i].set(r, &options[i], value);
        if (a != GO_ON)
            return a;
    }
    return GO_ON;
}

static enum answer parse_one(struct run *r, int argc, char **argv, int *i)
{
    const char *text = argv[*i] + 1;
    if (*text == '-')
        text++;
    size_t len = strcspn(text, "=");
    const struct option *o = find_option(text, len);
    const char *arg = o && text[len] ? text + len + 1 : NULL;
    const char *who = r->qemu ? "qemu" : "lyre";
    const char *hint = r->qemu ? "" : "; try \"lyre run --help\"";
    int first = *i;
    if (!o || (arg && !o->arg)) {
        fprintf(stderr, "%s: unknown option '%s'%s\n", who, text, hint);
        return FAILED;
    }
    if (o->arg && !arg) {
        if (*i + 1 >= argc) {
            fprintf(stderr, "%s: missing argument for option '%s'%s\n", who, o->name, hint);
            return FAILED;
        }
        arg = argv[++*i];
    }
    for (int k = first; !o->not_inherited && k <= *i; k++)
        VEC_PUSH(r->reexec, r->words, r->word_cap) = argv[k];
    return o->set(r, o, arg);
}

/* ---- the end of the program ---- */

static void end(struct process *p, struct user_end how, bool vfork_child)
{
    if (how.kind == USER_END_THREAD)
        syscall(SYS_exit, how.code);
    if (!vfork_child && process_engine(p)) {
        engine_report(process_engine(p), LOG_STATS, engine_stats);
        engine_report(process_engine(p), LOG_PROFILE, profile_print);
    }
    if (how.kind == USER_END_EXIT)
        _exit(how.code);
    /* Its own signal again, so that whoever waits for us sees the right status. A shell says what
     * happened; the line is for those who look for it. */
    if (process_opts(p)->compatible && user_signal_dumps_core(how.code))
        fprintf(stderr, "qemu: uncaught target signal %d (%s) - core dumped\n", how.code,
                strsignal(how.code));
    user_die_by_signal(how.code);
}

static void start_words(struct run *r)
{
    VEC_PUSH(r->reexec, r->words, r->word_cap) = (char *)(uintptr_t)r->self;
    if (!r->qemu)
        VEC_PUSH(r->reexec, r->words, r->word_cap) = (char *)"run";
}

static void list_models(const struct isa *isa)
{
    for (unsigned i = 0; isa->model_name(i); i++)
        printf("  %s\n", isa->model_name(i));
}

static int list_cpus(struct run *r)
{
    if (r->isa) {
        printf("Available CPUs:\n");
        list_models(r->isa);
    }
    for (unsigned i = 0; !r->isa && isa_list[i]; i++) {
        printf("Available CPUs for %s:\n", isa_list[i]->name);
        list_models(isa_list[i]);
    }
    return r->qemu ? 1 : 0;
}

static int run_program(struct run *r, char **argv)
{
    struct err e = {0};
    enum user_fail fail;
    r->user.isa = r->isa;
    r->user.path = argv[0];
    if (r->argv0)
        argv[0] = (char *)(uintptr_t)r->argv0;
    r->user.argv = argv;
    VEC_PUSH(r->env, r->envs, r->env_cap) = NULL;
    VEC_PUSH(r->reexec, r->words, r->word_cap) = NULL;
    r->user.envp = r->env;
    r->user.reexec = r->reexec;
    r->user.compatible = r->qemu;
    r->user.end = end;
    struct process *p = process_new(&r->user, &fail, &e);
    if (!p) {
        if (!r->qemu) {
            complain(r, "%s", e.text);
            return fail == USER_FAIL_NOT_FOUND ? 127 : fail == USER_FAIL_SETUP ? 2 : 126;
        }
        if (fail == USER_FAIL_IMAGE || fail == USER_FAIL_SETUP)
            complain(r, "%s", e.text);
        else
            fprintf(stderr, "Error while loading %s\n", e.text);
        return fail == USER_FAIL_IMAGE ? 255 : 1;
    }
    end(p, process_run(p), false);
    return 1;
}

static int run(struct run *r, int argc, char **argv)
{
    int i = 1;
    r->user.engine.pins = ~0u;
    r->user.engine.hot_after = ENGINE_HOT_AFTER;
    r->user.engine.cold_runs = ENGINE_COLD_RUNS;
    for (char **e = environ; *e; e++)
        VEC_PUSH(r->env, r->envs, r->env_cap) = *e;
    start_words(r);
    enum answer a = parse_env(r);
    for (; a == GO_ON && i < argc && argv[i][0] == '-' && argv[i][1]; i++) {
        if (!strcmp(argv[i], "--")) {
            i++;
            break;
        }
        a = parse_one(r, argc, argv, &i);
    }
    if (a != GO_ON)
        return a == DONE ? 0 : r->qemu ? 1 : 2;
    r->user.engine.count_insns = log_on(LOG_STATS);
    if (r->user.cpu && (!strcmp(r->user.cpu, "help") || !strcmp(r->user.cpu, "?")))
        return list_cpus(r);
    if (i >= argc) {
        if (r->qemu)
            fprintf(stderr, "qemu: no user program specified\n");
        else
            fprintf(stderr, "lyre: which program? usage: lyre run [options] PROGRAM [ARGUMENTS]\n");
        return r->qemu ? 1 : 2;
    }
    return run_program(r, argv + i);
}

/* Only what did not become a process comes back. */
static int finish(struct run *r, int status)
{
    free(r->env);
    free(r->reexec);
    return status;
}

int cmd_run(const char *self, int argc, char **argv)
{
    struct run r = {.self = self, .name = "lyre"};
    return finish(&r, run(&r, argc, argv));
}

#ifndef AT_FLAGS_PRESERVE_ARGV0
#define AT_FLAGS_PRESERVE_ARGV0 1
#endif

int cmd_qemu_user(const struct isa *isa, int argc, char **argv)
{
    char *name = xprintf("qemu-%s", isa->name);
    struct run r = {.qemu = true, .self = argv[0], .name = name, .isa = isa};
    char *prefix = xprintf("/etc/qemu-binfmt/%s", isa->name);
    if (access(prefix, F_OK) == 0)
        r.user.sysroot = prefix; /* Debian's place for it */
    /* From binfmt_misc with the P flag: our name, the program's path, its argv[0], the rest. */
    if (getauxval(AT_FLAGS) & AT_FLAGS_PRESERVE_ARGV0 && argc >= 3) {
        r.argv0 = argv[2];
        argv[2] = argv[1];
        argv[1] = argv[0];
        argv++;
        argc--;
    }
    int status = finish(&r, run(&r, argc, argv));
    free(prefix);
    free(name);
    return status;
}
