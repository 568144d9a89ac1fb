// ring.h: descriptor rings: how a driver and a device pass packets to each other without ever waiting.
//
// A ring is an array of 16-byte descriptors in DMA memory, used in a circle. Each descriptor belongs to exactly one
// side at a time:
//
//              head              tail
//               v                 v
//     . . . . . D D D D D D D D D . . . . . .        D: the device's    .: the program's
//
// The program fills descriptors at the tail and moves it on (the doorbell). The device follows, and marks what it has
// done with a bit in the descriptor itself, DD, "descriptor done". The program follows with its head. It touches
// nothing between head and tail, but looks for that bit. One slot always stays free: with head and tail equal the
// ring is empty, and a full ring must look different.
//
// Descriptors hold IOVAs, and there is no way back from an IOVA to the buffer's description. So beside the ring, in
// memory of our own, `used` remembers which buffer each descriptor points to.
//
// Some packets ask the device for something, such as a VLAN tag, that their own descriptors have no room for. A
// *context descriptor* in front says it. It has no buffer, and the device remembers it until the next one.
//
// What the bits in a descriptor mean is the device's business, a *format*: a few small functions. The ring functions
// below are inlined into the driver together with its format, so the abstraction is gone in the machine code. Only
// what is rare, a packet in several buffers or one that asks the device for something, is a call into ring.c.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "barrier.h"
#include "dma.h"
#include "mempool.h"

enum {
    RING_SMALLEST = 64,   // entries; room for nearly two batches of 32
    RING_LARGEST = 4096,  // the most that DPDK's driver takes; the registers could count further
    // A device asked to report every single packet would write 16 bytes back for each. One report for the last of 32
    // says the same for all of them.
    RING_REPORT_EVERY = 32,
};

struct descriptor {
    uint64_t word[2];
};

// TX: descriptors whose buffers go back together, when the last of them is reported done.
struct ring_group {
    struct mempool *pool;  // where they go back to; NULL: each may have a pool of its own
    uint16_t descriptors;
    uint16_t contexts;  // of these, how many at the front have no buffer: 1 or 0
};

struct ring {
    struct descriptor *descriptors;  // in DMA memory; written by the owner of each, see above
    struct packet_buffer **used;     // ours alone: the buffer behind each descriptor between head and tail
    struct ring_group *groups;       // ours alone, TX: at the first slot of each group
    uint32_t size;                   // entries, a power of two
    // Both only grow; slot number and free space come from them by masking and subtracting, wrap-around included.
    uint32_t head;  // the oldest descriptor that we have not taken back
    uint32_t tail;  // the next one that we give away; the device knows it as the tail register
    // What follows is rarely needed. A thread that visits many queues finds what is above in one cache line each.
    struct descriptor context;  // ours alone, TX: the last one that the device was told
    struct dma_memory memory;
};

struct tx_format {
    // One whole packet in one buffer, nothing asked for.
    void (*write)(struct descriptor *descriptor, iova_t data, uint32_t length);
    // Wanted: DD in this descriptor, once it and all before it are done.
    void (*request_report)(struct descriptor *descriptor);
    bool (*done)(const struct descriptor *descriptor);
    // What is rare. NULL if nobody ever sends such a packet. First, does the device need to be told something about
    // the packet in a descriptor of its own? Then this makes it, and returns true.
    bool (*make_context)(const struct packet_buffer *packet, struct descriptor *context);
    // One buffer of the packet; `total` bytes in all of them.
    void (*write_part)(struct descriptor *descriptor, const struct packet_buffer *packet,
                       const struct packet_buffer *part, uint32_t total);
};

// RX_EMPTY: no DD yet. RX_PACKET: a whole packet, or the last part of one. RX_PART: more is to come in the next
// descriptor. RX_BROKEN: what comes up to here is no packet for us.
enum rx_state { RX_EMPTY, RX_PACKET, RX_PART, RX_BROKEN };

struct rx_format {
    void (*write)(struct descriptor *descriptor, iova_t data);
    bool (*whole)(const struct descriptor *descriptor);  // is it RX_PACKET, for sure? Nearly always, so this is quick
    enum rx_state (*state)(const struct descriptor *descriptor);
    // Copies what the device says about the packet into its description: the length, at least.
    void (*take)(const struct descriptor *descriptor, struct packet_buffer *buffer);
};

// `size` entries, a power of two from RING_SMALLEST to RING_LARGEST, zeroed; 0 or a negative errno after saying why.
int ring_create(struct dma_space *space, uint32_t size, struct ring *ring);
// Gives the buffers that are still in the ring back to their pools. The device must have stopped.
void ring_empty(struct ring *ring);
// The same, and the ring's memory after them. A ring that is all zero is fine.
void ring_destroy(struct dma_space *space, struct ring *ring);

