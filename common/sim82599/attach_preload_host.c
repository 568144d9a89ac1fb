// attach_preload_host.c: the machine around the two ports.
//
// A machine has firmware that finds the cards and assigns addresses, a clock, and a device that works on its own
// while the processor does something else. Here all of that happens in one process, and one lock keeps it in order:
// whoever touches a port or one of the kernel's objects holds it. In threaded mode the device is a thread that takes
// the lock, does a bounded piece of work and lets go at once when somebody else wants it, so that an access that has
// trapped waits microseconds. Unmapping DMA memory takes the lock too, and therefore waits until the device has let
// go of that memory, as a real IOMMU's invalidation does.

#include "attach_preload.h"
#include "attach_preload_real.h"
#include "iommu.h"
#include "observe.h"
#include "wire.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/pci_regs.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static const char *const addresses[PORTS] = {"0000:04:00.0", "0000:05:00.0"};

enum {
    ACCESS_NS = 1000,    // what a register access takes on the counted clock of stepped mode
    TURNS_AT_ONCE = 64,  // a wire that always has another frame must not hold the program up for ever
    THREAD_TURNS = 32,   // turns of the device's thread between two looks at the clock
    SPINS_BEFORE_NAP = 64,
    SHORTEST_NAP_NS = 30000,
    LONGEST_NAP_NS = 50000,
    LONGEST_SLICE_NS = 1000000,
};

static struct {
    atomic_bool on;
    enum sim_mode mode;
    bool posts_writes;
    uint64_t start_ns, counted_ns;
    struct port ports[PORTS];
    atomic_uint running;  // ports with a device descriptor open, copies not counted
    pthread_t thread;
    bool has_thread, thread_done;
    atomic_uintptr_t threads_stopped;  // each thread knows how many there were before it, and ends with the next
} host;

// ---- The lock ----

// 0: free, 1: taken, 2: taken and somebody may sleep on it.
static atomic_int lock_word;
static atomic_int waiting;
static sigset_t mask_before;  // of the thread that has the lock
static _Thread_local __attribute__((tls_model("initial-exec"))) bool mine;

