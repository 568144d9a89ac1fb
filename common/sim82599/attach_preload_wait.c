// attach_preload_wait.c: time passes while a program waits, and the device must notice.
//
// Where the device has no thread of its own, nobody would drive it while the program sleeps or polls. So a wait is
// cut into slices: the device works until it is quiet, the program waits for real, but no longer than until the
// device's next timer, and in stepped mode that much time has then passed on the device's counted clock. An event for
// the program ends the wait at once. Asking what time it is gives the device a turn too, because loops with a
// deadline do that.

#include "attach_preload.h"
#include "attach_preload_real.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static const uint64_t for_ever = UINT64_MAX;

static uint64_t to_ns(const struct timespec *time) {
    return time ? (uint64_t)time->tv_sec * 1000000000u + (uint64_t)time->tv_nsec : for_ever;
}

static struct timespec to_timespec(uint64_t ns) {
    return (struct timespec){.tv_sec = (time_t)(ns / 1000000000u), .tv_nsec = (long)(ns % 1000000000u)};
}

static uint64_t ms_to_ns(int timeout) { return timeout < 0 ? for_ever : (uint64_t)timeout * 1000000u; }

// One look at what the program waits for, with the signals of `mask` held back meanwhile: as ppoll, more than 0, 0
// after `timeout`, or -1 and errno.
typedef int look(void *what, const struct timespec *timeout, const sigset_t *mask);

// A signal that arrived between two looks would not end the wait, and a program that waits for ever would not hear of
// Ctrl-C. So signals are held back all the time, and let in during the looks, as far as the program lets them in.
static int wait_in_slices(look *function, void *what, uint64_t *left, const sigset_t *wanted_mask) {
    sigset_t before;
    host_hold_signals(&before);
    const sigset_t *mask = wanted_mask ? wanted_mask : &before;
    int result = 0;
    for (host_turns(0);;) {
        result = function(what, &(struct timespec){0}, mask);
        if (result != 0 || *left == 0) break;
        uint64_t slice = host_slice_ns(*left);
        struct timespec timeout = to_timespec(slice), start, end;
        real.clock_gettime(CLOCK_MONOTONIC, &start);
        result = function(what, &timeout, mask);
        if (result != 0) {
            real.clock_gettime(CLOCK_MONOTONIC, &end);
            uint64_t waited = to_ns(&end) - to_ns(&start);
            if (*left != for_ever) *left -= waited < *left ? waited : *left;
            break;
        }
        host_turns(slice);
        if (*left != for_ever) *left -= slice;
    }
    int error = errno;
    real.pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = error;
    return result;
}

// ---- poll and select ----

struct poll_wait {
    struct pollfd *fds;
    nfds_t count;
};

static int look_poll(void *what, const struct timespec *timeout, const sigset_t *mask) {
    const struct poll_wait *wait = what;
    return real.ppoll(wait->fds, wait->count, timeout, mask);
}

static int poll_in_slices(struct pollfd *fds, nfds_t count, uint64_t timeout, const sigset_t *mask) {
    return wait_in_slices(look_poll, &(struct poll_wait){fds, count}, &timeout, mask);
}

int our_poll(struct pollfd *fds, nfds_t count, int timeout) {
    if (!host_needs_turns()) return real.poll(fds, count, timeout);
    return poll_in_slices(fds, count, ms_to_ns(timeout), NULL);
}

int our_ppoll(struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask) {
    if (!host_needs_turns()) return real.ppoll(fds, count, timeout, mask);
    return poll_in_slices(fds, count, to_ns(timeout), mask);
}

int poll_checked(struct pollfd *fds, nfds_t count, int timeout, size_t space) __asm__("__poll_chk") EXPORTED;
int poll_checked(struct pollfd *fds, nfds_t count, int timeout, size_t space) {
    if (space / sizeof *fds < count) __builtin_trap();
    return our_poll(fds, count, timeout);
}

int ppoll_checked(struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask,
                  size_t space) __asm__("__ppoll_chk") EXPORTED;
int ppoll_checked(struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask,
                  size_t space) {
    if (space / sizeof *fds < count) __builtin_trap();
    return our_ppoll(fds, count, timeout, mask);
}

// select overwrites its sets, so each look starts from the program's.
struct select_wait {
    int count;
    fd_set *sets[3], asked[3];
};

static int look_select(void *what, const struct timespec *timeout, const sigset_t *mask) {
    struct select_wait *wait = what;
    for (int i = 0; i < 3; i++)
        if (wait->sets[i]) *wait->sets[i] = wait->asked[i];
    return real.pselect(wait->count, wait->sets[0], wait->sets[1], wait->sets[2], timeout, mask);
}

int our_pselect(int count, fd_set *in, fd_set *out, fd_set *other, const struct timespec *timeout,
                const sigset_t *mask) {
    if (!host_needs_turns()) return real.pselect(count, in, out, other, timeout, mask);
    struct select_wait wait = {.count = count, .sets = {in, out, other}};
    uint64_t left = to_ns(timeout);
    for (int i = 0; i < 3; i++)
        if (wait.sets[i]) wait.asked[i] = *wait.sets[i];
    return wait_in_slices(look_select, &wait, &left, mask);
}

