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
    MEMPOOL_DEFAULT_SIZE =
        2048,  // bytes a buffer holds; a multiple of 1024, the unit of SRRCTL.BSIZEPACKET (8.2.3.8.7)
};

struct mempool;

// 32 bytes: two to a cache line, so that a batch of 32 touches 16 lines of them.
struct packet_buffer {
    iova_t iova;           // of the data, for descriptors
    void *data;            // of the same data, for the program
    struct mempool *pool;  // where it goes back to
    uint32_t length;       // bytes of data in use
    uint32_t index;        // in the pool
};

// `count` buffers of `buffer_size` bytes (a multiple of 1024, up to 16 KiB, as the 82599 counts them). All free.
// 0 or a negative errno after saying what and why.
int mempool_create(struct dma_space *space, uint32_t count, uint32_t buffer_size, struct mempool **pool);
// Buffers that are still out are counted in a warning; using them after this is an error. NULL is fine.
void mempool_destroy(struct mempool *pool);

uint32_t mempool_count(const struct mempool *pool);
uint32_t mempool_free_count(const struct mempool *pool);
uint32_t mempool_buffer_size(const struct mempool *pool);
// Buffer `index` of the pool, free or not: for preparing all of them once, before any is used.
struct packet_buffer *mempool_buffer(struct mempool *pool, uint32_t index);

// Takes up to `count` buffers off the stack and returns how many there were; 0 when the pool is empty. The caller
// owns them until they are freed or given to a ring. Their length and data are what they were when last used.
uint32_t mempool_alloc_batch(struct mempool *pool, struct packet_buffer **buffers, uint32_t count);
struct packet_buffer *mempool_alloc(struct mempool *pool);  // NULL: empty

// Gives buffers back, each to its own pool. Built with `make DEBUG=1`, a buffer that is already free or that belongs
// to no pool is named on standard error and left alone.
void mempool_free_batch(struct packet_buffer *const *buffers, uint32_t count);
void mempool_free(struct packet_buffer *buffer);
