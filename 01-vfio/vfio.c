// vfio.c: takes a PCI device away from the kernel, in the order in which the kernel wants it done:
//
//     address -> IOMMU group -> is the group viable? -> into the container -> choose the IOMMU -> the device itself
//
// Most of what can go wrong is a matter of how the machine is set up, not of this program. So each step that fails
// looks around a little and names the command that mends it.

#define _GNU_SOURCE
#include "vfio.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/pci_regs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"

struct vfio_group {
    struct vfio_group *next;
    int number;
    int fd;
    unsigned devices;  // how many open devices came out of it
};

int vfio_container_open(struct vfio_container *container) {
    *container = (struct vfio_container){.fd = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC)};
    if (container->fd < 0)
        return log_error(-errno, "cannot open /dev/vfio/vfio; is the module loaded (sudo modprobe vfio-pci)?");

    container->api_version = ioctl(container->fd, VFIO_GET_API_VERSION);
    int error = 0;
    if (container->api_version != VFIO_API_VERSION)
        error = log_error(-ENOTSUP, "/dev/vfio/vfio speaks version %d of the VFIO interface, this program %d",
                          container->api_version, VFIO_API_VERSION);
    else if (ioctl(container->fd, VFIO_CHECK_EXTENSION, VFIO_TYPE1_IOMMU) <= 0)
        error = log_error(-ENOTSUP, "no type 1 IOMMU behind VFIO; try sudo modprobe vfio_iommu_type1");
    if (error) close(container->fd);
    return error;
}

void vfio_container_close(struct vfio_container *container) { close(container->fd); }

// The last component of a symbolic link in the device's sysfs directory: "iommu_group" -> "42", "driver" -> "ixgbe".
static int sysfs_link(const char *address, const char *link, char name[NAME_MAX + 1]) {
    char path[PATH_MAX], target[PATH_MAX];
    snprintf(path, sizeof path, "/sys/bus/pci/devices/%s/%s", address, link);
    ssize_t length = readlink(path, target, sizeof target - 1);
    if (length < 0) return -errno;
    target[length] = '\0';
    const char *slash = strrchr(target, '/');
    snprintf(name, NAME_MAX + 1, "%.*s", NAME_MAX, slash ? slash + 1 : target);
    return 0;
}

// Which group? On the way, tells apart the reasons why a device cannot be had.
static int find_group(const char *address, int *number) {
    char path[PATH_MAX], name[NAME_MAX + 1];
    struct stat status;
    snprintf(path, sizeof path, "/sys/bus/pci/devices/%s", address);
    if (stat(path, &status) < 0)
        return log_error(-ENODEV, "%s: there is no such PCI device; lspci -D lists those that are there", address);

    int error = sysfs_link(address, "driver", name);
    if (error || strcmp(name, "vfio-pci") != 0)
        return log_error(-ENODEV, "%s is driven by %s, not by vfio-pci; run: sudo scripts/setup-vfio.sh %s", address,
                         error ? "nobody" : name, address);

    error = sysfs_link(address, "iommu_group", name);
    if (error)
        return log_error(-ENODEV,
                         "%s has no IOMMU group; switch the IOMMU on in the firmware (VT-d, AMD-Vi) and, on Intel, "
                         "start the kernel with intel_iommu=on",
                         address);
    *number = atoi(name);
    return 0;
}

// A group is viable when no device in it is left with a driver that could do DMA behind the IOMMU's back.
static int check_viable(const struct vfio_group *group, const char *address) {
    struct vfio_group_status status = {.argsz = sizeof status};
    if (ioctl(group->fd, VFIO_GROUP_GET_STATUS, &status) < 0)
        return log_error(-errno, "IOMMU group %d: cannot read its status", group->number);
    if (status.flags & VFIO_GROUP_FLAGS_VIABLE) return 0;
    return log_error(-EPERM,
                     "IOMMU group %d is not viable: another driver still has one of its devices; run: sudo "
                     "scripts/setup-vfio.sh %s",
                     group->number, address);
}

// Into the container, which must be told its kind of IOMMU once, after the first group is in it. Version 2 of type 1
// differs in one thing: an unmap must name whole mappings.
static int join_container(struct vfio_container *container, const struct vfio_group *group) {
    if (ioctl(group->fd, VFIO_GROUP_SET_CONTAINER, &container->fd) < 0)
        return log_error(-errno, "IOMMU group %d: cannot be put into the container; dmesg may say why",
                         group->number);
    if (container->iommu_type) return 0;

    int type =
        ioctl(container->fd, VFIO_CHECK_EXTENSION, VFIO_TYPE1v2_IOMMU) > 0 ? VFIO_TYPE1v2_IOMMU : VFIO_TYPE1_IOMMU;
    if (ioctl(container->fd, VFIO_SET_IOMMU, type) < 0)
        return log_error(-errno, "the container refuses the type 1 IOMMU; dmesg may say why");
    container->iommu_type = type;
    return 0;
}

static int open_group_file(int number, const char *address) {
    char path[64];
    snprintf(path, sizeof path, "/dev/vfio/%d", number);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd >= 0) return fd;
    switch (errno) {
    case EBUSY: return log_error(-EBUSY, "%s is in use by another program; only one at a time can have it", path);
    case EACCES:
        return log_error(-EACCES, "%s is not yours; run: sudo scripts/setup-vfio.sh --user $USER %s", path, address);
    default: return log_error(-errno, "cannot open %s; dmesg may say why", path);
    }
}

