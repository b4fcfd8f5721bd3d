#include "cmd/module.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"

#ifndef LYRE_MODULE_DIR
#define LYRE_MODULE_DIR "/usr/local/lib/lyrebird"
#endif

void *module_function(const char *module, const char *what, const char *function)
{
    char self[4096];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    self[n > 0 ? n : 0] = 0;
    char *slash = strrchr(self, '/');
    char *path = xprintf("%.*s/%s.so", slash ? (int)(slash - self) : 0, self, module);
    if (access(path, R_OK)) {
        free(path);
        path = xprintf(LYRE_MODULE_DIR "/%s.so", module);
    }
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!handle)
        fprintf(stderr, "lyre: cannot load %s: %s\n"
                        "A library that the message names is in the Debian package of that name.\n", what, dlerror());
    free(path);
    return handle ? dlsym(handle, function) : NULL;
}
