// barrier.h: the places where the order of memory accesses decides whether a driver works.
//
// Before a doorbell: descriptors must be in memory before the device hears of them. After a read of what the device
// has to say, DD in a descriptor or one of its registers: what depends on that must be read after it. x86 keeps both
// orders by itself, so there only the compiler must be told; on aarch64 it takes an instruction.
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
static inline void barrier_after_read(void) { BARRIER_LOADS(); }