static inline uint32_t ring_slot(const struct ring *ring, uint32_t position) { return position & (ring->size - 1); }
static inline uint32_t ring_in_use(const struct ring *ring) { return ring->tail - ring->head; }
static inline uint32_t ring_free(const struct ring *ring) { return ring->size - 1 - ring_in_use(ring); }

// How many of `count` slots from `position` on come before the end of the array.
static inline uint32_t ring_until_end(const struct ring *ring, uint32_t position, uint32_t count) {
    uint32_t left = ring->size - ring_slot(ring, position);
    return count < left ? count : left;
}

// Gives the buffers of `count` descriptors from `position` on back to `pool`; NULL: each to its own.
static inline void ring_free_buffers(struct ring *ring, uint32_t position, uint32_t count, struct mempool *pool) {
    while (count) {
        uint32_t straight = ring_until_end(ring, position, count);
        struct packet_buffer *const *buffers = &ring->used[ring_slot(ring, position)];
        if (pool)
            mempool_free_own(pool, buffers, straight);
        else
            mempool_free_buffers(buffers, straight);
        position += straight;
        count -= straight;
    }
}

// Both ends of a ring cost something to look at: a doorbell is a write across the bus, and DD a cache line that the
// device has written. From a quarter of the ring on it is worth it.
static inline bool ring_is_worth_it(const struct ring *ring, uint32_t descriptors) {
    return descriptors >= ring->size / 4;
}

#define RING_INLINE static inline __attribute__((always_inline))

// Batches are worked through eight at a time, and the rest one by one. For the eight, the compiler writes the loop's
// body eight times, and counts once.
enum { RING_BLOCK = 8 };
#define RING_UNROLL _Pragma("GCC unroll 8")

// TX, link, for the packet that asks for something or has several buffers: these make a group of their own. Returns
// false, and has done nothing, if the ring has no room for all of it. In ring.c.
bool ring_link_rare(struct ring *ring, const struct tx_format *format, struct packet_buffer *packet);

// Plain, and of this pool.
RING_INLINE bool ring_all_plain(struct packet_buffer *const *packets, size_t count, const struct mempool *pool) {
    RING_UNROLL for (size_t i = 0; i < count; i++) {
        if (packets[i]->request.what || packets[i]->pool != pool) return false;
    }
    return true;
}

RING_INLINE void ring_write(const struct tx_format *format, struct descriptor *descriptors,
                            struct packet_buffer **used, struct packet_buffer *const *packets, size_t count) {
    RING_UNROLL for (size_t i = 0; i < count; i++) {
        used[i] = packets[i];
        format->write(&descriptors[i], packets[i]->iova, packets[i]->length);
    }
}

// TX, link: writes packets into descriptors from the tail on, as many as fit; returns how many. From here on their
// buffers belong to the ring. The caller rings the doorbell afterwards. A packet of more than size - 2 buffers never
// fits, so it would be waited for in vain. A group ends where another pool begins: now
// the descriptions are at hand, and when the buffers go back they have long left the cache. So packets of many pools
// in turn are reported one by one; those of one pool should stand together.
RING_INLINE uint32_t ring_link(struct ring *ring, const struct tx_format *format,
                               struct packet_buffer *const *packets, uint32_t count) {
    uint32_t linked = 0;
    while (linked < count && ring_free(ring)) {
        uint32_t slot = ring_slot(ring, ring->tail), most = count - linked;
        if (most > ring_free(ring)) most = ring_free(ring);
        if (most > RING_REPORT_EVERY) most = RING_REPORT_EVERY;
        most = ring_until_end(ring, slot, most);
        struct descriptor *descriptors = &ring->descriptors[slot];
        struct packet_buffer **used = &ring->used[slot], *const *group = packets + linked;
        struct mempool *pool = group[0]->pool;
        size_t plain = 0;
        for (; plain + RING_BLOCK <= most && ring_all_plain(group + plain, RING_BLOCK, pool); plain += RING_BLOCK)
            ring_write(format, descriptors + plain, used + plain, group + plain, RING_BLOCK);
        for (; plain < most && ring_all_plain(group + plain, 1, pool); plain++)
            ring_write(format, descriptors + plain, used + plain, group + plain, 1);
        if (plain) {
            format->request_report(&descriptors[plain - 1]);
            ring->groups[slot] = (struct ring_group){.pool = pool, .descriptors = (uint16_t)plain};
            ring->tail += (uint32_t)plain;
            linked += (uint32_t)plain;
        } else if (ring_link_rare(ring, format, *group)) {
            linked++;
        } else {
            break;
        }
    }
    return linked;
}

