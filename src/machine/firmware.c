/* Firmware: its memory, and what it finds in fw_cfg. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "block/block.h"
#include "dev/misc/fw_cfg.h"
#include "fw/file.h"
#include "machine/impl.h"

/* ---- its memory ---- */

static bool read_file(const char *path, u8 *to, u64 room, struct err *e)
{
    size_t len;
    u8 *data = fw_file_read(path, &len, e);
    if (!data)
        return false;
    bool good = len <= room || err_set(e, EFBIG, "'%s' is larger than the %llu MiB that there are for firmware", path,
                                       (unsigned long long)(room >> 20));
    if (good)
        memcpy(to, data, len);
    free(data);
    return good;
}

static bool read_drive(struct node *n, u8 *to, u64 room, struct err *e)
{
    if (node_size(n) != room)
        return err_set(e, EINVAL, "device requires %llu bytes, block backend provides %llu bytes", (unsigned long long)room,
                       (unsigned long long)node_size(n));
    int error = node_io(n, BLK_READ, 0, to, room, 0);
    return !error || err_set(e, error, "cannot read the firmware: %s", strerror(error));
}

/* Firmware is memory that CPUs run from, in the place of the first bank of flash; what is written there is dropped. */
bool machine_make_firmware(struct machine *m, struct err *e)
{
    const struct machine_opts *o = m->opts;
    u64 room = o->board->firmware_size;
    struct node *first = o->flash[0] ? machine_find_drive(m, o->flash[0], e) : NULL;
    if (o->flash[0] && !first)
        return false;
    for (unsigned i = 1; i < BOARD_FLASHES; i++) {
        if (o->flash[i] && !(m->setup.flash[i] = machine_find_drive(m, o->flash[i], e)))
            return false;
    }
    if (!o->bios && !first)
        return true;
    if (!room || (o->bios && first))
        return err_set(e, EINVAL, room ? "-bios and the first flash are the same place" : "this machine takes no firmware");
    struct mem_range *rom = mem_rom_new("virt.flash0", room, e);
    if (!rom)
        return false;
    m->rom = rom;
    mem_rom_drop_writes(rom);
    mem_range_add(m->root, o->board->firmware_at, 1, rom);
    return o->bios ? read_file(o->bios, mem_range_host(rom), room, e) : read_drive(first, mem_range_host(rom), room, e);
}

/* ---- fw_cfg ---- */

/* A file with its size before it. */
static bool add_item(struct dev *d, u16 size_key, u16 data_key, const char *path, struct err *e)
{
    size_t len = 0;
    u8 *data = fw_file_read(path, &len, e);
    if (data) {
        fw_cfg_set_number(d, size_key, (u32)len, 4);
        fw_cfg_set(d, data_key, data, (u32)len);
    }
    free(data);
    return data;
}

/* Firmware starts the kernel itself. */
static bool add_kernel(struct machine *m, struct dev *d, struct err *e)
{
    const struct machine_opts *o = m->opts;
    if (o->append) {
        fw_cfg_set_number(d, FW_CFG_CMDLINE_SIZE, (u32)strlen(o->append) + 1, 4);
        fw_cfg_set(d, FW_CFG_CMDLINE_DATA, o->append, (u32)strlen(o->append) + 1);
    }
    return (!o->kernel || add_item(d, FW_CFG_KERNEL_SIZE, FW_CFG_KERNEL_DATA, o->kernel, e)) &&
           (!o->initrd || add_item(d, FW_CFG_INITRD_SIZE, FW_CFG_INITRD_DATA, o->initrd, e));
}

static bool add_file(struct dev *d, const struct json *o, struct err *e)
{
    const char *name = json_get_string(o, "name"), *text = json_get_string(o, "string");
    if (text)
        return fw_cfg_add_file(d, name, text, (u32)strlen(text), e);
    size_t len;
    u8 *data = fw_file_read(json_get_string(o, "file"), &len, e);
    if (!data)
        return false;
    bool good = len > ~(u32)0 ? err_set(e, EFBIG, "it is larger than 4 GiB") : fw_cfg_add_file(d, name, data, (u32)len, e);
    free(data);
    return good;
}

bool machine_fill_fw_cfg(struct machine *m, struct err *e)
{
    const struct machine_opts *o = m->opts;
    struct dev *d = o->board->fw_cfg ? machine_dev(m, o->board->fw_cfg) : NULL;
    if (!d)
        return !o->fw_file_count || err_set(e, EINVAL, "-fw_cfg: machine '%s' has none", o->board->name);
    fw_cfg_set_number(d, FW_CFG_NB_CPUS, o->cpus, 2);
    fw_cfg_set_number(d, FW_CFG_MAX_CPUS, o->cpus, 2);
    if (m->rom && !add_kernel(m, d, e))
        return false;
    for (size_t i = 0; i < o->fw_file_count; i++) {
        if (!add_file(d, o->fw_files[i], e))
            return err_prefix(e, "-fw_cfg %s", json_get_string(o->fw_files[i], "name"));
    }
    return true;
}
