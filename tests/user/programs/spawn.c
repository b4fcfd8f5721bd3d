/* Starting programs: fork, vfork, posix_spawn, exec of scripts and of what is not there.
 * link: static dynamic
 * peer: its vfork is a fork, and it runs only what binfmt_misc knows */
#include "prog.h"

#include <spawn.h>
#include <sys/resource.h>

extern char **environ;
static char self[4096];

static void report(const char *name, pid_t pid)
{
    int status;
    fflush(stdout);
    if (waitpid(pid, &status, 0) != pid)
        die("waitpid");
    if (WIFEXITED(status))
        printf("%s: exit %d\n", name, WEXITSTATUS(status));
    else
        printf("%s: signal %d\n", name, WTERMSIG(status));
    fflush(stdout);
}

static void spawn(const char *name, const char *path, char **argv)
{
    pid_t pid;
    fflush(stdout);
    int r = posix_spawn(&pid, path, NULL, NULL, argv, environ);
    if (r)
        printf("%s: %s\n", name, strerrorname_np(r));
    else
        report(name, pid);
}

static int child(int argc, char **argv)
{
    const char *slash = strrchr(argv[0], '/');
    printf("child %s with %d arguments", slash ? slash + 1 : argv[0], argc);
    for (int i = 1; i < argc; i++)
        printf(" [%s]", argv[i]);
    printf(" ignoring %d\n", signal(SIGUSR1, SIG_DFL) == SIG_IGN);
    return 21;
}

static void write_file(const char *path, const char *text, int mode)
{
    int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY, mode);
    write(fd, text, strlen(text));
    close(fd);
}

static volatile int shared;

int main(int argc, char **argv)
{
    if (argc > 1 && (!strcmp(argv[1], "child") || strstr(argv[1], "child ")))
        return child(argc, argv);
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    self[n > 0 ? n : 0] = 0;

    spawn("missing", "/nonexistent/program", (char *[]){(char *)"x", NULL});
    spawn("directory", "/tmp", (char *[]){(char *)"x", NULL});
    spawn("self", self, (char *[]){(char *)"renamed", (char *)"child", (char *)"a b", (char *)"", NULL});
    signal(SIGUSR1, SIG_IGN);
    spawn("ignored signals are inherited", self, (char *[]){(char *)"x", (char *)"child", NULL});
    spawn("native or guest, it is found", "/bin/true", (char *[]){(char *)"true", NULL});

    pid_t pid = vfork();
    if (!pid) {
        shared = 1;
        _exit(4);
    }
    say("vfork shares memory", shared == 1);
    report("vfork", pid);
    pid = fork();
    if (!pid) {
        shared = 2;
        execl("/nonexistent", "x", (char *)NULL);
        _exit(errno == ENOENT ? 6 : 7);
    }
    report("fork, failed exec", pid);
    say("fork does not", shared == 1);

    char dir[] = "/tmp/lyre-spawn-XXXXXX", path[100], script[5000];
    if (!mkdtemp(dir))
        die("mkdtemp");
    snprintf(path, sizeof(path), "%s/script", dir);
    snprintf(script, sizeof(script), "#! %s  child of a script \n", self);
    write_file(path, script, 0755);
    fflush(stdout);
    pid = fork();
    if (!pid) {
        chdir(dir);
        execl("./script", "ignored", "arg", (char *)NULL);
        _exit(98);
    }
    report("script", pid);
    write_file(path, "no script\n", 0755);
    chmod(path, 0644);
    spawn("not executable", path, (char *[]){(char *)"x", NULL});
    chmod(path, 0755);
    spawn("no format", path, (char *[]){(char *)"x", NULL});
    unlink(path);
    int mem = memfd_create("prog", 0), in = open(self, O_RDONLY);
    char buf[65536];
    while ((n = read(in, buf, sizeof(buf))) > 0)
        write(mem, buf, (size_t)n);
    fflush(stdout);
    pid = fork();
    if (!pid) {
        fexecve(mem, (char *[]){(char *)"from memory", (char *)"child", NULL}, environ);
        _exit(97);
    }
    report("fexecve", pid);
    rmdir(dir);

    pid = fork();
    if (!pid)
        for (;;)
            pause();
    kill(pid, SIGSTOP);
    int status;
    siginfo_t info;
    waitpid(pid, &status, WUNTRACED);
    say("stopped", WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
    kill(pid, SIGCONT);
    waitpid(pid, &status, WCONTINUED);
    say("continued", WIFCONTINUED(status));
    kill(pid, SIGTERM);
    waitid(P_PID, pid, &info, WEXITED);
    printf("waitid: code %d status %d pid %s\n", info.si_code, info.si_status,
           info.si_pid == pid ? "right" : "WRONG");
    struct rusage ru;
    result("no children", wait4(-1, &status, 0, &ru));
    return 0;
}
