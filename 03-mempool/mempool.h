// mempool.h: packet buffers, and the stack of the free ones.
//
// A packet buffer has two halves. Its data slot lies in DMA memory, where the NIC reads and writes. Its description,
// struct packet_buffer, lies in ordinary memory, which the NIC cannot reach: whatever a device writes, the pool's own
// bookkeeping stays whole.
//
// Free buffers are kept on a stack, not in a queue: the one freed last is taken first, and its description and data
// are probably still in the CPU's cache.
//
// A pool belongs to one thread. Two threads use two pools.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "dma.h"

enum {
    MEMPOOL_DEFAULT_COUNT = 2048,
    // Bytes a buffer holds: a multiple of 1024, the unit of SRRCTL.BSIZEPACKET (8.2.3.8.7).
    MEMPOOL_DEFAULT_SIZE = 2048,
};

struct mempool;

// What a packet's sender wants the card to do for it, in `request.what`. Chapter 5 fills this in (offload.h).
enum {
    PACKET_CHAINED = 1 << 0,        // the packet goes on in buffer `next`
    PACKET_IPV4_CHECKSUM = 1 << 1,  // fill in the checksum of the IPv4 header
    PACKET_TCP_CHECKSUM = 1 << 2,   // ... of TCP, UDP or SCTP, of which there can be one
    PACKET_UDP_CHECKSUM = 1 << 3,
    PACKET_SCTP_CHECKSUM = 1 << 4,
    PACKET_SEGMENT = 1 << 5,      // TSO: cut it into TCP segments of `segment_size` bytes
    PACKET_INSERT_VLAN = 1 << 6,  // put a VLAN tag in: `vlan`
};

struct packet_request {
    uint16_t what;
    uint16_t vlan;                 // tag: priority in bits 15:13, VLAN in 11:0
    uint16_t segment_size;         // bytes of TCP payload
    uint16_t l3_length;            // bytes of IP header, with its options or extensions
    uint8_t l2_length, l4_length;  // bytes of Ethernet and TCP header
};

// What the card found out about a packet that it received, in `flags`. The bits are where the 82599 reports them
// (7.1.6.2), so that they are copied and not translated; the driver of another card would have to put them here.
enum {
    PACKET_VLAN_REMOVED = 1 << 3,  // it had a VLAN tag, which is in `vlan` now
    PACKET_L4_CHECKED = 1 << 5,    // the card has computed the checksum of TCP, UDP or SCTP ...
    PACKET_L4_BAD = 1 << 30,       // ... and the packet's own is different; in UDP also if it has none (an erratum)
    PACKET_IPV4_CHECKED = 1 << 6,  // the same for the IPv4 header
    PACKET_IPV4_BAD = 1u << 31,
};

// One cache line: whatever is done with a packet touches one line of description.
struct packet_buffer {
    iova_t iova;                 // of the data, for descriptors
    void *data;                  // of the same data, for the program
    struct mempool *pool;        // where it goes back to
    struct packet_buffer *next;  // with PACKET_CHAINED: where the packet goes on; NULL in its last buffer
    union {
        uint64_t received[2];  // what follows, as the 82599 writes it into a descriptor (7.1.6.2)
        struct {
            uint32_t type;      // of a received packet: what the card took it for (7.1.6.2)
            uint32_t rss_hash;  // of a received packet's addresses and ports, if the card has several RX queues
            uint32_t flags;     // of a received packet: PACKET_VLAN_REMOVED and so on
            uint16_t length;    // bytes of data in use, in this buffer
            uint16_t vlan;      // with PACKET_VLAN_REMOVED: the tag
        };
    };
    uint32_t index;                 // in the pool
    struct packet_request request;  // all zeros in a free buffer, and in a received one that is a whole packet
} __attribute__((aligned(64)));

// `count` (1 to 1048576) buffers of `buffer_size` bytes (a multiple of 1024, up to 16 KiB, as the 82599 counts them).
// All free. 0 or a negative errno after saying what and why.
int mempool_create(struct dma_space *space, uint32_t count, uint32_t buffer_size, struct mempool **pool);
// Buffers that are still out are counted in a warning; using them after this is an error. No device may still use
// any. NULL is fine.
void mempool_destroy(struct mempool *pool);

uint32_t mempool_count(const struct mempool *pool);
uint32_t mempool_free_count(const struct mempool *pool);
uint32_t mempool_buffer_size(const struct mempool *pool);
// Buffer `index` of the pool, free or not: for preparing all of them once, before any is used.
struct packet_buffer *mempool_buffer(struct mempool *pool, uint32_t index);

// Takes up to `count` buffers off the stack and returns how many there were; 0 when the pool is empty. The caller
// owns them until they are freed or given to a ring. They come as they lie on the stack, its top last. Their length
// and data are what they were when last used.
uint32_t mempool_alloc_batch(struct mempool *pool, struct packet_buffer **buffers, uint32_t count);
struct packet_buffer *mempool_alloc(struct mempool *pool);  // NULL: empty

// Gives packets back with all their buffers, each to its own pool. Built with `make DEBUG=1`, a buffer that is
// already free or that is not of the pool is named on standard error and left alone.
void mempool_free_batch(struct packet_buffer *const *packets, uint32_t count);
void mempool_free(struct packet_buffer *packet);
// The same where each is known to be a single buffer without a request; for rings.
void mempool_free_buffers(struct packet_buffer *const *buffers, uint32_t count);
// And where all are known to be of this pool, too: then not one of them is looked at, but in a DEBUG build.
void mempool_free_own(struct mempool *pool, struct packet_buffer *const *buffers, uint32_t count);
