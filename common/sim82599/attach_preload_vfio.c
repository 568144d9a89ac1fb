// attach_preload_vfio.c: VFIO's three kinds of object, and who holds whom.
//
// A container is an address space, a group is what the IOMMU can tell apart (here one port each), a device is the
// port itself. A group goes into a container; with its first group the container may get its IOMMU; then the group
// hands out devices. They may be closed in any order, because each holds what it stands on: a device its group, a
// group its container. The answers, down to the error numbers, are those of the kernel's drivers/vfio; but for an
// eventfd that unmasks INTx, which hypervisors use and nobody else: it is refused.

#include "attach_preload.h"
#include "attach_preload_real.h"
#include "iommu.h"
#include "observe.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum kind { CONTAINER, GROUP, DEVICE };

enum { REGION_SHIFT = 40 };  // a region's offset in the device file: its number in the upper bits

struct vfio_object {
    enum kind kind;
    unsigned references;        // descriptors, and objects that stand on this one
    unsigned port;              // groups and devices
    struct vfio_object *below;  // a device's group, a group's container
    unsigned groups, devices;   // in this container, of this group
    struct dma *dma;            // a container's, once it has an IOMMU
};

static struct vfio_object *groups[PORTS];  // those that are open
static unsigned dma_spaces;

bool vfio_any_dma(void) { return dma_spaces != 0; }

// ---- The program's memory ----

bool is_mapped(uintptr_t start, size_t size) {
    unsigned char present[256];
    uintptr_t end = start + size;
    for (start &= ~(uintptr_t)(PAGE - 1); start < end; start += sizeof present * PAGE) {
        size_t left = end - start, part = sizeof present * PAGE;
        if (mincore((void *)start, left < part ? left : part, present) < 0) return false;
    }
    return true;
}

// The kernel refuses bad addresses instead of falling into them. Where asking it is forbidden (a container's filter),
// a weaker check must do.
static int probe(const struct iovec *ours, const struct iovec *program, bool out) {
    ssize_t done = out ? process_vm_writev(getpid(), ours, 1, program, 1, 0)
                       : process_vm_readv(getpid(), ours, 1, program, 1, 0);
    if (done < 0 && errno != EFAULT) return is_mapped((uintptr_t)program->iov_base, program->iov_len) ? 0 : -EFAULT;
    return done == (ssize_t)ours->iov_len ? 0 : -EFAULT;
}

int copy_in(void *to, const void *program, size_t size) {
    struct iovec ours = {to, size}, theirs = {(void *)(uintptr_t)program, size};
    if (probe(&ours, &theirs, false)) return -EFAULT;
    memcpy(to, program, size);
    return 0;
}

int copy_out(void *program, const void *from, size_t size) {
    struct iovec ours = {(void *)(uintptr_t)from, size}, theirs = {program, size};
    if (probe(&ours, &theirs, true)) return -EFAULT;
    memcpy(program, from, size);  // once more, for tools that watch the program's memory
    return 0;
}

// ---- Containers ----

static void attach(struct vfio_object *group, struct vfio_object *container) {
    group->below = container;
    container->groups++;
    container->references++;
    sim_set_iommu(host_port(group->port)->device, dma_iommu(container->dma));
}

static void drop_dma(struct vfio_object *container) {
    if (!container->dma) return;
    dma_destroy(container->dma);
    container->dma = NULL;
    dma_spaces--;
}

// With its last group a container loses its IOMMU and all that was mapped.
static void detach(struct vfio_object *group) {
    struct vfio_object *container = group->below;
    sim_set_iommu(host_port(group->port)->device, NULL);
    group->below = NULL;
    if (--container->groups == 0) drop_dma(container);
    vfio_release(container);
}

static bool has_extension(const struct vfio_object *container, unsigned long extension) {
    switch (extension) {
    case VFIO_TYPE1_IOMMU:
    case VFIO_TYPE1v2_IOMMU:
    case VFIO_TYPE1_NESTING_IOMMU:
    case VFIO_UNMAP_ALL: return true;
    case VFIO_DMA_CC_IOMMU: return container->dma != NULL;
    default: return false;
    }
}

static long set_iommu(struct vfio_object *container, unsigned long type) {
    if (container->groups == 0 || container->dma) return -EINVAL;
    if (type != VFIO_TYPE1_IOMMU && type != VFIO_TYPE1v2_IOMMU && type != VFIO_TYPE1_NESTING_IOMMU) return -ENODEV;
    container->dma = dma_create(type != VFIO_TYPE1_IOMMU);
    if (!container->dma) return -ENOMEM;
    dma_spaces++;
    for (unsigned i = 0; i < PORTS; i++)
        if (groups[i] && groups[i]->below == container)
            sim_set_iommu(host_port(i)->device, dma_iommu(container->dma));
    return 0;
}

