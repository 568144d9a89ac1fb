// ring.c: making and unmaking a ring, and the packets that are not plain: in several buffers, or with a request to
// the device. What happens to every other packet is in ring.h, where it can be inlined.

#include "ring.h"

#include <errno.h>
#include <stdlib.h>

#include "log.h"

int ring_create(struct dma_space *space, uint32_t size, struct ring *ring) {
    *ring = (struct ring){.size = size};
    if (size < RING_SMALLEST || size > RING_LARGEST || (size & (size - 1)))
        return log_error(-EINVAL, "a ring of %u descriptors; it must be a power of two from %u to %u", size,
                         RING_SMALLEST, RING_LARGEST);
    ring->used = calloc(size, sizeof *ring->used);
    ring->groups = calloc(size, sizeof *ring->groups);
    int error = ring->used && ring->groups ? 0 : log_error(-ENOMEM, "a ring of %u descriptors", size);
    if (!error) error = dma_alloc(space, size * sizeof *ring->descriptors, &ring->memory);
    if (error) {
        ring_destroy(space, ring);
        return error;
    }
    ring->descriptors = ring->memory.virt;
    return 0;
}

void ring_empty(struct ring *ring) {
    while (ring_in_use(ring)) {
        struct ring_group group = ring->groups[ring_slot(ring, ring->head)];
        if (!group.descriptors) group.descriptors = 1;  // an RX ring has no groups
        ring_free_buffers(ring, ring->head + group.contexts, group.descriptors - group.contexts, group.pool);
        ring->head += group.descriptors;
    }
}

void ring_destroy(struct dma_space *space, struct ring *ring) {
    ring_empty(ring);
    dma_free(space, &ring->memory);
    free(ring->used);
    free(ring->groups);
    *ring = (struct ring){0};
}

static struct packet_buffer *next_part(const struct packet_buffer *packet, const struct packet_buffer *part) {
    return packet->request.what & PACKET_CHAINED ? part->next : NULL;
}

// The device keeps the last context of each queue; it is told again only if something has changed.
static bool context_changes(struct ring *ring, const struct tx_format *format, const struct packet_buffer *packet) {
    struct descriptor context;
    if (!format->make_context(packet, &context)) return false;
    if (context.word[0] == ring->context.word[0] && context.word[1] == ring->context.word[1]) return false;
    ring->context = context;
    return true;
}

bool ring_link_rare(struct ring *ring, const struct tx_format *format, struct packet_buffer *packet) {
    uint32_t parts = 0, total = 0;
    for (struct packet_buffer *part = packet; part; part = next_part(packet, part)) {
        parts++;
        total += part->length;
    }
    if (parts + 1 > ring_free(ring)) return false;

    uint32_t first = ring->tail;
    struct ring_group *group = &ring->groups[ring_slot(ring, first)];
    *group = (struct ring_group){.contexts = context_changes(ring, format, packet)};
    if (group->contexts) ring->descriptors[ring_slot(ring, ring->tail++)] = ring->context;
    struct descriptor *last = NULL;
    for (struct packet_buffer *part = packet; part; part = next_part(packet, part)) {
        uint32_t slot = ring_slot(ring, ring->tail++);
        last = &ring->descriptors[slot];
        format->write_part(last, packet, part, total);
        ring->used[slot] = part;
    }
    format->request_report(last);
    group->descriptors = (uint16_t)(ring->tail - first);
    // The buffers are on their own from here on, and have to look like that when they come back to their pools.
    packet->request = (struct packet_request){0};
    return true;
}

// How many descriptors from the head on make up one packet; 0 if its last one is not there yet.
static uint32_t count_parts(const struct ring *ring, const struct rx_format *format, enum rx_state *end) {
    for (uint32_t parts = 0; parts < ring_in_use(ring);) {
        *end = format->state(&ring->descriptors[ring_slot(ring, ring->head + parts++)]);
        if (*end == RX_EMPTY) return 0;
        if (*end != RX_PART) return parts;
    }
    return 0;
}

bool ring_read_rare(struct ring *ring, const struct rx_format *format, struct packet_buffer **packet,
                    uint64_t *broken) {
    enum rx_state end;
    uint32_t parts = count_parts(ring, format, &end), first = ring->head;
    if (!parts) return false;
    barrier_after_read();
    ring->head += parts;
    *packet = NULL;
    if (end == RX_BROKEN) {
        ring_free_buffers(ring, first, parts, NULL);
        __atomic_store_n(broken, *broken + 1, __ATOMIC_RELAXED);  // other threads may look at it
        return true;
    }
    // From the last to the first: what the device found out about the packet is in its last descriptor.
    for (uint32_t i = parts; i-- > 0;) {
        uint32_t slot = ring_slot(ring, first + i);
        struct packet_buffer *part = ring->used[slot];
        format->take(&ring->descriptors[slot], part);
        part->next = *packet;
        if (*packet) {
            part->flags = (*packet)->flags;
            part->vlan = (*packet)->vlan;
            part->rss_hash = (*packet)->rss_hash;
        }
        *packet = part;
    }
    if (parts > 1) (*packet)->request.what = PACKET_CHAINED;
    return true;
}
