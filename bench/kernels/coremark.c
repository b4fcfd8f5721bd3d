/* Integer work in the mix of embedded programs: list find, reversal and sort; small matrix products;
 * a state machine that classifies text; a CRC over every result. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NODES = 120, MATRIX = 18, TEXT = 600 };

struct node {
    struct node *next;
    int16_t *info; /* [0] key, [1] index */
};

enum state { START, SIGN, DIGITS, POINT, FRACTION, EXPONENT, EXP_SIGN, EXP_DIGITS, INVALID, STATES };

static struct node nodes[NODES];
static int16_t infos[NODES][2];
static int16_t mat_a[MATRIX * MATRIX], mat_b[MATRIX * MATRIX];
static int32_t mat_c[MATRIX * MATRIX];
static char text[TEXT + 1];

static uint16_t crc_byte(uint16_t crc, uint8_t byte)
{
    for (int i = 0; i < 8; i++) {
        unsigned bit = (crc ^ byte) & 1;
        byte >>= 1;
        crc >>= 1;
        if (bit)
            crc ^= 0xa001;
    }
    return crc;
}

static uint16_t crc_word(uint16_t crc, uint32_t word)
{
    for (int i = 0; i < 4; i++)
        crc = crc_byte(crc, (uint8_t)(word >> 8 * i));
    return crc;
}

static struct node *list_build(uint32_t seed)
{
    for (int i = 0; i < NODES; i++) {
        seed = seed * 1664525 + 1013904223;
        infos[i][0] = (int16_t)(seed >> 17);
        infos[i][1] = (int16_t)i;
        nodes[i].info = infos[i];
        nodes[i].next = i + 1 < NODES ? &nodes[i + 1] : NULL;
    }
    return nodes;
}

static struct node *list_find(struct node *l, int16_t key)
{
    while (l && (l->info[0] & 0xff) != key)
        l = l->next;
    return l;
}

static struct node *list_reverse(struct node *l)
{
    struct node *done = NULL;
    while (l) {
        struct node *next = l->next;
        l->next = done;
        done = l;
        l = next;
    }
    return done;
}

static int by_key(const struct node *a, const struct node *b)
{
    return a->info[0] - b->info[0];
}

static int by_index(const struct node *a, const struct node *b)
{
    return a->info[1] - b->info[1];
}

/* Bottom-up merge sort. */
static struct node *list_sort(struct node *list, int (*compare)(const struct node *, const struct node *))
{
    for (int width = 1;; width *= 2) {
        struct node *p = list, *tail = NULL;
        int merges = 0;
        list = NULL;
        while (p) {
            struct node *q = p;
            int np = 0, nq = width;
            merges++;
            while (np < width && q) {
                np++;
                q = q->next;
            }
            while (np > 0 || (nq > 0 && q)) {
                struct node *e;
                if (np > 0 && (nq == 0 || !q || compare(p, q) <= 0)) {
                    e = p;
                    p = p->next;
                    np--;
                } else {
                    e = q;
                    q = q->next;
                    nq--;
                }
                if (tail)
                    tail->next = e;
                else
                    list = e;
                tail = e;
            }
            p = q;
        }
        if (tail)
            tail->next = NULL;
        if (merges <= 1)
            return list;
    }
}

static uint16_t list_work(int16_t round, uint16_t crc)
{
    struct node *list = list_build((uint32_t)round * 77 + 1);
    int found = 0, missed = 0;
    for (int16_t i = 0; i < 24; i++) {
        struct node *hit = list_find(list, (int16_t)((round + i * 5) & 0xff));
        if (hit) {
            found += hit->info[1];
            if (hit->next) {
                struct node *moved = hit->next;
                hit->next = moved->next;
                moved->next = list->next;
                list->next = moved;
            }
        } else {
            missed++;
        }
        if (i % 4 == 0)
            list = list_reverse(list);
    }
    list = list_sort(list, by_key);
    for (struct node *l = list; l; l = l->next)
        crc = crc_byte(crc, (uint8_t)l->info[0]);
    list = list_sort(list, by_index);
    return crc_word(crc, (uint32_t)(found * 256 + missed + list->info[1]));
}

