/* Talking: sockets, passed descriptors, timers and signals as files, System V, POSIX queues.
 * link: static
 * flags: -pthread */
#include "prog.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>

static void test_sockets(void)
{
    int s[2], p[2];
    char buf[64] = "";
    socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, s);
    pipe(p);
    union {
        struct cmsghdr h;
        char space[CMSG_SPACE(sizeof(int))];
    } ctl = {.h = {CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
    memcpy(CMSG_DATA(&ctl.h), &p[1], sizeof(int));
    struct iovec iov = {(char *)"with a descriptor", 17};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &ctl,
                       .msg_controllen = sizeof(ctl)};
    result("sendmsg", sendmsg(s[0], &m, 0));
    memset(&ctl, 0, sizeof(ctl));
    iov = (struct iovec){buf, sizeof(buf)};
    result("recvmsg", recvmsg(s[1], &m, 0));
    int fd;
    memcpy(&fd, CMSG_DATA(&ctl.h), sizeof(fd));
    write(fd, "ok", 2);
    read(p[0], buf + 40, 2);
    printf("%.17s, %.2s\n", buf, buf + 40);

    int l = socket(AF_INET, SOCK_STREAM, 0), c = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    result("bind", bind(l, (void *)&a, sizeof(a)));
    listen(l, 1);
    getsockname(l, (void *)&a, &len);
    result("connect", connect(c, (void *)&a, sizeof(a)));
    int on = accept4(l, NULL, NULL, SOCK_NONBLOCK);
    result("nothing there", recv(on, buf, 10, 0));
    send(c, "over tcp", 8, 0);
    msleep(5);
    printf("%.*s\n", (int)recv(on, buf, sizeof(buf), 0), buf);
    int v = 0;
    len = sizeof(v);
    getsockopt(c, SOL_SOCKET, SO_TYPE, &v, &len);
    say("SO_TYPE", v == SOCK_STREAM);
    a.sin_port = htons(1);
    int r = socket(AF_INET, SOCK_STREAM, 0);
    result("refused", connect(r, (void *)&a, sizeof(a)));
    struct sockaddr_un un = {AF_UNIX, "/nonexistent"};
    result("no such socket", connect(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&un, sizeof(un)));
    struct mmsghdr mm[2] = {{.msg_hdr = {.msg_iov = &(struct iovec){(char *)"one", 3}, .msg_iovlen = 1}},
                            {.msg_hdr = {.msg_iov = &(struct iovec){(char *)"two", 3}, .msg_iovlen = 1}}};
    result("sendmmsg", sendmmsg(s[0], mm, 2, 0));
    printf("lengths %u %u\n", mm[0].msg_len, mm[1].msg_len);
}

static volatile int fired;

static void on_timer(int sig, siginfo_t *info, void *uc)
{
    fired = info->si_code == SI_TIMER ? info->si_value.sival_int : -1;
}

static void test_timers(void)
{
    int t = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    struct itimerspec it = {{0, 0}, {0, 3000000}};
    uint64_t n = 0;
    timerfd_settime(t, 0, &it, NULL);
    result("timerfd", read(t, &n, 8));
    printf("expired %d\n", (int)n);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    sigprocmask(SIG_BLOCK, &set, NULL);
    int s = signalfd(-1, &set, SFD_NONBLOCK);
    struct signalfd_siginfo si;
    result("no signal", read(s, &si, sizeof(si)));
    sigqueue(getpid(), SIGUSR2, (union sigval){77});
    result("signalfd", read(s, &si, sizeof(si)));
    printf("signal %d value %d\n", si.ssi_signo, si.ssi_int);
    struct sigaction sa = {.sa_sigaction = on_timer, .sa_flags = SA_SIGINFO};
    sigaction(SIGRTMIN + 3, &sa, NULL);
    struct sigevent ev = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN + 3,
                          .sigev_value.sival_int = 123};
    timer_t id;
    result("timer_create", timer_create(CLOCK_MONOTONIC, &ev, &id));
    timer_settime(id, 0, &it, NULL);
    for (int i = 0; i < 1000 && !fired; i++)
        msleep(1);
    printf("timer %d\n", fired);
    result("timer_delete", timer_delete(id));
}

static void test_sysv(void)
{
    int q = msgget(IPC_PRIVATE, 0600);
    struct {
        long type;
        char text[16];
    } m = {3, "message"};
    result("msgsnd", msgsnd(q, &m, 8, 0));
    memset(&m, 0, sizeof(m));
    result("msgrcv", msgrcv(q, &m, 16, 0, 0));
    printf("type %ld %s\n", m.type, m.text);
    struct msqid_ds ds;
    result("msgctl", msgctl(q, IPC_STAT, &ds));
    printf("queued %d mode %o\n", (int)ds.msg_qnum, ds.msg_perm.mode);
    msgctl(q, IPC_RMID, NULL);
    int s = semget(IPC_PRIVATE, 3, 0600);
    union {
        int val;
        struct semid_ds *buf;
        unsigned short *array;
    } arg;
    unsigned short values[3] = {1, 2, 3};
    arg.array = values;
    result("setall", semctl(s, 0, SETALL, arg));
    result("semop", semop(s, (struct sembuf[]){{1, -2, 0}, {2, 4, 0}}, 2));
    printf("values %d %d %d\n", semctl(s, 0, GETVAL), semctl(s, 1, GETVAL), semctl(s, 2, GETVAL));
    result("would block", semop(s, (struct sembuf[]){{1, -1, IPC_NOWAIT}}, 1));
    struct semid_ds sds;
    arg.buf = &sds;
    result("semctl", semctl(s, 0, IPC_STAT, arg));
    printf("semaphores %d\n", (int)sds.sem_nsems);
    semctl(s, 0, IPC_RMID);
}

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    test_sockets();
    test_timers();
    test_sysv();
    return 0;
}