static void pause_briefly(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void take(void) {
    int found = 0;
    if (atomic_compare_exchange_strong(&lock_word, &found, 1)) return;
    atomic_fetch_add(&waiting, 1);
    for (int spins = 0; spins < 500; spins++) {
        pause_briefly();
        found = 0;
        if (atomic_compare_exchange_weak(&lock_word, &found, 1)) {
            atomic_fetch_sub(&waiting, 1);
            return;
        }
    }
    while (atomic_exchange(&lock_word, 2) != 0) syscall(SYS_futex, &lock_word, FUTEX_WAIT_PRIVATE, 2, NULL, NULL, 0);
    atomic_fetch_sub(&waiting, 1);
}

static void give(void) {
    if (atomic_exchange(&lock_word, 0) == 2) syscall(SYS_futex, &lock_word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

// To ThreadSanitizer the device's DMA would be a data race with the driver: it does not know what orders them, heads,
// tails and descriptors' done bits. What happens with the lock held is hardware, and not for it to judge. These are
// its functions, if it is in the process.
void AnnotateIgnoreReadsBegin(const char *file, int line) __attribute__((weak));
void AnnotateIgnoreReadsEnd(const char *file, int line) __attribute__((weak));
void AnnotateIgnoreWritesBegin(const char *file, int line) __attribute__((weak));
void AnnotateIgnoreWritesEnd(const char *file, int line) __attribute__((weak));

static void begin_hardware(void) {
    mine = true;
    if (!AnnotateIgnoreReadsBegin || !AnnotateIgnoreWritesBegin) return;
    AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
    AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
}

static void end_hardware(void) {
    if (AnnotateIgnoreReadsEnd && AnnotateIgnoreWritesEnd) {
        AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
        AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
    }
    mine = false;
}

// All but those that a fault of our own would raise.
void host_hold_signals(sigset_t *before) {
    sigset_t all;
    sigfillset(&all);
    sigdelset(&all, SIGSEGV);
    sigdelset(&all, SIGBUS);
    real.pthread_sigmask(SIG_BLOCK, &all, before);
}

void host_lock(void) {
    sigset_t before;
    host_hold_signals(&before);
    take();
    begin_hardware();
    mask_before = before;
}

void host_unlock(void) {
    sigset_t before = mask_before;
    bool join = host.thread_done;
    pthread_t thread = host.thread;
    host.thread_done = false;
    end_hardware();
    give();
    real.pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (join) pthread_join(thread, NULL);
}

bool host_is_mine(void) { return mine; }
bool host_is_on(void) { return atomic_load_explicit(&host.on, memory_order_acquire); }
enum sim_mode host_mode(void) { return host.mode; }
bool host_posts_writes(void) { return host.posts_writes; }
const char *host_address(unsigned port) { return addresses[port]; }
struct port *host_port(unsigned port) {
    return &host.ports[port];
}

// ---- The clock ----

static uint64_t monotonic_ns(void) {
    struct timespec now;
    real.clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint64_t now_ns(void *unused) {
    (void)unused;
    return host.mode == MODE_STEPPED ? host.counted_ns : monotonic_ns() - host.start_ns;
}

// ---- The device's turns ----

static bool step_ports(void) {
    bool moved = false;
    for (unsigned i = 0; i < PORTS; i++)
        if (host.ports[i].opens && !host.ports[i].copy) moved |= sim_step(host.ports[i].device);
    return moved;
}

static void step_until_quiet(void) {
    for (unsigned turns = 0; turns < TURNS_AT_ONCE && step_ports(); turns++) {
    }
}

void host_writes_arrive(void) {
    for (unsigned i = 0; i < PORTS; i++) bar_writes_arrive(i);
}

static uint64_t next_timer_ns(void) {
    uint64_t next = UINT64_MAX;
    for (unsigned i = 0; i < PORTS; i++) {
        const struct port *port = &host.ports[i];
        uint64_t timer = port->opens && !port->copy ? sim_next_timer_ns(port->device) : UINT64_MAX;
        if (timer < next) next = timer;
    }
    return next;
}

void host_accessed(unsigned port) {
    if (host.ports[port].copy) {
        sim_step(host.ports[port].device);
    } else if (host.mode == MODE_STEPPED) {
        host.counted_ns += ACCESS_NS;
        step_until_quiet();
    } else if (host.mode == MODE_MANUAL) {
        step_ports();
    }
}

bool host_needs_turns(void) {
    return host_is_on() && host.mode != MODE_THREADED && !mine && atomic_load(&host.running);
}

void host_turns(uint64_t elapsed_ns) {
    host_lock();
    host.counted_ns += elapsed_ns;
    host_writes_arrive();
    step_until_quiet();
    host_unlock();
}

uint64_t host_slice_ns(uint64_t remaining_ns) {
    host_lock();
    uint64_t timer = next_timer_ns(), now = now_ns(NULL);
    host_unlock();
    uint64_t slice = remaining_ns < LONGEST_SLICE_NS ? remaining_ns : LONGEST_SLICE_NS;
    if (timer != UINT64_MAX && timer > now && timer - now < slice) slice = timer - now;
    return slice ? slice : 1;
}

// ---- The device's thread ----

// Short gaps between packets are spun through. Then come naps, the longer the more nothing has happened; a timer that
// is due ends one. Even the shortest gives a driver on the same processor the time to fill a ring.
static void nap(unsigned idle, uint64_t until_timer) {
    if (idle < SPINS_BEFORE_NAP) {
        pause_briefly();
        return;
    }
    uint64_t length = SHORTEST_NAP_NS * (uint64_t)(idle - SPINS_BEFORE_NAP + 1);
    if (length > LONGEST_NAP_NS) length = LONGEST_NAP_NS;
    if (length > until_timer) length = until_timer;
    real.nanosleep(&(struct timespec){.tv_nsec = (long)length}, NULL);
}

static void *device_thread(void *stopped_before) {
    prctl(PR_SET_NAME, "sim82599");
    prctl(PR_SET_TIMERSLACK, 1);
    unsigned idle = 0;
    while (atomic_load(&host.threads_stopped) == (uintptr_t)stopped_before) {
        bool moved = false;
        take();
        begin_hardware();
        host_writes_arrive();
        for (unsigned turns = 0; turns < THREAD_TURNS && !atomic_load(&waiting); turns++) {
            if (!step_ports()) break;
            moved = true;
        }
        uint64_t timer = next_timer_ns(), now = timer == UINT64_MAX ? 0 : now_ns(NULL);
        end_hardware();
        give();
        if (atomic_load(&waiting)) {
            for (int spins = 0; spins < 1000 && atomic_load(&waiting); spins++) pause_briefly();
            if (atomic_load(&waiting)) real.sched_yield();
        } else if (moved) {
            idle = 0;
        } else {
            nap(idle < 1000 ? idle++ : idle, timer > now ? timer - now : 0);
        }
    }
    return NULL;
}

// The program's signals are not the thread's: they come in with a mask that the new thread inherits from us, and
// host_lock has blocked them all here.
static int start_thread(void) {
    void *stopped_before = (void *)atomic_load(&host.threads_stopped);
    int error = pthread_create(&host.thread, NULL, device_thread, stopped_before);
    host.has_thread = !error;
    return -error;
}

static void stop_thread(void) {
    if (!host.has_thread) return;
    atomic_fetch_add(&host.threads_stopped, 1);
    host.has_thread = false;
    host.thread_done = true;  // joined when the lock is given back: the thread may be waiting for it
}

// ---- Firmware ----

static uint32_t config_read32(struct port *port, uint32_t offset) {
    uint8_t bytes[4];
    sim_config_read(port->device, offset, bytes, 4);
    return bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

static void config_write(struct port *port, uint32_t offset, uint32_t value, unsigned width) {
    uint8_t bytes[4] = {(uint8_t)value, (uint8_t)(value >> 8), (uint8_t)(value >> 16), (uint8_t)(value >> 24)};
    sim_config_write(port->device, offset, bytes, width);
}

// PCI 6.2.5.1: write all ones, and the bits that stay zero tell the size.
static void size_bars(struct port *port) {
    for (uint32_t i = 0; i < BARS; i++) {
        struct bar *bar = &port->bars[i];
        uint32_t at = PCI_BASE_ADDRESS_0 + 4 * i;
        config_write(port, at, UINT32_MAX, 4);
        uint32_t low = config_read32(port, at);
        bar->io = low & PCI_BASE_ADDRESS_SPACE_IO;
        bar->is_64bit = !bar->io && (low & PCI_BASE_ADDRESS_MEM_TYPE_MASK) == PCI_BASE_ADDRESS_MEM_TYPE_64;
        uint32_t mask = low & (bar->io ? PCI_BASE_ADDRESS_IO_MASK : PCI_BASE_ADDRESS_MEM_MASK);
        bar->size = mask ? ~mask + UINT64_C(1) : 0;
        if (bar->io && mask) bar->size &= 0xffff;
        if (bar->is_64bit) i++;  // the next one holds the upper half of the address
    }
}

static void assign_addresses(struct port *port, unsigned number) {
    uint64_t memory = 0xf7c00000 + number * UINT64_C(0x200000), io = 0xe000 + number * UINT64_C(0x1000);
    for (unsigned i = 0; i < BARS; i++) {
        struct bar *bar = &port->bars[i];
        if (!bar->size) continue;
        uint64_t *next = bar->io ? &io : &memory;
        *next = (*next + bar->size - 1) & ~(bar->size - 1);
        bar->address = *next;
        *next += bar->size;
    }
}

static void write_addresses(struct port *port) {
    for (uint32_t i = 0; i < BARS; i++)
        if (port->bars[i].size) config_write(port, PCI_BASE_ADDRESS_0 + 4 * i, (uint32_t)port->bars[i].address, 4);
}

static uint32_t find_capability(struct port *port, uint8_t id) {
    uint32_t at = config_read32(port, PCI_CAPABILITY_LIST) & 0xfc;
    for (unsigned hops = 0; at && hops < 48; hops++) {
        uint32_t header = config_read32(port, at);
        if ((header & 0xff) == id) return at;
        at = header >> 8 & 0xfc;
    }
    return 0;
}

static void find_capabilities(struct port *port) {
    port->pcie_capability = find_capability(port, PCI_CAP_ID_EXP);
    port->msi_capability = find_capability(port, PCI_CAP_ID_MSI);
    port->msix_capability = find_capability(port, PCI_CAP_ID_MSIX);
    if (!port->msix_capability) return;
    uint32_t table = config_read32(port, port->msix_capability + PCI_MSIX_TABLE);
    port->msix_vectors = (config_read32(port, port->msix_capability) >> 16 & PCI_MSIX_FLAGS_QSIZE) + 1;
    port->msix_bar = table & PCI_MSIX_TABLE_BIR;
    port->msix_table = table & PCI_MSIX_TABLE_OFFSET;
}

// Memory with a file behind it, so that single pages of it can be mapped into the driver as well. `at` is where it
// has to be, or NULL. High descriptors stay out of the way of a program that counts its own or closes the first few.
static void *shared_memory(void *at, size_t size, int *file) {
    int low = memfd_create("sim82599", MFD_CLOEXEC);
    *file = low < 0 ? -1 : real.fcntl(low, F_DUPFD_CLOEXEC, 600);
    if (*file < 0)
        *file = low;
    else
        real.close(low);
    if (*file < 0 || ftruncate(*file, (off_t)size) < 0) return NULL;
    if (at && real.pwrite(*file, at, size, 0) != (ssize_t)size) return NULL;
    void *memory = real.mmap(at, size, PROT_READ | PROT_WRITE, MAP_SHARED | (at ? MAP_FIXED : 0), *file, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

// In the child of a fork: the same content at the same place, but shared with nobody. Where no descriptor is free it
// has no file, and then every access faults.
static void own_memory(void *memory, size_t size, int *file) {
    if (*file >= 0) real.close(*file);
    if (shared_memory(memory, size, file)) return;
    if (*file >= 0) real.close(*file);
    *file = -1;
    void *copy = real.mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (copy != MAP_FAILED) {
        memcpy(copy, memory, size);
        copy = mremap(copy, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, memory);
    }
    if (copy != MAP_FAILED) return;
    fprintf(stderr, "sim82599: no memory for a fork's copy of the NIC\n");
    _exit(1);
}

static const char *setting(const char *name, unsigned port, const char *otherwise) {
    char full[40];
    snprintf(full, sizeof full, "%s%u", name, port);
    const char *value = getenv(full);
    return value && *value ? value : otherwise;
}

static int build_port(unsigned number) {
    struct port *port = &host.ports[number];
    port->registers = shared_memory(NULL, SIM_BAR0_SIZE, &port->register_file);
    if (!port->registers) return -errno;
    port->front = (struct sim_front){.context = port,
                                     .now_ns = now_ns,
                                     .interrupt = irq_raise,
                                     .registers = port->registers,
                                     .every_access_seen = host.mode == MODE_STEPPED};
    port->device = sim_create(number, &port->front);
    if (!port->device) return -ENOMEM;
    size_bars(port);
    assign_addresses(port, number);
    write_addresses(port);
    find_capabilities(port);
    port->access.device = port->device;
    port->access.msix = shared_memory(NULL, SIM_BAR4_SIZE, &port->msix_file);
    if (!port->access.msix) return -errno;
    sim_config_read(port->device, 0, port->config_at_boot, CONFIG_SIZE);
    const char *faults = setting("SIM82599_FAULTS", number, NULL);
    return faults ? sim_inject(port->device, faults) : 0;
}

static int read_mode(void) {
    static const char *const names[] = {"threaded", "stepped", "manual"};
    const char *wanted = getenv("SIM82599_MODE");
    if (!wanted || !*wanted) return MODE_THREADED;
    for (int i = 0; i < 3; i++)
        if (strcmp(wanted, names[i]) == 0) return i;
    fprintf(stderr, "sim82599: SIM82599_MODE is \"%s\"; it can be threaded, stepped or manual\n", wanted);
    return -EINVAL;
}

static int build(void) {
    int mode = read_mode();
    if (mode < 0) return mode;
    host.mode = (enum sim_mode)mode;
    host.posts_writes = getenv("SIM82599_POSTED") != NULL;
    host.start_ns = monotonic_ns();
    if (mode == MODE_STEPPED) sim_observed = true;
    const char *trace = getenv("SIM82599_TRACE");
    int error = trace && *trace ? trace_open(trace) : 0;
    for (unsigned i = 0; i < PORTS && !error; i++) {
        error = build_port(i);
        if (error) fprintf(stderr, "sim82599: port %u could not be built: %s\n", i, strerror(-error));
    }
    return error;
}

static void before_fork(void);
static void after_fork_parent(void);
static void after_fork_child(void);

int host_power_on(void) {
    static int error;
    if (host_is_on()) return 0;
    host_lock();
    if (!host_is_on() && !error) {
        error = build();
        if (!error) {
            pthread_atfork(before_fork, after_fork_parent, after_fork_child);
            atomic_store(&host.on, true);
        }
    }
    host_unlock();
    return error;
}

// ---- Ports come and go ----

int host_claim(unsigned number) {
    struct port *port = &host.ports[number];
    int error = wire_claim_port(number, port->device);
    if (error) return error;
    error = wire_plug(setting("SIM82599_WIRE", number, "cable"), port->device, &port->wire);
    if (error) {
        wire_release_port(number);
        return error;
    }
    sim_set_wire(port->device, port->wire);
    port->claimed = true;
    return 0;
}

void host_release(unsigned number) {
    struct port *port = &host.ports[number];
    if (!port->claimed) return;
    sim_set_wire(port->device, NULL);
    if (!port->copy) {
        wire_unplug(port->wire);
        wire_release_port(number);
    }
    port->wire = NULL;
    port->claimed = port->copy = false;
}

// The kernel keeps what belongs to it across a reset of the function: addresses, the command register, and whether
// messages are enabled, in the second word of both capabilities.
void host_reset(unsigned number) {
    struct port *port = &host.ports[number];
    uint32_t command = config_read32(port, PCI_COMMAND);
    uint32_t msi = config_read32(port, port->msi_capability), msix = config_read32(port, port->msix_capability);
    sim_function_reset(port->device);
    bar_access_reset(&port->access);
    write_addresses(port);
    config_write(port, PCI_COMMAND, command & 0xffff, 2);
    if (port->msi_capability) config_write(port, port->msi_capability + PCI_MSI_FLAGS, msi >> 16, 2);
    if (port->msix_capability) config_write(port, port->msix_capability + PCI_MSIX_FLAGS, msix >> 16, 2);
}

int host_open(unsigned number) {
    struct port *port = &host.ports[number];
    if (port->opens++) return 0;
    port->driver = getpid();
    config_write(port, PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MEMORY,
                 2);  // the kernel enables, bus master is the driver's
    host_reset(number);
    if (!port->copy && atomic_fetch_add(&host.running, 1) == 0 && host.mode == MODE_THREADED) {
        int error = start_thread();
        if (error) {
            atomic_fetch_sub(&host.running, 1);
            port->opens--;
            return error;
        }
    }
    return 0;
}

void host_close(unsigned number) {
    struct port *port = &host.ports[number];
    if (--port->opens) return;
    bar_writes_arrive(number);
    irq_disable_all(number);
    config_write(port, PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MEMORY, 2);
    host_reset(number);
    if (!port->copy && atomic_fetch_sub(&host.running, 1) == 1) stop_thread();
}

// By the NIC's own count, for the ports that this process has driven.
static void report(void) {
    const char *wanted = getenv("SIM82599_REPORT");
    for (unsigned i = 0; i < PORTS && wanted && *wanted; i++) {
        if (host.ports[i].driver != getpid()) continue;
        struct sim_totals totals = sim_totals(host.ports[i].device);
        fprintf(stderr,
                "sim82599: %s: in %llu packets, %llu bytes; out %llu packets, %llu bytes; missed %llu, dropped %llu, "
                "DMA faults %llu\n",
                addresses[i], (unsigned long long)totals.in_packets, (unsigned long long)totals.in_bytes,
                (unsigned long long)totals.out_packets, (unsigned long long)totals.out_bytes,
                (unsigned long long)totals.missed, (unsigned long long)totals.dropped,
                (unsigned long long)totals.faults);
    }
}

void host_switch_off(void) {
    if (!host_is_on()) return;
    host_lock();
    stop_thread();
    host_unlock();
    host_lock();
    report();
    for (unsigned i = 0; i < PORTS; i++) host_release(i);
    host_unlock();
}

// ---- Fork ----
//
// The devices stay with the parent: its thread, its wires, its interrupts. The child gets what fork gives it of all
// other memory too, a copy, which it may poke at; nothing it does there reaches the parent or the wire. Ports that
// nobody had opened are as new in the child, so a program that goes into the background first is not affected.

void host_warn_of_copy(unsigned port) {
    static pid_t warned;
    if (!host.ports[port].copy || warned == getpid()) return;
    warned = getpid();
    fprintf(stderr,
            "sim82599: process %d is a fork; the NIC stayed with its parent, this is a copy that is connected "
            "to nothing\n",
            (int)warned);
}

static void before_fork(void) { host_lock(); }
static void after_fork_parent(void) { host_unlock(); }

static void after_fork_child(void) {
    calls_inherit();
    atomic_store(&waiting, 0);
    atomic_store(&host.running, 0);
    host.has_thread = host.thread_done = false;
    for (unsigned i = 0; i < PORTS; i++) {
        struct port *port = &host.ports[i];
        own_memory(port->registers, SIM_BAR0_SIZE, &port->register_file);
        own_memory(port->access.msix, SIM_BAR4_SIZE, &port->msix_file);
        if (!port->claimed) continue;
        port->copy = true;
        sim_set_wire(port->device, NULL);
        irq_disable_all(i);
        bar_make_copies(i);
    }
    host_unlock();
}
