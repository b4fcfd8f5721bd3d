/* Run a command and say what it cost: measure OUTPUT COMMAND...
 *
 * Prints one line: user and system seconds of all its threads and of the children it waited for, wall
 * seconds, the largest resident set in KiB, and the wait status. The command's output goes to the file
 * OUTPUT. This is a small static program because a process inherits the largest resident set of the
 * one that it was forked from. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <errno.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double seconds(struct timeval t)
{
    return (double)t.tv_sec + (double)t.tv_usec * 1e-6;
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: measure OUTPUT COMMAND...\n");
        return 2;
    }
    double start = now();
    pid_t pid = fork();
    if (pid < 0) {
        perror("measure: fork");
        return 1;
    }
    if (pid == 0) {
        int in = open("/dev/null", O_RDONLY);
        int out = open(argv[1], O_WRONLY | O_CREAT | O_TRUNC, 0666);
        if (in < 0 || out < 0 || dup2(in, 0) < 0 || dup2(out, 1) < 0) {
            fprintf(stderr, "measure: %s: %s\n", argv[1], strerror(errno));
            _exit(127);
        }
        close(in);
        close(out);
        execv(argv[2], argv + 2);
        fprintf(stderr, "measure: %s: %s\n", argv[2], strerror(errno));
        _exit(127);
    }
    int status;
    struct rusage ru;
    if (wait4(pid, &status, 0, &ru) != pid) {
        perror("measure: wait4");
        return 1;
    }
    printf("%.6f %.6f %.6f %ld %d\n", seconds(ru.ru_utime), seconds(ru.ru_stime), now() - start,
           ru.ru_maxrss, status);
    return 0;
}
