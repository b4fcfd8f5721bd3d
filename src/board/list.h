/* The boards by their symbols, for the list alone: others find them by name. */
#ifndef LYRE_BOARD_LIST_H
#define LYRE_BOARD_LIST_H

#include "board/board.h"

extern const struct board board_aarch64_virt, board_aarch64_none;

#endif