static void tell_ports(void *context, uint64_t iova, uint64_t size, bool mapped) {
    for (unsigned i = 0; i < PORTS; i++)
        if (groups[i] && groups[i]->below == context) observe_map(host_port(i)->device, iova, size, mapped);
}

static long container_ioctl(struct vfio_object *container, unsigned request, void *argument) {
    switch (request) {
    case VFIO_GET_API_VERSION: return VFIO_API_VERSION;
    case VFIO_CHECK_EXTENSION: return has_extension(container, (unsigned long)argument);
    case VFIO_SET_IOMMU: return set_iommu(container, (unsigned long)argument);
    default: break;
    }
    return container->dma ? dma_ioctl(container->dma, request, argument, tell_ports, container) : -EINVAL;
}

// ---- Groups ----

static long get_status(const struct vfio_object *group, void *argument) {
    struct vfio_group_status status;
    if (copy_in(&status, argument, sizeof status)) return -EFAULT;
    if (status.argsz < sizeof status) return -EINVAL;
    status.flags = VFIO_GROUP_FLAGS_VIABLE | (group->below ? VFIO_GROUP_FLAGS_CONTAINER_SET : 0);
    return copy_out(argument, &status, sizeof status);
}

static long set_container(struct vfio_object *group, void *argument) {
    int32_t fd;
    if (copy_in(&fd, argument, sizeof fd)) return -EFAULT;
    if (real.fcntl(fd, F_GETFD) < 0) return -EBADF;
    if (group->below) return -EINVAL;
    struct vfio_object *container = calls_object(fd);
    if (!container || container->kind != CONTAINER) return -EBADFD;
    attach(group, container);
    return 0;
}

static long unset_container(struct vfio_object *group) {
    if (!group->below) return -EINVAL;
    if (group->devices) return -EBUSY;
    detach(group);
    return 0;
}

static long get_device(struct vfio_object *group, const char *argument, struct vfio_object **created) {
    char name[16] = "";
    for (size_t i = 0; i < sizeof name - 1; i++) {
        if (copy_in(&name[i], argument + i, 1)) return -EFAULT;
        if (!name[i]) break;
    }
    if (strcmp(name, host_address(group->port)) != 0) return -ENODEV;
    if (!group->below || !group->below->dma) return -EINVAL;
    struct vfio_object *device = calloc(1, sizeof *device);
    if (!device) return -ENOMEM;
    int error = host_open(group->port);
    if (error) {
        free(device);
        return error;
    }
    *device = (struct vfio_object){.kind = DEVICE, .references = 1, .port = group->port, .below = group};
    group->devices++;
    group->references++;
    *created = device;
    return 0;
}

static long group_ioctl(struct vfio_object *group, unsigned request, void *argument, struct vfio_object **created) {
    switch (request) {
    case VFIO_GROUP_GET_STATUS: return get_status(group, argument);
    case VFIO_GROUP_SET_CONTAINER: return set_container(group, argument);
    case VFIO_GROUP_UNSET_CONTAINER: return unset_container(group);
    case VFIO_GROUP_GET_DEVICE_FD: return get_device(group, argument, created);
    default: return -ENOTTY;
    }
}

// ---- Devices ----

static long get_device_info(void *argument) {
    struct vfio_device_info info;
    size_t least = offsetof(struct vfio_device_info, num_irqs) + sizeof info.num_irqs;
    size_t full = offsetof(struct vfio_device_info, cap_offset) + sizeof info.cap_offset;
    if (copy_in(&info, argument, least)) return -EFAULT;
    if (info.argsz < least) return -EINVAL;
    info.flags = VFIO_DEVICE_FLAGS_PCI | VFIO_DEVICE_FLAGS_RESET;
    info.num_regions = VFIO_PCI_NUM_REGIONS;
    info.num_irqs = VFIO_PCI_NUM_IRQS;
    info.cap_offset = 0;
    return copy_out(argument, &info, info.argsz >= full ? full : least);
}

static uint64_t region_size(unsigned port, unsigned region) {
    if (region == VFIO_PCI_CONFIG_REGION_INDEX) return CONFIG_SIZE;
    return region < BARS ? host_port(port)->bars[region].size : 0;
}

static bool region_can_be_mapped(unsigned port, unsigned region) {
    return region < BARS && !host_port(port)->bars[region].io && host_port(port)->bars[region].size >= PAGE;
}

