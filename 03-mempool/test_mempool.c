// test_mempool.c: a pool loses no buffer, invents none, and survives an application that asks for too much.

#include <errno.h>
#include <string.h>

#include "dma_main.h"
#include "mempool.h"
#include "test.h"

enum { COUNT = 100 };

static struct dma_space *space;

static void buffers_are_apart_in_both_address_spaces(void) {
    struct mempool *pool = NULL;
    CHECK_EQ(mempool_create(space, COUNT, 2048, &pool), 0);
    CHECK_EQ(mempool_free_count(pool), COUNT);
    for (uint32_t i = 1; i < COUNT; i++) {
        const struct packet_buffer *one = mempool_buffer(pool, i - 1), *next = mempool_buffer(pool, i);
        CHECK(next->iova.value - one->iova.value >= 2048);
        CHECK_EQ((char *)next->data - (char *)one->data, next->iova.value - one->iova.value);
    }
    // Metadata is nowhere near what the device can reach.
    const struct packet_buffer *first = mempool_buffer(pool, 0), *last = mempool_buffer(pool, COUNT - 1);
    CHECK((char *)first < (char *)first->data || (char *)first > (char *)last->data + 2048);
    mempool_destroy(pool);
}

static void an_empty_pool_gives_less(void) {
    struct mempool *pool;
    struct packet_buffer *all[COUNT + 1];
    CHECK_EQ(mempool_create(space, COUNT, 1024, &pool), 0);
    CHECK_EQ(mempool_alloc_batch(pool, all, COUNT + 1), COUNT);
    CHECK_EQ(mempool_alloc_batch(pool, all, 1), 0);
    CHECK(mempool_alloc(pool) == NULL);
    bool seen[COUNT] = {false};
    for (uint32_t i = 0; i < COUNT; i++) {
        CHECK(!seen[all[i]->index]);
        seen[all[i]->index] = true;
        memset(all[i]->data, (int)i, 1024);
    }
    for (uint32_t i = 0; i < COUNT; i++)
        CHECK(((uint8_t *)all[i]->data)[0] == i && ((uint8_t *)all[i]->data)[1023] == i);
    mempool_free_batch(all, COUNT);
    CHECK_EQ(mempool_free_count(pool), COUNT);
    mempool_destroy(pool);
}

static void the_last_freed_comes_first(void) {
    struct mempool *pool;
    CHECK_EQ(mempool_create(space, COUNT, 2048, &pool), 0);
    struct packet_buffer *one = mempool_alloc(pool), *two = mempool_alloc(pool);
    CHECK_EQ(one->index, 0);
    mempool_free(two);
    mempool_free(one);
    CHECK(mempool_alloc(pool) == one);
    mempool_free(one);
    mempool_destroy(pool);
}

static void a_mixed_batch_goes_home(void) {
    struct mempool *a, *b;
    struct packet_buffer *batch[6];
    CHECK_EQ(mempool_create(space, 4, 2048, &a), 0);
    CHECK_EQ(mempool_create(space, 4, 2048, &b), 0);
    for (int i = 0; i < 6; i++) batch[i] = mempool_alloc(i == 1 || i == 2 || i == 5 ? b : a);
    CHECK_EQ(mempool_free_count(a), 1);
    CHECK_EQ(mempool_free_count(b), 1);
    mempool_free_batch(batch, 6);
    CHECK_EQ(mempool_free_count(a), 4);
    CHECK_EQ(mempool_free_count(b), 4);
    while (mempool_free_count(a)) CHECK(mempool_alloc(a)->pool == a);
    for (uint32_t i = 0; i < 4; i++) mempool_free(mempool_buffer(a, i));
    mempool_destroy(a);
    mempool_destroy(b);
}

static void impossible_pools_are_refused(void) {
    struct mempool *pool = NULL;
    CHECK_EQ(mempool_create(space, 0, 2048, &pool), -EINVAL);
    CHECK_EQ(mempool_create(space, COUNT, 2000, &pool), -EINVAL);
    CHECK_EQ(mempool_create(space, COUNT, 0, &pool), -EINVAL);
    CHECK_EQ(mempool_create(space, COUNT, 32768, &pool), -EINVAL);
    CHECK_EQ(mempool_create(space, 1u << 30, 2048, &pool), -EINVAL);
    CHECK(pool == NULL);
    mempool_destroy(NULL);
}

static void mistakes_are_caught_in_debug_builds(void) {
#ifdef DEBUG
    struct mempool *pool;
    CHECK_EQ(mempool_create(space, 4, 2048, &pool), 0);
    struct packet_buffer *one = mempool_alloc(pool), foreign = *one;
    mempool_free(&foreign);
    CHECK_EQ(mempool_free_count(pool), 3);
    mempool_free(one);
    mempool_free(one);
    CHECK_EQ(mempool_free_count(pool), 4);

    struct mempool *other;
    CHECK_EQ(mempool_create(space, 4, 2048, &other), 0);
    one = mempool_alloc(pool);
    mempool_free_own(other, &one, 1);
    CHECK_EQ(mempool_free_count(other), 4);
    CHECK_EQ(mempool_free_count(pool), 3);
    mempool_free(one);
    mempool_destroy(other);
    mempool_destroy(pool);
#endif
}

static int run(struct dma_space *opened) {
    space = opened;
    buffers_are_apart_in_both_address_spaces();
    an_empty_pool_gives_less();
    the_last_freed_comes_first();
    a_mixed_batch_goes_home();
    impossible_pools_are_refused();
    mistakes_are_caught_in_debug_builds();
    CHECK(space->reservations == NULL);
    return test_summary();
}

int main(int argc, char **argv) { return dma_main(argc, argv, "Tests packet pools.", run); }
