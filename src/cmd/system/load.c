/* In `lyre` machines and the libraries that they need are a module. This stands in for it. */
#include "cmd/cmd.h"
#include "cmd/module.h"

int cmd_boot(const char *isa, int argc, char **argv)
{
    int (*run)(const char *, int, char **) =
        (int (*)(const char *, int, char **))module_function("lyre-system", "machines", "cmd_boot");
    return run ? run(isa, argc, argv) : 1;
}
