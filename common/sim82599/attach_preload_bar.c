// attach_preload_bar.c: windows in the program's memory behind which lie registers.
//
// A driver maps a BAR and gets an address range, a window. Nothing may be touched there, so every access faults and
// ends in bar_read or bar_write; except, where the device watches them itself, the pages with the queues' head and
// tail registers: those become the register memory itself, and cost the driver what memory costs.
//
// Among the heads and tails lie counters, and memory is not cleared by reading. A driver that wants them begins by
// clearing them. So a page becomes plain with the first tail that is written in it, but not if by then one of its
// counters has been read: it goes on faulting, and its counters are right. Manual mode is for measuring what a driver
// costs, and there it becomes plain all the same; and so it does where SIM82599_PLAIN_DOORBELLS asks for it.

#include "attach_preload.h"
#include "attach_preload_real.h"
#include "trace.h"

#include <errno.h>
#include <linux/vfio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PLAIN_PAGES = 4, TAIL_IN_QUEUE = 0x18, QUEUE_STRIDE = 0x40 };
static const uint64_t plain_pages[PLAIN_PAGES] = {0x1000, 0x6000, 0x7000, 0xd000};
static enum page_use { UNUSED, PLAIN, COUNTED } page_uses[PORTS][PLAIN_PAGES];

static struct window *windows;
static size_t window_count, window_space;

// Where the processor's pages are bigger, the other registers in them have to fault, so these do too.
static bool pages_are_plain(const struct port *port) {
    return host_mode() != MODE_STEPPED && !port->copy && port->register_file >= 0 && sysconf(_SC_PAGESIZE) == PAGE;
}

bool bar_any(void) { return window_count != 0; }

const struct window *bar_find(uintptr_t address) {
    for (size_t i = 0; i < window_count; i++)
        if (address - windows[i].start < windows[i].size) return &windows[i];
    return NULL;
}

bool bar_overlaps(uintptr_t start, size_t size) {
    for (size_t i = 0; i < window_count; i++)
        if (start < windows[i].start + windows[i].size && windows[i].start < start + size) return true;
    return false;
}

static int add_window(const struct window *window) {
    if (window_count == window_space) {
        size_t space = window_space ? 2 * window_space : 16;
        struct window *bigger = realloc(windows, space * sizeof *windows);
        if (!bigger) return -ENOMEM;
        windows = bigger;
        window_space = space;
    }
    windows[window_count++] = *window;
    return 0;
}

static struct window part_of(const struct window *window, uintptr_t start, uintptr_t end) {
    struct window part = *window;
    part.start = start;
    part.size = end - start;
    part.offset += start - window->start;
    return part;
}

// Cutting a hole into a window leaves up to two pieces of it.
void bar_forget(uintptr_t start, size_t size) {
    uintptr_t end = start + size;
    for (size_t i = 0; i < window_count;) {
        struct window window = windows[i];
        uintptr_t window_end = window.start + window.size;
        if (start >= window_end || end <= window.start) {
            i++;
            continue;
        }
        windows[i] = windows[--window_count];
        struct window below = part_of(&window, window.start, start), above = part_of(&window, end, window_end);
        if (window.start < start) add_window(&below);
        if (end < window_end) add_window(&above);
        i = 0;
    }
}

// What lies in a window: nothing at all, the MSI-X memory, and the plain pages.
static int fill_window(const struct window *window) {
    const struct port *port = host_port(window->port);
    if (window->region == port->msix_bar && !port->copy && port->msix_file >= 0)
        return real.mmap((void *)window->start, window->size, window->protection, MAP_SHARED | MAP_FIXED,
                         port->msix_file, (off_t)window->offset) == MAP_FAILED
                   ? -errno
                   : 0;
    if (window->region != VFIO_PCI_BAR0_REGION_INDEX || !pages_are_plain(port)) return 0;
    for (size_t i = 0; i < PLAIN_PAGES; i++) {
        uint64_t page = plain_pages[i];
        if (page_uses[window->port][i] != PLAIN) continue;
        if (page < window->offset || page - window->offset >= window->size) continue;
        if (real.mmap((void *)(window->start + (page - window->offset)), PAGE, window->protection,
                      MAP_SHARED | MAP_FIXED, port->register_file, (off_t)page) == MAP_FAILED)
            return -errno;
    }
    return 0;
}

// Every driver starts over: what an earlier one in this process did with the pages does not matter to it.
static void forget_uses(unsigned port) {
    for (size_t i = 0; i < window_count; i++)
        if (windows[i].port == port) return;
    memset(page_uses[port], 0, sizeof page_uses[port]);
}

// A driver under valgrind's memcheck would hear of every register access that it is invalid: there is no memory. This
// sequence of instructions, which does nothing on a processor, asks memcheck to think otherwise.
static void tell_memcheck(const struct window *window) {
#if defined(__x86_64__)
    enum { MAKE_MEM_DEFINED = 'M' << 24 | 'C' << 16 | 2 };
    volatile uint64_t request[6] = {MAKE_MEM_DEFINED, window->start, window->size};
    uint64_t answer = 0;
    __asm__ volatile("rolq $3, %%rdi; rolq $13, %%rdi; rolq $61, %%rdi; rolq $51, %%rdi; xchgq %%rbx, %%rbx"
                     : "+d"(answer)
                     : "a"(request)
                     : "cc", "memory");
#else
    (void)window;
#endif
}