static int32_t matrix_sum(const int32_t *c, int32_t clip)
{
    int32_t sum = 0, run = 0, last = 0;
    for (int i = 0; i < MATRIX * MATRIX; i++) {
        run += c[i];
        if (run > clip) {
            sum += 10;
            run = 0;
        } else {
            sum += c[i] > last;
        }
        last = c[i];
    }
    return sum;
}

static uint16_t matrix_work(int16_t round, uint16_t crc)
{
    for (int i = 0; i < MATRIX * MATRIX; i++) {
        mat_a[i] = (int16_t)(mat_a[i] + round);
        mat_b[i] = (int16_t)(mat_b[i] ^ (round & 15));
    }
    for (int i = 0; i < MATRIX; i++) {
        for (int j = 0; j < MATRIX; j++) {
            int32_t sum = 0;
            for (int k = 0; k < MATRIX; k++) {
                int32_t p = mat_a[i * MATRIX + k] * mat_b[k * MATRIX + j];
                sum += (p >> 2 & 15) * (p >> 5 & 127);
            }
            mat_c[i * MATRIX + j] = sum;
        }
    }
    crc = crc_word(crc, (uint32_t)matrix_sum(mat_c, 40000));
    for (int i = 0; i < MATRIX; i++) {
        int32_t sum = 0;
        for (int j = 0; j < MATRIX; j++)
            sum += mat_a[i * MATRIX + j] * mat_b[j];
        mat_c[i] = sum;
    }
    crc = crc_word(crc, (uint32_t)matrix_sum(mat_c, 3000));
    for (int i = 0; i < MATRIX * MATRIX; i++)
        mat_a[i] = (int16_t)(mat_a[i] - round);
    return crc;
}

static enum state next_state(enum state s, char c)
{
    int digit = c >= '0' && c <= '9';
    switch (s) {
    case START:
        return digit ? DIGITS : c == '+' || c == '-' ? SIGN : c == '.' ? POINT : INVALID;
    case SIGN:
        return digit ? DIGITS : c == '.' ? POINT : INVALID;
    case DIGITS:
        return digit ? DIGITS : c == '.' ? POINT : c == 'e' ? EXPONENT : INVALID;
    case POINT:
    case FRACTION:
        return digit ? FRACTION : c == 'e' ? EXPONENT : INVALID;
    case EXPONENT:
        return digit ? EXP_DIGITS : c == '+' || c == '-' ? EXP_SIGN : INVALID;
    case EXP_SIGN:
    case EXP_DIGITS:
        return digit ? EXP_DIGITS : INVALID;
    default:
        return INVALID;
    }
}

static uint16_t text_work(int16_t round, uint16_t crc)
{
    uint32_t ended[STATES] = {0}, passed[STATES] = {0};
    for (int pass = 0; pass < 8; pass++) {
        for (int i = round % 7; i < TEXT; i += 11)
            text[i] ^= (char)(round & 3);
        for (const char *p = text; *p;) {
            enum state s = START;
            while (*p && *p != ',') {
                s = next_state(s, *p++);
                passed[s]++;
            }
            ended[s]++;
            p += *p == ',';
        }
    }
    for (int i = 0; i < STATES; i++)
        crc = crc_word(crc_word(crc, ended[i]), passed[i]);
    return crc;
}

int main(int argc, char **argv)
{
    int rounds = argc > 1 ? atoi(argv[1]) : 1000;
    static const char *const samples[] = {"5012",  "-874.1", "+122",    "35.54400", ".1234500", "-110.700",
                                          "5.5e3", "-.123e-2", "-87e+8", "T0.3e-1F", "1T3.4e4z", "34.0e-T^"};
    for (size_t n = 0, i = 0;; i++) {
        const char *s = samples[i * 5 % 12];
        size_t len = strlen(s);
        if (n + len + 1 > TEXT)
            break;
        memcpy(text + n, s, len);
        n += len;
        text[n++] = ',';
    }
    for (int i = 0; i < MATRIX * MATRIX; i++) {
        mat_a[i] = (int16_t)(i * 7 % 101);
        mat_b[i] = (int16_t)(i * 13 % 97);
    }
    uint16_t crc = 0;
    for (int i = 0; i < rounds; i++) {
        int16_t round = (int16_t)(i & 0x3fff);
        crc = list_work(round, crc);
        if (i & 1)
            crc = matrix_work(round, crc);
        crc = text_work(round, crc);
    }
    printf("coremark %d %04x\n", rounds, crc);
    return 0;
}
