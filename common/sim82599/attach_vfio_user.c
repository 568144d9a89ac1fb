// attach_vfio_user.c: the device as a vfio-user server, as QEMU's docs/interop/vfio-user.rst specifies the protocol.
//
// A message is a header of 16 bytes and a payload, both in the host's byte order; file descriptors travel beside the
// header. The client asks, we answer, in order. This file reads in the order of a message's way:
//
//   connection   bytes and file descriptors in, replies out
//   memory       DMA_MAP: files of the client become our memory, and IOVAs mean places in it
//   regions      registers and configuration space
//   interrupts   SET_IRQS: which event file descriptor stands for which interrupt
//   commands     the table of all commands with the sizes that are valid, and what finds the right one
//   socket       the listening socket
//
// The socket is a trust boundary. What a client sends is either a whole message of a size that the table of commands
// allows, or the end of the connection; only then does anything look inside. What is wrong inside is answered with an
// error and changes nothing.
//
// A guest's IOMMU maps page by page, and the monitor sends each page as a message with the same file. A file is
// mapped here once and whole; then neighbouring pages of it are neighbouring memory, and iommu.c makes one interval
// of them.
#define _GNU_SOURCE
#include "attach_vfio_user.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/vfio.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "bar_access.h"
#include "iommu.h"
#include "observe.h"
#include "sim.h"

enum {
    PAGE = 4096,
    CONFIG_SIZE = 4096,
    MESSAGE_FDS = 16,               // in one message: as many as QEMU would ever send
    TRANSFER_SIZE = SIM_BAR0_SIZE,  // bytes in one REGION_READ or REGION_WRITE
    MAPPINGS = 65535,
    FILES = 32,
    IRQ_TYPES = VFIO_PCI_NUM_IRQS,
    MESSAGES_A_TURN = 64,
};

struct header {
    uint16_t id, command;
    uint32_t size;  // with the header
    uint32_t flags, error;
};

enum { FLAG_TYPE = 0x0f, FLAG_REPLY = 0x01, FLAG_NO_REPLY = 0x10, FLAG_ERROR = 0x20 };

// Of REGION_READ and REGION_WRITE; the data follows.
struct transfer {
    uint64_t offset;
    uint32_t region, count;
};

// A file whose pages are the client's memory.
struct file {
    dev_t device;
    ino_t number;
    uint64_t size;
    char *memory;  // NULL: this entry is free
    bool writable;
    bool truncated;  // by the client, and found out by touching it
};

struct vfio_user {
    struct vfio_user *next;
    struct sim_front front;
    struct sim_device *device;
    struct iommu *iommu;
    unsigned port;

    struct sockaddr_un address;
    ino_t socket_number;  // of the file that we have made at the address
    int listener;
    int client;                // -1: nobody
    bool greeted;              // VERSION has been agreed on
    bool memory_without_file;  // reported

    struct file files[FILES];
    int triggers[IRQ_TYPES][SIM_MSIX_VECTORS];  // event file descriptors, or -1
    bool enabled[IRQ_TYPES];
    bool intx_masked;
    enum sim_interrupt_mode interrupt_mode;
    struct bar_access access;
    uint32_t msix[SIM_BAR4_SIZE / 4];
    uint32_t registers[SIM_BAR0_SIZE / 4];

    // The message that is coming in, and the reply that is going out.
    uint32_t received, reply_size, reply_sent;
    int fds[MESSAGE_FDS];
    unsigned fd_count;
    struct header request;
    _Alignas(8) uint8_t payload[sizeof(struct transfer) + TRANSFER_SIZE];
    struct header reply;
    _Alignas(8) uint8_t answer[sizeof(struct transfer) + TRANSFER_SIZE];
};

_Static_assert(offsetof(struct vfio_user, payload) == offsetof(struct vfio_user, request) + sizeof(struct header) &&
                   offsetof(struct vfio_user, answer) == offsetof(struct vfio_user, reply) + sizeof(struct header),
               "a message lies there in one piece");

__attribute__((format(printf, 2, 3))) static void say(const struct vfio_user *server, const char *format, ...) {
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    fprintf(stderr, "sim82599: port %u: %s\n", server->port, text);
}

// ---- Memory ----

static struct vfio_user *servers;  // all of them, for the signal handler
static struct sigaction sigbus_before;

