/* Files of firmware, kernels and initial file systems. */
#ifndef LYRE_FW_FILE_H
#define LYRE_FW_FILE_H

#include "base/err.h"
#include "base/types.h"

/* The whole of a file; the caller frees it. NULL on failure. */
u8 *fw_file_read(const char *path, size_t *len, struct err *e);

/* The same, expanded if it is a gzip file, to at most `most` bytes. */
u8 *fw_file_expand(const char *path, size_t most, size_t *len, struct err *e);

#endif
