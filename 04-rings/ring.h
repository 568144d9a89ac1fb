// ring.h: descriptor rings: how a driver and a device pass packets to each other without ever waiting.
//
// A ring is an array of 16-byte descriptors in DMA memory, used in a circle. Each descriptor belongs to exactly one
// side at a time:
//
//              head              tail
//               v                 v
//     . . . . . D D D D D D D D D . . . . . .        D: the device's    .: the program's
//
// The program fills descriptors at the tail and moves it on (the doorbell). The device works from the head on and
// marks what it has done with a bit in the descriptor itself, DD, "descriptor done". The program follows with its
// head. Between head and tail nothing is touched except that bit being looked at. One slot always stays free: with
// head and tail equal the ring is empty, and a full ring must look different.
//
// Descriptors hold IOVAs, and there is no way back from an IOVA to the buffer's description. So beside the ring, in
// memory of our own, `used` remembers which buffer each descriptor points to.
//
// What the bits in a descriptor mean is the device's business, a *format*: five small functions. The ring functions
// below are inlined into the driver together with its format, so the abstraction is gone in the machine code.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "barrier.h"
#include "dma.h"
#include "mempool.h"

enum {
    RING_SMALLEST = 64,  // entries; room for two batches
    RING_LARGEST = 4096,
    // A device asked to report every single packet would write 16 bytes back for each. One report for the last of 32
    // says the same for all of them.
    RING_REPORT_EVERY = 32,
    RING_REFILL = 32,  // how many empty descriptors are worth a doorbell
};

struct descriptor {
    uint64_t word[2];
};

struct ring {
    struct dma_memory memory;
    struct descriptor *descriptors;  // in DMA memory; written by the owner of each, see above
    struct packet_buffer **used;     // ours alone: the buffer behind each descriptor between head and tail
    uint32_t *report;  // ours alone, TX: at the first slot of a group, the slot that will report for all
    uint32_t size;     // entries, a power of two
    // Both only grow; slot number and free space come from them by masking and subtracting, wrap-around included.
    uint32_t head;  // the oldest descriptor that we have not taken back
    uint32_t tail;  // the next one that we give away; the device knows it as the tail register
};

struct tx_format {
    // One whole packet.
    void (*write)(struct descriptor *descriptor, iova_t data, uint32_t length);
    // Wanted: DD in this descriptor, once it and all before it are done.
    void (*request_report)(struct descriptor *descriptor);
    bool (*done)(const struct descriptor *descriptor);
};

enum rx_state { RX_EMPTY, RX_PACKET, RX_BROKEN };

struct rx_format {
    void (*write)(struct descriptor *descriptor, iova_t data);
    // RX_EMPTY: no DD yet. RX_PACKET: a whole packet of *length bytes. RX_BROKEN: something that is no packet for us.
    enum rx_state (*read)(const struct descriptor *descriptor, uint32_t *length);
};

// `size` entries, a power of two from RING_SMALLEST to RING_LARGEST, zeroed; 0 or a negative errno after saying why.
int ring_create(struct dma_space *space, uint32_t size, struct ring *ring);
// Gives the buffers that are still in the ring back to their pools. The device must have stopped.
void ring_destroy(struct dma_space *space, struct ring *ring);

static inline uint32_t ring_slot(const struct ring *ring, uint32_t position) { return position & (ring->size - 1); }
static inline uint32_t ring_in_use(const struct ring *ring) { return ring->tail - ring->head; }
static inline uint32_t ring_free(const struct ring *ring) { return ring->size - 1 - ring_in_use(ring); }

// How many of `count` slots from `position` on come before the end of the array.
static inline uint32_t ring_until_end(const struct ring *ring, uint32_t position, uint32_t count) {
    uint32_t left = ring->size - ring_slot(ring, position);
    return count < left ? count : left;
}

// The functions below work on copies of the ring's fields. Through the pointer, the compiler would have to load them
// again after every store to a descriptor, since it cannot know that a descriptor is not the ring itself.

#define RING_INLINE static inline __attribute__((always_inline))

// TX, link: writes packets into descriptors from the tail on, as many as fit; returns how many. From here on their
// buffers belong to the ring. The caller rings the doorbell afterwards.
RING_INLINE uint32_t ring_link(struct ring *ring, const struct tx_format *format,
                               struct packet_buffer *const *buffers, uint32_t count) {
    struct descriptor *descriptors = ring->descriptors;
    struct packet_buffer **used = ring->used;
    uint32_t mask = ring->size - 1, tail = ring->tail, room = ring_free(ring);
    if (count > room) count = room;
    for (uint32_t linked = 0, group; linked < count; linked += group) {
        group = count - linked < RING_REPORT_EVERY ? count - linked : RING_REPORT_EVERY;
        uint32_t last = (tail + group - 1) & mask;
        ring->report[tail & mask] = last;
        for (uint32_t i = 0; i < group; i++, tail++) {
            struct packet_buffer *buffer = buffers[linked + i];
            used[tail & mask] = buffer;
            format->write(&descriptors[tail & mask], buffer->iova, buffer->length);
        }
        format->request_report(&descriptors[last]);
    }
    ring->tail = tail;
    return count;
}

// TX, clean: where a group has been reported done, its buffers go back to the free stack. Returns how many.
RING_INLINE uint32_t ring_clean(struct ring *ring, const struct tx_format *format) {
    uint32_t cleaned = 0;
    while (ring_in_use(ring)) {
        uint32_t first = ring_slot(ring, ring->head), last = ring->report[first];
        if (!format->done(&ring->descriptors[last])) break;
        uint32_t group = ring_slot(ring, last - first) + 1, straight = ring_until_end(ring, first, group);
        mempool_free_batch(&ring->used[first], straight);
        if (group > straight) mempool_free_batch(ring->used, group - straight);
        ring->head += group;
        cleaned += group;
    }
    return cleaned;
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
        for (uint32_t i = 0; i < got; i++) format->write(&descriptors[i], used[i]->iova);
        ring->tail += got;
        filled += got;
    }
    return filled;
}

// RX, read: hands up to `count` received packets to the caller, who owns their buffers from here on and releases them
// with mempool_free_batch. What is broken goes straight back to its pool and is counted in *broken.
RING_INLINE uint32_t ring_read(struct ring *ring, const struct rx_format *format, struct packet_buffer **buffers,
                               uint32_t count, uint64_t *broken) {
    const struct descriptor *descriptors = ring->descriptors;
    struct packet_buffer **used = ring->used;
    uint32_t mask = ring->size - 1, head = ring->head, tail = ring->tail, packets = 0, length;
    for (; packets < count && head != tail; head++) {
        struct packet_buffer *buffer = used[head & mask];
        enum rx_state state = format->read(&descriptors[head & mask], &length);
        if (state == RX_EMPTY) break;
        if (__builtin_expect(state == RX_BROKEN, 0)) {
            mempool_free(buffer);
            ++*broken;
            continue;
        }
        buffer->length = length;
        buffers[packets++] = buffer;
    }
    ring->head = head;
    barrier_after_done();
    return packets;
}
