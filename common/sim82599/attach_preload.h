// attach_preload.h: what the parts of the preload front know of each other.
//
// Front 1 lives inside the driver's own process. It plays two parts: the kernel, whose sysfs and VFIO the driver asks
// for its devices, and the machine with the two ports in it.
//
//   attach_preload_calls.c    the C library's calls that we stand in front of: is this ours? then to tree, vfio or
//                             bar; otherwise on to the C library (attach_preload_real.h)
//   attach_preload_wait.c     the calls in which a program waits, where nobody else would drive the device
//   attach_preload_tree.c     /sys and /dev/vfio as a small real directory tree
//   attach_preload_vfio.c     containers, groups and devices: VFIO's objects and ioctls
//   attach_preload_irq.c      VFIO_DEVICE_SET_IRQS, and how an interrupt becomes an eventfd's count
//   attach_preload_dma.c      a container's DMA mappings, with the kernel's rules
//   attach_preload_bar.c      where in the program's memory registers are mapped, and how an access there gets to
//                             bar_access.c, which both fronts have
//   attach_preload_trap.c     SIGSEGV: a register access, or somebody else's business
//   attach_preload_host.c     the two ports, the lock, the clock and the device's thread
#pragma once

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "bar_access.h"
#include "sim.h"

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { PORTS = 2, PAGE = 4096, BARS = 6, CONFIG_SIZE = 4096 };

// ---- machine: the two ports, the lock, the clock and the device's thread ----

// How the device gets its turns.
enum sim_mode {
    MODE_THREADED,  // in a thread of its own; the pages with heads and tails are plain memory that it watches
    MODE_STEPPED,   // before each access returns; every access is seen, and time is counted, not measured
    MODE_MANUAL,    // when the program waits or calls sched_yield; pages as in threaded
};

// What the machine's firmware finds out about a port and assigns to it.
struct bar {
    uint64_t size, address;
    bool io, is_64bit;
};

struct port {
    struct sim_device *device;
    struct sim_front front;
    struct wire *wire;             // plugged in while the group is open
    bool claimed, copy;            // copy: this process is a fork, the real one stayed with the parent
    unsigned opens;                // device descriptors
    pid_t driver;                  // the process that opened the first of them last
    int register_file, msix_file;  // what is behind the next two, to map single pages of them into the driver; or -1
    uint32_t *registers;
    struct bar_access access;  // its MSI-X table and pending bits are memory without side effects
    struct bar bars[BARS];
    uint8_t config_at_boot[CONFIG_SIZE];  // what the kernel knows of a device even if it has been pulled out since
    uint32_t msix_capability, msix_bar, msix_table, msix_vectors;  // vectors 0: no such capability
    uint32_t msi_capability, pcie_capability;
};

int host_power_on(void);  // once, at first need; 0 or negative errno after saying what is wrong
bool host_is_on(void);
void host_switch_off(void);  // at exit
enum sim_mode host_mode(void);
bool host_posts_writes(void);
const char *host_address(unsigned port);  // "0000:04:00.0"

// One lock for everything below and in all other parts. Signals are held back with it, so that no handler of the
// program can come back in; host_is_mine() is true meanwhile, and then interposed calls go straight on to the C
// library, because the core and the wires use them too.
void host_lock(void);
void host_unlock(void);
bool host_is_mine(void);
void host_hold_signals(sigset_t *before);

// With the lock held.
struct port *host_port(unsigned port);
int host_claim(unsigned port);  // when its group is opened; -EBUSY: another process has it
void host_release(unsigned port);
int host_open(unsigned port);  // a device descriptor; the first one resets and starts the device
void host_close(unsigned port);
void host_reset(unsigned port);         // as VFIO_DEVICE_RESET: the kernel saves and restores what firmware set up
void host_accessed(unsigned port);      // a register access is done: let the device react
void host_writes_arrive(void);          // of all ports, see bar_writes_arrive
void host_warn_of_copy(unsigned port);  // before an access: says once if this is but a copy

// For the calls that wait, without the lock. In modes without a thread somebody has to give the device its turns.
bool host_needs_turns(void);
void host_turns(uint64_t elapsed_ns);           // that time has passed for the device; work until it is quiet
uint64_t host_slice_ns(uint64_t remaining_ns);  // so long may a wait be until the next turn

