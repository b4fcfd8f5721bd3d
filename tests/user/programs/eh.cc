// Exceptions: through many frames, thrown again, from thread to thread, out of a signal handler's
// frame, with destructors; and how a program ends by one that nobody catches.
// link: static dynamic
// flags: -pthread -fnon-call-exceptions
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <stdexcept>
#include <string>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

static int destroyed;

struct Guard {
    ~Guard()
    {
        destroyed++;
    }
};

static int descend(int n)
{
    Guard g;
    if (n == 0)
        throw std::runtime_error("bottom");
    return descend(n - 1) + 1;
}

static void on_fault(int)
{
    throw std::string("from a handler");
}

static int __attribute__((noinline)) touch(volatile int *p)
{
    return *p;
}

// Each level catches and throws again; every third throws something else that holds the first.
static void __attribute__((noinline)) relay(int n)
{
    Guard g;
    if (n == 0)
        throw std::logic_error("origin");
    try {
        relay(n - 1);
    } catch (const std::exception &e) {
        if (n % 3 == 0)
            std::throw_with_nested(std::runtime_error("level " + std::to_string(n)));
        throw;
    }
}

static int nesting(const std::exception &e, std::string &innermost)
{
    innermost = e.what();
    try {
        std::rethrow_if_nested(e);
    } catch (const std::exception &inner) {
        return 1 + nesting(inner, innermost);
    }
    return 1;
}

static void test_rethrow()
{
    std::string innermost;
    destroyed = 0;
    try {
        relay(30);
    } catch (const std::exception &e) {
        int levels = nesting(e, innermost);
        std::printf("%s: %d levels down to %s, %d destroyed\n", e.what(), levels, innermost.c_str(),
                    destroyed);
    }
    std::exception_ptr carried;
    std::thread([&carried] {
        try {
            descend(10);
        } catch (...) {
            carried = std::current_exception();
        }
    }).join();
    try {
        std::rethrow_exception(carried);
    } catch (const std::runtime_error &e) {
        std::printf("from another thread: %s\n", e.what());
    }
}

static void report_child(const char *name, void (*f)())
{
    int status;
    std::fflush(stdout);
    pid_t pid = fork();
    if (!pid) {
        std::set_terminate([] { _exit(5); });
        f();
        _exit(0);
    }
    waitpid(pid, &status, 0);
    std::printf("%s: exit %d\n", name, WEXITSTATUS(status));
}

static void never_throws() noexcept
{
    descend(3);
}

int main()
{
    for (int i = 0; i < 3; i++) {
        try {
            descend(1000 * (i + 1));
        } catch (const std::exception &e) {
            std::printf("caught %s after %d\n", e.what(), destroyed);
        }
    }
    std::vector<std::thread> threads;
    int caught[4] = {};
    for (int i = 0; i < 4; i++)
        threads.emplace_back([i, &caught] {
            for (int k = 0; k < 50; k++) {
                try {
                    throw i;
                } catch (int v) {
                    caught[i] += v == i;
                }
            }
        });
    for (auto &t : threads)
        t.join();
    std::printf("threads %d %d %d %d\n", caught[0], caught[1], caught[2], caught[3]);
    struct sigaction sa = {};
    sa.sa_handler = on_fault;
    sa.sa_flags = SA_NODEFER;
    sigaction(SIGSEGV, &sa, nullptr);
    for (int i = 0; i < 2; i++) {
        try {
            touch((volatile int *)16);
            std::printf("no fault?\n");
        } catch (const std::string &s) {
            std::printf("caught %s\n", s.c_str());
        }
    }
    try {
        std::vector<int>().at(3);
    } catch (const std::out_of_range &) {
        std::printf("out of range\n");
    }
    const int depth = std::getenv("QUICK") ? 1000 : 50000;
    destroyed = 0;
    try {
        descend(depth);
    } catch (const std::runtime_error &) {
        std::printf("deep: %d more destroyed\n", destroyed - depth);
    }
    test_rethrow();
    report_child("uncaught", [] { throw 1; });
    report_child("out of noexcept", never_throws);
    return 0;
}
