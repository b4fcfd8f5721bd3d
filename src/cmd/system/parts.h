/* Options that describe parts of a machine, as structs. */
#ifndef LYRE_CMD_SYSTEM_PARTS_H
#define LYRE_CMD_SYSTEM_PARTS_H

#include "machine/machine.h"

/* The next of words separated by commas, of which two stand for one in a word; *at moves on. The caller frees it.
 * NULL: there is none. */
char *next_word(const char **at);

/* Where a drive is to be in the machine. */
enum drive_kind { DRIVE_VIRTIO, DRIVE_NONE, DRIVE_FLASH };
struct drive_place {
    enum drive_kind kind;
    int unit; /* -1: where there is room */
};

/* -drive: "file=PATH,format=qcow2,if=none,id=ID ...". `n` numbers those without id. */
bool parse_drive(struct machine_drive *d, const char *text, unsigned n, struct drive_place *place, struct err *e);
/* -blockdev: "driver=qcow2,node-name=ID,file.filename=PATH ...", or the same as JSON. */
bool parse_blockdev(struct machine_drive *d, const char *text, struct err *e);
void drive_free(struct machine_drive *d);

/* -object: "KIND,id=ID,name=value ...", or JSON with a member "qom-type". The caller frees it; NULL on failure. */
struct json *parse_object(const char *text, struct err *e);

/* -fw_cfg: "[name=]NAME,string=TEXT" or "file=PATH". The caller frees it; NULL on failure. */
struct json *parse_fw_cfg(const char *text, struct err *e);

/* -device: "CLASS,name=value ...", or JSON with a member "driver". */
bool parse_device(struct machine_device *d, const char *text, struct err *e);
void device_free(struct machine_device *d);
/* The same of the class "loader", which is none. */
bool parse_loader(struct machine_loader *l, const struct machine_device *d, struct err *e);

/* -device help, and -device CLASS,help. */
void devices_list(void);
bool devices_describe(const char *name, struct err *e);

#endif
