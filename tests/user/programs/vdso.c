/* The vDSO: an ELF image whose functions agree with the system calls.
 * link: static dynamic
 * peer: it has none */
#include "prog.h"

#include <elf.h>
#include <sys/auxv.h>
#include <sys/time.h>

#if defined(__aarch64__)
#define MACHINE EM_AARCH64
#define PREFIX  "__kernel_"
#elif defined(__riscv)
#define MACHINE EM_RISCV
#define PREFIX  "__vdso_"
#endif

static const char *base;
static const Elf64_Sym *symbols;
static const Elf64_Versym *versions;
static const char *strings, *version;
static unsigned count;

static const void *at(Elf64_Addr address)
{
    return base + address;
}

static void read_image(void)
{
    const Elf64_Ehdr *head = at(0);
    const Elf64_Phdr *p = at(head->e_phoff);
    const Elf64_Verdef *def = NULL;
    say("magic", !memcmp(head->e_ident, ELFMAG, SELFMAG) && head->e_machine == MACHINE);
    say("loaded at 0", p->p_type == PT_LOAD && !p->p_vaddr && p->p_filesz <= 4096);
    const Elf64_Dyn *d = at(p[1].p_vaddr);
    for (; d->d_tag; d++) {
        if (d->d_tag == DT_HASH)
            count = ((const uint32_t *)at(d->d_un.d_ptr))[1];
        else if (d->d_tag == DT_SYMTAB)
            symbols = at(d->d_un.d_ptr);
        else if (d->d_tag == DT_STRTAB)
            strings = at(d->d_un.d_ptr);
        else if (d->d_tag == DT_VERSYM)
            versions = at(d->d_un.d_ptr);
        else if (d->d_tag == DT_VERDEF)
            def = at(d->d_un.d_ptr);
    }
    def = (const Elf64_Verdef *)((const char *)def + def->vd_next);
    version = strings + ((const Elf64_Verdaux *)((const char *)def + def->vd_aux))->vda_name;
    printf("version %s, hash %#x\n", version, def->vd_hash);
}

static void *find(const char *name)
{
    for (unsigned i = 1; i < count; i++) {
        if (!strcmp(strings + symbols[i].st_name, name) && versions[i] == 2)
            return (void *)at(symbols[i].st_value);
    }
    printf("no %s\n", name);
    exit(1);
}

static long long ns(struct timespec t)
{
    return t.tv_sec * 1000000000ll + t.tv_nsec;
}

/* Between two system calls lies what the function says. */
static int in_order(int (*get)(clockid_t, struct timespec *), clockid_t clock)
{
    struct timespec before, now, after;
    for (int i = 0; i < 1000; i++) {
        syscall(SYS_clock_gettime, clock, &before);
        if (get(clock, &now))
            return 0;
        syscall(SYS_clock_gettime, clock, &after);
        if (ns(now) < ns(before) || ns(after) < ns(now) || now.tv_nsec > 999999999)
            return 0;
    }
    return 1;
}

static void *came_from;

static void on_signal(int sig)
{
    came_from = __builtin_return_address(0);
}

int main(void)
{
    base = (const char *)getauxval(AT_SYSINFO_EHDR);
    read_image();
    int (*gettime)(clockid_t, struct timespec *) = find(PREFIX "clock_gettime");
    int (*getres)(clockid_t, struct timespec *) = find(PREFIX "clock_getres");
    int (*gettimeofday_)(struct timeval *, struct timezone *) = find(PREFIX "gettimeofday");
    struct timespec a, b;
    struct timeval v;
    struct timezone z = {-1, -1};
    for (clockid_t clock = 0; clock <= 7; clock++) {
        char name[16];
        sprintf(name, "clock %d", clock);
        say(name, in_order(gettime, clock));
        say("resolution", getres(clock, &a) == 0 && syscall(SYS_clock_getres, clock, &b) == 0 && ns(a) == ns(b));
    }
    printf("no clock: %d\n", gettime(1000, &a));
    syscall(SYS_clock_gettime, CLOCK_REALTIME, &a);
    say("time of day", gettimeofday_(&v, NULL) == 0 && v.tv_usec < 1000000);
    syscall(SYS_clock_gettime, CLOCK_REALTIME, &b);
    long long us = v.tv_sec * 1000000ll + v.tv_usec;
    say("in order", us >= ns(a) / 1000 && us <= ns(b) / 1000);
    say("zone", gettimeofday_(&v, &z) == 0 && z.tz_minuteswest != -1);
    say("nothing asked", gettimeofday_(NULL, NULL) == 0);
    signal(SIGUSR1, on_signal);
    raise(SIGUSR1);
    say("signals return there", came_from == find(PREFIX "rt_sigreturn"));
    return 0;
}
