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

enum {
    NIC_DEFAULT_FRAME = 1514,  // bytes, without CRC and VLAN tag
    NIC_LARGEST_FRAME = 9724,  // jumbo frames: 9.5 KiB with CRC
    NIC_RSS_KEY_SIZE = 40,     // bytes
    NIC_RSS_TABLE_SIZE = 128,  // entries
};

// What an application wants of a card; zero means the default.
struct nic_config {
    uint32_t rx_queues, tx_queues;        // default 1
    uint32_t rx_ring_size, tx_ring_size;  // descriptors, a power of two from 64 to 4096; default 512
    uint32_t rx_buffers;  // of each RX queue's pool: for its ring, and for what you keep; default 2048
    uint32_t max_frame;   // longest to receive, in bytes without CRC and VLAN tag; default 1514, the least
    bool remove_vlan;     // take VLAN tags out of received packets, see PACKET_VLAN_REMOVED
    // What happens to a packet whose RX queue is full because nobody empties it. Off: it waits in the card, and all
    // behind it, whatever their queue; if that lasts, the card asks its partner to pause. On: it is dropped.
    bool drop_when_full;
};

// Since the card was opened. Bytes count whole frames with their CRC, as the card does.
struct nic_stats {
    uint64_t rx_packets;  // good frames that the card took in, those of drop_when_full included
    uint64_t rx_bytes;    // of these and of all that were missed
    uint64_t tx_packets, tx_bytes;
    uint64_t rx_missed;  // good frames that found no room, because nobody took packets out in time
    uint64_t rx_errors;  // frames that arrived damaged, or that the driver could make nothing of
};

// One of all the counters, by the name that `ethtool -S` has for it.
struct nic_counter {
    char name[32];
    uint64_t value;
};

// Which packets to steer to a queue. Of the two kinds, only one is looked at.
struct nic_flow {
    uint16_t ether_type;  // not 0: all frames of this Ethernet type, from 0x0600 on, but not IPv4 and IPv6
    // Otherwise, packets of IPv4 that match all that is not 0. Numbers as one writes them: 10.0.0.1 is 0x0a000001.
    uint8_t protocol;  // 6 TCP, 17 UDP, 132 SCTP; 0: any
    uint32_t source, destination;
    uint16_t source_port, destination_port;
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
    uint32_t (*read_counters)(struct nic *nic, struct nic_counter *counters, uint32_t most);
    int (*add_address)(struct nic *nic, const uint8_t address[6]);
    void (*set_allmulticast)(struct nic *nic, bool on);
    int (*set_vlan)(struct nic *nic, uint32_t id, bool on);
    int (*set_rss)(struct nic *nic, const uint8_t *key, const uint8_t *table);
    int (*steer)(struct nic *nic, const struct nic_flow *flow, uint32_t queue);
    void (*get_pause)(const struct nic *nic, bool *sends, bool *obeys);
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

// Queues up to `count` packets for sending, of 17 bytes and more without CRC (7.2.3.2.4), and returns how many the
// ring had room for. Those belong to the card, and their buffers return to their pools once they are sent; the rest
// stays with the caller. A packet may lie in several buffers, up to 38 (7.2.1.1), and may ask the card for something:
// offload.h. A call also takes back what has been sent, so a call with count 0 does only that.
static inline uint32_t nic_transmit(struct nic *nic, uint32_t queue, struct packet_buffer *const *buffers,
                                    uint32_t count) {
    return nic->ops->transmit(nic, queue, buffers, count);
}

// The card's own counters. They are narrow and clear when read: at 10 Gbit/s, that of the bytes is full after 55
// seconds. So call this at least twice a minute while packets flow.
static inline void nic_read_stats(struct nic *nic, struct nic_stats *stats) { nic->ops->read_stats(nic, stats); }

// All that the card and the driver count, into up to `most` places; returns how many there are. The same counters as
// in nic_read_stats, so the two can be mixed.
static inline uint32_t nic_read_counters(struct nic *nic, struct nic_counter *counters, uint32_t most) {
    return nic->ops->read_counters(nic, counters, most);
}

static inline void nic_get_mac(const struct nic *nic, uint8_t mac[6]) { nic->ops->get_mac(nic, mac); }
// -EINVAL for a multicast address or all zeros. Lasts until the card is reset.
static inline int nic_set_mac(struct nic *nic, const uint8_t mac[6]) { return nic->ops->set_mac(nic, mac); }

// On: every frame is received, of every VLAN. Off (after open): those to the card's own address, and what the
// functions below ask for; and broadcasts.
static inline void nic_set_promiscuous(struct nic *nic, bool on) { nic->ops->set_promiscuous(nic, on); }

// Receive frames to this address too, multicast or not. -ENOSPC: the card has no room for one more; think of
// promiscuous mode. Multicast addresses are only hashed, so a few that nobody asked for come along (7.1.1.2).
static inline int nic_add_address(struct nic *nic, const uint8_t address[6]) {
    return nic->ops->add_address(nic, address);
}
// On: receive every multicast frame.
static inline void nic_set_allmulticast(struct nic *nic, bool on) { nic->ops->set_allmulticast(nic, on); }

// Receive tagged frames of VLAN `id`, 0 to 4095, or no more. Before the first call all VLANs are received, after it
// only those that were switched on; frames without a tag always. -EINVAL for other ids.
static inline int nic_set_vlan(struct nic *nic, uint32_t id, bool on) { return nic->ops->set_vlan(nic, id, on); }

// How packets are spread over the RX queues (RSS, 7.1.2.8): a hash over addresses and ports, with `key` of
// NIC_RSS_KEY_SIZE bytes, picks one of NIC_RSS_TABLE_SIZE entries of `table`, and that names the queue. NULL leaves
// either as it is. -EINVAL: a queue that does not exist, or there is only one. The hash is in the packet's rss_hash.
static inline int nic_set_rss(struct nic *nic, const uint8_t *key, const uint8_t *table) {
    return nic->ops->set_rss(nic, key, table);
}

// Sends all packets of `flow` to RX queue `queue`, past RSS. Flows that were named earlier come first; all from the
// seventh on are equals, and should not overlap. -EINVAL: no such queue, or a flow that the card cannot tell from
// others; -ENOSPC: it has no room for more.
static inline int nic_steer(struct nic *nic, const struct nic_flow *flow, uint32_t queue) {
    return nic->ops->steer(nic, flow, queue);
}

// Flow control (3.7.7): does the card ask its partner to pause, and does it pause when asked?
static inline void nic_get_pause(const struct nic *nic, bool *sends, bool *obeys) {
    nic->ops->get_pause(nic, sends, obeys);
}

// Is the card still there, and has it been refused nothing? 0; -ENODEV if it does not answer any more; -EFAULT if the
// IOMMU has refused it a read, which stops the queue that wanted it. Says so, and what to do. For once a second or
// so: a card that has stopped looks like one that has nothing to do.
int nic_check(const struct nic *nic);

// 0: no link; otherwise its speed in Mbit/s.
static inline uint32_t nic_link_mbit(const struct nic *nic) { return nic->ops->link_mbit(nic); }

// Waits until the link is up. The speed in Mbit/s; 0 if it did not come up in time, which is no error: the other end
// may be switched off. Looks at `give_up` meanwhile, unless it is NULL, and then stops waiting.
uint32_t nic_wait_for_link(const struct nic *nic, uint32_t timeout_ms, bool (*give_up)(void));