static long get_region_info(unsigned port, void *argument) {
    struct {
        struct vfio_region_info info;
        struct vfio_info_cap_header msix_mappable;
    } answer = {.msix_mappable = {.id = VFIO_REGION_INFO_CAP_MSIX_MAPPABLE, .version = 1}};
    struct vfio_region_info *info = &answer.info;
    if (copy_in(info, argument, sizeof *info)) return -EFAULT;
    if (info->argsz < sizeof *info || info->index >= VFIO_PCI_VGA_REGION_INDEX) return -EINVAL;
    info->offset = (uint64_t)info->index << REGION_SHIFT;
    info->size = region_size(port, info->index);
    info->flags = info->size ? VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE : 0;
    if (region_can_be_mapped(port, info->index)) info->flags |= VFIO_REGION_INFO_FLAG_MMAP;
    const struct port *p = host_port(port);
    if (!p->msix_vectors || info->index != p->msix_bar) return copy_out(argument, info, sizeof *info);
    // The kernel says so since it lets programs map the page with the MSI-X table too.
    info->flags |= VFIO_REGION_INFO_FLAG_CAPS;
    bool room = info->argsz >= sizeof answer;
    info->cap_offset = room ? sizeof *info : 0;
    if (!room) info->argsz = sizeof answer;
    return copy_out(argument, &answer, room ? sizeof answer : sizeof *info);
}

// Each port is alone on its bus, so a hot reset touches nothing else.
static long get_hot_reset_info(unsigned port, void *argument) {
    struct {
        uint32_t argsz, flags, count;  // struct vfio_pci_hot_reset_info
        struct vfio_pci_dependent_device device;
    } answer = {0};
    size_t header = sizeof(struct vfio_pci_hot_reset_info);
    if (copy_in(&answer, argument, header)) return -EFAULT;
    if (answer.argsz < header) return -EINVAL;
    bool room = answer.argsz >= sizeof answer;
    answer.flags = 0;
    answer.count = 1;
    answer.device.group_id = tree_group(port);
    answer.device.bus = (uint8_t)strtoul(host_address(port) + 5, NULL, 16);
    int error = copy_out(argument, &answer, room ? sizeof answer : header);
    return error ? error : room ? 0 : -ENOSPC;
}

static long hot_reset(unsigned port, void *argument) {
    struct vfio_pci_hot_reset request;
    int32_t fd;
    if (copy_in(&request, argument, sizeof request)) return -EFAULT;
    if (request.argsz < sizeof request || request.flags || request.count != 1) return -EINVAL;
    if (copy_in(&fd, (const char *)argument + sizeof request, sizeof fd)) return -EFAULT;
    if (real.fcntl(fd, F_GETFD) < 0) return -EBADF;
    struct vfio_object *group = calls_object(fd);
    if (!group || group->kind != GROUP || group->port != port) return -EINVAL;
    host_reset(port);
    return 0;
}

static long device_ioctl(struct vfio_object *device, unsigned request, void *argument) {
    switch (request) {
    case VFIO_DEVICE_GET_INFO: return get_device_info(argument);
    case VFIO_DEVICE_GET_REGION_INFO: return get_region_info(device->port, argument);
    case VFIO_DEVICE_GET_IRQ_INFO: return irq_info(device->port, argument);
    case VFIO_DEVICE_SET_IRQS: return irq_set(device->port, argument);
    case VFIO_DEVICE_RESET: return host_reset(device->port), 0;
    case VFIO_DEVICE_GET_PCI_HOT_RESET_INFO: return get_hot_reset_info(device->port, argument);
    case VFIO_DEVICE_PCI_HOT_RESET: return hot_reset(device->port, argument);
    default: return -ENOTTY;
    }
}

// ---- Opening, closing, asking ----

static int open_group(unsigned port, struct vfio_object **object) {
    if (groups[port]) return -EBUSY;
    struct vfio_object *group = calloc(1, sizeof *group);
    if (!group) return -ENOMEM;
    int error = host_claim(port);
    if (error) {
        free(group);
        return error;
    }
    *group = (struct vfio_object){.kind = GROUP, .references = 1, .port = port};
    *object = groups[port] = group;
    return 0;
}

