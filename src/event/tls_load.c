#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "event/tls.h"

const struct tls_ops *tls_module(struct err *e)
{
    Dl_info self;
    if (!dladdr((void *)(uintptr_t)tls_module, &self) || !self.dli_fname) {
        err_set(e, ENOENT, "cannot find the directory of the TLS module");
        return NULL;
    }
    const char *slash = strrchr(self.dli_fname, '/');
    char *path = xprintf("%.*slyre-tls.so", slash ? (int)(slash + 1 - self.dli_fname) : 0, self.dli_fname);
    void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL); /* stays; opening it again is nothing */
    free(path);
    const struct tls_ops *ops = module ? dlsym(module, "lyre_tls_ops") : NULL;
    if (!ops)
        err_set(e, ENOENT, "TLS is not available: %s\nIt needs the Debian package libgnutls30.", dlerror());
    return ops;
}
