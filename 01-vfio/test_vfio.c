// test_vfio.c: devices, regions and configuration space, on the machine with two 82599s at the default addresses.

#include <errno.h>
#include <linux/pci_regs.h>
#include <sys/mman.h>

#include "cli.h"
#include "ixgbe_regs.h"
#include "mmio.h"
#include "test.h"
#include "vfio.h"

static bool bus_mastering(const struct vfio_device *device) {
    uint16_t command = 0;
    CHECK_EQ(vfio_config_read(device, PCI_COMMAND, &command, sizeof command), 0);
    return command & PCI_COMMAND_MASTER;
}

static void two_devices_share_a_container(void) {
    struct vfio_container container;
    struct vfio_device first, second;
    CHECK_EQ(vfio_container_open(&container), 0);
    CHECK_EQ(container.iommu_type, 0);
    CHECK_EQ(vfio_device_open(&container, DEFAULT_ADDRESS, &first), 0);
    CHECK_EQ(container.iommu_type, VFIO_TYPE1v2_IOMMU);
    CHECK_EQ(vfio_device_open(&container, DEFAULT_ADDRESS_2, &second), 0);
    CHECK(vfio_device_group(&first) != vfio_device_group(&second));
    vfio_device_close(&first);
    CHECK_EQ(container.iommu_type, VFIO_TYPE1v2_IOMMU);
    vfio_device_close(&second);
    CHECK_EQ(container.iommu_type, 0);
    vfio_container_close(&container);
}

// The kernel hands a device out as often as it is asked, so one is enough to have two in a group.
static void two_devices_share_a_group(void) {
    struct vfio_container container;
    struct vfio_device first, second;
    uint16_t vendor = 0;
    CHECK_EQ(vfio_container_open(&container), 0);
    CHECK_EQ(vfio_device_open(&container, DEFAULT_ADDRESS, &first), 0);
    if (!CHECK_EQ(vfio_device_open(&container, DEFAULT_ADDRESS, &second), 0)) return;
    CHECK(first.group == second.group);
    vfio_device_close(&first);
    CHECK_EQ(container.iommu_type, VFIO_TYPE1v2_IOMMU);
    CHECK_EQ(vfio_config_read(&second, PCI_VENDOR_ID, &vendor, sizeof vendor), 0);
    CHECK_EQ(vendor, IXGBE_VENDOR_ID);
    vfio_device_close(&second);
    CHECK(container.groups == NULL);
    vfio_container_close(&container);
}

static void a_closed_device_can_be_opened_again(void) {
    struct vfio_container container;
    struct vfio_device device;
    CHECK_EQ(vfio_container_open(&container), 0);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(vfio_device_open(&container, DEFAULT_ADDRESS, &device), 0);
        vfio_device_close(&device);
    }
    vfio_container_close(&container);
}

static void what_is_not_there_is_refused(void) {
    struct vfio_container container;
    struct vfio_device device;
    CHECK_EQ(vfio_container_open(&container), 0);
    CHECK_EQ(vfio_device_open(&container, "0000:77:00.0", &device), -ENODEV);
    CHECK(container.groups == NULL);
    vfio_container_close(&container);
}

static void a_group_belongs_to_one_container(void) {
    struct vfio_container container, other;
    struct vfio_device device, again;
    CHECK_EQ(vfio_container_open(&container), 0);
    CHECK_EQ(vfio_container_open(&other), 0);
    CHECK_EQ(vfio_device_open(&container, DEFAULT_ADDRESS, &device), 0);
    CHECK_EQ(vfio_device_open(&other, DEFAULT_ADDRESS, &again), -EBUSY);
    CHECK(other.groups == NULL);
    vfio_device_close(&device);
    CHECK_EQ(vfio_device_open(&other, DEFAULT_ADDRESS, &again), 0);
    vfio_device_close(&again);
    vfio_container_close(&other);
    vfio_container_close(&container);
}

static void regions_and_registers(void) {
    struct vfio_container container;
    struct vfio_device device;
    struct vfio_region_info info;
    struct vfio_irq_info interrupts;
    void *bar;
    size_t size;
    uint16_t id[2];
    CHECK_EQ(vfio_container_open(&container), 0);
    CHECK_EQ(vfio_device_open(&container, DEFAULT_ADDRESS, &device), 0);
    CHECK_EQ(vfio_config_read(&device, PCI_VENDOR_ID, id, sizeof id), 0);
    CHECK_EQ(id[0], IXGBE_VENDOR_ID);
    CHECK_EQ(id[1], IXGBE_DEVICE_ID);

    CHECK_EQ(vfio_region_info(&device, VFIO_PCI_BAR0_REGION_INDEX, &info), 0);
    CHECK_EQ(info.size, IXGBE_BAR0_SIZE);
    CHECK(vfio_region_info(&device, 1000, &info) < 0);
    CHECK_EQ(vfio_interrupt_info(&device, VFIO_PCI_MSIX_IRQ_INDEX, &interrupts), 0);
    CHECK_EQ(interrupts.count, IXGBE_MAX_VECTORS);

    CHECK_EQ(vfio_region_map(&device, VFIO_PCI_BAR0_REGION_INDEX, &bar, &size), 0);
    CHECK_EQ(size, IXGBE_BAR0_SIZE);
    // A register that keeps what is written to it, through the mapping.
    mmio_write32(bar, IXGBE_REG(FCTTV, 0), 0x12345678);
    CHECK_EQ(mmio_read32(bar, IXGBE_REG(FCTTV, 0)), 0x12345678);
    munmap(bar, size);
    CHECK(vfio_region_map(&device, VFIO_PCI_CONFIG_REGION_INDEX, &bar, &size) < 0);

    CHECK(!bus_mastering(&device));
    CHECK_EQ(vfio_set_bus_mastering(&device, true), 0);
    CHECK(bus_mastering(&device));
    CHECK_EQ(vfio_set_bus_mastering(&device, false), 0);
    CHECK(!bus_mastering(&device));
    CHECK(vfio_config_read(&device, 1u << 20, id, sizeof id) < 0);
    vfio_device_close(&device);
    vfio_container_close(&container);
}

int main(void) {
    two_devices_share_a_container();
    two_devices_share_a_group();
    a_closed_device_can_be_opened_again();
    what_is_not_there_is_refused();
    a_group_belongs_to_one_container();
    regions_and_registers();
    return test_summary();
}
