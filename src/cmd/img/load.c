/* In `lyre` the image commands and the libraries that they need are a module, opened when they are
 * called for (docs/decisions/0006). This stands in for it. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "cmd/cmd.h"

#ifndef LYRE_MODULE_DIR
#define LYRE_MODULE_DIR "/usr/local/lib/lyrebird"
#endif

/* The module lies beside the program (in a build), or where it was installed. */
static void *open_module(void)
{
    char self[4096];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    self[n > 0 ? n : 0] = 0;
    char *slash = strrchr(self, '/');
    char *path = xprintf("%.*s/lyre-img.so", slash ? (int)(slash - self) : 0, self);
    if (access(path, R_OK)) {
        free(path);
        path = xstrdup(LYRE_MODULE_DIR "/lyre-img.so");
    }
    void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!module)
        fprintf(stderr, "lyre: cannot load the image commands: %s\n"
                        "A library that the message names is in the Debian package of that name.\n", dlerror());
    free(path);
    return module;
}

int cmd_img(bool qemu, int argc, char **argv)
{
    void *module = open_module();
    int (*run)(bool, int, char **) = module ? (int (*)(bool, int, char **))dlsym(module, "cmd_img") : NULL;
    return run ? run(qemu, argc, argv) : 1;
}

int cmd_nbd(bool qemu, int argc, char **argv)
{
    void *module = open_module();
    int (*run)(bool, int, char **) = module ? (int (*)(bool, int, char **))dlsym(module, "cmd_nbd") : NULL;
    return run ? run(qemu, argc, argv) : 1;
}

int cmd_io(int argc, char **argv)
{
    void *module = open_module();
    int (*run)(int, char **) = module ? (int (*)(int, char **))dlsym(module, "cmd_io") : NULL;
    return run ? run(argc, argv) : 1;
}
