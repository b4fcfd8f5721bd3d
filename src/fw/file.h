/* Files of firmware, kernels and initial file systems. */
#ifndef LYRE_FW_FILE_H
#define LYRE_FW_FILE_H

#include "base/err.h"
#include "base/types.h"

/* The whole of a file; the caller frees it. NULL on failure. */
u8 *fw_file_read(const char *path, size_t *len, struct err *e);

/* The same, expanded to at most `most` bytes if it is a gzip file, or a kernel that expands itself under EFI (zboot:
 * Linux, drivers/firmware/efi/libstub/Makefile.zboot) and is compressed so. */
u8 *fw_file_expand(const char *path, size_t most, size_t *len, struct err *e);

#endif
