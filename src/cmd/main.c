/* lyre, and the names under which it takes other programs' command lines. */
#include <stdio.h>
#include <string.h>

#include "base/types.h"
#include "cmd/cmd.h"

static int help(FILE *to)
{
    fputs("usage: lyre COMMAND [OPTIONS]\n"
          "\n"
          "  lyre run PROGRAM [ARGS]   run a program made for another computer\n"
          "  lyre run --help           its options\n"
          "  lyre bisect PROGRAM       find out which part of the translator goes wrong with it\n"
          "  lyre boot KERNEL          run a whole machine\n"
          "  lyre boot --help          its options\n"
          "  lyre img COMMAND FILE     make, look at, check, change and convert disk images\n"
          "  lyre img --help           its commands\n"
          "  lyre nbd FILE             serve a disk image over the network\n"
          "  lyre nbd --help           its options\n"
          "  lyre --version            the version\n"
          "\n"
          "Called as qemu-aarch64, qemu-riscv64, qemu-riscv32, qemu-system-aarch64, qemu-img, qemu-io or\n"
          "qemu-nbd (make a link of that name), lyre takes that program's options.\n",
          to);
    return to == stdout ? 0 : 2;
}

static int version(void)
{
    printf("lyre " LYRE_VERSION "\nguests:");
    for (const struct isa *const *isa = isa_list; *isa; isa++)
        printf(" %s", (*isa)->name);
    printf("\n");
    return 0;
}

/* "qemu-aarch64", also with a suffix as in qemu-aarch64-static. */
static const struct isa *isa_of_name(const char *name)
{
    char isa[64];
    if (strncmp(name, "qemu-", 5))
        return NULL;
    snprintf(isa, sizeof(isa), "%s", name + 5);
    char *dash = strrchr(isa, '-');
    if (dash && !strcmp(dash, "-static"))
        *dash = 0;
    return isa_by_name(isa);
}

int main(int argc, char **argv)
{
    const char *name = argc && argv[0] ? argv[0] : "lyre";
    const char *slash = strrchr(name, '/');
    const char *base = slash ? slash + 1 : name;
    const struct isa *isa = isa_of_name(base);
    if (isa)
        return cmd_qemu_user(isa, argc, argv);
    if (!strncmp(base, "qemu-system-", 12) && isa_by_name(base + 12))
        return cmd_boot(base + 12, argc, argv);
    if (!strcmp(base, "qemu-img"))
        return cmd_img(true, argc, argv);
    if (!strcmp(base, "qemu-io"))
        return cmd_io(argc, argv);
    if (!strcmp(base, "qemu-nbd"))
        return cmd_nbd(true, argc, argv);
    if (argc < 2)
        return help(stderr);
    const char *command = argv[1];
    if (!strcmp(command, "run"))
        return cmd_run(name, argc - 1, argv + 1);
    if (!strcmp(command, "bisect"))
        return cmd_bisect(argc - 1, argv + 1);
    if (!strcmp(command, "boot"))
        return cmd_boot(NULL, argc - 1, argv + 1);
    if (!strcmp(command, "img"))
        return cmd_img(false, argc - 1, argv + 1);
    if (!strcmp(command, "nbd"))
        return cmd_nbd(false, argc - 1, argv + 1);
    if (!strcmp(command, "--version") || !strcmp(command, "version"))
        return version();
    if (!strcmp(command, "--help") || !strcmp(command, "-h") || !strcmp(command, "help"))
        return help(stdout);
    if (!strncmp(base, "qemu-", 5))
        fprintf(stderr, "%s: lyre cannot stand in for this program yet; see \"lyre --version\"\n",
                base);
    else
        fprintf(stderr, "lyre: '%s' is no command; try \"lyre --help\"\n", command);
    return 2;
}
