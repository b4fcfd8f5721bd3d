/* In `lyre` the image commands and the libraries that they need are a module. This stands in for it. */
#include "cmd/cmd.h"
#include "cmd/module.h"

static void *image_function(const char *name)
{
    return module_function("lyre-img", "the image commands", name);
}

int cmd_img(bool qemu, int argc, char **argv)
{
    int (*run)(bool, int, char **) = (int (*)(bool, int, char **))image_function("cmd_img");
    return run ? run(qemu, argc, argv) : 1;
}

int cmd_nbd(bool qemu, int argc, char **argv)
{
    int (*run)(bool, int, char **) = (int (*)(bool, int, char **))image_function("cmd_nbd");
    return run ? run(qemu, argc, argv) : 1;
}

int cmd_io(int argc, char **argv)
{
    int (*run)(int, char **) = (int (*)(int, char **))image_function("cmd_io");
    return run ? run(argc, argv) : 1;
}
