/* The unit test harness: a test program is a list of `TEST(name) { CHECK(...); }` and TEST_MAIN().
 * It prints one line per failure, and in TAP form one per test, so that meson counts them. */
#ifndef LYRE_TESTS_CHECK_H
#define LYRE_TESTS_CHECK_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct test {
    const char *name;
    void (*run)(void);
    struct test *next;
};

extern struct test *test_list, **test_tail;
extern int test_failures;
extern const char *test_skip_reason;

/* Leave the test: it cannot run here. */
#define SKIP(reason)                                                                               \
    do {                                                                                           \
        test_skip_reason = (reason);                                                               \
        return;                                                                                    \
    } while (0)

#define TEST(id)                                                                                   \
    static void test_##id(void);                                                                   \
    static struct test test_record_##id = {#id, test_##id, NULL};                                  \
    __attribute__((constructor)) static void test_add_##id(void)                                   \
    {                                                                                              \
        *test_tail = &test_record_##id;                                                            \
        test_tail = &test_record_##id.next;                                                        \
    }                                                                                              \
    static void test_##id(void)

#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            test_failures++;                                                                       \
            printf("# %s:%d: %s\n", __FILE__, __LINE__, #cond);                                    \
        }                                                                                          \
    } while (0)

#define CHECK_EQ(a, b)                                                                             \
    do {                                                                                           \
        unsigned long long a_ = (unsigned long long)(a), b_ = (unsigned long long)(b);             \
        if (a_ != b_) {                                                                            \
            test_failures++;                                                                       \
            printf("# %s:%d: %s is %#llx, expected %#llx\n", __FILE__, __LINE__, #a, a_, b_);      \
        }                                                                                          \
    } while (0)

#define CHECK_STR(a, b)                                                                            \
    do {                                                                                           \
        const char *a_ = (a), *b_ = (b);                                                           \
        if (strcmp(a_, b_)) {                                                                      \
            test_failures++;                                                                       \
            printf("# %s:%d: %s is \"%s\", expected \"%s\"\n", __FILE__, __LINE__, #a, a_, b_);    \
        }                                                                                          \
    } while (0)

#define TEST_MAIN()                                                                                \
    struct test *test_list, **test_tail = &test_list;                                              \
    int test_failures;                                                                             \
    const char *test_skip_reason;                                                                  \
    int main(void)                                                                                 \
    {                                                                                              \
        int n = 0, bad = 0;                                                                        \
        for (struct test *t = test_list; t; t = t->next) {                                         \
            int before = test_failures;                                                            \
            test_skip_reason = NULL;                                                               \
            t->run();                                                                              \
            n++;                                                                                   \
            bad += test_failures != before;                                                        \
            printf("%sok %d %s%s%s\n", test_failures != before ? "not " : "", n, t->name,           \
                   test_skip_reason ? " # SKIP " : "", test_skip_reason ? test_skip_reason : "");  \
        }                                                                                          \
        printf("1..%d\n", n);                                                                      \
        return bad ? 1 : 0;                                                                        \
    }

#endif