// A client can make its file shorter after we have mapped it; then to touch the missing pages is a SIGBUS. The device
// gets other memory there, full of zeros, and goes on; the connection ends as soon as that is noticed.
static void sigbus(int number, siginfo_t *info, void *context) {
    uintptr_t address = (uintptr_t)info->si_addr;
    for (struct vfio_user *server = servers; server; server = server->next) {
        for (struct file *file = server->files; file < server->files + FILES; file++) {
            if (!file->memory || address - (uintptr_t)file->memory >= file->size) continue;
            void *zeros = mmap(file->memory, file->size, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
            file->truncated = true;
            if (zeros != MAP_FAILED) return;
        }
    }
    (void)number, (void)context;
    // Not ours: the access is repeated, and ends as it would have ended without us.
    sigaction(SIGBUS, &sigbus_before, NULL);
}

static void catch_sigbus(void) {
    struct sigaction action = {.sa_sigaction = sigbus, .sa_flags = SA_SIGINFO};
    if (!servers) sigaction(SIGBUS, &action, &sigbus_before);
}

static void close_file(struct file *file) {
    if (file->memory) munmap(file->memory, file->size);
    file->memory = NULL;
}

// Files of which nothing is mapped any more are kept until their place is needed: guests come back to them.
static struct file *free_file(struct vfio_user *server) {
    for (struct file *file = server->files; file < server->files + FILES; file++) {
        if (file->memory && !iommu_maps_memory(server->iommu, file->memory, file->size)) close_file(file);
    }
    for (struct file *file = server->files; file < server->files + FILES; file++) {
        if (!file->memory) return file;
    }
    return NULL;
}

static bool same_file(const struct file *file, const struct stat *status, uint64_t end, bool writable) {
    return file->memory && file->device == status->st_dev && file->number == status->st_ino && file->size >= end &&
           file->writable == writable && !file->truncated;
}

// The memory of the file's bytes [offset, offset + size).
static int file_memory(struct vfio_user *server, int fd, uint64_t offset, uint64_t size, bool write, char **memory) {
    struct stat status;
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) return -EINVAL;
    bool writable = (flags & O_ACCMODE) == O_RDWR;
    if (write && !writable) return -EACCES;
    uint64_t end = offset + size, length = (uint64_t)status.st_size / PAGE * PAGE;
    if (end < offset || end > length) return -EINVAL;

    struct file *file = server->files;
    while (file < server->files + FILES && !same_file(file, &status, end, writable)) file++;
    if (file == server->files + FILES) {
        file = free_file(server);
        if (!file) return -ENOSPC;
        int rights = writable ? PROT_READ | PROT_WRITE : PROT_READ;
        void *all = mmap(NULL, length, rights, MAP_SHARED | MAP_NORESERVE, fd, 0);
        if (all == MAP_FAILED) return -errno;
        *file = (struct file){status.st_dev, status.st_ino, length, all, writable, false};
    }
    *memory = file->memory + offset;
    return 0;
}

static int forget(struct vfio_user *server, uint64_t iova, uint64_t size) {
    int64_t bytes = iommu_unmap(server->iommu, iova, size);
    if (bytes > 0) observe_map(server->device, iova, size, false);
    if (bytes < 0) say(server, "no memory to unmap a part of what is mapped at iova 0x%" PRIx64, iova);
    return bytes < 0 ? (int)bytes : 0;
}

// Nothing is split here: the first call shortens what reaches beyond the middle.
static void forget_all(struct vfio_user *server) {
    forget(server, 0, UINT64_C(1) << 63);
    forget(server, UINT64_C(1) << 63, UINT64_C(1) << 63);
}

static long dma_map(struct vfio_user *server, uint32_t length) {
    struct vfio_user_dma_map {
        uint32_t argsz, flags;
        uint64_t offset, iova, size;
    } map;
    (void)length;
    memcpy(&map, server->payload, sizeof map);
    if (map.argsz != sizeof map || map.flags & ~3u || !(map.flags & 3u)) return -EINVAL;
    if (!map.size || (map.offset | map.iova | map.size) % PAGE || map.iova + map.size - 1 < map.iova) return -EINVAL;
    if (iommu_mappings(server->iommu) >= MAPPINGS) return -ENOSPC;
    if (server->fd_count == 0) {
        // A monitor's own memory, such as a boot ROM. No driver has its rings there, so it is taken note of as what
        // it is for us: not there. DMA to it is a fault.
        int error = forget(server, map.iova, map.size);
        if (error) return error;
        if (!server->memory_without_file) say(server, "some guest memory has no file behind it: no DMA there");
        server->memory_without_file = true;
        return 0;
    }

    char *memory = NULL;
    bool write = map.flags & VFIO_DMA_MAP_FLAG_WRITE;
    int error = file_memory(server, server->fds[0], map.offset, map.size, write, &memory);
    if (error) return error;
    int rights = (map.flags & VFIO_DMA_MAP_FLAG_READ ? IOMMU_READ : 0) | (write ? IOMMU_WRITE : 0);
    // The specification wants an error for a mapping over an older one, but QEMU sends such, and means them. Nothing
    // has been unmapped then, least of all by the driver.
    error = iommu_replace(server->iommu, map.iova, map.size, memory, rights);
    if (!error) observe_map(server->device, map.iova, map.size, true);
    return error;
}