int our_select(int count, fd_set *in, fd_set *out, fd_set *other, struct timeval *timeout) {
    if (!host_needs_turns()) return real.select(count, in, out, other, timeout);
    struct timespec precise;
    if (timeout) precise = (struct timespec){.tv_sec = timeout->tv_sec, .tv_nsec = timeout->tv_usec * 1000};
    return our_pselect(count, in, out, other, timeout ? &precise : NULL, NULL);
}

// ---- epoll ----

// An epoll descriptor can itself be polled, and that has the finer timeout.
struct epoll_wait_for {
    int fd, count;
    struct epoll_event *events;
};

static int look_epoll(void *what, const struct timespec *timeout, const sigset_t *mask) {
    const struct epoll_wait_for *wait = what;
    struct pollfd self = {.fd = wait->fd, .events = POLLIN};
    int ready = real.ppoll(&self, 1, timeout, mask);
    return ready <= 0 ? ready : real.epoll_pwait(wait->fd, wait->events, wait->count, 0, NULL);
}

static int epoll_in_slices(int fd, struct epoll_event *events, int count, uint64_t timeout, const sigset_t *mask) {
    return wait_in_slices(look_epoll, &(struct epoll_wait_for){fd, count, events}, &timeout, mask);
}

int our_epoll_pwait(int fd, struct epoll_event *events, int count, int timeout, const sigset_t *mask) {
    if (!host_needs_turns()) return real.epoll_pwait(fd, events, count, timeout, mask);
    return epoll_in_slices(fd, events, count, ms_to_ns(timeout), mask);
}

int our_epoll_pwait2(int fd, struct epoll_event *events, int count, const struct timespec *timeout,
                     const sigset_t *mask) {
    if (!host_needs_turns()) return real.epoll_pwait2(fd, events, count, timeout, mask);
    return epoll_in_slices(fd, events, count, to_ns(timeout), mask);
}

int our_epoll_wait(int fd, struct epoll_event *events, int count, int timeout) {
    if (!host_needs_turns()) return real.epoll_wait(fd, events, count, timeout);
    return epoll_in_slices(fd, events, count, ms_to_ns(timeout), NULL);
}

// ---- A blocking read of an interrupt's eventfd ----

int wait_for_interrupt(int fd) {
    if (!host_needs_turns() || !irq_is_trigger(fd) || real.fcntl(fd, F_GETFL) & O_NONBLOCK) return 0;
    struct pollfd interrupt = {.fd = fd, .events = POLLIN};
    return poll_in_slices(&interrupt, 1, for_ever, NULL);
}

// ---- Sleeping ----

// Sleeping is waiting for nothing. 0, or -1 with EINTR and *left: how long it should have gone on.
static int sleep_in_slices(uint64_t *left) {
    return wait_in_slices(look_poll, &(struct poll_wait){NULL, 0}, left, NULL);
}

static bool is_a_time(const struct timespec *time) {
    return time->tv_sec >= 0 && time->tv_nsec >= 0 && time->tv_nsec < 1000000000;
}

int our_nanosleep(const struct timespec *time, struct timespec *left) {
    if (!host_needs_turns() || !time || !is_a_time(time)) return real.nanosleep(time, left);
    uint64_t rest = to_ns(time);
    int result = sleep_in_slices(&rest);
    if (result < 0 && left) *left = to_timespec(rest);
    return result;
}

int our_clock_nanosleep(clockid_t clock, int flags, const struct timespec *time, struct timespec *left) {
    if (!host_needs_turns() || !time || !is_a_time(time)) return real.clock_nanosleep(clock, flags, time, left);
    uint64_t rest = to_ns(time);
    if (flags & TIMER_ABSTIME) {
        struct timespec now;
        real.clock_gettime(clock, &now);
        rest = rest > to_ns(&now) ? rest - to_ns(&now) : 0;
    }
    if (sleep_in_slices(&rest) == 0) return 0;
    if (left && !(flags & TIMER_ABSTIME)) *left = to_timespec(rest);
    return EINTR;
}

int our_usleep(useconds_t time) {
    uint64_t rest = time * UINT64_C(1000);
    return host_needs_turns() ? sleep_in_slices(&rest) : real.usleep(time);
}

unsigned our_sleep(unsigned time) {
    uint64_t rest = time * UINT64_C(1000000000);
    if (!host_needs_turns()) return real.sleep(time);
    sleep_in_slices(&rest);
    return (unsigned)((rest + 500000000) / 1000000000);
}

// ---- Looking at the clock, letting others run ----

// The program's clock is the real one. A microsecond for the device is about what the call and its loop take.
static void look_at_the_clock(void) {
    if (host_mode() == MODE_STEPPED && host_needs_turns()) host_turns(1000);
}

int our_clock_gettime(clockid_t clock, struct timespec *time) {
    look_at_the_clock();
    return real.clock_gettime(clock, time);
}

int our_gettimeofday(struct timeval *time, void *zone) {
    look_at_the_clock();
    return real.gettimeofday(time, zone);
}

int our_sched_yield(void) {
    if (!host_needs_turns()) return real.sched_yield();
    host_turns(0);
    return 0;
}
