// test_preload_access.c: registers behave like registers, whatever a program's compiler makes of an access.

#include "test_foreign.h"

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>

enum {
    STATUS = 0x00008,
    EICR = 0x00800,
    EITR0 = 0x00820,
    EICS = 0x00808,
    EIMS = 0x00880,
    EIMC = 0x00888,
    GPIE = 0x00898,
    IVAR0 = 0x00900,
    RDBAL0 = 0x01000,  // in a page that is plain memory unless every access is to be seen
    RDT0 = 0x01018,
    AUTOC = 0x042a0,
    LINKS = 0x042a4,
    RAL0 = 0x0a200,
    RAH0 = 0x0a204,
    RAL5 = 0x0a228,
    RAH5 = 0x0a22c,
    LINK_UP = 1 << 30,
};

static void *trapped_page(const struct nic *nic, uint32_t offset) { return (void *)(uintptr_t)(nic->bar + offset); }

// ---- Widths ----

static void narrow_reads(const struct nic *nic, uint32_t at, uint64_t expected) {
    volatile uint8_t *p = nic->bar + at;
    for (unsigned i = 0; i < 8; i++) CHECK_EQ(p[i], expected >> 8 * i & 0xff);
    for (unsigned i = 0; i < 8; i += 2) CHECK_EQ(*(volatile uint16_t *)(p + i), expected >> 8 * i & 0xffff);
    CHECK_EQ(*(volatile uint32_t *)p, expected & 0xffffffff);
    CHECK_EQ(*(volatile uint64_t *)p, expected);
    uint64_t through_the_descriptor = 0;
    for (unsigned i = 0; i < 8; i++)
        CHECK_EQ(pread(nic->device, (char *)&through_the_descriptor + i, 1, region_offset(BAR0) + at + i), 1);
    CHECK_EQ(through_the_descriptor, expected);
}

static void widths(void) {
    struct nic nic = nic_open(0, -1);
    *(volatile uint64_t *)(nic.bar + RAL5) = 0x0000bbaa44332211;
    narrow_reads(&nic, RAL5, 0x0000bbaa44332211);
    *(volatile uint8_t *)(nic.bar + RAL5 + 1) = 0x99;
    *(volatile uint16_t *)(nic.bar + RAH5) = 0xeedd;
    narrow_reads(&nic, RAL5, 0x0000eedd44339911);
    CHECK_EQ(pwrite(nic.device, "\x77\x66\x55", 3, region_offset(BAR0) + RAL5 + 1), 3);
    narrow_reads(&nic, RAL5, 0x0000eedd55667711);
    // A register where a one is a deed: bytes that are not written do nothing.
    nic_write(&nic, EIMC, 0x7fffffff);
    nic_write(&nic, EIMS, 0x00f00000);
    *(volatile uint8_t *)(nic.bar + EIMC + 2) = 0x30;
    CHECK_EQ(nic_read(&nic, EIMS), 0x00c00000);
    *(volatile uint8_t *)(nic.bar + EIMS + 3) = 0x10;
    CHECK_EQ(nic_read(&nic, EIMS), 0x10c00000);
    // Crooked: one access, parts of two registers.
    uint32_t crooked;
    memcpy(&crooked, trapped_page(&nic, RAL5 + 2), sizeof crooked);
    CHECK_EQ(crooked, 0xeedd5566);
}

// The I/O BAR: an address, and the register there. A reset of the function forgets the address.
static void io_ports(void) {
    enum { IO_BAR = 2 };
    struct nic nic = nic_open(0, -1);
    off_t address = region_offset(IO_BAR), data = address + 4;
    uint32_t at = RAL5, value = 0x1234, read_back = 0;
    CHECK_EQ(pwrite(nic.device, &at, 4, address), 4);
    CHECK_EQ(pwrite(nic.device, &value, 4, data), 4);
    CHECK_EQ(nic_read(&nic, RAL5), 0x1234);
    at = UINT32_MAX;  // there is no such address: what has no place in it is lost
    CHECK_EQ(pwrite(nic.device, &at, 4, address), 4);
    CHECK_EQ(pread(nic.device, &read_back, 4, address), 4);
    CHECK_EQ(read_back, 0x1fffc);
    CHECK_EQ(ioctl(nic.device, VFIO_DEVICE_RESET), 0);
    CHECK_EQ(pread(nic.device, &read_back, 4, address), 4);
    CHECK_EQ(read_back, 0);
}

