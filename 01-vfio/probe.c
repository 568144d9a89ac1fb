// probe: what is behind a PCI address, seen from user space.
//
// Opens every device named on the command line in one container, prints what VFIO says about it, and, if it is an
// 82599, maps its registers and reads the first two things a NIC has to tell: its MAC address and its link.

#include <errno.h>
#include <linux/pci_regs.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "cli.h"
#include "clock.h"
#include "ixgbe_regs.h"
#include "log.h"
#include "mmio.h"
#include "software_nic.h"
#include "vfio.h"

enum { MOST_DEVICES = 8 };

static const char *const region_names[] = {"BAR0", "BAR1", "BAR2", "BAR3", "BAR4", "BAR5", "ROM", "config"};
static const char *const interrupt_names[] = {"INTx", "MSI", "MSI-X", "error", "request"};

#define NAME_OF(names, index) ((index) < sizeof(names) / sizeof *(names) ? (names)[index] : "other")

static int print_regions(const struct vfio_device *device) {
    for (uint32_t index = 0; index < device->regions; index++) {
        struct vfio_region_info info;
        // Not every index exists on every device: the VGA one is an error where there is no VGA.
        if (index == VFIO_PCI_VGA_REGION_INDEX) continue;
        int error = vfio_region_info(device, index, &info);
        if (error) return error;
        if (!info.size) continue;
        bool small = info.size < 1024;
        printf("    %-7s %6llu %s%s%s%s\n", NAME_OF(region_names, index), small ? info.size : info.size / 1024,
               small ? "bytes" : "KiB", info.flags & VFIO_REGION_INFO_FLAG_READ ? ", read" : "",
               info.flags & VFIO_REGION_INFO_FLAG_WRITE ? ", write" : "",
               info.flags & VFIO_REGION_INFO_FLAG_MMAP ? ", can be mapped" : "");
    }
    return 0;
}

static int print_interrupts(const struct vfio_device *device) {
    for (uint32_t index = 0; index < device->interrupts; index++) {
        struct vfio_irq_info info;
        int error = vfio_interrupt_info(device, index, &info);
        if (error) return error;
        if (info.count)
            printf("    %-7s %6u vector%s\n", NAME_OF(interrupt_names, index), info.count,
                   info.count == 1 ? "" : "s");
    }
    return 0;
}

// The first access to a register: a load from memory that is no memory (BAR0, 8.1.1).
static int print_registers(const struct vfio_device *device) {
    void *bar;
    size_t size;
    int error = vfio_region_map(device, VFIO_PCI_BAR0_REGION_INDEX, &bar, &size);
    if (error) return error;

    // 8.2.3.7.8 and 8.2.3.7.9: the receive address, first byte on the wire in the lowest bits.
    uint32_t low = mmio_read32(bar, IXGBE_RAL), high = mmio_read32(bar, IXGBE_RAH);
    // 8.2.3.22.20: bit 30 is "link up", bits 29:28 its speed. After VFIO's reset the link needs a moment.
    uint32_t links = mmio_read32(bar, IXGBE_LINKS);
    for (int tries = 0; tries < 100 && !(links & IXGBE_LINKS_LINK_UP); tries++) {
        sleep_us(10000);
        links = mmio_read32(bar, IXGBE_LINKS);
    }
    if (links == UINT32_MAX) {
        munmap(bar, size);
        return log_error(-ENODEV, "%s: its registers read as all ones; the device does not answer", device->address);
    }
    static const char *const speeds[] = {"at an unknown speed", "at 100 Mbit/s", "at 1 Gbit/s", "at 10 Gbit/s"};
    printf("    registers, %zu KiB, mapped at %p\n", size / 1024, bar);
    printf("      MAC     %02x:%02x:%02x:%02x:%02x:%02x\n", low & 0xff, low >> 8 & 0xff, low >> 16 & 0xff, low >> 24,
           high & 0xff, high >> 8 & 0xff);
    printf("      link    %s%s\n", links & IXGBE_LINKS_LINK_UP ? "up " : "down",
           links & IXGBE_LINKS_LINK_UP ? speeds[(links & IXGBE_LINKS_LINK_SPEED) >> IXGBE_LINKS_LINK_SPEED_SHIFT]
                                       : "");
    munmap(bar, size);
    return 0;
}

static int print_device(const struct vfio_device *device) {
    uint16_t vendor, model;
    uint8_t revision;
    int error = vfio_config_read(device, PCI_VENDOR_ID, &vendor, sizeof vendor);
    if (!error) error = vfio_config_read(device, PCI_DEVICE_ID, &model, sizeof model);
    if (!error) error = vfio_config_read(device, PCI_REVISION_ID, &revision, sizeof revision);
    if (error) return error;
    if (vendor == 0xffff)
        return log_error(-ENODEV, "%s: its configuration space reads as all ones; the device does not answer",
                         device->address);
    bool is_82599 = vendor == IXGBE_VENDOR_ID && model == IXGBE_DEVICE_ID;
    printf("%s, in IOMMU group %d, which is viable\n", device->address, vfio_device_group(device));
    printf("    device  %04x:%04x revision %02x%s\n", vendor, model, revision,
           is_82599 ? ", Intel 82599ES 10-Gigabit SFI/SFP+" : "");

    error = print_regions(device);
    if (!error) error = print_interrupts(device);
    if (!error) error = vfio_set_bus_mastering(device, true);
    if (error) return error;
    printf("    bus mastering is on: the device may do DMA, as far as the IOMMU lets it\n");
    return is_82599 ? print_registers(device) : 0;
}

static int probe(char addresses[][PCI_ADDRESS_SIZE], int count) {
    struct vfio_container container;
    struct vfio_device devices[MOST_DEVICES];
    int opened = 0, error = vfio_container_open(&container);
    if (error) return error;

    while (!error && opened < count) {
        error = vfio_device_open(&container, addresses[opened], &devices[opened]);
        if (error) break;
        if (!opened)
            printf("VFIO interface version %d, IOMMU type 1%s; one container for all devices\n",
                   container.api_version, container.iommu_type == VFIO_TYPE1v2_IOMMU ? " version 2" : "");
        error = print_device(&devices[opened++]);
    }
    while (opened--) vfio_device_close(&devices[opened]);
    vfio_container_close(&container);
    return error;
}

int main(int argc, char **argv) {
    char addresses[MOST_DEVICES][PCI_ADDRESS_SIZE] = {DEFAULT_ADDRESS};
    cli_guard_output();
    if (argc > 1 && !strcmp(argv[1], "--help")) {
        printf("usage: probe [ADDRESS]...\nPrints what VFIO knows about PCI devices, at most %d; default %s.\n",
               MOST_DEVICES, DEFAULT_ADDRESS);
        return 0;
    }
    if (argc - 1 > MOST_DEVICES) {
        log_error(-E2BIG, "%d addresses; probe takes at most %d", argc - 1, MOST_DEVICES);
        return 2;
    }
    for (int i = 1; i < argc; i++)
        if (cli_pci_address(argv[i], addresses[i - 1])) return 2;
    if (argc == 1) use_software_nic_if_no_hardware(argv, DEFAULT_ADDRESS, NULL, "cable");
    return probe(addresses, argc > 1 ? argc - 1 : 1) ? 1 : 0;
}
