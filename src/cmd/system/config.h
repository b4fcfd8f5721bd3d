/* -readconfig: options in a file. */
#ifndef LYRE_CMD_SYSTEM_CONFIG_H
#define LYRE_CMD_SYSTEM_CONFIG_H

#include "base/err.h"

/* Sections `[group "id"]` of lines `name = "value"`; "#" begins a comment. Each section is an option of the group's name, and is
 * given to `option` as "name=value,...,id=ID", commas in values doubled; false from there ends it. */
bool config_read(const char *path, bool (*option)(void *opaque, const char *group, const char *text, struct err *e), void *opaque,
                 struct err *e);

#endif