// The device has something to say, and nobody to say it to.
static void vector_without_eventfd(void) {
    struct nic nic = nic_open(0, -1);
    CHECK_EQ(nic_set_trigger(&nic, VFIO_PCI_MSIX_IRQ_INDEX, 0, eventfd(0, 0)), 0);
    nic_write(&nic, GPIE, 0x80000010);
    nic_write(&nic, IVAR0, 0x83);
    nic_write(&nic, EIMS, 1 << 3);
    nic_write(&nic, EICS, 1 << 3);
}

#if defined(__x86_64__)
// Read, modify and write in one instruction, as a compiler is free to make of  *p |= x.
static void one_instruction_forms(void) {
    struct nic nic = nic_open(0, -1);
    void *p = trapped_page(&nic, RAL5);
    nic_write(&nic, RAL5, 0x100);
    __asm__ volatile("orl $0x0f, (%0)" : : "r"(p) : "memory", "cc");
    __asm__ volatile("addl %1, (%0)" : : "r"(p), "r"(0x1000) : "memory", "cc");
    CHECK_EQ(nic_read(&nic, RAL5), 0x110f);
    uint32_t value = 0xabc;
    __asm__ volatile("xchgl %1, (%0)" : : "r"(p), "r"(value) : "memory");
    CHECK_EQ(nic_read(&nic, RAL5), 0xabc);
    uint64_t wide;
    __asm__ volatile("movzwl (%1), %k0" : "=r"(wide) : "r"(p));
    CHECK_EQ(wide, 0xabc);
    nic_write(&nic, RAL5, 0x80);
    __asm__ volatile("movsbq (%1), %0" : "=r"(wide) : "r"(p));
    CHECK_EQ(wide, UINT64_MAX - 0x7f);
    char zero;
    __asm__ volatile("testl $0x80, (%1); sete %0" : "=r"(zero) : "r"(p) : "cc");
    CHECK_EQ(zero, 0);
    __asm__ volatile("cmpl $0x80, (%1); sete %0" : "=r"(zero) : "r"(p) : "cc");
    CHECK_EQ(zero, 1);
    uint64_t block[2] = {0};
    __asm__ volatile("movdqu (%0), %%xmm0; movdqu %%xmm0, %1" : : "r"(p), "m"(block) : "xmm0", "memory");
    CHECK_EQ(block[0] & 0xff, 0x80);
}

static void undecodable(void) {
    struct nic nic = nic_open(0, -1);
    __asm__ volatile("fldl (%0); fstp %%st(0)" : : "r"(trapped_page(&nic, RAL0)));
}
#endif

// ---- Windows ----

static sigjmp_buf back;
static volatile uintptr_t faulted_at;
static volatile int faults;

static void note_fault(int number, siginfo_t *info, void *context) {
    (void)number;
    (void)context;
    faulted_at = (uintptr_t)info->si_addr;
    faults++;
    siglongjmp(back, 1);
}

// Does reading there fault, in the eyes of the program?
static bool faults_at(const volatile void *address) {
    faulted_at = 0;
    if (sigsetjmp(back, 1) == 0) {
        (void)*(const volatile uint32_t *)address;
        return false;
    }
    return faulted_at == (uintptr_t)address;
}

static bool store_faults_at(volatile void *address) {
    faulted_at = 0;
    if (sigsetjmp(back, 1) == 0) {
        *(volatile uint32_t *)address = 0;
        return false;
    }
    return faulted_at == (uintptr_t)address;
}

static void catch_faults(int flags) {
    struct sigaction action = {.sa_sigaction = note_fault, .sa_flags = SA_SIGINFO | flags};
    CHECK_EQ(sigaction(SIGSEGV, &action, NULL), 0);
}

// A counter in a page of tails is cleared by reading for a driver that has begun by clearing it, so nothing that is
// written there may stay.
static void counters_among_tails(void) {
    const uint32_t counters[] = {0x1030, 0x6030}, tails[] = {0x1018, 0x6018};
    struct nic nic = nic_open(0, -1);
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(nic_read(&nic, counters[i]), 0);
        nic_write(&nic, tails[i], 0);
        nic_write(&nic, counters[i], 5);
        CHECK_EQ(nic_read(&nic, counters[i]), 0);
    }
}

