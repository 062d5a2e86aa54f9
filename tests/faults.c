/* Makes the n-th write, sync, rename or removal of a run's files fail; test_resume_*.py preload it.
 *
 * FAULT_UNDER  what the paths of those files have in them
 * FAULT_AT     n, from 1 on; 0 or none: no call fails
 * FAULT        EIO: this call fails; ENOSPC: half of this write is made, and whatever takes space
 *              fails from there on; KILL: half of this write is made, then the process is killed
 * FAULT_LOG    a file that gets a line per call
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

enum what { GOES, FAILS, HALF };

static atomic_long calls;
static atomic_int full;

static const char *variable(const char *name) {
    const char *value = getenv(name);
    return value ? value : "";
}

static int is_one_of_ours(const char *path) {
    const char *under = variable("FAULT_UNDER");
    return *under && strstr(path, under);
}

/* Of an open file; "" if there is none. */
static void path_of(int fd, char path[PATH_MAX]) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    path[length < 0 ? 0 : length] = 0;
}

static void note(long n, const char *call, const char *path) {
    const char *log = variable("FAULT_LOG");
    if (!*log) return;
    int fd = open(log, O_WRONLY | O_APPEND | O_CREAT, 0644);
    if (fd < 0) return;
    dprintf(fd, "%ld %s %s\n", n, call, path);
    close(fd);
}

static enum what meet(const char *call, const char *path, int takes_space) {
    if (!is_one_of_ours(path)) return GOES;
    long n = ++calls;
    note(n, call, path);
    const char *fault = variable("FAULT");
    int now = n == atol(variable("FAULT_AT"));
    if (!now && !(full && takes_space)) return GOES;
    int writes = !strcmp(call, "write");
    if (now && !strcmp(fault, "KILL")) {
        if (writes) return HALF;
        kill(getpid(), SIGKILL);
    }
    errno = EIO;
    if (!strcmp(fault, "ENOSPC")) {
        int first = !full;
        full = 1;
        if (first && writes) return HALF;
        if (!takes_space) return GOES;
        errno = ENOSPC;
    }
    return FAILS;
}

static void killed_after_half(void) {
    if (!strcmp(variable("FAULT"), "KILL")) kill(getpid(), SIGKILL);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t write(int fd, const void *bytes, size_t count) {
    char path[PATH_MAX];
    path_of(fd, path);
    enum what what = meet("write", path, 1);
    if (what == FAILS) return -1;
    ssize_t written = REAL(write)(fd, bytes, what == HALF ? (count + 1) / 2 : count);
    if (what == HALF) killed_after_half();
    return written;
}

ssize_t writev(int fd, const struct iovec *pieces, int count) {
    char path[PATH_MAX];
    path_of(fd, path);
    enum what what = meet("write", path, 1);
    if (what == FAILS) return -1;
    ssize_t written = REAL(writev)(fd, pieces, what == HALF ? (count + 1) / 2 : count);
    if (what == HALF) killed_after_half();
    return written;
}

#define ON_A_FILE(name, takes_space, parameters, arguments) \
    int name parameters {                                   \
        char path[PATH_MAX];                                \
        path_of(fd, path);                                  \
        if (meet(#name, path, takes_space) == FAILS) return -1; \
        return REAL(name) arguments;                        \
    }

ON_A_FILE(fsync, 0, (int fd), (fd))
ON_A_FILE(fdatasync, 0, (int fd), (fd))
ON_A_FILE(ftruncate, 0, (int fd, off_t length), (fd, length))
ON_A_FILE(ftruncate64, 0, (int fd, off64_t length), (fd, length))

#define ON_A_PATH(name, parameters, arguments)                  \
    int name parameters {                                       \
        if (meet(#name, to, 0) == FAILS) return -1;             \
        return REAL(name) arguments;                            \
    }

ON_A_PATH(unlink, (const char *to), (to))
ON_A_PATH(rename, (const char *from, const char *to), (from, to))
ON_A_PATH(renameat, (int a, const char *from, int b, const char *to), (a, from, b, to))
ON_A_PATH(renameat2, (int a, const char *from, int b, const char *to, unsigned flags),
          (a, from, b, to, flags))