// Whatever lies inside is forgotten. That nothing lies there is no error: when QEMU changes an address space it
// unmaps large ranges of it to be sure.
static long dma_unmap(struct vfio_user *server, uint32_t length) {
    struct vfio_user_dma_unmap {
        uint32_t argsz, flags;
        uint64_t iova, size;
    } unmap;
    (void)length;
    memcpy(&unmap, server->payload, sizeof unmap);
    if (unmap.argsz < sizeof unmap || unmap.flags & ~(uint32_t)VFIO_DMA_UNMAP_FLAG_ALL) return -EINVAL;
    if (unmap.flags & VFIO_DMA_UNMAP_FLAG_ALL) {
        if (unmap.iova || unmap.size) return -EINVAL;
        forget_all(server);
    } else {
        int error = forget(server, unmap.iova, unmap.size);
        if (error) return error;
    }
    memcpy(server->answer, &unmap, sizeof unmap);
    return sizeof unmap;
}

// ---- Regions ----

static const uint32_t region_sizes[VFIO_PCI_NUM_REGIONS] = {
    [VFIO_PCI_BAR0_REGION_INDEX] = SIM_BAR0_SIZE,
    [VFIO_PCI_BAR2_REGION_INDEX] = SIM_BAR2_SIZE,
    [VFIO_PCI_BAR4_REGION_INDEX] = SIM_BAR4_SIZE,
    [VFIO_PCI_CONFIG_REGION_INDEX] = CONFIG_SIZE,
};

static void read_region(struct vfio_user *server, const struct transfer *transfer, uint8_t *data) {
    if (transfer->region == VFIO_PCI_CONFIG_REGION_INDEX) {
        sim_config_read(server->device, (uint32_t)transfer->offset, data, transfer->count);
    } else {
        bar_access_read(&server->access, transfer->region, (uint32_t)transfer->offset, data, transfer->count);
    }
}

static void update_intx(struct vfio_user *server);

static void write_region(struct vfio_user *server, const struct transfer *transfer, const uint8_t *data) {
    if (transfer->region == VFIO_PCI_CONFIG_REGION_INDEX) {
        bool reset = sim_config_write(server->device, (uint32_t)transfer->offset, data, transfer->count);
        if (reset) bar_access_reset(&server->access);
        update_intx(server);
    } else {
        bar_access_write(&server->access, transfer->region, (uint32_t)transfer->offset, data, transfer->count);
    }
}

static bool inside_region(const struct transfer *transfer) {
    if (transfer->region >= VFIO_PCI_NUM_REGIONS || transfer->count == 0) return false;
    uint32_t size = region_sizes[transfer->region];
    return transfer->count <= size && transfer->offset <= size - transfer->count;
}

static long region_read(struct vfio_user *server, uint32_t length) {
    struct transfer transfer;
    (void)length;
    memcpy(&transfer, server->payload, sizeof transfer);
    if (!inside_region(&transfer)) return -EINVAL;
    memcpy(server->answer, &transfer, sizeof transfer);
    read_region(server, &transfer, server->answer + sizeof transfer);
    return (long)(sizeof transfer + transfer.count);
}

static long region_write(struct vfio_user *server, uint32_t length) {
    struct transfer transfer;
    memcpy(&transfer, server->payload, sizeof transfer);
    if (!inside_region(&transfer) || length != sizeof transfer + transfer.count) return -EINVAL;
    write_region(server, &transfer, server->payload + sizeof transfer);
    memcpy(server->answer, &transfer, sizeof transfer);
    return sizeof transfer;
}

