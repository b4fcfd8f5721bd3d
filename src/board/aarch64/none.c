/* aarch64/none: an empty board, for programs that only ask what there is. */
#include "board/list.h"

const struct board board_aarch64_none = {
    .name = "none", .cpu_type = "arm-cpu", .ram_id = "ram", .isa = "aarch64", .help = "empty machine",
};