static void windows(void) {
    struct nic nic = nic_open(0, -1);
    catch_faults(0);
    uint32_t low = nic_read(&nic, RAL0);
    char *place = mmap(NULL, 0x40000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(place, 0x5a, 0x40000);
    char *bar = nic_map(&nic, place + 0x10000, 0, 0x20000, MAP_FIXED);
    CHECK(bar == place + 0x10000);
    CHECK_EQ(*(volatile uint32_t *)(bar + RAL0), low);
    CHECK_EQ(place[0xffff], 0x5a);  // what is around it stays
    CHECK_EQ(place[0x30000], 0x5a);
    // Both windows show the same registers, the plain pages too.
    nic_write(&nic, RDBAL0, 0x1000);
    CHECK_EQ(*(volatile uint32_t *)(bar + RDBAL0), 0x1000);
    nic_write(&nic, RAL5, 0x1234);
    CHECK_EQ(*(volatile uint32_t *)(bar + RAL5), 0x1234);
    // A window on two pages in the middle of the region.
    char *part = nic_map(&nic, NULL, 0xa000, 0x2000, 0);
    CHECK_EQ(*(volatile uint32_t *)(part + 0x228), 0x1234);
    // Cutting a hole leaves the rest.
    CHECK_EQ(munmap(bar + 0x8000, 0x2000), 0);
    CHECK(faults_at(bar + 0x8000));
    CHECK(faults_at(bar + 0x9ffc));
    CHECK_EQ(*(volatile uint32_t *)(bar + RAL5), 0x1234);
    CHECK_EQ(*(volatile uint32_t *)(bar + RDBAL0), 0x1000);
    // Ordinary memory over a window is ordinary memory.
    CHECK(mmap(bar + 0xa000, 0x1000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
          bar + 0xa000);
    CHECK_EQ(*(volatile uint32_t *)(bar + RAL5), 0);
    *(volatile uint32_t *)(bar + RAL5) = 7;
    CHECK_EQ(nic_read(&nic, RAL5), 0x1234);
    CHECK_EQ(munmap(bar, 0x20000), 0);
    CHECK(faults_at(bar + RDBAL0));
    CHECK(faults_at(bar + STATUS));
    CHECK_EQ(nic_read(&nic, RAL0), low);
    // Rights are the program's to give and take.
    char *read_only = mmap(NULL, 0x20000, PROT_READ, MAP_SHARED, nic.device, region_offset(BAR0));
    CHECK_EQ(*(volatile uint32_t *)(read_only + RAL0), low);
    CHECK(store_faults_at(read_only + RAL5));
    CHECK(store_faults_at(read_only + RDBAL0));
    CHECK_EQ(mprotect(read_only, 0x20000, PROT_READ | PROT_WRITE), 0);
    *(volatile uint32_t *)(read_only + RAL5) = 5;
    CHECK_EQ(nic_read(&nic, RAL5), 5);
    CHECK_EQ(mprotect(read_only + 0xa000, 0x1000, PROT_NONE), 0);
    CHECK(faults_at(read_only + RAL5));
    CHECK_EQ(*(volatile uint32_t *)(read_only + STATUS), nic_read(&nic, STATUS));
}

// ---- The program's own SIGSEGV ----

static void chain_before_and_after(void) {
    catch_faults(SA_ONSTACK);
    struct nic nic = nic_open(0, -1);
    volatile uint32_t *nowhere = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint32_t low = nic_read(&nic, RAL0);
    CHECK(faults_at(nowhere));
    CHECK_EQ(nic_read(&nic, RAL0), low);
    struct sigaction action;
    CHECK_EQ(sigaction(SIGSEGV, NULL, &action), 0);
    CHECK(action.sa_sigaction == note_fault && action.sa_flags & SA_ONSTACK);
    CHECK(signal(SIGSEGV, SIG_DFL) == (void (*)(int))(uintptr_t)note_fault);
    CHECK_EQ(nic_read(&nic, RAL0), low);
    CHECK_EQ(sigaction(SIGSEGV, NULL, &action), 0);
    CHECK(action.sa_handler == SIG_DFL);
    catch_faults(0);
    CHECK(faults_at(nowhere));
    // Somebody sends the signal: no address, but the handler's all the same.
    int before = faults;
    if (sigsetjmp(back, 1) == 0) raise(SIGSEGV);
    CHECK_EQ(faults, before + 1);
    // A thread that holds signals back still has its registers.
    sigset_t all;
    sigfillset(&all);
    CHECK_EQ(pthread_sigmask(SIG_SETMASK, &all, NULL), 0);
    CHECK_EQ(nic_read(&nic, RAL0), low);
    CHECK_EQ(sigprocmask(SIG_SETMASK, &all, NULL), 0);
    CHECK_EQ(nic_read(&nic, RAL0), low);
}

static void die_of_own_fault(void) {
    struct nic nic = nic_open(0, -1);
    CHECK(nic_read(&nic, RAL0) != 0);
    volatile uint32_t *nowhere = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    (void)*nowhere;
}

static volatile sig_atomic_t ticks;
static const struct nic *alarmed_nic;
static volatile uint32_t read_in_handler;

static void on_alarm(int number) {
    (void)number;
    ticks++;
    read_in_handler = nic_read(alarmed_nic, RAL0);
}

// Signals in the middle of register accesses, and register accesses in signal handlers.
static void signals_everywhere(void) {
    struct nic nic = nic_open(0, -1);
    uint32_t low = nic_read(&nic, RAL0);
    alarmed_nic = &nic;
    struct sigaction alarm = {.sa_handler = on_alarm};
    sigfillset(&alarm.sa_mask);  // which must not hold register accesses up
    CHECK_EQ(sigaction(SIGUSR1, &alarm, NULL), 0);
    timer_t timer;
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    CHECK_EQ(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
    struct itimerspec often = {.it_value.tv_nsec = 100000, .it_interval.tv_nsec = 100000};
    CHECK_EQ(timer_settime(timer, 0, &often, NULL), 0);
    unsigned wrong = 0;
    while (ticks < 200) {
        struct vfio_device_info info = {.argsz = sizeof info};
        wrong += nic_read(&nic, RAL0) != low || ioctl(nic.device, VFIO_DEVICE_GET_INFO, &info) != 0;
    }
    timer_delete(timer);
    CHECK_EQ(wrong, 0);
    CHECK_EQ(read_in_handler, low);
}

// ---- Threads ----

static struct nic shared_nic;

static void *own_register(void *argument) {
    uintptr_t number = (uintptr_t)argument, wrong = 0;
    uint32_t at = RAL0 + 8 * (8 + (uint32_t)number);
    for (uint32_t i = 0; i < 3000; i++) {
        nic_write(&shared_nic, at, i << 4 | (uint32_t)number);
        wrong += nic_read(&shared_nic, at) != (i << 4 | (uint32_t)number);
    }
    return (void *)wrong;
}

static void threads(void) {
    shared_nic = nic_open(0, -1);
    pthread_t all[4];
    for (uintptr_t i = 0; i < 4; i++) CHECK_EQ(pthread_create(&all[i], NULL, own_register, (void *)i), 0);
    for (unsigned i = 0; i < 4; i++) {
        void *wrong;
        CHECK_EQ(pthread_join(all[i], &wrong), 0);
        CHECK_EQ((uintptr_t)wrong, 0);
    }
}

static atomic_int closing;  // a copy of the device's descriptor; -1: there is none, -2: that was the last one
static atomic_uint reads;

static void *read_closing(void *wrong) {
    for (int fd; (fd = atomic_load(&closing)) != -2;) {
        uint16_t vendor = 0;
        if (fd < 0 || pread(fd, &vendor, 2, region_offset(CONFIG)) != 2) continue;
        *(unsigned *)wrong += vendor != 0x8086;
        atomic_fetch_add(&reads, 1);
    }
    return NULL;
}

// A close may come between a read's first look at its descriptor and the read. Then there is nothing to read.
static void another_thread_closes(void) {
    struct nic nic = nic_open(0, -1);
    unsigned wrong = 0;
    pthread_t reader;
    atomic_store(&closing, -1);
    CHECK_EQ(pthread_create(&reader, NULL, read_closing, &wrong), 0);
    for (unsigned i = 0; i < 2000; i++) {
        unsigned before = atomic_load(&reads);
        int copy = dup(nic.device);
        atomic_store(&closing, copy);
        while (atomic_load(&reads) == before) sched_yield();
        close(copy);
        atomic_store(&closing, -1);
    }
    atomic_store(&closing, -2);
    CHECK_EQ(pthread_join(reader, NULL), 0);
    CHECK_EQ(wrong, 0);
    CHECK(nic_read(&nic, RAL0) != 0);  // nobody has left with the lock
}

// ---- Interrupts reach the program however it waits ----

static void enable_interrupt(const struct nic *nic, int event) {
    CHECK_EQ(nic_set_trigger(nic, VFIO_PCI_MSIX_IRQ_INDEX, 0, event), 0);
    nic_write(nic, GPIE, 0x80000010);  // MSI-X, PBA
    nic_write(nic, IVAR0, 0x80);       // receive queue 0: vector 0
    nic_write(nic, EIMS, 1);
}

// The one that has come is done with; and another one.
static void next_interrupt(const struct nic *nic) {
    nic_write(nic, EICR, 1);
    nic_write(nic, EIMS, 1);
    nic_write(nic, EICS, 1);
}

static void interrupts_end_waits(void) {
    struct nic nic = nic_open(0, -1);
    int event = eventfd(0, 0);
    uint64_t count = 0;
    enable_interrupt(&nic, event);
    nic_write(&nic, EICS, 1);
    CHECK_EQ(read(event, &count, sizeof count), sizeof count);
    CHECK_EQ(count, 1);
    struct pollfd poll_for = {.fd = event, .events = POLLIN};
    CHECK_EQ(poll(&poll_for, 1, 3), 0);
    nic_write(&nic, EITR0, 500 << 3);  // from here on an interrupt a millisecond: they come while we wait
    for (int i = 0; i < 2; i++) {
        next_interrupt(&nic);
        CHECK_EQ(eventfd_read(event, &count), 0);
    }
    next_interrupt(&nic);
    CHECK_EQ(readv(event, &(struct iovec){&count, sizeof count}, 1), sizeof count);
    nic_write(&nic, EITR0, 0);
    next_interrupt(&nic);
    CHECK_EQ(poll(&poll_for, 1, 5000), 1);
    int epoll = epoll_create1(0);
    struct epoll_event wanted = {.events = EPOLLIN, .data.u32 = 42}, got = {0};
    CHECK_EQ(epoll_ctl(epoll, EPOLL_CTL_ADD, event, &wanted), 0);
    CHECK_EQ(epoll_wait(epoll, &got, 1, 5000), 1);
    CHECK_EQ(got.data.u32, 42);
    fd_set in;
    FD_ZERO(&in);
    FD_SET(event, &in);
    CHECK_EQ(select(event + 1, &in, NULL, NULL, &(struct timeval){.tv_sec = 5}), 1);
    CHECK(FD_ISSET(event, &in));
    CHECK_EQ(read(event, &count, sizeof count), sizeof count);
    CHECK_EQ(epoll_wait(epoll, &got, 1, 3), 0);
    CHECK_EQ(select(event + 1, &in, NULL, NULL, &(struct timeval){.tv_usec = 3000}), 0);
    CHECK(!FD_ISSET(event, &in));
}

// ---- Time passes for the device however the program waits ----

static void wait_by_nanosleep(void) { nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL); }
static void wait_by_clock_nanosleep(void) {
    clock_nanosleep(CLOCK_MONOTONIC, 0, &(struct timespec){.tv_nsec = 1000000}, NULL);
}
static void wait_by_usleep(void) { usleep(1000); }
static void wait_by_poll(void) { poll(NULL, 0, 1); }
static void wait_by_select(void) { select(0, NULL, NULL, NULL, &(struct timeval){.tv_usec = 1000}); }
static void wait_by_looking_at_the_clock(void) {
    struct timespec start, now;
    clock_gettime(CLOCK_MONOTONIC, &start);
    do clock_gettime(CLOCK_MONOTONIC, &now);
    while ((now.tv_sec - start.tv_sec) * 1000000000 + now.tv_nsec - start.tv_nsec < 1000000);
}

static void link_comes_up(void) {
    static void (*const waits[])(void) = {wait_by_nanosleep, wait_by_clock_nanosleep, wait_by_usleep,
                                          wait_by_poll,      wait_by_select,          wait_by_looking_at_the_clock};
    struct nic nic = nic_open(0, -1), other = nic_open(1, nic.container);
    for (size_t i = 0; i < sizeof waits / sizeof *waits; i++) {
        CHECK_EQ(ioctl(nic.device, VFIO_DEVICE_RESET), 0);
        CHECK_EQ(ioctl(other.device, VFIO_DEVICE_RESET), 0);
        for (unsigned port = 0; port < 2; port++) {
            const struct nic *n = port ? &other : &nic;
            uint32_t autoc = nic_read(n, AUTOC) & ~(7u << 13);
            nic_write(n, AUTOC, autoc | 3u << 13 | 1u << 12);  // 10 Gbit/s serial, restart
        }
        unsigned tries = 0;
        while (!(nic_read(&nic, LINKS) & LINK_UP) && tries++ < 5000) waits[i]();
        CHECK(nic_read(&nic, LINKS) & LINK_UP);
        if (tries >= 5000) return;
    }
}

static void yielding_gives_turns(void) {
    struct nic nic = nic_open(0, -1);
    uint32_t autoc = nic_read(&nic, AUTOC) & ~(7u << 13);
    nic_write(&nic, AUTOC, autoc | 3u << 13 | 1u << 12);
    struct timespec start, now;
    clock_gettime(CLOCK_MONOTONIC, &start);
    do {
        sched_yield();
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while (!(nic_read(&nic, LINKS) & LINK_UP) && now.tv_sec - start.tv_sec < 10);
    CHECK(nic_read(&nic, LINKS) & LINK_UP);
}

// ---- Sleep is sleep ----

static void on_signal(int number) { (void)number; }

static void waits_keep_their_promises(void) {
    struct nic nic = nic_open(0, -1);
    struct timespec start, end, left = {0};
    clock_gettime(CLOCK_MONOTONIC, &start);
    CHECK_EQ(usleep(20000), 0);
    clock_gettime(CLOCK_MONOTONIC, &end);
    CHECK((end.tv_sec - start.tv_sec) * 1000000000 + end.tv_nsec - start.tv_nsec >= 20000000);
    CHECK_EQ(sigaction(SIGALRM, &(struct sigaction){.sa_handler = on_signal}, NULL), 0);
    // Again and again, in case the first one comes before we sleep.
    CHECK_EQ(setitimer(ITIMER_REAL, &(struct itimerval){{.tv_sec = 1}, {.tv_sec = 1}}, NULL), 0);
    errno = 0;
    CHECK_EQ(nanosleep(&(struct timespec){.tv_sec = 15}, &left), -1);
    CHECK_EQ(errno, EINTR);
    CHECK(left.tv_sec >= 5 && left.tv_sec < 15);
    CHECK_EQ(setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL), 0);
    CHECK(signal(SIGALRM, SIG_DFL) == on_signal);
    alarm(120);
    CHECK_FAILS(nanosleep(&(struct timespec){.tv_nsec = 1000000000}, NULL), EINVAL);
    CHECK(nic_read(&nic, RAL0) != 0);
}

// ---- Memory that goes away under the device ----

// The part of the driver that we need here is one descriptor: the device writes into memory that was given back.
static void start_receive_queue(const struct nic *nic, uint64_t ring, uint64_t buffer, uint64_t *descriptors) {
    enum { RDBAH0 = 0x1004, RDLEN0 = 0x1008, RDH0 = 0x1010, RXDCTL0 = 0x1028, RDRXCTL = 0x2f00, RXCTRL = 0x3000 };
    for (unsigned i = 0; i < 64; i++) descriptors[2 * i] = buffer, descriptors[2 * i + 1] = 0;
    nic_write(nic, RDBAL0, (uint32_t)ring);
    nic_write(nic, RDBAH0, (uint32_t)(ring >> 32));
    nic_write(nic, RDLEN0, 1024);
    nic_write(nic, RDH0, 0);
    nic_write(nic, RXDCTL0, 1u << 25);
    for (unsigned i = 0; i < 30000 && !(nic_read(nic, RXDCTL0) & 1u << 25); i++) usleep(1000);
    CHECK(nic_read(nic, RXDCTL0) & 1u << 25);
    nic_write(nic, RXCTRL, 1);
    nic_write(nic, 0x5080, 0x700);  // FCTRL: everything
    nic_write(nic, RDT0, 63);
}

enum how { BY_MUNMAP, BY_THE_KERNEL, BY_MPROTECT };

static void dma_into_lost_memory(enum how how) {
    enum { TOTAL_RECEIVED = 0x40d0, BUS_MASTER = 4 };
    struct nic nic = nic_open(0, -1);
    uint64_t *ring = new_pages(4096);
    char *buffer = new_pages(4096);
    CHECK_EQ(pwrite(nic.device, &(uint8_t){BUS_MASTER | 2}, 1, region_offset(CONFIG) + 4), 1);
    CHECK_EQ(nic_map_dma(&nic, ring, 0x10000, 4096), 0);
    CHECK_EQ(nic_map_dma(&nic, buffer, 0x20000, 4096), 0);
    if (how == BY_MUNMAP) CHECK_EQ(munmap(buffer, 4096), 0);
    // Behind our back, as the C library's own free() does it.
    if (how == BY_THE_KERNEL) CHECK_EQ(syscall(SYS_munmap, buffer, 4096), 0);
    if (how == BY_MPROTECT) CHECK_EQ(mprotect(buffer, 4096, PROT_READ), 0);
    uint32_t autoc = nic_read(&nic, AUTOC) & ~(7u << 13);
    nic_write(&nic, AUTOC, autoc | 3u << 13 | 1u << 12);
    start_receive_queue(&nic, 0x10000, 0x20000, ring);
    uint32_t received = 0;
    for (unsigned i = 0; i < 30000 && !received; i++) {
        usleep(1000);
        received = nic_read(&nic, TOTAL_RECEIVED);
    }
    CHECK(received != 0);
    usleep(10000);
    CHECK(nic_read(&nic, RAL0) != 0);
    CHECK_EQ(nic_unmap_dma(&nic, 0x20000, 4096, 0), 4096);  // the kernel's books are unaffected
}

static void memory_lost(void) { dma_into_lost_memory(BY_MUNMAP); }
static void memory_lost_unseen(void) { dma_into_lost_memory(BY_THE_KERNEL); }
static void memory_protected(void) { dma_into_lost_memory(BY_MPROTECT); }

// ThreadSanitizer runs signal handlers with all signals blocked; there a register access, or a fault of the device's,
// is the program's end. And it reports a read of a descriptor that another thread closes.
#if defined(__SANITIZE_THREAD__)
enum { HANDLERS_MAY_FAULT = 0, CLOSES_MAY_RACE = 0 };
#else
enum { HANDLERS_MAY_FAULT = ALL_MODES, CLOSES_MAY_RACE = THREADED };
#endif

int main(int argc, char **argv) {
    static const struct test_case tests[] = {
        {"widths", widths, ALL_MODES, "access-width (82599 datasheet 8.1.1): port 0 wrote 8 bytes at RAL[5]", 0},
        {"io_ports", io_ports, ALL_MODES, NULL, 0},
        {"vector_without_eventfd", vector_without_eventfd, ALL_MODES, "port 0 let vector 3 interrupt", 0},
#if defined(__x86_64__)
        {"one_instruction_forms", one_instruction_forms, THREADED | STEPPED, NULL, 0},
        {"undecodable", undecodable, THREADED | STEPPED, "sim82599: cannot carry out the instruction dd ", SIGSEGV},
#endif
        {"counters_among_tails", counters_among_tails, THREADED | STEPPED, NULL, 0},
        {"windows", windows, ALL_MODES, NULL, 0},
        {"chain_before_and_after", chain_before_and_after, THREADED | STEPPED, NULL, 0},
        {"die_of_own_fault", die_of_own_fault, THREADED, NULL, SIGSEGV},
        {"signals_everywhere", signals_everywhere, HANDLERS_MAY_FAULT, NULL, 0},
        {"threads", threads, ALL_MODES, NULL, 0},
        {"another_thread_closes", another_thread_closes, CLOSES_MAY_RACE, NULL, 0},
        {"interrupts_end_waits", interrupts_end_waits, ALL_MODES, NULL, 0},
        {"link_comes_up", link_comes_up, THREADED | STEPPED, NULL, 0},
        {"yielding_gives_turns", yielding_gives_turns, ALL_MODES, NULL, 0},
        {"waits_keep_their_promises", waits_keep_their_promises, THREADED | STEPPED, NULL, 0},
        {"memory_lost", memory_lost, THREADED | STEPPED, NULL, 0},
        {"memory_lost_unseen", memory_lost_unseen, THREADED | (STEPPED & HANDLERS_MAY_FAULT), NULL, 0},
        {"memory_protected", memory_protected, THREADED | (STEPPED & HANDLERS_MAY_FAULT), "mprotect", SIGSEGV},
    };
    if (argc == 1 && !HANDLERS_MAY_FAULT) SKIP("signal handlers that access registers: not under ThreadSanitizer");
    return run_cases(argc, argv, tests, sizeof tests / sizeof *tests);
}
