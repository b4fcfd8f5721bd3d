/* What firmware finds in fw_cfg. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dev/misc/fw_cfg.h"
#include "fw/file.h"
#include "machine/impl.h"

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
    for (size_t i = 0; i < o->fw_file_count; i++) {
        if (!add_file(d, o->fw_files[i], e))
            return err_prefix(e, "-fw_cfg %s", json_get_string(o->fw_files[i], "name"));
    }
    return true;
}