// Small writes that the client had to hold back. They are checked first, so that it is all of them or none.
static long region_write_multi(struct vfio_user *server, uint32_t length) {
    struct write {
        struct transfer transfer;
        uint8_t data[8];
    } write;
    uint64_t count;
    memcpy(&count, server->payload, sizeof count);
    if (count > TRANSFER_SIZE / sizeof write || length != sizeof count + count * sizeof write) return -EINVAL;
    const uint8_t *writes = server->payload + sizeof count;
    for (uint64_t i = 0; i < count; i++) {
        memcpy(&write, writes + i * sizeof write, sizeof write);
        if (!inside_region(&write.transfer) || write.transfer.count > sizeof write.data) return -EINVAL;
    }
    for (uint64_t i = 0; i < count; i++) {
        memcpy(&write, writes + i * sizeof write, sizeof write);
        write_region(server, &write.transfer, write.data);
    }
    memcpy(server->answer, &count, sizeof count);
    return sizeof count;
}

// No part of a region is offered for mapping. Tails that the client writes behind our back would have to be watched,
// and a server that never sleeps halves what a guest on two processors can do; and QEMU would wait for each other
// register write to be answered, which it does not while nothing is mapped.
static long get_region_info(struct vfio_user *server, uint32_t length) {
    struct vfio_region_info info;
    (void)length;
    memcpy(&info, server->payload, sizeof info);
    if (info.argsz < sizeof info || info.index >= VFIO_PCI_NUM_REGIONS) return -EINVAL;
    uint32_t size = region_sizes[info.index];
    info = (struct vfio_region_info){
        .argsz = sizeof info,
        .flags = size ? VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE : 0,
        .index = info.index,
        .size = size,
    };
    memcpy(server->answer, &info, sizeof info);
    return sizeof info;
}

// ---- Interrupts ----

static const struct vfio_irq_info irq_types[IRQ_TYPES] = {
    [VFIO_PCI_INTX_IRQ_INDEX] = {.flags = VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_MASKABLE | VFIO_IRQ_INFO_AUTOMASKED,
                                 .count = 1},
    [VFIO_PCI_MSI_IRQ_INDEX] = {.flags = VFIO_IRQ_INFO_EVENTFD, .count = 1},
    [VFIO_PCI_MSIX_IRQ_INDEX] = {.flags = VFIO_IRQ_INFO_EVENTFD, .count = SIM_MSIX_VECTORS},
    [VFIO_PCI_ERR_IRQ_INDEX] = {.flags = VFIO_IRQ_INFO_EVENTFD, .count = 1},  // QEMU expects it of every PCIe device
};

static void signal_event(int event) {
    static const uint64_t one = 1;
    // Only a counter that is at its limit refuses, and that is an interrupt that is pending anyway.
    if (event >= 0 && write(event, &one, sizeof one) < 0) return;
}

// VFIO masks INTx when it has fired, and the client unmasks it when the guest is done. If the level is still high
// then, it fires again.
static void update_intx(struct vfio_user *server) {
    enum { COMMAND = 4, COMMAND_INTX_DISABLE = 1 << 10, STATUS_INTERRUPT = 1 << 3 };
    uint16_t command_and_status[2];
    int event = server->triggers[VFIO_PCI_INTX_IRQ_INDEX][0];
    if (server->interrupt_mode != SIM_IRQ_INTX || server->intx_masked || event < 0) return;
    sim_config_read(server->device, COMMAND, command_and_status, sizeof command_and_status);
    if (command_and_status[0] & COMMAND_INTX_DISABLE || !(command_and_status[1] & STATUS_INTERRUPT)) return;
    server->intx_masked = true;
    signal_event(event);
}

static void send_message(struct vfio_user *server, unsigned vector) {
    char text[96];
    int event = server->triggers[VFIO_PCI_MSIX_IRQ_INDEX][vector % SIM_MSIX_VECTORS];
    signal_event(event);
    if (event >= 0) return;
    snprintf(text, sizeof text, "vector-without-eventfd: let vector %u interrupt, which has no eventfd", vector);
    observe_event(server->device, text);
}

static void interrupt(void *context, unsigned vector) {
    struct vfio_user *server = context;
    switch (server->interrupt_mode) {
    case SIM_IRQ_NONE: break;
    case SIM_IRQ_INTX: update_intx(server); break;
    case SIM_IRQ_MSI: signal_event(server->triggers[VFIO_PCI_MSI_IRQ_INDEX][0]); break;
    case SIM_IRQ_MSIX: send_message(server, vector); break;
    }
}

static void update_interrupt_mode(struct vfio_user *server) {
    enum sim_interrupt_mode mode = server->enabled[VFIO_PCI_MSIX_IRQ_INDEX]   ? SIM_IRQ_MSIX
                                   : server->enabled[VFIO_PCI_MSI_IRQ_INDEX]  ? SIM_IRQ_MSI
                                   : server->enabled[VFIO_PCI_INTX_IRQ_INDEX] ? SIM_IRQ_INTX
                                                                              : SIM_IRQ_NONE;
    if (mode == server->interrupt_mode) return;
    server->interrupt_mode = mode;
    server->intx_masked = false;
    sim_set_interrupt_mode(server->device, mode);
}

