/* Files of firmware, kernels and initial file systems. */
#ifndef LYRE_FW_FILE_H
#define LYRE_FW_FILE_H

#include "base/err.h"
#include "base/types.h"

/* The whole of a file; the caller frees it. NULL on failure. */
u8 *fw_file_read(const char *path, size_t *len, struct err *e);

/* One that is large: ordinary files are mapped, which saves a copy of them. */
struct fw_file {
    u8 *data;
    size_t len;
    bool mapped;
};

/* Until fw_file_close(). */
bool fw_file_open(struct fw_file *f, const char *path, struct err *e);
/* The same, expanded to at most `most` bytes if it is a gzip file, or a kernel that expands itself under EFI (zboot:
 * Linux, drivers/firmware/efi/libstub/Makefile.zboot) and is compressed so. */
bool fw_file_open_expanded(struct fw_file *f, const char *path, size_t most, struct err *e);
void fw_file_close(struct fw_file *f);

#endif