// The group of the device at that address, opened now or already open for another device: the kernel lets it be
// opened only once.
static int acquire_group(struct vfio_container *container, int number, const char *address,
                         struct vfio_group **found) {
    for (struct vfio_group *group = container->groups; group; group = group->next)
        if (group->number == number) {
            *found = group;
            return 0;
        }

    struct vfio_group *group = calloc(1, sizeof *group);
    if (!group) return log_error(-ENOMEM, "IOMMU group %d", number);
    group->number = number;
    group->fd = open_group_file(number, address);
    int error = group->fd < 0 ? group->fd : check_viable(group, address);
    if (!error) error = join_container(container, group);
    if (error) {
        if (group->fd >= 0) close(group->fd);
        free(group);
        return error;
    }
    group->next = container->groups;
    container->groups = group;
    *found = group;
    return 0;
}

static void release_group(struct vfio_container *container, struct vfio_group *group) {
    if (group->devices) return;
    struct vfio_group **link = &container->groups;
    while (*link != group) link = &(*link)->next;
    *link = group->next;
    close(group->fd);  // also takes it out of the container
    free(group);
    // With its last group the container loses its IOMMU, and all that was mapped there.
    if (!container->groups) container->iommu_type = 0;
}

int vfio_device_open(struct vfio_container *container, const char *address, struct vfio_device *device) {
    *device = (struct vfio_device){.container = container, .fd = -1};
    snprintf(device->address, sizeof device->address, "%s", address);

    int number, error = find_group(address, &number);
    if (!error) error = acquire_group(container, number, address, &device->group);
    if (error) return error;

    device->fd = ioctl(device->group->fd, VFIO_GROUP_GET_DEVICE_FD, address);
    if (device->fd < 0) {
        error = log_error(-errno, "%s: group %d does not hand the device out; dmesg may say why", address, number);
        release_group(container, device->group);
        return error;
    }
    device->group->devices++;

    struct vfio_device_info info = {.argsz = sizeof info};
    if (ioctl(device->fd, VFIO_DEVICE_GET_INFO, &info) < 0) {
        error = log_error(-errno, "%s: no device information", address);
        vfio_device_close(device);
        return error;
    }
    device->regions = info.num_regions;
    device->interrupts = info.num_irqs;
    return 0;
}

void vfio_device_close(struct vfio_device *device) {
    vfio_set_bus_mastering(device, false);
    close(device->fd);
    device->group->devices--;
    release_group(device->container, device->group);
}

int vfio_device_group(const struct vfio_device *device) { return device->group->number; }

int vfio_region_info(const struct vfio_device *device, uint32_t index, struct vfio_region_info *info) {
    *info = (struct vfio_region_info){.argsz = sizeof *info, .index = index};
    if (ioctl(device->fd, VFIO_DEVICE_GET_REGION_INFO, info) < 0)
        return log_error(-errno, "%s: no information on region %u", device->address, index);
    return 0;
}

int vfio_interrupt_info(const struct vfio_device *device, uint32_t index, struct vfio_irq_info *info) {
    *info = (struct vfio_irq_info){.argsz = sizeof *info, .index = index};
    if (ioctl(device->fd, VFIO_DEVICE_GET_IRQ_INFO, info) < 0)
        return log_error(-errno, "%s: no information on interrupt %u", device->address, index);
    return 0;
}

int vfio_region_map(const struct vfio_device *device, uint32_t index, void **address, size_t *size) {
    struct vfio_region_info info;
    int error = vfio_region_info(device, index, &info);
    if (error) return error;
    if (!(info.flags & VFIO_REGION_INFO_FLAG_MMAP) || !info.size)
        return log_error(-ENOTSUP, "%s: region %u cannot be mapped", device->address, index);

    void *mapped = mmap(NULL, info.size, PROT_READ | PROT_WRITE, MAP_SHARED, device->fd, (off_t)info.offset);
    if (mapped == MAP_FAILED) return log_error(-errno, "%s: mapping region %u failed", device->address, index);
    *address = mapped;
    *size = info.size;
    return 0;
}

// Configuration space is not mapped but read and written like a file, so that the kernel can keep us from moving the
// BARs. Where in the device's file it begins, the region information tells.
static int config_access(const struct vfio_device *device, uint32_t offset, void *data, size_t length, bool write) {
    struct vfio_region_info info;
    int error = vfio_region_info(device, VFIO_PCI_CONFIG_REGION_INDEX, &info);
    if (error) return error;
    off_t position = (off_t)(info.offset + offset);
    ssize_t done = write ? pwrite(device->fd, data, length, position) : pread(device->fd, data, length, position);
    if (done == (ssize_t)length) return 0;
    return log_error(done < 0 ? -errno : -EIO, "%s: configuration space at 0x%x cannot be %s", device->address,
                     offset, write ? "written" : "read");
}

int vfio_config_read(const struct vfio_device *device, uint32_t offset, void *data, size_t length) {
    return config_access(device, offset, data, length, false);
}

int vfio_config_write(const struct vfio_device *device, uint32_t offset, const void *data, size_t length) {
    return config_access(device, offset, (void *)data, length, true);
}

int vfio_set_bus_mastering(const struct vfio_device *device, bool on) {
    uint16_t command;
    int error = vfio_config_read(device, PCI_COMMAND, &command, sizeof command);
    if (error) return error;
    command = on ? command | PCI_COMMAND_MASTER : command & ~PCI_COMMAND_MASTER;
    return vfio_config_write(device, PCI_COMMAND, &command, sizeof command);
}