static void set_trigger(struct vfio_user *server, uint32_t type, uint32_t number, int event) {
    int *trigger = &server->triggers[type][number];
    if (*trigger >= 0) close(*trigger);
    *trigger = event;
}

static void disable_interrupts(struct vfio_user *server, uint32_t type) {
    for (uint32_t number = 0; number < irq_types[type].count; number++) set_trigger(server, type, number, -1);
    server->enabled[type] = false;
    update_interrupt_mode(server);
}

// Anything else might block when it is written to, or be a file that the client cannot write itself.
static bool is_event(int fd) {
    char link[32], target[32] = "";
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    return readlink(link, target, sizeof target - 1) > 0 && strcmp(target, "anon_inode:[eventfd]") == 0;
}

// Descriptors for all of the range, or none at all: then nobody hears of these interrupts.
static long set_triggers(struct vfio_user *server, const struct vfio_irq_set *set) {
    if (server->fd_count && server->fd_count != set->count) return -EINVAL;
    for (unsigned i = 0; i < server->fd_count; i++) {
        if (!is_event(server->fds[i])) return -EINVAL;
        fcntl(server->fds[i], F_SETFL, O_NONBLOCK);
    }
    for (uint32_t i = 0; i < set->count; i++) {
        set_trigger(server, set->index, set->start + i, server->fd_count ? server->fds[i] : -1);
    }
    server->fd_count = 0;
    server->enabled[set->index] = true;
    update_interrupt_mode(server);
    update_intx(server);
    return 0;
}

static void act(struct vfio_user *server, const struct vfio_irq_set *set, uint32_t number) {
    if (set->flags & VFIO_IRQ_SET_ACTION_TRIGGER) {
        signal_event(server->triggers[set->index][number]);
    } else {
        server->intx_masked = set->flags & VFIO_IRQ_SET_ACTION_MASK;
        update_intx(server);
    }
}

static bool one_bit(uint32_t bits) { return bits && !(bits & (bits - 1)); }

static long set_irqs(struct vfio_user *server, uint32_t length) {
    struct vfio_irq_set set;
    memcpy(&set, server->payload, sizeof set);
    uint32_t data = set.flags & VFIO_IRQ_SET_DATA_TYPE_MASK, action = set.flags & VFIO_IRQ_SET_ACTION_TYPE_MASK;
    if (set.argsz != length || set.flags != (data | action) || !one_bit(data) || !one_bit(action)) return -EINVAL;
    if (set.index >= IRQ_TYPES) return -EINVAL;
    uint32_t count = irq_types[set.index].count;
    if (set.start > count || set.count > count - set.start) return -EINVAL;
    if (length != sizeof set + (data == VFIO_IRQ_SET_DATA_BOOL ? set.count : 0)) return -EINVAL;
    if (server->fd_count && data != VFIO_IRQ_SET_DATA_EVENTFD) return -EINVAL;

    bool trigger = action == VFIO_IRQ_SET_ACTION_TRIGGER;
    if (!trigger && (set.index != VFIO_PCI_INTX_IRQ_INDEX || data == VFIO_IRQ_SET_DATA_EVENTFD)) return -ENOTSUP;
    if (set.count == 0) {
        if (data != VFIO_IRQ_SET_DATA_NONE || !trigger || set.start) return -EINVAL;
        disable_interrupts(server, set.index);
        return 0;
    }
    if (data == VFIO_IRQ_SET_DATA_EVENTFD) return set_triggers(server, &set);
    const uint8_t *chosen = server->payload + sizeof set;
    for (uint32_t i = 0; i < set.count; i++) {
        if (data == VFIO_IRQ_SET_DATA_NONE || chosen[i]) act(server, &set, set.start + i);
    }
    return 0;
}

static long get_irq_info(struct vfio_user *server, uint32_t length) {
    struct vfio_irq_info info;
    (void)length;
    memcpy(&info, server->payload, sizeof info);
    if (info.argsz < sizeof info || info.index >= IRQ_TYPES) return -EINVAL;
    uint32_t index = info.index;
    info = irq_types[index];
    info.argsz = sizeof info;
    info.index = index;
    memcpy(server->answer, &info, sizeof info);
    return sizeof info;
}

// ---- Commands ----

