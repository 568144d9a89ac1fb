// clock.h: time in the two units a driver needs: nanoseconds for deadlines, CPU cycles for costs.
#pragma once

#include <stdint.h>
#include <time.h>

static inline uint64_t clock_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

// Ticks of the CPU's constant-rate counter: the time-stamp counter on x86, the virtual counter on aarch64, which is
// many times slower than the core.
static inline uint64_t clock_cycles(void) {
#if defined(__x86_64__)
    return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
    uint64_t ticks;
    __asm__ volatile("isb; mrs %0, cntvct_el0" : "=r"(ticks));
    return ticks;
#else
    return clock_ns();
#endif
}

static inline void sleep_us(uint64_t microseconds) {
    struct timespec pause = {.tv_sec = (time_t)(microseconds / 1000000),
                             .tv_nsec = (long)(microseconds % 1000000) * 1000};
    while (nanosleep(&pause, &pause) < 0) {
    }
}