void *bar_map(unsigned port, unsigned region, uint64_t offset, void *address, size_t size, int protection,
              int flags) {
    flags &= ~(MAP_SHARED | MAP_SHARED_VALIDATE | MAP_LOCKED | MAP_POPULATE);
    void *memory = real.mmap(address, size, PROT_NONE, flags | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) return memory;
    struct window window = {.start = (uintptr_t)memory,
                            .size = size,
                            .port = port,
                            .region = region,
                            .offset = offset,
                            .protection = protection};
    bar_forget(window.start, size);
    forget_uses(port);
    int error = trap_install();
    if (!error) error = fill_window(&window);
    if (!error) error = add_window(&window);
    if (error) {
        real.munmap(memory, size);
        errno = -error;
        return MAP_FAILED;
    }
    tell_memcheck(&window);
    return memory;
}

// A program may take rights away from a window or give them back; what must fault goes on faulting.
int bar_protect(uintptr_t start, size_t size, int protection) {
    for (size_t i = 0; i < window_count; i++) {
        struct window *window = &windows[i];
        uintptr_t end = window->start + window->size;
        if (start >= end || start + size <= window->start) continue;
        uintptr_t from = start > window->start ? start : window->start;
        struct window part = part_of(window, from, start + size < end ? start + size : end);
        part.protection = protection;
        if (part.size == window->size) {
            *window = part;
            return fill_window(&part);
        }
        bar_forget(part.start, part.size);
        int error = add_window(&part);
        return error ? error : fill_window(&part);
    }
    return 0;
}

void bar_make_copies(unsigned port) {
    for (size_t i = 0; i < window_count; i++)
        if (windows[i].port == port)
            real.mmap((void *)windows[i].start, windows[i].size, PROT_NONE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
}

// ---- Accesses ----

// The use of the page in which a register lies; NULL: it is always one that faults.
static enum page_use *use_of(unsigned port, uint32_t offset) {
    for (size_t i = 0; i < PLAIN_PAGES; i++)
        if (offset / PAGE == plain_pages[i] / PAGE) return &page_uses[port][i];
    return NULL;
}

static bool counters_matter(void) {
    const char *plain = getenv("SIM82599_PLAIN_DOORBELLS");
    return host_mode() == MODE_THREADED && !(plain && *plain);
}

static void register_was_read(unsigned port, uint32_t offset) {
    enum page_use *use = use_of(port, offset);
    const struct register_row *row = register_at(offset);
    if (use && *use == UNUSED && row && row->access == REGISTER_RC && counters_matter()) *use = COUNTED;
}

static void register_was_written(unsigned port, uint32_t offset) {
    enum page_use *use = use_of(port, offset);
    if (!use || *use != UNUSED || offset % QUEUE_STRIDE != TAIL_IN_QUEUE) return;
    *use = PLAIN;
    for (size_t i = 0; i < window_count; i++)
        if (windows[i].port == port) fill_window(&windows[i]);
}

static void note(unsigned port, unsigned region, uint64_t offset, unsigned width,
                 void (*happened)(unsigned port, uint32_t offset)) {
    if (region != VFIO_PCI_BAR0_REGION_INDEX) return;
    for (uint64_t at = offset & ~UINT64_C(3); at < offset + width; at += 4) happened(port, (uint32_t)at);
}

static void write_now(unsigned port, unsigned region, uint64_t offset, unsigned width, uint64_t value) {
    bar_access_write(&host_port(port)->access, region, (uint32_t)offset, &value, width);
    note(port, region, offset, width, register_was_written);
}

// ---- Posted writes ----
//
// On PCI Express a processor sends a write off and goes on. Writes arrive soon, and in order, and before the answer
// to a read that comes after them; that is all a driver may count on. With --posted they are kept back as long as
// that allows: until the driver reads from the same device, calls the kernel, waits, or looks at the clock; and where
// the device has a thread, until that thread's next turn. The registers that are plain memory need none of this:
// there a write always waits for the device to look.

enum { POSTED_AT_MOST = 32 };  // as on hardware, where the device's buffers say how many may be under way

struct posted_write {
    unsigned region, width;
    uint64_t offset, value;
};

static struct {
    unsigned count;
    struct posted_write writes[POSTED_AT_MOST];
} posted[PORTS];

void bar_writes_arrive(unsigned port) {
    for (unsigned i = 0; i < posted[port].count; i++) {
        const struct posted_write *write = &posted[port].writes[i];
        write_now(port, write->region, write->offset, write->width, write->value);
    }
    posted[port].count = 0;
}

// A page may have become plain memory while a write to it was trapped. The program's next writes go past us, and this
// one must not arrive after them.
static bool is_plain_by_now(unsigned port, unsigned region, uint64_t offset) {
    const enum page_use *use = region == VFIO_PCI_BAR0_REGION_INDEX ? use_of(port, (uint32_t)offset) : NULL;
    return use && *use == PLAIN;
}

static void post(unsigned port, const struct posted_write *write) {
    if (posted[port].count == POSTED_AT_MOST) bar_writes_arrive(port);
    posted[port].writes[posted[port].count++] = *write;
}

uint64_t bar_read(unsigned port, unsigned region, uint64_t offset, unsigned width) {
    host_warn_of_copy(port);
    bar_writes_arrive(port);
    uint64_t result = 0;
    note(port, region, offset, width, register_was_read);
    bar_access_read(&host_port(port)->access, region, (uint32_t)offset, &result, width);
    host_accessed(port);
    return result;
}

void bar_write(unsigned port, unsigned region, uint64_t offset, unsigned width, uint64_t value) {
    host_warn_of_copy(port);
    if (host_posts_writes() && !is_plain_by_now(port, region, offset)) {
        post(port, &(struct posted_write){region, width, offset, value});
        return;
    }
    bar_writes_arrive(port);
    write_now(port, region, offset, width, value);
    host_accessed(port);
}
