// mempool.c: the stack is an array of pointers and a count, so that taking or giving back a batch is one copy.

#include "mempool.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"

struct mempool {
    struct packet_buffer **free_stack;  // the free ones are [0, free_count)
    uint32_t free_count;
    uint32_t count;
    uint32_t buffer_size;
    struct packet_buffer *buffers;
    struct dma_space *space;
    struct dma_memory memory;
#ifdef DEBUG
    bool *is_free;  // by index
#endif
};

enum {
    CACHE_LINE = 64,
    // Slots are laid out 2112 and not 2048 bytes apart. The CPU's first cache picks the set for a line by address
    // bits 6 to 11; slots at multiples of 2 KiB would all put their first line, the only one that small packets have,
    // into one of two sets, and throw each other out. One line further each time, they go through all the sets.
    SLOT_PADDING = CACHE_LINE,
};

static int check_size(uint32_t count, uint32_t buffer_size) {
    if (!count || count > 1u << 20)
        return log_error(-EINVAL, "a pool of %u buffers; there can be 1 to %u", count, 1u << 20);
    if (!buffer_size || buffer_size % 1024 || buffer_size > 16 * 1024)
        return log_error(-EINVAL, "buffers of %u bytes; the 82599 needs a multiple of 1024, at most 16384",
                         buffer_size);
    return 0;
}

int mempool_create(struct dma_space *space, uint32_t count, uint32_t buffer_size, struct mempool **created) {
    int error = check_size(count, buffer_size);
    if (error) return error;

    struct mempool *pool = calloc(1, sizeof *pool);
    if (!pool) return log_error(-ENOMEM, "a packet pool");
    *pool = (struct mempool){.space = space, .count = count, .buffer_size = buffer_size};
    pool->free_stack = malloc(count * sizeof(struct packet_buffer *));
    pool->buffers = aligned_alloc(CACHE_LINE, count * sizeof *pool->buffers);
#ifdef DEBUG
    pool->is_free = calloc(count, sizeof *pool->is_free);
    if (!pool->is_free) error = -ENOMEM;
#endif
    size_t slot = buffer_size + SLOT_PADDING;
    if (!pool->free_stack || !pool->buffers || error)
        error = log_error(-ENOMEM, "the descriptions of %u packet buffers", count);
    else
        error = dma_alloc(space, count * slot, &pool->memory);
    if (error) {
        mempool_destroy(pool);
        return error;
    }

    // Downwards, so that buffer 0 lies on top of the stack.
    for (uint32_t i = count; i-- > 0;) {
        pool->buffers[i] = (struct packet_buffer){
            .iova = iova_plus(pool->memory.iova, i * slot),
            .data = (char *)pool->memory.virt + i * slot,
            .pool = pool,
            .index = i,
        };
        mempool_free(&pool->buffers[i]);
    }
    *created = pool;
    return 0;
}

void mempool_destroy(struct mempool *pool) {
    if (!pool) return;
    if (pool->memory.virt && pool->free_count != pool->count)
        log_warning("a packet pool is destroyed while %u of its %u buffers are in use",
                    pool->count - pool->free_count, pool->count);
    dma_free(pool->space, &pool->memory);
    free(pool->free_stack);
    free(pool->buffers);
#ifdef DEBUG
    free(pool->is_free);
#endif
    free(pool);
}

uint32_t mempool_count(const struct mempool *pool) { return pool->count; }
uint32_t mempool_free_count(const struct mempool *pool) { return pool->free_count; }
uint32_t mempool_buffer_size(const struct mempool *pool) { return pool->buffer_size; }
struct packet_buffer *mempool_buffer(struct mempool *pool, uint32_t index) {
    return &pool->buffers[index];
}

uint32_t mempool_alloc_batch(struct mempool *pool, struct packet_buffer **buffers, uint32_t count) {
    if (count > pool->free_count) count = pool->free_count;
    pool->free_count -= count;
    memcpy(buffers, &pool->free_stack[pool->free_count], count * sizeof *buffers);
#ifdef DEBUG
    for (uint32_t i = 0; i < count; i++) pool->is_free[buffers[i]->index] = false;
#endif
    return count;
}

struct packet_buffer *mempool_alloc(struct mempool *pool) {
    struct packet_buffer *buffer;
    return mempool_alloc_batch(pool, &buffer, 1) ? buffer : NULL;
}

#ifdef DEBUG
// Is this really one of the pool's buffers, and in use? From here on it counts as free.
static bool take_back(struct mempool *pool, struct packet_buffer *buffer) {
    if (!pool || buffer->index >= pool->count || buffer != &pool->buffers[buffer->index]) {
        log_error(-EINVAL, "buffer %p is freed to a pool that it does not belong to", (void *)buffer);
        return false;
    }
    if (pool->is_free[buffer->index]) {
        log_error(-EINVAL, "buffer %u (IOVA 0x%llx) is freed twice", buffer->index,
                  (unsigned long long)buffer->iova.value);
        return false;
    }
    pool->is_free[buffer->index] = true;
    return true;
}

void mempool_free_own(struct mempool *pool, struct packet_buffer *const *buffers, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        if (take_back(pool, buffers[i])) pool->free_stack[pool->free_count++] = buffers[i];
}
#else
void mempool_free_own(struct mempool *pool, struct packet_buffer *const *buffers, uint32_t count) {
    memcpy(&pool->free_stack[pool->free_count], buffers, count * sizeof *buffers);
    pool->free_count += count;
}
#endif

static inline bool all_of_pool(struct packet_buffer *const *buffers, size_t count, const struct mempool *pool) {
#pragma GCC unroll 8
    for (size_t i = 0; i < count; i++)
        if (buffers[i]->pool != pool) return false;
    return true;
}

// A batch nearly always comes from one pool. Runs of one pool are found eight at a time, and copied in one go.
void mempool_free_buffers(struct packet_buffer *const *buffers, uint32_t count) {
    while (count) {
        struct mempool *pool = buffers[0]->pool;
        uint32_t same = 0;
        while (same + 8 <= count && all_of_pool(buffers + same, 8, pool)) same += 8;
        while (same < count && all_of_pool(buffers + same, 1, pool)) same++;
        mempool_free_own(pool, buffers, same);
        buffers += same;
        count -= same;
    }
}

// Frees all buffers of a packet but the first, which then is a buffer like any other.
static void make_plain(struct packet_buffer *packet) {
    bool chained = packet->request.what & PACKET_CHAINED;
    packet->request = (struct packet_request){0};
    for (struct packet_buffer *part = chained ? packet->next : NULL, *next; part; part = next) {
        next = part->next;
        mempool_free_buffers(&part, 1);
    }
}

void mempool_free_batch(struct packet_buffer *const *packets, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        if (packets[i]->request.what) make_plain(packets[i]);
    mempool_free_buffers(packets, count);
}

void mempool_free(struct packet_buffer *packet) { mempool_free_batch(&packet, 1); }