// Is a member of the client's JSON true? Its names are those of the specification and mean the same wherever they
// stand.
static bool json_is_true(const char *json, const char *quoted_name) {
    static const char space[] = " \t\r\n";
    const char *at = strstr(json, quoted_name);
    if (!at) return false;
    at += strlen(quoted_name);
    at += strspn(at, space);
    if (*at++ != ':') return false;
    at += strspn(at, space);
    return strncmp(at, "true", 4) == 0;
}

// The client's capabilities are limits on what we send to it, and we send less than any: no descriptors, and no more
// data than it asks for. Of its JSON only one thing matters: whether it wants to know that we take WRITE_MULTI.
static long version(struct vfio_user *server, uint32_t length) {
    uint16_t number[2];  // major, minor
    memcpy(number, server->payload, sizeof number);
    const char *theirs = (const char *)server->payload + sizeof number;
    if (server->greeted || (length > sizeof number && server->payload[length - 1] != '\0')) return -EINVAL;
    if (number[0] != 0) {
        say(server, "the client speaks version %u.%u of vfio-user, we speak 0.0", number[0], number[1]);
        return -EPROTONOSUPPORT;
    }
    bool multi = length > sizeof number && json_is_true(theirs, "\"write_multiple\"");
    number[1] = 0;
    memcpy(server->answer, number, sizeof number);
    int ours = snprintf((char *)server->answer + sizeof number, sizeof server->answer - sizeof number,
                        "{\"capabilities\":{\"max_msg_fds\":%d,\"max_data_xfer_size\":%d,\"pgsizes\":%d,"
                        "\"max_dma_maps\":%d%s}}",
                        MESSAGE_FDS, TRANSFER_SIZE, PAGE, MAPPINGS, multi ? ",\"write_multiple\":true" : "");
    server->greeted = true;
    return (long)sizeof number + ours + 1;
}

static long get_info(struct vfio_user *server, uint32_t length) {
    const uint32_t flags = VFIO_DEVICE_FLAGS_RESET | VFIO_DEVICE_FLAGS_PCI;
    const uint32_t info[4] = {sizeof info, flags, VFIO_PCI_NUM_REGIONS, IRQ_TYPES};
    uint32_t argsz;
    (void)length;
    memcpy(&argsz, server->payload, sizeof argsz);
    if (argsz < sizeof info) return -EINVAL;
    memcpy(server->answer, info, sizeof info);
    return sizeof info;
}

static long reset(struct vfio_user *server, uint32_t length) {
    (void)length;
    sim_function_reset(server->device);
    bar_access_reset(&server->access);
    return 0;
}

// A handler gets the length of the payload, which lies within the two limits. It returns the length of its answer, or
// what was wrong.
static const struct command {
    long (*handle)(struct vfio_user *server, uint32_t length);
    uint32_t least, most;  // bytes of payload
    unsigned fds;
} commands[] = {
    [1] = {version, 4, 4096, 0},
    [2] = {dma_map, 32, 32, 1},
    [3] = {dma_unmap, 24, 24, 0},
    [4] = {get_info, 16, 16, 0},
    [5] = {get_region_info, sizeof(struct vfio_region_info), sizeof(struct vfio_region_info), 0},
    [7] = {get_irq_info, sizeof(struct vfio_irq_info), sizeof(struct vfio_irq_info), 0},
    [8] = {set_irqs, sizeof(struct vfio_irq_set), sizeof(struct vfio_irq_set) + SIM_MSIX_VECTORS, MESSAGE_FDS},
    [9] = {region_read, sizeof(struct transfer), sizeof(struct transfer), 0},
    [10] = {region_write, sizeof(struct transfer), sizeof(struct transfer) + TRANSFER_SIZE, 0},
    [13] = {reset, 0, 0, 0},
    [15] = {region_write_multi, 8, sizeof(struct transfer) + TRANSFER_SIZE, 0},
};
enum { VERSION = 1, COMMANDS = sizeof commands / sizeof *commands };

static long handle(struct vfio_user *server) {
    const struct header *request = &server->request;
    const struct command *command = request->command < COMMANDS ? &commands[request->command] : &commands[0];
    uint32_t length = request->size - (uint32_t)sizeof *request;
    if (!command->handle) return -ENOTSUP;  // dirty pages, migration, region I/O descriptors
    if (length < command->least || length > command->most || server->fd_count > command->fds) return -EINVAL;
    return command->handle(server, length);
}

// ---- Connection ----

static void drop_fds(struct vfio_user *server) {
    while (server->fd_count) close(server->fds[--server->fd_count]);
}

