// nic.h: a network card, whatever its make: what an application sees of a driver.
//
// The calls that matter move batches of packets: a function call, a doorbell and a cache miss cost the same for 32
// packets as for one. A second family of cards is a second struct nic_ops and a line in nic.c.
//
// One thread may use one queue; two threads need two queues. All else here is for one thread at a time.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "dma.h"
#include "mempool.h"
#include "vfio.h"

// What an application wants of a card; zero means the default.
struct nic_config {
    uint32_t rx_queues, tx_queues;        // default 1
    uint32_t rx_ring_size, tx_ring_size;  // descriptors, a power of two from 64 to 4096; default 512
    uint32_t rx_buffers;                  // of each RX queue's packet pool; default 2048
};

// Since the card was opened. Bytes count whole frames with their CRC, as the card does.
struct nic_stats {
    uint64_t rx_packets, rx_bytes;
    uint64_t tx_packets, tx_bytes;
    uint64_t rx_missed;  // good frames that found no room, because nobody took packets out in time
    uint64_t rx_errors;  // frames that arrived damaged, or that the driver could make nothing of
};

struct nic;

struct nic_ops {
    const char *name;
    uint32_t (*receive)(struct nic *nic, uint32_t queue, struct packet_buffer **buffers, uint32_t count);
    uint32_t (*transmit)(struct nic *nic, uint32_t queue, struct packet_buffer *const *buffers, uint32_t count);
    void (*read_stats)(struct nic *nic, struct nic_stats *stats);
    void (*get_mac)(const struct nic *nic, uint8_t mac[6]);
    int (*set_mac)(struct nic *nic, const uint8_t mac[6]);
    void (*set_promiscuous)(struct nic *nic, bool on);
    uint32_t (*link_mbit)(const struct nic *nic);
    struct mempool *(*rx_pool)(struct nic *nic, uint32_t queue);
    void (*stop)(struct nic *nic);
    void (*close)(struct nic *nic);
};

struct nic {
    const struct nic_ops *ops;
    struct vfio_device device;
    struct dma_space *space;
    uint32_t rx_queues, tx_queues;
};

// What all cards of a program share: one container with one IOVA space, so that a buffer received on one card can be
// sent on another as it is.
struct nic_host {
    struct vfio_container container;
    struct dma_space space;  // to be used from the first nic_open on; before it, there is no IOMMU to ask
};

int nic_host_open(struct nic_host *host);
void nic_host_close(struct nic_host *host);  // after all its cards, pools and memory

// Takes the card at `address` (0000:04:00.0) into use: reset, set up, receiving and sending. `config` may be NULL. 0
// or a negative errno, after saying what failed. The caller closes it with nic_close.
int nic_open(struct nic_host *host, const char *address, const struct nic_config *config, struct nic **nic);

// Stops all DMA, returns every buffer that is still in a ring to its pool, resets the card and gives it back. NULL is
// fine. Buffers that the application received must have been freed before; and if it has sent them on another card,
// that one must have been stopped or closed before, since its TX ring may still hold some.
void nic_close(struct nic *nic);

// The first half of nic_close: ends all DMA and empties the rings. Only nic_rx_pool and nic_close may follow. For two
// cards that send each other's buffers: stop both, then close both.
static inline void nic_stop(struct nic *nic) { nic->ops->stop(nic); }

// Where the packets of an RX queue come from and return to. It is the card's, and goes with it. Who takes buffers out
// must be the thread that uses the queue.
static inline struct mempool *nic_rx_pool(struct nic *nic, uint32_t queue) { return nic->ops->rx_pool(nic, queue); }

// Up to `count` packets that have arrived on `queue`, without waiting. The caller owns the buffers, and gives them
// back with mempool_free_batch, or sends them on, on any card of the same container.
static inline uint32_t nic_receive(struct nic *nic, uint32_t queue, struct packet_buffer **buffers, uint32_t count) {
    return nic->ops->receive(nic, queue, buffers, count);
}

// Queues up to `count` packets for sending, each in one buffer, 14 to 1518 bytes without CRC, and returns how many
// the ring had room for. Those belong to the card, and return to their pools once they are sent; the rest stays with
// the caller. A call also takes back what has been sent, so a call with count 0 does only that.
static inline uint32_t nic_transmit(struct nic *nic, uint32_t queue, struct packet_buffer *const *buffers,
                                    uint32_t count) {
    return nic->ops->transmit(nic, queue, buffers, count);
}

// The card's own counters. They are narrow and clear when read: call this at least once a minute while packets flow.
static inline void nic_read_stats(struct nic *nic, struct nic_stats *stats) { nic->ops->read_stats(nic, stats); }

static inline void nic_get_mac(const struct nic *nic, uint8_t mac[6]) { nic->ops->get_mac(nic, mac); }
// -EINVAL for a multicast address or all zeros. Lasts until the card is reset.
static inline int nic_set_mac(struct nic *nic, const uint8_t mac[6]) { return nic->ops->set_mac(nic, mac); }

// On: every frame is received. Off (after open): those to the card's own address and broadcasts.
static inline void nic_set_promiscuous(struct nic *nic, bool on) { nic->ops->set_promiscuous(nic, on); }

// Is the card still there, and has it been refused nothing? 0; -ENODEV if it does not answer any more; -EFAULT if the
// IOMMU has refused it a read, which stops the queue that wanted it. Says so, and what to do. For once a second or
// so: a card that has stopped looks like one that has nothing to do.
int nic_check(const struct nic *nic);

// 0: no link; otherwise its speed in Mbit/s.
static inline uint32_t nic_link_mbit(const struct nic *nic) { return nic->ops->link_mbit(nic); }

// Waits until the link is up. The speed in Mbit/s; 0 if it did not come up in time, which is no error: the other end
// may be switched off.
uint32_t nic_wait_for_link(const struct nic *nic, uint32_t timeout_ms);