int vfio_open(const char *path, struct vfio_object **object) {
    static const char directory[] = "/dev/vfio/";
    *object = NULL;
    if (strncmp(path, directory, sizeof directory - 1) != 0) return 0;
    const char *name = path + sizeof directory - 1;
    if (strcmp(name, "vfio") == 0) {
        *object = calloc(1, sizeof **object);
        if (!*object) return -ENOMEM;
        **object = (struct vfio_object){.kind = CONTAINER, .references = 1};
        return 0;
    }
    for (unsigned i = 0; i < PORTS; i++) {
        char number[12];
        snprintf(number, sizeof number, "%u", tree_group(i));
        if (strcmp(name, number) == 0) return open_group(i, object);
    }
    return 0;
}

void vfio_reference(struct vfio_object *object) { object->references++; }

void vfio_release(struct vfio_object *object) {
    if (--object->references) return;
    struct vfio_object *below = object->below;
    switch (object->kind) {
    case CONTAINER: drop_dma(object); break;
    case GROUP:
        if (below) detach(object);
        host_release(object->port);
        groups[object->port] = NULL;
        below = NULL;
        break;
    case DEVICE:
        host_close(object->port);
        below->devices--;
        break;
    }
    free(object);
    if (below) vfio_release(below);
}

long vfio_ioctl(struct vfio_object *object, unsigned request, void *argument, struct vfio_object **created) {
    *created = NULL;
    if (object->kind != CONTAINER) host_warn_of_copy(object->port);
    host_writes_arrive();
    switch (object->kind) {
    case CONTAINER: return container_ioctl(object, request, argument);
    case GROUP: return group_ioctl(object, request, argument, created);
    default: return device_ioctl(object, request, argument);
    }
}

// ---- Reading and writing regions through the device's descriptor ----

// The kernel uses the widest aligned access that fits, up to four bytes, and keeps programs away from the MSI-X
// table: reads there give ones, writes go nowhere.
static unsigned access_width(const struct port *port, unsigned region, uint64_t offset, size_t left, bool *hidden) {
    uint64_t table = port->msix_table, table_end = table + port->msix_vectors * UINT64_C(16);
    bool msix = port->msix_vectors && region == port->msix_bar;
    *hidden = msix && offset >= table && offset < table_end;
    if (msix && offset < table && left > table - offset) left = table - offset;
    if (left >= 4 && offset % 4 == 0) return 4;
    if (left >= 2 && offset % 2 == 0) return 2;
    return 1;
}

static int access_bar(unsigned port, unsigned region, uint64_t offset, char *data, size_t size, bool write) {
    for (size_t done = 0; done < size;) {
        bool hidden;
        unsigned width = access_width(host_port(port), region, offset + done, size - done, &hidden);
        uint64_t value = UINT64_MAX;
        if (write) {
            value = 0;
            if (copy_in(&value, data + done, width)) return -EFAULT;
            if (!hidden) bar_write(port, region, offset + done, width, value);
        } else {
            if (!hidden) value = bar_read(port, region, offset + done, width);
            if (copy_out(data + done, &value, width)) return -EFAULT;
        }
        done += width;
    }
    return 0;
}

// The MSI and MSI-X capabilities are the kernel's: a program enables interrupts with SET_IRQS. And it keeps the
// status register, with what has gone wrong, from being cleared.
static bool config_is_writable(const struct port *port, uint32_t offset) {
    bool status = offset == PCI_STATUS || offset == PCI_STATUS + 1;
    bool msix = port->msix_capability && offset >= port->msix_capability && offset < port->msix_capability + 12;
    bool msi = port->msi_capability && offset >= port->msi_capability && offset < port->msi_capability + 4;
    return !status && !msix && !msi;
}

// A function-level reset is not passed on: the kernel does it, and restores what is its own.
static bool take_reset(const struct port *port, uint32_t offset, uint8_t *bytes, size_t size) {
    uint32_t upper = port->pcie_capability + PCI_EXP_DEVCTL + 1;
    if (!port->pcie_capability || upper < offset || upper - offset >= size) return false;
    bool wanted = bytes[upper - offset] & PCI_EXP_DEVCTL_BCR_FLR >> 8;
    bytes[upper - offset] &= (uint8_t) ~(PCI_EXP_DEVCTL_BCR_FLR >> 8);
    return wanted;
}

static int access_config(unsigned port, uint32_t offset, char *data, size_t size, bool write) {
    uint8_t bytes[CONFIG_SIZE];
    struct port *p = host_port(port);
    bar_writes_arrive(port);
    if (!write) {
        sim_config_read(p->device, offset, bytes, (uint32_t)size);
        return copy_out(data, bytes, size);
    }
    if (copy_in(bytes, data, size)) return -EFAULT;
    bool reset = take_reset(p, offset, bytes, size);
    for (uint32_t done = 0, run; done < size; done += run) {
        for (run = 0; done + run < size && config_is_writable(p, offset + done + run);) run++;
        if (run) sim_config_write(p->device, offset + done, bytes + done, run);
        if (!run) run = 1;
    }
    if (reset) host_reset(port);
    host_accessed(port);
    return 0;
}