static void disconnect(struct vfio_user *server, const char *why) {
    say(server, "disconnected: %s", why);
    close(server->client);
    server->client = -1;
    server->greeted = server->memory_without_file = false;
    server->received = server->reply_size = server->reply_sent = 0;
    drop_fds(server);
    reset(server, 0);
    for (uint32_t type = 0; type < IRQ_TYPES; type++) disable_interrupts(server, type);
    forget_all(server);
    for (struct file *file = server->files; file < server->files + FILES; file++) close_file(file);
}

// Descriptors belong to the message whose bytes they came with, so no read goes beyond the end of one message.
static bool take_fds(struct vfio_user *server, struct msghdr *message) {
    bool fit = !(message->msg_flags & MSG_CTRUNC);
    for (struct cmsghdr *part = CMSG_FIRSTHDR(message); part; part = CMSG_NXTHDR(message, part)) {
        if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
        size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(part) + i * sizeof fd, sizeof fd);
            if (server->fd_count < MESSAGE_FDS) {
                server->fds[server->fd_count++] = fd;
            } else {
                close(fd);
                fit = false;
            }
        }
    }
    return fit;
}

static bool header_is_valid(const struct vfio_user *server) {
    uint32_t size = server->request.size;
    return size >= sizeof server->request && size - sizeof server->request <= sizeof server->payload &&
           (server->request.flags & FLAG_TYPE) == 0;
}

enum progress { NOTHING, SOMETHING, MESSAGE, BROKEN };

