// vfio.h: a PCI device in the hands of a user-space program.
//
// VFIO knows three things. A *container* holds one IOMMU address space. A *group* is the smallest set of devices that
// the IOMMU can keep apart from all others; groups are put into containers. A *device* comes out of its group, and
// offers regions (BARs, configuration space) and interrupts. Closing the last file descriptor gives everything back.
#pragma once

#include <linux/vfio.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { VFIO_ADDRESS_SIZE = 13 };  // "0000:04:00.0" and its NUL

struct vfio_group;  // an open group, shared by its devices

// All devices of a program share one container, so that memory mapped once can be reached by every one of them.
struct vfio_container {
    int fd;
    int api_version;
    int iommu_type;             // VFIO_TYPE1v2_IOMMU or VFIO_TYPE1_IOMMU; 0 until the first group is in
    struct vfio_group *groups;  // list of the open ones
};

struct vfio_device {
    struct vfio_container *container;
    struct vfio_group *group;
    char address[VFIO_ADDRESS_SIZE];
    int fd;
    uint32_t regions;     // how many region indexes there are; VFIO_PCI_BAR0_REGION_INDEX ... are among them
    uint32_t interrupts;  // likewise for VFIO_PCI_INTX_IRQ_INDEX ...
};

// Every function returns 0 or a negative errno, and says on standard error what went wrong and what to do.

int vfio_container_open(struct vfio_container *container);
// All its devices must have been closed.
void vfio_container_close(struct vfio_container *container);

// `address` in the long form, 0000:04:00.0. The container must outlive the device.
int vfio_device_open(struct vfio_container *container, const char *address, struct vfio_device *device);
// Also switches bus mastering off, so that the device can do no DMA from here on.
void vfio_device_close(struct vfio_device *device);
int vfio_device_group(const struct vfio_device *device);  // the IOMMU group's number

int vfio_region_info(const struct vfio_device *device, uint32_t index, struct vfio_region_info *info);
int vfio_interrupt_info(const struct vfio_device *device, uint32_t index, struct vfio_irq_info *info);

// Maps a whole region readable and writable. The caller unmaps it with munmap(*address, *size).
int vfio_region_map(const struct vfio_device *device, uint32_t index, void **address, size_t *size);

// PCI configuration space; `length` bytes at `offset`, little-endian, as every machine that this runs on.
int vfio_config_read(const struct vfio_device *device, uint32_t offset, void *data, size_t length);
int vfio_config_write(const struct vfio_device *device, uint32_t offset, const void *data, size_t length);

// Bus mastering is the PCI word for "may start DMA by itself" (command register, bit 2; 9.3.3).
int vfio_set_bus_mastering(const struct vfio_device *device, bool on);
