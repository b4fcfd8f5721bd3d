#include "cmd/system/refused.h"

#include <stddef.h>
#include <string.h>

#include "base/types.h"

static const struct {
    const char *name, *why;
} refused[] = {
    {"gdb", "there is no gdb stub yet"},
    {"s", "there is no gdb stub yet"},
    {"incoming", "there is no migration yet"},
    {"only-migratable", "there is no migration yet"},
    {"loadvm", "there are no snapshots of machines yet"},
    {"snapshot", "disks are written to; make an overlay with qemu-img create -b"},
    {"vnc", "there is no display yet"},
    {"spice", "there is no display yet"},
    {"full-screen", "there is no display yet"},
    {"rotate", "there is no display yet"},
    {"g", "there is no display yet"},
    {"k", "there is no keyboard yet"},
    {"audio", "there is no sound yet"},
    {"usb", "there is no USB yet"},
    {"usbdevice", "there is no USB yet"},
    {"fsdev", "there is no sharing of directories yet"},
    {"virtfs", "there is no sharing of directories yet"},
    {"tpmdev", "there is no TPM yet"},
    {"smbios", "there are no tables of SMBIOS for firmware yet"},
    {"acpitable", "there are no tables of ACPI for firmware yet"},
    {"numa", "memory is one node"},
    {"icount", "instructions are not counted in machines yet"},
    {"semihosting", "there is no semihosting"},
    {"semihosting-config", "there is no semihosting"},
    {"singlestep", "one instruction at a time is not translated in machines"},
    {"plugin", "there are no plugins yet"},
    {"dfilter", "logs are not limited to addresses"},
    {"sandbox", "the process is not confined; only off can be said"},
    {"runas", "the process keeps its user: start it as the one that it is to be"},
    {"chroot", "the process keeps its root: start it in the one that it is to have"},
    {"mem-path", "say -object memory-backend-file,id=ID,size=SIZE,mem-path=PATH and -machine memory-backend=ID"},
    {"option-rom", "cards have no ROMs"},
    {"add-fd", "descriptors are named by number: fd=N where one is taken"},
    {"preconfig", "a machine is made of its options alone"},
    {"compat", "there is one behaviour"},
    {"iscsi", "there is no iSCSI"},
    {"seed", "random numbers are the host's"},
    {"L", "firmware is named by its path: -bios PATH"},
    {"echr", "the terminal's key is Ctrl-a"},
    {"qmp-pretty", "answers are on one line: say -qmp"},
    {"fda", "there are no floppies"},
    {"fdb", "there are no floppies"},
    {"sd", "there are no SD cards"},
    {"mtdblock", "there is no such flash; say -drive if=pflash"},
    {"tb-size", "say -accel tcg,tb-size=N"},
    {"watchdog", "there is no watchdog yet"},
    {"no-hpet", "it is for other machines"},
    {"no-fd-bootchk", "it is for other machines"},
    {"win2k-hack", "it is for other machines"},
    {"prom-env", "it is for other machines"},
};

const char *option_refusal(const char *name)
{
    for (unsigned i = 0; i < ARRAY_LEN(refused); i++) {
        if (!strcmp(refused[i].name, name))
            return refused[i].why;
    }
    return NULL;
}
