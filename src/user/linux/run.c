/* A process from its first breath to its end: process_new(), the exec loop, exceptions. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "accel/engine.h"
#include "base/current.h"
#include "base/log.h"
#include "base/mem.h"
#include "user/linux/abi.h"
#include "user/linux/headers.h"
#include "user/linux/load.h"
#include "user/linux/signal.h"
#include "user/linux/thread.h"

/* ---- exceptions ---- */

/* If the page allows the access, then what it maps is not there: the file behind it is too short. */
static int fault_signal(const struct vcpu_exit *x, const struct map *m)
{
    static const u32 needs[] = {[IR_ACCESS_READ] = MAP_READ | MAP_EXEC, [IR_ACCESS_WRITE] = MAP_WRITE,
                                [IR_ACCESS_EXEC] = MAP_EXEC};
    if (x->sig && x->access != IR_ACCESS_EXEC)
        return x->sig == SIGBUS ? SIGBUS : SIGSEGV;
    return m && m->prot & needs[x->access] ? SIGBUS : SIGSEGV;
}

static void fault(struct thread *t, const struct vcpu_exit *x)
{
    struct space *sp = &t->process->space;
    siginfo_t info = {0};
    u64 addr = x->access == IR_ACCESS_EXEC ? thread_insn(t) : x->addr;
    pthread_mutex_lock(&sp->lock);
    const struct map *m = maptab_find(&sp->tab, addr);
    bool mapped = m != NULL;
    info.si_signo = fault_signal(x, m);
    pthread_mutex_unlock(&sp->lock);
    info.si_code = info.si_signo == SIGBUS ? BUS_ADRERR : mapped ? SEGV_ACCERR : SEGV_MAPERR;
    info.si_addr = (void *)(uintptr_t)addr;
    struct abi_frame f = {.sig = info.si_signo, .fault = true, .addr = addr, .access = x->access,
                          .mapped = mapped};
    signal_force(t, &f, &info);
}

static int fpe_code(u64 flags)
{
    /* FP_* flags, in the order in which the kernel looks at them. */
    static const int codes[] = {FPE_FLTINV, FPE_FLTDIV, FPE_FLTOVF, FPE_FLTUND, FPE_FLTRES};
    for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
        if (flags >> i & 1)
            return codes[i];
    }
    return 0;
}

static void force(struct thread *t, int sig, int code, u64 addr)
{
    siginfo_t info = {.si_signo = sig, .si_code = code};
    info.si_addr = (void *)(uintptr_t)addr;
    struct abi_frame f = {.sig = sig};
    signal_force(t, &f, &info);
}

static void raised(struct thread *t, const struct vcpu_exit *x)
{
    u64 pc = thread_insn(t);
    switch ((enum isa_raise)x->code) {
    case ISA_RAISE_SYSCALL:
        syscall_run(t);
        break;
    case ISA_RAISE_BREAK:
        force(t, SIGTRAP, TRAP_BRKPT, pc);
        break;
    case ISA_RAISE_UNDEFINED:
        log_print(LOG_UNIMP, "undefined instruction %#llx at %#llx\n", (unsigned long long)x->arg,
                  (unsigned long long)pc);
        force(t, SIGILL, ILL_ILLOPC, pc);
        break;
    case ISA_RAISE_UNALIGNED:
        force(t, SIGBUS, BUS_ADRALN, x->arg);
        break;
    case ISA_RAISE_PC_ALIGN:
        force(t, SIGBUS, BUS_ADRALN, pc);
        break;
    case ISA_RAISE_FP_TRAP:
        force(t, SIGFPE, fpe_code(x->arg), pc);
        break;
    case ISA_RAISE_CACHE:
        space_code_changed(&t->process->space, ALIGN_DOWN(x->arg, 64), 64);
        break;
    case ISA_RAISE_CACHE_ALL:
        space_code_changed(&t->process->space, 0, UINT64_MAX);
        break;
    case ISA_RAISE_RESYNC:
    case ISA_RAISE_INSN: /* machines only */
        break;
    }
}

void thread_loop(struct thread *t)
{
    while (!t->ended) {
        struct vcpu_exit x;
        vcpu_run(t->cpu, &x);
        if (x.kind == VCPU_EXIT_RAISE)
            raised(t, &x);
        else if (x.kind == VCPU_EXIT_FAULT)
            fault(t, &x);
        if (!t->ended && (atomic_load_explicit(&t->pending, memory_order_relaxed) || t->restarting))
            signal_deliver(t);
    }
}

/* ---- start ---- */

static bool find_regs(struct process *p, struct err *e)
{
    const struct abi *abi = p->abi;
    const char *const names[] = {abi->reg_number, abi->reg_arg[0], abi->reg_arg[1], abi->reg_arg[2],
                                 abi->reg_arg[3], abi->reg_arg[4], abi->reg_arg[5], abi->reg_result,
                                 abi->reg_sp,     abi->reg_tls};
    int *const regs[] = {&p->regs.number, &p->regs.arg[0], &p->regs.arg[1], &p->regs.arg[2],
                         &p->regs.arg[3], &p->regs.arg[4], &p->regs.arg[5], &p->regs.result,
                         &p->regs.sp,     &p->regs.tls};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        *regs[i] = isa_reg_find(p->isa, names[i]);
        if (*regs[i] < 0)
            return err_set(e, ENOTSUP, "%s has no register '%s'", p->isa->name, names[i]);
    }
    return true;
}