static ssize_t access_device(struct vfio_object *object, char *data, size_t size, off_t offset, bool write) {
    if (object->kind != DEVICE || offset < 0) return -EINVAL;
    unsigned region = (unsigned)(offset >> REGION_SHIFT);
    uint64_t at = (uint64_t)offset & ((UINT64_C(1) << REGION_SHIFT) - 1), end = region_size(object->port, region);
    bool config = region == VFIO_PCI_CONFIG_REGION_INDEX;
    if (config && (at >= end || size > end - at)) return -EFAULT;
    if (at >= end) return -EINVAL;
    if (size > end - at) size = end - at;
    int error = config ? access_config(object->port, (uint32_t)at, data, size, write)
                       : access_bar(object->port, region, at, data, size, write);
    return error ? error : (ssize_t)size;
}

ssize_t vfio_read(struct vfio_object *object, void *data, size_t size, off_t offset) {
    return access_device(object, data, size, offset, false);
}

ssize_t vfio_write(struct vfio_object *object, const void *data, size_t size, off_t offset) {
    return access_device(object, (char *)(uintptr_t)data, size, offset, true);
}

void *vfio_mmap(struct vfio_object *object, void *address, size_t size, int protection, int flags, off_t offset) {
    unsigned region = (unsigned)(offset >> REGION_SHIFT);
    uint64_t at = (uint64_t)offset & ((UINT64_C(1) << REGION_SHIFT) - 1);
    size = (size + PAGE - 1) & ~(size_t)(PAGE - 1);
    errno = object->kind == DEVICE ? EINVAL : ENODEV;
    if (object->kind != DEVICE || !size || at % PAGE || !(flags & MAP_SHARED)) return MAP_FAILED;
    if (!region_can_be_mapped(object->port, region)) return MAP_FAILED;
    uint64_t end = region_size(object->port, region);
    if (at > end || size > end - at) return MAP_FAILED;
    return bar_map(object->port, region, at, address, size, protection, flags);
}

// ---- Memory that goes away under the device ----

// The kernel keeps the pages for the device; we cannot, so the device finds nothing there any more.
void vfio_memory_lost(uintptr_t start, size_t size) {
    for (unsigned i = 0; i < PORTS; i++) {
        struct vfio_object *container = groups[i] ? groups[i]->below : NULL;
        struct iommu *iommu = container ? dma_iommu(container->dma) : NULL;
        if (!iommu || !iommu_maps_memory(iommu, (void *)start, size)) continue;
        for (unsigned j = i; j < PORTS; j++)
            if (groups[j] && groups[j]->below == container)
                observe_memory_lost(host_port(j)->device, (void *)start, size);
        if (iommu_forget_memory(iommu, (void *)start, size))
            fprintf(stderr,
                    "sim82599: no memory to unmap %zu bytes that the program gives back while the NIC may use "
                    "them\n",
                    size);
    }
}

static void say_protected(uintptr_t page) {
    char text[256];
    int length =
        snprintf(text, sizeof text,
                 "sim82599: the NIC cannot do DMA at %#lx: that memory is mapped for DMA, but cannot be "
                 "read or written any more (mprotect, or another mapping in its place?). Unmap it for DMA first.\n",
                 (unsigned long)page);
    (void)!real.write(STDERR_FILENO, text, (size_t)length);
}

// The same, noticed too late, in the middle of a DMA: the device goes on with pages that nobody else sees, as it
// would with the pages that the kernel had kept.
bool vfio_repair(uintptr_t address) {
    uintptr_t page = address & ~(uintptr_t)(PAGE - 1);
    unsigned users = 0;  // a bit for each port that may do DMA there
    for (unsigned i = 0; i < PORTS; i++) {
        struct iommu *iommu = groups[i] && groups[i]->below ? dma_iommu(groups[i]->below->dma) : NULL;
        if (iommu && iommu_maps_memory(iommu, (void *)page, PAGE)) users |= 1u << i;
    }
    if (!users) return false;
    if (real.mmap((void *)page, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1,
                  0) != (void *)page) {
        say_protected(page);
        return false;
    }
    for (unsigned i = 0; i < PORTS; i++)
        if (users >> i & 1) observe_memory_lost(host_port(i)->device, (void *)page, PAGE);
    return true;
}
