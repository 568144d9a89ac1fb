// barrier.h: the two places where the order of memory accesses decides whether a driver works.
//
// Before a doorbell: descriptors must be in memory before the device hears of them. After DD: a packet must be read
// after the bit that says it is there. x86 keeps both orders by itself, so there only the compiler must be told; on
// aarch64 it takes an instruction.
#pragma once

#if defined(__x86_64__)
#define BARRIER_STORES() __asm__ volatile("" ::: "memory")
#define BARRIER_LOADS()  __asm__ volatile("" ::: "memory")
#elif defined(__aarch64__)
#define BARRIER_STORES() __asm__ volatile("dmb oshst" ::: "memory")
#define BARRIER_LOADS()  __asm__ volatile("dmb oshld" ::: "memory")
#else
#define BARRIER_STORES() __atomic_thread_fence(__ATOMIC_SEQ_CST)
#define BARRIER_LOADS()  __atomic_thread_fence(__ATOMIC_SEQ_CST)
#endif

// All that was stored before is visible to the device before anything that is stored after.
static inline void barrier_before_doorbell(void) { BARRIER_STORES(); }

// Nothing that follows is loaded before what was loaded so far.
static inline void barrier_after_done(void) { BARRIER_LOADS(); }