// ---- bar: register accesses ----

void *bar_map(unsigned port, unsigned region, uint64_t offset, void *address, size_t size, int protection, int flags);
void bar_forget(uintptr_t start, size_t size);  // that memory is about to be something else
bool bar_overlaps(uintptr_t start, size_t size);
bool bar_any(void);
int bar_protect(uintptr_t start, size_t size, int protection);
void bar_make_copies(unsigned port);  // in the child of a fork: nothing stays plain or shared memory

struct window {
    uintptr_t start;
    size_t size;
    unsigned port, region;
    uint64_t offset;  // of `start` in the region
    int protection;   // what the program may do there
};
const struct window *bar_find(uintptr_t address);

// Any width up to 8 and any alignment, split as PCI Express would split it.
uint64_t bar_read(unsigned port, unsigned region, uint64_t offset, unsigned width);
void bar_write(unsigned port, unsigned region, uint64_t offset, unsigned width, uint64_t value);
void bar_writes_arrive(unsigned port);  // those that are still on their way

// ---- trap: SIGSEGV ----

int trap_install(void);

// ---- tree: /sys and /dev/vfio ----

// If `path` is one that this machine shows: the path of the file behind it, written into `buffer` (PATH_MAX bytes).
// Otherwise `path` itself.
const char *tree_path(const char *path, char *buffer);
const char *tree_strip(const char *real_path);  // the reverse
bool tree_is_device_node(const char *path);
void tree_remove(void);
unsigned tree_group(unsigned port);  // IOMMU group number

// ---- vfio: objects behind descriptors ----

struct vfio_object;

// Opens /dev/vfio/vfio or /dev/vfio/N, any spelling. 0 and NULL: the path is neither. Negative errno: refused.
int vfio_open(const char *path, struct vfio_object **object);
void vfio_reference(struct vfio_object *object);
void vfio_release(struct vfio_object *object);
// The result or a negative errno. VFIO_GROUP_GET_DEVICE_FD gives a new object, for which the caller finds a
// descriptor.
long vfio_ioctl(struct vfio_object *object, unsigned request, void *argument, struct vfio_object **created);
ssize_t vfio_read(struct vfio_object *object, void *data, size_t size, off_t offset);
ssize_t vfio_write(struct vfio_object *object, const void *data, size_t size, off_t offset);
void *vfio_mmap(struct vfio_object *object, void *address, size_t size, int protection, int flags, off_t offset);
bool vfio_any_dma(void);
void vfio_memory_lost(uintptr_t start, size_t size);  // the program gives this memory back, mapped for DMA or not
bool vfio_repair(uintptr_t address);  // DMA hit memory that went away unseen; true: there is memory again

// From and to the program's memory, which may be no memory at all: 0 or -EFAULT.
int copy_in(void *to, const void *program, size_t size);
int copy_out(void *program, const void *from, size_t size);
bool is_mapped(uintptr_t start, size_t size);

// ---- calls ----

struct vfio_object *calls_object(int fd);  // what is behind a descriptor, NULL if it is not ours
void calls_inherit(void);                  // in the child of a fork: the descriptors are its own now

// ---- wait ----

// Waits if a read of this descriptor would wait for an interrupt and nobody else drives the device. -1: a signal
// came.
int wait_for_interrupt(int fd);

// ---- irq ----

long irq_info(unsigned port, void *argument);
long irq_set(unsigned port, void *argument);
void irq_disable_all(unsigned port);
void irq_raise(void *port, unsigned vector);  // sim_front's interrupt
bool irq_is_trigger(int fd);                  // would a read of this eventfd wait for an interrupt?

// ---- dma: a container's address space ----

struct dma;
// The device's view, for trace and lint.
typedef void dma_listener(void *context, uint64_t iova, uint64_t size, bool mapped);

struct dma *dma_create(bool version_2);
void dma_destroy(struct dma *dma);
struct iommu *dma_iommu(struct dma *dma);
long dma_ioctl(struct dma *dma, unsigned request, void *argument, dma_listener *listener, void *context);