// TX, clean: where groups have been reported done, their buffers go back to the free stack. Returns how many
// descriptors are free again. Neighbouring groups of one pool go together, up to one that begins with a context.
RING_INLINE uint32_t ring_clean(struct ring *ring, const struct tx_format *format) {
    uint32_t begin = ring->head, end = begin;
    struct mempool *pool = NULL;
    while (end != ring->tail) {
        struct ring_group group = ring->groups[ring_slot(ring, end)];
        if (!format->done(&ring->descriptors[ring_slot(ring, end + group.descriptors - 1)])) break;
        if (group.contexts || group.pool != pool) {
            ring_free_buffers(ring, begin, end - begin, pool);
            begin = end + group.contexts;
            pool = group.pool;
        }
        end += group.descriptors;
    }
    ring_free_buffers(ring, begin, end - begin, pool);
    uint32_t cleaned = end - ring->head;
    ring->head = end;
    return cleaned;
}

RING_INLINE void ring_offer(const struct rx_format *format, struct descriptor *descriptors,
                            struct packet_buffer *const *buffers, size_t count) {
    RING_UNROLL for (size_t i = 0; i < count; i++) format->write(&descriptors[i], buffers[i]->iova);
}

// RX, fill: takes buffers from the pool's free stack and hands them to the device, as many as there are free
// descriptors and free buffers. Returns how many. The caller rings the doorbell afterwards.
RING_INLINE uint32_t ring_fill(struct ring *ring, const struct rx_format *format, struct mempool *pool) {
    uint32_t filled = 0;
    for (uint32_t wanted; (wanted = ring_free(ring));) {
        uint32_t slot = ring_slot(ring, ring->tail);
        uint32_t got = mempool_alloc_batch(pool, &ring->used[slot], ring_until_end(ring, slot, wanted));
        if (!got) break;
        struct descriptor *descriptors = &ring->descriptors[slot];
        struct packet_buffer **used = &ring->used[slot];
        size_t written = 0;
        for (; written + RING_BLOCK <= got; written += RING_BLOCK)
            ring_offer(format, descriptors + written, used + written, RING_BLOCK);
        for (; written < got; written++) ring_offer(format, descriptors + written, used + written, 1);
        ring->tail += got;
        filled += got;
    }
    return filled;
}

// RX, read, for whatever is not a whole packet in one descriptor: puts the packet that begins at the head together,
// if all of it is there, or drops it and counts it in *broken. Returns false if there is nothing to take yet;
// otherwise *packet is the packet, or NULL for a broken one. In ring.c.
bool ring_read_rare(struct ring *ring, const struct rx_format *format, struct packet_buffer **packet,
                    uint64_t *broken);

RING_INLINE bool ring_all_whole(const struct rx_format *format, const struct descriptor *descriptors, size_t count) {
    RING_UNROLL for (size_t i = 0; i < count; i++) if (!format->whole(&descriptors[i])) return false;
    return true;
}

RING_INLINE void ring_take(const struct rx_format *format, const struct descriptor *descriptors,
                           struct packet_buffer *const *used, struct packet_buffer **packets, size_t count) {
    barrier_after_read();
    RING_UNROLL for (size_t i = 0; i < count; i++) {
        struct packet_buffer *packet = used[i];
        packets[i] = packet;
        format->take(&descriptors[i], packet);
    }
}

// RX, read: hands up to `count` received packets to the caller, who owns their buffers from here on and releases them
// with mempool_free_batch. What is broken goes straight back to its pool and is counted in *broken.
RING_INLINE uint32_t ring_read(struct ring *ring, const struct rx_format *format, struct packet_buffer **packets,
                               uint32_t count, uint64_t *broken) {
    uint32_t read = 0;
    while (read < count && ring_in_use(ring)) {
        uint32_t slot = ring_slot(ring, ring->head), most = count - read;
        if (most > ring_in_use(ring)) most = ring_in_use(ring);
        most = ring_until_end(ring, slot, most);
        const struct descriptor *descriptors = &ring->descriptors[slot];
        struct packet_buffer **used = &ring->used[slot], **out = packets + read, *packet;
        size_t whole = 0;
        for (; whole + RING_BLOCK <= most && ring_all_whole(format, descriptors + whole, RING_BLOCK);
             whole += RING_BLOCK)
            ring_take(format, descriptors + whole, used + whole, out + whole, RING_BLOCK);
        for (; whole < most && ring_all_whole(format, descriptors + whole, 1); whole++)
            ring_take(format, descriptors + whole, used + whole, out + whole, 1);
        ring->head += (uint32_t)whole;
        read += (uint32_t)whole;
        if (whole) continue;
        if (!ring_read_rare(ring, format, &packet, broken)) break;
        if (packet) packets[read++] = packet;
    }
    return read;
}
