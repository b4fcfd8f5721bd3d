#include "jit/host/disas.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"

/* Capstone's cs_insn begins with id, address, size and bytes[]; the text follows. */
struct text_at {
    const char *library;
    size_t mnemonic, operands;
};

static const struct text_at versions[] = {
    {"libcapstone.so.5", 42, 74},
    {"libcapstone.so.4", 34, 66},
};

struct host_disas {
    void *library;
    const struct text_at *version;
    size_t handle;
    void *insn;
    bool (*next)(size_t handle, const u8 **code, size_t *size, u64 *address, void *insn);
    void (*free)(void *insn, size_t count);
    int (*close)(size_t *handle);
};

static bool open_library(struct host_disas *d)
{
    for (size_t i = 0; i < ARRAY_LEN(versions) && !d->library; i++) {
        d->version = &versions[i];
        d->library = dlopen(versions[i].library, RTLD_NOW | RTLD_LOCAL);
    }
    return d->library;
}

static bool bind(struct host_disas *d, const struct host *host)
{
    int (*open)(int, int, size_t *) = (int (*)(int, int, size_t *))dlsym(d->library, "cs_open");
    void *(*make)(size_t) = (void *(*)(size_t))dlsym(d->library, "cs_malloc");
    *(void **)&d->next = dlsym(d->library, "cs_disasm_iter");
    *(void **)&d->free = dlsym(d->library, "cs_free");
    *(void **)&d->close = dlsym(d->library, "cs_close");
    if (!open || !make || !d->next || !d->free || !d->close ||
        open(host->capstone_arch, host->capstone_mode, &d->handle))
        return false;
    d->insn = make(d->handle);
    return d->insn;
}

struct host_disas *host_disas_open(const struct host *host, struct err *e)
{
    struct host_disas *d = xcalloc(1, sizeof(*d));
    if (open_library(d) && bind(d, host))
        return d;
    err_set(e, 0, "host code is shown as bytes; install libcapstone-dev (Debian) to see instructions");
    if (d->library)
        dlclose(d->library);
    free(d);
    return NULL;
}

void host_disas_close(struct host_disas *d)
{
    d->free(d->insn, 1);
    d->close(&d->handle);
    dlclose(d->library);
    free(d);
}

size_t host_disas_insn(struct host_disas *d, const u8 *code, size_t len, u64 at, char *text,
                       size_t size)
{
    const u8 *end = code;
    if (!d->next(d->handle, &end, &len, &at, d->insn))
        return 0;
    const char *insn = d->insn;
    snprintf(text, size, "%-7s %s", insn + d->version->mnemonic, insn + d->version->operands);
    return (size_t)(end - code);
}
