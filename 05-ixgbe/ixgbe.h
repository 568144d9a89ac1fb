// ixgbe.h: the 82599 behind nic.h, for the files that need to see it: ixgbe*.c here, and in chapter 6.
#pragma once

#include "ixgbe_regs.h"
#include "mmio.h"
#include "nic.h"
#include "ring.h"

enum { IXGBE_MOST_QUEUES = 16 };  // as many as RSS can spread packets over (7.1.2.8)

static const uint32_t IXGBE_GONE = 0xffffffff;  // what every register of a card that was pulled out reads as

// A thread has a queue to itself, and so it has cache lines: nothing that one thread writes shares one with
// another's.
struct ixgbe_rx_queue {
    uint64_t packets;
    struct mempool *pool;
    struct ring ring;
    uint64_t broken;
} __attribute__((aligned(64)));

struct ixgbe_tx_queue {
    uint64_t packets;
    struct ring ring;
} __attribute__((aligned(64)));

// In the order in which they are read. What is taken off another counter is read before that one: the PAUSE frames
// that the card sends and counts among its packets, and the frames that it receives and then loses. One that comes
// between the two readings counts as a packet until the next time. In the other order it would be a packet too few,
// and a count could go back.
enum ixgbe_counter {
    IXGBE_TX_XON,
    IXGBE_TX_XOFF,
    IXGBE_RX_MISSED,
    IXGBE_RX_PACKETS,
    IXGBE_TX_PACKETS,
    IXGBE_RX_BYTES,
    IXGBE_TX_BYTES,
    IXGBE_RX_MULTICAST,
    IXGBE_RX_BROADCAST,
    IXGBE_RX_NO_DESCRIPTOR,
    IXGBE_RX_CRC_ERRORS,
    IXGBE_RX_LENGTH_ERRORS,
    IXGBE_RX_TOO_LONG,
    IXGBE_RX_TOO_SHORT,
    IXGBE_RX_CHECKSUM_ERRORS,
    IXGBE_RX_XON,
    IXGBE_RX_XOFF,
    IXGBE_COUNTERS
};

struct ixgbe {
    struct nic nic;  // first, so that a pointer to one is a pointer to the other
    void *bar;
    size_t bar_size;
    uint32_t max_frame;
    bool remove_vlan, drop_when_full;
    bool promiscuous, allmulticast, filters_vlans;
    bool stopped;
    uint32_t addresses, ether_filters, flow_filters;  // how many of each are in use
    uint64_t totals[IXGBE_COUNTERS];
    struct ixgbe_rx_queue rx[IXGBE_MOST_QUEUES];
    struct ixgbe_tx_queue tx[IXGBE_MOST_QUEUES];
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

// Writes to the card are posted: the processor goes on while they are still on their way. A read of any register
// comes back only after all writes before it have arrived, and then nothing that follows is read before it.
static inline void ixgbe_flush(const struct ixgbe *ixgbe) {
    ixgbe_read(ixgbe, IXGBE_STATUS);
    barrier_after_read();
}

// Takes over `*device` (bus mastering, BAR0) and brings the card up. On failure the device is still the caller's.
int ixgbe_open(struct dma_space *space, const struct vfio_device *device, const struct nic_config *config,
               struct nic **nic);

// In ixgbe_filter.c. The ones with struct nic are the functions of nic.h.
void ixgbe_reset_filters(struct ixgbe *ixgbe);
void ixgbe_start_rss(struct ixgbe *ixgbe);
void ixgbe_get_mac(const struct nic *nic, uint8_t mac[6]);
int ixgbe_set_mac(struct nic *nic, const uint8_t mac[6]);
int ixgbe_add_address(struct nic *nic, const uint8_t address[6]);
void ixgbe_set_promiscuous(struct nic *nic, bool on);
void ixgbe_set_allmulticast(struct nic *nic, bool on);
int ixgbe_set_vlan(struct nic *nic, uint32_t id, bool on);
int ixgbe_set_rss(struct nic *nic, const uint8_t *key, const uint8_t *table);
int ixgbe_steer(struct nic *nic, const struct nic_flow *flow, uint32_t queue);

// In ixgbe_stats.c.
void ixgbe_accumulate_counters(struct ixgbe *ixgbe);
void ixgbe_read_stats(struct nic *nic, struct nic_stats *stats);
uint32_t ixgbe_read_counters(struct nic *nic, struct nic_counter *counters, uint32_t most);
