// ring.c: making and unmaking a ring. All that happens per packet is in ring.h, where it can be inlined.

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
    ring->report = calloc(size, sizeof *ring->report);
    int error = ring->used && ring->report ? 0 : log_error(-ENOMEM, "a ring of %u descriptors", size);
    if (!error) error = dma_alloc(space, size * sizeof *ring->descriptors, &ring->memory);
    if (error) {
        ring_destroy(space, ring);
        return error;
    }
    ring->descriptors = ring->memory.virt;
    return 0;
}

void ring_destroy(struct dma_space *space, struct ring *ring) {
    for (; ring_in_use(ring); ring->head++) mempool_free(ring->used[ring_slot(ring, ring->head)]);
    dma_free(space, &ring->memory);
    free(ring->used);
    free(ring->report);
    *ring = (struct ring){0};
}