static char *canonical_sysroot(const char *path)
{
    if (!path || !*path || !strcmp(path, "/"))
        return NULL;
    char *full = realpath(path, NULL);
    char *copy = xstrdup(full ? full : path);
    free(full);
    size_t n = strlen(copy);
    while (n > 1 && copy[n - 1] == '/')
        copy[--n] = 0;
    return copy;
}

static char *file_name(int fd, const char *otherwise)
{
    char link[64], path[PATH_BUF];
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof(path) - 1);
    if (n <= 0)
        return xstrdup(otherwise);
    path[n] = 0;
    return xstrdup(path);
}

/* The name that ps shows. */
static void set_comm(const char *path)
{
    const char *slash = strrchr(path, '/');
    prctl(PR_SET_NAME, slash ? slash + 1 : path);
}

static bool start(struct process *p, struct program *prog, enum user_fail *fail, struct err *e)
{
    const struct user_opts *o = p->opts;
    struct engine_opts eo = o->engine;
    p->abi = abi_for(p->isa);
    if (!p->abi)
        return err_set(e, ENOTSUP, "%s: programs for %s cannot be run in user mode", o->path,
                       p->isa->name);
    p->word = p->isa->elf_class == 1 ? 4 : 8;
    if (p->abi->top)
        space_limit(&p->space, p->abi->top);
    eo.fetch = space_fetch;
    eo.guarded = space_guarded;
    eo.shared = space_shared;
    eo.opaque = &p->space;
    *fail = USER_FAIL_SETUP;
    p->engine = engine_new(p->isa, &eo, e);
    if (!p->engine)
        return false;
    p->space.engine = p->engine;
    if (!find_regs(p, e))
        return false;
    struct thread *t = p->main = thread_new(p, e);
    if (!t)
        return false;
    *fail = USER_FAIL_IMAGE;
    t->tid = gettid();
    thread_list(t);
    current_set(t);
    signal_init(t);
    p->exe = file_name(prog->fd, prog->path);
    return program_load(p, t, prog, o->envp, e);
}

/* From the kernel; with a seed a Weyl sequence whose bits are mixed (splitmix64). */
void process_random(struct process *p, void *out, size_t size)
{
    if (!p->opts->seeded && getrandom(out, size, 0) == (ssize_t)size)
        return;
    for (u8 *to = out; size; to += 8, size -= MIN(size, 8u)) {
        u64 x = atomic_fetch_add(&p->random, 0x9e3779b97f4a7c15) + 0x9e3779b97f4a7c15;
        x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
        x = (x ^ x >> 27) * 0x94d049bb133111eb;
        x ^= x >> 31;
        memcpy(to, &x, MIN(size, 8u));
    }
}

/* What becomes the guest's. The main thread's host stack grows as far as its limit says; a small one
 * is meant for the guest. */
static void take_limits(struct process *p)
{
    const rlim_t enough = 4 << 20;
    getrlimit(RLIMIT_AS, &p->limit_as);
    getrlimit(RLIMIT_DATA, &p->limit_data);
    getrlimit(RLIMIT_STACK, &p->limit_stack);
    if (p->limit_stack.rlim_cur < enough) {
        struct rlimit more = p->limit_stack;
        more.rlim_cur = MIN(more.rlim_max, enough);
        setrlimit(RLIMIT_STACK, &more);
    }
}

struct process *process_new(const struct user_opts *opts, enum user_fail *fail, struct err *e)
{
    struct process *p = xcalloc(1, sizeof(*p));
    struct program prog;
    p->opts = opts;
    p->isa = opts->isa;
    p->random = opts->seed;
    p->sysroot = canonical_sysroot(opts->sysroot);
    p->sighand = sighand_copy(NULL);
    pthread_mutex_init(&p->lock, NULL);
    *fail = USER_FAIL_NOT_RUNNABLE;
    if (opts->strace)
        log_enable(LOG_STRACE);
    take_limits(p);
    bool ok = space_init(&p->space, e) && program_open(p, opts->path, opts->argv, &prog, fail, e);
    if (ok) {
        *fail = USER_FAIL_IMAGE;
        ok = start(p, &prog, fail, e);
        program_close(&prog);
    }
    if (!ok) {
        process_free(p);
        return NULL;
    }
    set_comm(opts->path);
    return p;
}

struct user_end process_run(struct process *p)
{
    struct thread *t = p->main;
    thread_loop(t);
    signal_block_all();
    if (t->end.kind == USER_END_THREAD)
        thread_leader_left(t);
    return t->end;
}

struct engine *process_engine(struct process *p)
{
    return p->engine;
}

const struct user_opts *process_opts(const struct process *p)
{
    return p->opts;
}

void process_free(struct process *p)
{
    if (p->main) {
        current_set(NULL);
        signal_thread_end(p->main);
        thread_free(p->main);
    }
    if (p->engine)
        engine_free(p->engine);
    space_free(&p->space);
    free(p->sighand);
    free(p->exe);
    free(p->sysroot);
    free(p->auxv);
    free(p);
}