static enum progress receive(struct vfio_user *server) {
    uint32_t head = sizeof server->request;
    bool in_head = server->received < head;
    struct iovec bytes = {
        .iov_base = (uint8_t *)&server->request + server->received,
        .iov_len = (in_head ? head : server->request.size) - server->received,
    };
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof server->fds)];
    struct msghdr message = {
        .msg_iov = &bytes, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    ssize_t length = recvmsg(server->client, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (length < 0 && (errno == EAGAIN || errno == EINTR)) return NOTHING;
    if (length <= 0) {
        disconnect(server, length == 0 ? "closed by the client" : strerror(errno));
        return BROKEN;
    }
    server->received += (uint32_t)length;
    if (!take_fds(server, &message)) {
        disconnect(server, "too many file descriptors in one message");
        return BROKEN;
    }
    if (server->received < head) return SOMETHING;
    if (in_head && !header_is_valid(server)) {
        disconnect(server, "a message whose header makes no sense");
        return BROKEN;
    }
    return server->received == server->request.size ? MESSAGE : SOMETHING;
}

// False: the client does not read its replies, and has to wait until it does.
static bool send_reply(struct vfio_user *server) {
    while (server->reply_sent < server->reply_size) {
        const uint8_t *bytes = (const uint8_t *)&server->reply + server->reply_sent;
        size_t left = server->reply_size - server->reply_sent;
        ssize_t length = send(server->client, bytes, left, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (length < 0 && errno == EINTR) continue;
        if (length < 0 && errno == EAGAIN) return false;
        if (length < 0) break;  // it has gone, as the next read will say
        server->reply_sent += (uint32_t)length;
    }
    server->reply_size = server->reply_sent = 0;
    return true;
}

static void answer(struct vfio_user *server) {
    bool wants_version = !server->greeted;
    long length = wants_version && server->request.command != VERSION ? -EINVAL : handle(server);
    drop_fds(server);
    server->received = 0;
    if (!(server->request.flags & FLAG_NO_REPLY)) {
        server->reply = (struct header){
            .id = server->request.id,
            .command = server->request.command,
            .size = (uint32_t)sizeof server->reply + (length > 0 ? (uint32_t)length : 0),
            .flags = FLAG_REPLY | (length < 0 ? FLAG_ERROR : 0),
            .error = length < 0 ? (uint32_t)-length : 0,
        };
        server->reply_size = server->reply.size;
        send_reply(server);
    }
    if (wants_version && length < 0) disconnect(server, "no agreement on the protocol's version");
}

static bool serve_client(struct vfio_user *server) {
    bool served = false;
    for (unsigned messages = 0; messages < MESSAGES_A_TURN && server->client >= 0 && send_reply(server);) {
        enum progress progress = receive(server);
        if (progress == NOTHING) break;
        served = true;
        if (progress == MESSAGE) answer(server);
        messages += progress == MESSAGE;
    }
    return served;
}

static bool accept_client(struct vfio_user *server) {
    server->client = accept4(server->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (server->client < 0) return false;
    say(server, "connected");
    return true;
}

static void check_files(struct vfio_user *server) {
    for (struct file *file = server->files; file < server->files + FILES; file++) {
        if (file->memory && file->truncated) {
            disconnect(server, "its memory file has become shorter than what it had mapped");
            return;
        }
    }
}

bool vfio_user_serve(struct vfio_user *server) {
    check_files(server);
    return (server->client >= 0 || accept_client(server)) && serve_client(server);
}

struct pollfd vfio_user_poll(const struct vfio_user *server) {
    return (struct pollfd){
        .fd = server->client >= 0 ? server->client : server->listener,
        .events = server->reply_size ? POLLOUT : POLLIN,
    };
}

// ---- Socket ----

// A server that was killed leaves its socket's file behind, and nobody answers there any more.
static bool is_stale(const struct sockaddr_un *address) {
    struct stat status;
    if (lstat(address->sun_path, &status) != 0 || !S_ISSOCK(status.st_mode)) return false;
    int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (probe < 0) return false;
    bool refused = connect(probe, (const struct sockaddr *)address, sizeof *address) != 0 && errno == ECONNREFUSED;
    close(probe);
    return refused;
}

static int bind_socket(struct vfio_user *server) {
    const struct sockaddr *address = (const struct sockaddr *)&server->address;
    if (bind(server->listener, address, sizeof server->address) == 0) return 0;
    if (errno != EADDRINUSE) return -errno;
    if (!is_stale(&server->address)) return -EADDRINUSE;
    if (unlink(server->address.sun_path) != 0) return -errno;
    return bind(server->listener, address, sizeof server->address) == 0 ? 0 : -errno;
}

static int listen_at(struct vfio_user *server, const char *path) {
    if (!*path || strlen(path) >= sizeof server->address.sun_path) {
        say(server, "socket \"%s\": a path has 1 to %zu characters", path, sizeof server->address.sun_path - 1);
        return -ENAMETOOLONG;
    }
    server->address.sun_family = AF_UNIX;
    strcpy(server->address.sun_path, path);
    server->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int error = server->listener < 0 ? -errno : bind_socket(server);
    struct stat status;
    if (!error && (listen(server->listener, 8) != 0 || stat(path, &status) != 0)) error = -errno;
    if (!error) server->socket_number = status.st_ino;
    if (error == -EADDRINUSE) {
        say(server, "%s is in use: another server listens there, or it is no socket; name another path", path);
    } else if (error) {
        say(server, "cannot listen at %s: %s", path, strerror(-error));
    }
    return error;
}

static uint64_t now_ns(void *context) {
    struct timespec now;
    (void)context;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

int vfio_user_open(unsigned port, const char *path, struct vfio_user **opened) {
    struct vfio_user *server = calloc(1, sizeof *server);
    if (!server) return -ENOMEM;
    server->port = port;
    server->listener = server->client = -1;
    for (int type = 0; type < IRQ_TYPES; type++) {
        for (int number = 0; number < SIM_MSIX_VECTORS; number++) server->triggers[type][number] = -1;
    }
    catch_sigbus();
    server->next = servers;
    servers = server;

    server->front = (struct sim_front){server, now_ns, interrupt, server->registers, true};
    server->iommu = iommu_create();
    server->device = sim_create(port, &server->front);
    server->access = (struct bar_access){.device = server->device, .msix = server->msix};
    bar_access_reset(&server->access);
    int error = server->iommu && server->device ? listen_at(server, path) : -ENOMEM;
    if (error == -ENOMEM) say(server, "out of memory");
    if (error) {
        vfio_user_close(server);
        return error;
    }
    sim_set_iommu(server->device, server->iommu);
    *opened = server;
    return 0;
}

static void remove_socket(struct vfio_user *server) {
    struct stat status;
    if (!server->socket_number || lstat(server->address.sun_path, &status) != 0) return;
    if (status.st_ino == server->socket_number) unlink(server->address.sun_path);
}

void vfio_user_close(struct vfio_user *server) {
    if (!server) return;
    if (server->client >= 0) disconnect(server, "this server ends");
    remove_socket(server);
    if (server->listener >= 0) close(server->listener);
    sim_destroy(server->device);
    iommu_destroy(server->iommu);
    struct vfio_user **link = &servers;
    while (*link != server) link = &(*link)->next;
    *link = server->next;
    if (!servers) sigaction(SIGBUS, &sigbus_before, NULL);
    free(server);
}

struct sim_device *vfio_user_device(const struct vfio_user *server) {
    return server->device;
}
