// ixgbe.h: the 82599 behind nic.h, for the files that need to see it: ixgbe.c here, and its interrupts in chapter 6.
#pragma once

#include "ixgbe_regs.h"
#include "mmio.h"
#include "nic.h"
#include "ring.h"

enum { IXGBE_MOST_QUEUES = 16 };  // as many as RSS can spread packets over (7.1.2.8)

struct ixgbe_rx_queue {
    struct ring ring;
    struct mempool *pool;
};

struct ixgbe {
    struct nic nic;  // first, so that a pointer to one is a pointer to the other
    void *bar;
    size_t bar_size;
    struct ixgbe_rx_queue rx[IXGBE_MOST_QUEUES];
    struct ring tx[IXGBE_MOST_QUEUES];
    bool stopped;
    struct nic_stats stats;  // the sum of all readings so far, and what the driver itself could make nothing of
};

// Registers by row name: ixgbe_read(ixgbe, IXGBE_CTRL).
static inline uint32_t ixgbe_read(const struct ixgbe *ixgbe, uint32_t reg) { return mmio_read32(ixgbe->bar, reg); }
static inline void ixgbe_write(struct ixgbe *ixgbe, uint32_t reg, uint32_t value) {
    mmio_write32(ixgbe->bar, reg, value);
}
static inline void ixgbe_set(struct ixgbe *ixgbe, uint32_t reg, uint32_t bits) {
    ixgbe_write(ixgbe, reg, ixgbe_read(ixgbe, reg) | bits);
}
static inline void ixgbe_clear(struct ixgbe *ixgbe, uint32_t reg, uint32_t bits) {
    ixgbe_write(ixgbe, reg, ixgbe_read(ixgbe, reg) & ~bits);
}

// Takes over `*device` (bus mastering, BAR0) and brings the card up. On failure the device is still the caller's.
int ixgbe_open(struct dma_space *space, const struct vfio_device *device, const struct nic_config *config,
               struct nic **nic);
