// attach_preload_real.h: the calls that this library stands in front of, each in one row.
//
// A row CALL(type, name, arguments) declares our_NAME, which the dynamic linker knows as NAME, and real.NAME, the
// next one in the search order: the C library's, or a sanitizer's. Second names for the same thing (open64, __open_2)
// are made with ALSO beside our_NAME's definition; here long and off_t have 64 bits, so they need no code of their
// own.
#pragma once

#include <dirent.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>

struct statx;
typedef void (*signal_handler)(int);

#define PATH_CALLS(CALL)                                                                                             \
    CALL(int, openat, (int directory, const char *path, int flags, ...))                                             \
    CALL(int, open, (const char *path, int flags, ...))                                                              \
    CALL(FILE *, fopen, (const char *path, const char *mode))                                                        \
    CALL(DIR *, opendir, (const char *path))                                                                         \
    CALL(int, scandir,                                                                                               \
         (const char *path, struct dirent ***names, int (*filter)(const struct dirent *),                            \
          int (*compare)(const struct dirent **, const struct dirent **)))                                           \
    CALL(int, chdir, (const char *path))                                                                             \
    CALL(int, access, (const char *path, int mode))                                                                  \
    CALL(int, eaccess, (const char *path, int mode))                                                                 \
    CALL(int, faccessat, (int directory, const char *path, int mode, int flags))                                     \
    CALL(int, stat, (const char *path, struct stat *status))                                                         \
    CALL(int, lstat, (const char *path, struct stat *status))                                                        \
    CALL(int, fstatat, (int directory, const char *path, struct stat *status, int flags))                            \
    CALL(int, statx, (int directory, const char *path, int flags, unsigned mask, struct statx *status))              \
    CALL(ssize_t, readlink, (const char *path, char *target, size_t size))                                           \
    CALL(ssize_t, readlinkat, (int directory, const char *path, char *target, size_t size))                          \
    CALL(char *, realpath, (const char *path, char *resolved))

#define FILE_CALLS(CALL)                                                                                             \
    CALL(int, ioctl, (int fd, unsigned long request, ...))                                                           \
    CALL(void *, mmap, (void *address, size_t size, int protection, int flags, int fd, off_t offset))                \
    CALL(int, munmap, (void *address, size_t size))                                                                  \
    CALL(int, mprotect, (void *address, size_t size, int protection))                                                \
    CALL(ssize_t, read, (int fd, void *data, size_t size))                                                           \
    CALL(ssize_t, write, (int fd, const void *data, size_t size))                                                    \
    CALL(ssize_t, pread, (int fd, void *data, size_t size, off_t offset))                                            \
    CALL(ssize_t, pwrite, (int fd, const void *data, size_t size, off_t offset))                                     \
    CALL(ssize_t, readv, (int fd, const struct iovec *parts, int count))                                             \
    CALL(ssize_t, writev, (int fd, const struct iovec *parts, int count))                                            \
    CALL(ssize_t, preadv, (int fd, const struct iovec *parts, int count, off_t offset))                              \
    CALL(ssize_t, pwritev, (int fd, const struct iovec *parts, int count, off_t offset))                             \
    CALL(int, eventfd_read, (int fd, eventfd_t *value))                                                              \
    CALL(int, close, (int fd))                                                                                       \
    CALL(int, close_range, (unsigned first, unsigned last, int flags))                                               \
    CALL(void, closefrom, (int first))                                                                               \
    CALL(int, dup, (int fd))                                                                                         \
    CALL(int, dup2, (int fd, int copy))                                                                              \
    CALL(int, dup3, (int fd, int copy, int flags))                                                                   \
    CALL(int, fcntl, (int fd, int command, ...))

#define SIGNAL_CALLS(CALL)                                                                                           \
    CALL(int, sigaction, (int number, const struct sigaction *action, struct sigaction *old))                        \
    CALL(signal_handler, signal, (int number, signal_handler handler))                                               \
    CALL(int, sigprocmask, (int how, const sigset_t *set, sigset_t *old))                                            \
    CALL(int, pthread_sigmask, (int how, const sigset_t *set, sigset_t *old))

#define WAIT_CALLS(CALL)                                                                                             \
    CALL(int, poll, (struct pollfd * fds, nfds_t count, int timeout))                                                \
    CALL(int, ppoll, (struct pollfd * fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask))      \
    CALL(int, select, (int count, fd_set *in, fd_set *out, fd_set *other, struct timeval *timeout))                  \
    CALL(int, pselect,                                                                                               \
         (int count, fd_set *in, fd_set *out, fd_set *other, const struct timespec *timeout, const sigset_t *mask))  \
    CALL(int, epoll_wait, (int fd, struct epoll_event *events, int count, int timeout))                              \
    CALL(int, epoll_pwait, (int fd, struct epoll_event *events, int count, int timeout, const sigset_t *mask))       \
    CALL(int, epoll_pwait2,                                                                                          \
         (int fd, struct epoll_event *events, int count, const struct timespec *timeout, const sigset_t *mask))      \
    CALL(int, nanosleep, (const struct timespec *time, struct timespec *left))                                       \
    CALL(int, clock_nanosleep, (clockid_t clock, int flags, const struct timespec *time, struct timespec *left))     \
    CALL(int, usleep, (useconds_t time))                                                                             \
    CALL(unsigned, sleep, (unsigned time))                                                                           \
    CALL(int, clock_gettime, (clockid_t clock, struct timespec * time))                                              \
    CALL(int, gettimeofday, (struct timeval * time, void *zone))                                                     \
    CALL(int, sched_yield, (void))

#define ALL_CALLS(CALL) PATH_CALLS(CALL) FILE_CALLS(CALL) SIGNAL_CALLS(CALL) WAIT_CALLS(CALL)

#define EXPORTED                            __attribute__((visibility("default")))
#define DECLARE_OURS(type, name, arguments) type our_##name arguments __asm__(#name) EXPORTED;
#define REAL_POINTER(type, name, arguments) type(*name) arguments;
ALL_CALLS(DECLARE_OURS)

// Makes `name` a second name of `original`, which is defined above in the same file.
#define ALSO(name, original)                                                                                         \
    extern __typeof__(our_##original) also_##name __asm__(#name) __attribute__((alias(#original))) EXPORTED

struct real_calls {
    ALL_CALLS(REAL_POINTER)
};
extern struct real_calls real_calls_;
extern bool real_calls_found_;
void real_calls_find_(void);

// A sanitizer's start-up code calls us before our own constructor has run, so whoever comes first looks them up.
static inline const struct real_calls *real_calls(void) {
    if (!real_calls_found_) real_calls_find_();
    return &real_calls_;
}
#define real (*real_calls())
