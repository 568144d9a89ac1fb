// nic.c: finds the driver for a card, by what its configuration space says it is.

#include "nic.h"

#include <errno.h>
#include <linux/pci_regs.h>

#include "clock.h"
#include "ixgbe.h"
#include "log.h"

static const struct driver {
    const char *what;
    uint16_t vendor, device;
    int (*open)(struct dma_space *space, const struct vfio_device *device, const struct nic_config *config,
                struct nic **nic);
} drivers[] = {
    {"the Intel 82599 (8086:10fb)", IXGBE_VENDOR_ID, IXGBE_DEVICE_ID, ixgbe_open},
};

static const struct nic_config defaults = {.rx_queues = 1,
                                           .tx_queues = 1,
                                           .rx_ring_size = 512,
                                           .tx_ring_size = 512,
                                           .rx_buffers = MEMPOOL_DEFAULT_COUNT,
                                           .max_frame = NIC_DEFAULT_FRAME};

static struct nic_config with_defaults(const struct nic_config *wanted) {
    struct nic_config config = wanted ? *wanted : defaults;
    if (!config.rx_queues) config.rx_queues = defaults.rx_queues;
    if (!config.tx_queues) config.tx_queues = defaults.tx_queues;
    if (!config.rx_ring_size) config.rx_ring_size = defaults.rx_ring_size;
    if (!config.tx_ring_size) config.tx_ring_size = defaults.tx_ring_size;
    if (!config.rx_buffers) config.rx_buffers = defaults.rx_buffers;
    if (!config.max_frame) config.max_frame = defaults.max_frame;
    return config;
}

static const struct driver *find_driver(const struct vfio_device *device, int *error) {
    uint16_t id[2];
    *error = vfio_config_read(device, PCI_VENDOR_ID, id, sizeof id);
    if (*error) return NULL;
    if (id[0] == 0xffff) {
        *error = log_error(-ENODEV, "%s: its configuration space reads as all ones; the card does not answer",
                           device->address);
        return NULL;
    }
    for (size_t i = 0; i < sizeof drivers / sizeof *drivers; i++)
        if (drivers[i].vendor == id[0] && drivers[i].device == id[1]) return &drivers[i];
    *error = log_error(-ENODEV, "%s is a %04x:%04x, and no driver here is for that; there is one for %s",
                       device->address, id[0], id[1], drivers[0].what);
    return NULL;
}

int nic_host_open(struct nic_host *host) {
    *host = (struct nic_host){0};
    return vfio_container_open(&host->container);
}

void nic_host_close(struct nic_host *host) {
    dma_space_close(&host->space);
    vfio_container_close(&host->container);
}

int nic_open(struct nic_host *host, const char *address, const struct nic_config *wanted, struct nic **nic) {
    struct nic_config config = with_defaults(wanted);
    struct vfio_device device;
    int error = vfio_device_open(&host->container, address, &device);
    if (error) return error;
    if (!host->space.container) error = dma_space_open(&host->space, &host->container);
    const struct driver *driver = error ? NULL : find_driver(&device, &error);
    if (driver) error = driver->open(&host->space, &device, &config, nic);
    if (error) vfio_device_close(&device);
    return error;
}

void nic_close(struct nic *nic) {
    if (nic) nic->ops->close(nic);
}

// A read that the IOMMU refuses is answered with an error, and every PCI device notes in its status register that it
// got one (9.3.4: received master abort, received target abort). A write gets no answer, so of a refused one only the
// IOMMU knows. VFIO lets nobody clear these bits, but resets the card each time that a program opens it.
int nic_check(const struct nic *nic) {
    uint16_t status;
    int error = vfio_config_read(&nic->device, PCI_STATUS, &status, sizeof status);
    if (error) return error;
    if (status == 0xffff)
        return log_error(-ENODEV, "%s: its configuration space reads as all ones; the card does not answer any more",
                         nic->device.address);
    if (!(status & (PCI_STATUS_REC_MASTER_ABORT | PCI_STATUS_REC_TARGET_ABORT))) return 0;
    return log_error(
        -EFAULT,
        "%s: the IOMMU refused a read by the card (PCI status 0x%04x), and a queue has stopped. The IOVA "
        "of a ring or of a packet buffer is not mapped; look for \"DMAR\" or \"AMD-Vi\" in dmesg, which "
        "tells the address",
        nic->device.address, status);
}

uint32_t nic_wait_for_link(const struct nic *nic, uint32_t timeout_ms, bool (*give_up)(void)) {
    uint64_t deadline = clock_ns() + timeout_ms * 1000000ull;
    for (;;) {
        bool late = clock_ns() >= deadline || (give_up && give_up());  // before the look, so that one always follows
        uint32_t mbit = nic_link_mbit(nic);
        if (mbit || late) return mbit;
        sleep_us(1000);
    }
}
