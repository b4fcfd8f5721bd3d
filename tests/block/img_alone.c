/* The image commands with nothing else linked: by the name that it is called by (qemu-img, qemu-io, qemu-nbd), else
 * qemu-img's command line, or qemu-io's after "io". With sanitizers it is what LYRE names for the tests here. */
#include <string.h>

#include "cmd/cmd.h"

int main(int argc, char **argv)
{
    const char *slash = argc ? strrchr(argv[0], '/') : NULL, *name = slash ? slash + 1 : argc ? argv[0] : "";
    if (!strcmp(name, "qemu-io"))
        return cmd_io(argc, argv);
    if (!strcmp(name, "qemu-nbd"))
        return cmd_nbd(true, argc, argv);
    if (argc > 1 && !strcmp(argv[1], "io"))
        return cmd_io(argc - 1, argv + 1);
    return cmd_img(true, argc, argv);
}
