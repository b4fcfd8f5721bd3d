#include "monitor/qmp_input.h"

#include <string.h>

#include "base/mem.h"

void qmp_input_reset(struct qmp_input *in)
{
    char *text = in->text;
    size_t cap = in->cap;
    *in = (struct qmp_input){.text = text, .cap = cap};
}

static bool is_white(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Bytes that no value has: beside strings all but letters, digits and signs; in them controls, and what UTF-8 never has. */
static bool is_stray(const struct qmp_input *in, char c)
{
    if (in->quote)
        return (u8)c < 0x20 || (u8)c >= 0xfe;
    bool word = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    return !c || (!word && !is_white(c) && !strchr("{}[]:,\"'+-._", c));
}

static void keep(struct qmp_input *in, char c)
{
    in->lost |= in->len == QMP_INPUT_MAX;
    if (!in->lost)
        VEC_PUSH(in->text, in->len, in->cap) = c;
}

/* The string that is open goes on, or ends. */
static void take_in_string(struct qmp_input *in, char c)
{
    if (!in->escaped && c == in->quote)
        in->quote = 0;
    in->escaped = !in->escaped && c == '\\';
}

/* Whether the value ends with this byte, beside strings. A bracket that closes too much is an end, too: the value is bad. */
static bool ends(struct qmp_input *in, char c)
{
    in->braces += (c == '{') - (c == '}');
    in->brackets += (c == '[') - (c == ']');
    if (in->braces < 0 || in->brackets < 0)
        return true;
    return !in->braces && !in->brackets && (c == '}' || c == ']' || is_white(c));
}

enum qmp_input_result qmp_input_take(struct qmp_input *in, char c)
{
    if (in->ended)
        qmp_input_reset(in);
    if (in->skipping && c != '{' && c != '[' && c != '\n')
        return QMP_INPUT_MORE;
    in->skipping = false;
    if (!in->len && !in->quote && is_white(c))
        return QMP_INPUT_MORE;
    if (is_stray(in, c)) {
        qmp_input_reset(in);
        in->skipping = true;
        return QMP_INPUT_STRAY;
    }
    keep(in, c);
    if (in->quote) {
        take_in_string(in, c);
        return QMP_INPUT_MORE;
    }
    in->quote = c == '"' || c == '\'' ? c : 0;
    if (in->quote || !ends(in, c))
        return QMP_INPUT_MORE;
    VEC_PUSH(in->text, in->len, in->cap) = 0;
    in->ended = true;
    return in->lost ? QMP_INPUT_LONG : QMP_INPUT_VALUE;
}
