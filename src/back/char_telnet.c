#include "back/char_telnet.h"

/* RFC 854; the options are those of RFC 856, 857 and 858. */
enum { SE = 240, BREAK = 243, SB = 250, WILL = 251, DO = 253, DONT = 254 };
enum { BINARY = 0, ECHO = 1, NO_TURNS = 3 };

const u8 telnet_greeting[12] = {
    TELNET_IAC, WILL, ECHO, TELNET_IAC, WILL, NO_TURNS, TELNET_IAC, WILL, BINARY, TELNET_IAC, DO, BINARY,
};

/* One byte; true: it is data. */
static bool take(struct telnet *t, u8 c)
{
    switch (t->state) {
    case TELNET_DATA:
        if (c == TELNET_IAC)
            t->state = TELNET_COMMAND;
        return c != TELNET_IAC;
    case TELNET_COMMAND:
        t->state = c >= WILL && c <= DONT ? TELNET_OPTION : c == SB ? TELNET_SUB : TELNET_DATA;
        t->broken |= c == BREAK;
        return c == TELNET_IAC;
    case TELNET_OPTION: /* asked for or granted, it is as the greeting says */
        t->state = TELNET_DATA;
        return false;
    case TELNET_SUB:
        if (c == TELNET_IAC)
            t->state = TELNET_SUB_COMMAND;
        return false;
    case TELNET_SUB_COMMAND:
        t->state = c == SE ? TELNET_DATA : TELNET_SUB;
        return false;
    }
    return false;
}

size_t telnet_filter(struct telnet *t, u8 *data, size_t len)
{
    size_t kept = 0;
    for (size_t i = 0; i < len; i++) {
        if (take(t, data[i]))
            data[kept++] = data[i];
    }
    return kept;
}
