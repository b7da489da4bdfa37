/* Where root may do what others may not, the probe asks for the least that the line of the unit refuses. */

#include "probe.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/klog.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/timex.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "program.h"

enum { LOG_SIZE = 10 }; /* for klogctl() */

static void show(const char *what, bool done)
{
        printf("%s: %s\n", what, done ? "yes" : strerrorname_np(errno));
}

/* Why not is left open: what systemd leaves writable may belong to another user. */
static void show_open(const char *what, const char *path, int flags)
{
        int fd = open(path, flags | O_CLOEXEC, 0600);

        printf("%s: %s\n", what, fd >= 0 ? "yes" : "no");
        if (fd >= 0)
                close(fd);
}

/* ---- the network ---- */

static struct sockaddr_in loopback(void)
{
        return (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

static bool binds_port(void)
{
        struct sockaddr_in address = loopback();
        int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

        return fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
}

static bool sends(void)
{
        struct sockaddr_in address = loopback();
        int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

        address.sin_port = htons(9);
        return fd >= 0 && sendto(fd, "", 1, 0, (struct sockaddr *)&address, sizeof(address)) == 1;
}

/* ---- what others have ---- */

/* Whether a file is the same for systemd, the first process. */
static bool shares(const char *path)
{
        TEST_FREED char *others = test_format("/proc/1/%s", path);
        TEST_FREED char *own = test_format("/proc/self/%s", path);
        struct stat first, self;

        if (stat(others, &first) != 0 || stat(own, &self) != 0)
                return false;
        errno = ENOMSG; /* another one */
        return first.st_dev == self.st_dev && first.st_ino == self.st_ino;
}

/* A device that is there, but belongs to no service. */
static bool opens_new_device(void)
{
        dev_t log = makedev(1, 11);
        int fd;

        unlink("device");
        if (mknod("device", S_IFCHR | 0600, log) != 0)
                return false;
        fd = open("device", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
        unlink("device");
        return fd >= 0;
}

/* Whether it does so in a process of its own. */
static bool in_child(bool (*does)(void))
{
        int status;
        pid_t child = fork();

        if (child == 0) {
                prctl(PR_SET_DUMPABLE, 0); /* a call that kills leaves no core */
                errno = 0;
                _exit(does() ? 0 : errno ? errno : ENOSYS);
        }
        if (child < 0 || waitpid(child, &status, 0) != child)
                return false;
        errno = WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
        return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* ---- code ---- */

static bool writes_code(int before, int after)
{
        void *page = mmap(NULL, 4096, before, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        return page != MAP_FAILED && (before == after || mprotect(page, 4096, after) == 0);
}

/* A system call as programs of the 32-bit architecture make it. Where it is refused, it kills. */
static bool calls_as_other_architecture(void)
{
#ifdef __x86_64__
        long result = 20; /* getpid */

        __asm__ volatile("int $0x80" : "+a"(result) : : "memory", "r8", "r9", "r10", "r11");
        return result == getpid();
#else
        return false;
#endif
}

/* ---- the rest ---- */

static bool makes_namespace(void)
{
        return unshare(CLONE_NEWUSER) == 0;
}

static bool traces(void)
{
        return ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0;
}

static bool leaves_a_processor(void)
{
        cpu_set_t set;

        return sched_getaffinity(0, sizeof(set), &set) == 0 && sched_setaffinity(0, sizeof(set), &set) == 0;
}

static bool runs(int policy, int priority)
{
        struct sched_param param = { .sched_priority = priority };

        return sched_setscheduler(0, policy, &param) == 0;
}

static bool sees_clock(void)
{
        struct timex nothing = { 0 };

        return clock_adjtime(CLOCK_REALTIME, &nothing) >= 0;
}

/* The most that the program may have without asking for more. */
static void show_limit(const char *what, __rlimit_resource_t resource)
{
        struct rlimit limit;

        if (getrlimit(resource, &limit) == 0)
                printf("%s: %lld\n", what, limit.rlim_cur == RLIM_INFINITY ? -1 : (long long)limit.rlim_cur);
}

/* The limit of the control group. */
static void show_memory(void)
{
        TEST_FREED char *groups = test_read_file("/proc/self/cgroup", NULL);
        char *group = groups ? strstr(groups, "0::/") : NULL;
        TEST_FREED char *path = NULL, *max = NULL;

        if (group) {
                group += strlen("0::/");
                path = test_format("/sys/fs/cgroup/%.*s/memory.max", (int)strcspn(group, "\n"), group);
                max = test_read_file(path, NULL);
        }
        printf("memory: %s\n", max ? strtok(max, "\n") : "not limited");
}

static mode_t mask(void)
{
        mode_t mask = umask(0);

        umask(mask);
        return mask;
}

static bool has_status(const char *line)
{
        TEST_FREED char *status = test_read_file("/proc/self/status", NULL);

        return status && strstr(status, line);
}

static int all(void)
{
        show("Unix socket", socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) >= 0);
        show("network socket", socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) >= 0);
        show("netlink socket", socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0) >= 0);
        show("packet socket", socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0) >= 0);
        show("bind a port", binds_port());
        show("send", sends());
        show("the network of others", shares("ns/net"));
        show_open("write here", "file", O_CREAT | O_WRONLY);
        show_open("write above", "../file", O_CREAT | O_WRONLY);
        show_open("write /etc", "/etc/gramd-test", O_CREAT | O_WRONLY);
        show_open("write /sys", "/sys/kernel/mm/transparent_hugepage/enabled", O_WRONLY);
        show_open("write /proc", "/proc/irq/default_smp_affinity", O_WRONLY);
        show_open("write control groups", "/sys/fs/cgroup/cgroup.procs", O_WRONLY);
        show_open("read /home", "/home", O_RDONLY);
        show_open("read /root", "/root", O_RDONLY);
        show("/root of others", shares("root/root"));
        show("/tmp of others", shares("root/tmp"));
        show("mounts of others", shares("ns/mnt"));
        show("IPC of others", shares("ns/ipc"));
        show("users of others", shares("ns/user"));
        show("see others", access("/proc/1", F_OK) == 0);
        show("see the kernel", access("/proc/sys/kernel", F_OK) == 0);
        show("see disks", access("/dev/vda", F_OK) == 0 || access("/dev/kmsg", F_OK) == 0);
        show("make a device", opens_new_device());
        show("new code", writes_code(PROT_WRITE | PROT_EXEC, PROT_WRITE | PROT_EXEC));
        show("written code", writes_code(PROT_READ | PROT_WRITE, PROT_READ | PROT_EXEC));
        show("another architecture", in_child(calls_as_other_architecture));
        show("personality", personality(PER_LINUX | READ_IMPLIES_EXEC) >= 0 && personality(PER_LINUX) >= 0);
        show("trace", in_child(traces));
        show("namespace", in_child(makes_namespace));
        show("realtime", runs(SCHED_RR, 1) && runs(SCHED_OTHER, 0));
        show("batch", runs(SCHED_BATCH, 0));
        show("lower priority", setpriority(PRIO_PROCESS, 0, 19) == 0);
        show("leave a processor", leaves_a_processor());
        show("set-uid file", chmod("file", 04600) == 0);
        show("remove a module", syscall(SYS_delete_module, "gramd-test", 0) == 0);
        show("the kernel's log", klogctl(LOG_SIZE, NULL, 0) >= 0);
        show("the clock", sees_clock());
        show("host name", sethostname("x", 1) == 0);
        show("mount", syscall(SYS_umount2, "gramd-test", 0) == 0);
        show("change the user", setuid(0) == 0);
        show("no new privileges", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1);
        show("no capabilities", has_status("CapPrm:\t0000000000000000"));
        show("none to gain", has_status("CapBnd:\t0000000000000000"));
        show("none to pass on", has_status("CapAmb:\t0000000000000000"));
        show_limit("core", RLIMIT_CORE);
        show_limit("locked memory", RLIMIT_MEMLOCK);
        show_limit("descriptors", RLIMIT_NOFILE);
        show_memory();
        printf("mask: %o, uid: %d, gid: %d\n", (unsigned)mask(), (int)getuid(), (int)getgid());
        return 0;
}

/* The number of the session's keyring, which has the keys of all that share it. */
static int keyring(void)
{
        enum { KEYCTL_GET_KEYRING_ID = 0, KEY_SPEC_SESSION_KEYRING = -3 };
        long number = syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0);

        printf("%ld\n", number);
        return number < 0;
}

/* Leaves shared memory behind. */
static int segment(void)
{
        return shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600) < 0;
}

int probe(const char *what)
{
        if (strcmp(what, "keyring") == 0)
                return keyring();
        return strcmp(what, "segment") == 0 ? segment() : all();
}
