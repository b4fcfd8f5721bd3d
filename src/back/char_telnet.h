/* Inside src/back: what telnet (RFC 854) puts between the bytes of a terminal. */
#ifndef LYRE_BACK_CHAR_TELNET_H
#define LYRE_BACK_CHAR_TELNET_H

#include "base/types.h"

enum { TELNET_IAC = 255 }; /* sent twice where it is data */

struct telnet {
    enum { TELNET_DATA, TELNET_COMMAND, TELNET_OPTION, TELNET_SUB, TELNET_SUB_COMMAND } state;
    bool broken; /* a break was sent; who sees that clears it */
};

/* What the side of the machine says first: it echoes, nobody waits for a turn, bytes have eight bits. */
extern const u8 telnet_greeting[12];

/* Take commands out of what has come; the bytes that are left. They may end in the middle of a command. */
size_t telnet_filter(struct telnet *t, u8 *data, size_t len);

#endif
