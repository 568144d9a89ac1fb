// test_ring.c: rings against a device that is as slow, fast or irregular as it likes.
//
// The device here is a few lines: it knows only which descriptors it has been given. A fixed sequence of random
// numbers decides how much each side does at a time, for rings of several sizes.

#include <errno.h>
#include <string.h>

#include "dma_main.h"
#include "ring.h"
#include "test.h"

static struct dma_space *space;

// A format of the test's own. word[1] bit 63: done, bit 62: report wanted, bit 61: broken; low half: length.
#define DONE   (1ull << 63)
#define REPORT (1ull << 62)
#define BROKEN (1ull << 61)

static void write_tx(struct descriptor *descriptor, iova_t data, uint32_t length) {
    *descriptor = (struct descriptor){{data.value, length}};
}
static void request_report(struct descriptor *descriptor) { descriptor->word[1] |= REPORT; }
static bool tx_done(const struct descriptor *descriptor) { return descriptor->word[1] & DONE; }
static void write_rx(struct descriptor *descriptor, iova_t data) {
    *descriptor = (struct descriptor){{data.value, 0}};
}
static enum rx_state read_rx(const struct descriptor *descriptor, uint32_t *length) {
    *length = (uint32_t)descriptor->word[1];
    return !(descriptor->word[1] & DONE) ? RX_EMPTY : descriptor->word[1] & BROKEN ? RX_BROKEN : RX_PACKET;
}
static const struct tx_format tx = {write_tx, request_report, tx_done};
static const struct rx_format rx = {write_rx, read_rx};

static uint32_t random_below(uint32_t limit) {
    static uint64_t state = 82599;
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 33) % limit;
}

// Sends `count` descriptors from *head on, as far as the driver's tail, and reports where it was asked to.
static void device_sends(struct ring *ring, uint32_t *head, uint32_t count) {
    for (; count && *head != ring->tail; count--, ++*head) {
        struct descriptor *descriptor = &ring->descriptors[ring_slot(ring, *head)];
        if (descriptor->word[1] & REPORT) descriptor->word[1] |= DONE;
    }
}

static void device_receives(struct ring *ring, uint32_t *head, uint32_t count, uint32_t *length) {
    for (; count && *head != ring->tail; count--, ++*head) {
        uint64_t broken = random_below(10) == 0 ? BROKEN : 0;
        ring->descriptors[ring_slot(ring, *head)].word[1] = (broken ? 0 : ++*length) | broken | DONE;
    }
}

static void every_sent_buffer_comes_back(uint32_t size) {
    enum { BUFFERS = 5000 };
    struct ring ring;
    struct mempool *pool;
    struct packet_buffer *batch[200];
    uint32_t device_head = 0;
    CHECK_EQ(mempool_create(space, BUFFERS, 1024, &pool), 0);
    CHECK_EQ(ring_create(space, size, &ring), 0);
    for (int turn = 0; turn < 3000; turn++) {
        uint32_t count = mempool_alloc_batch(pool, batch, random_below(200)), room = ring_free(&ring);
        uint32_t linked = ring_link(&ring, &tx, batch, count);
        CHECK_EQ(linked, count < room ? count : room);
        if (linked) CHECK(ring.descriptors[ring_slot(&ring, ring.tail - 1)].word[1] & REPORT);
        mempool_free_batch(batch + linked, count - linked);
        device_sends(&ring, &device_head, random_below(200));
        uint32_t cleaned = ring_clean(&ring, &tx);
        CHECK(cleaned <= size && ring.head <= device_head);
        CHECK_EQ(mempool_free_count(pool) + ring_in_use(&ring), BUFFERS);
    }
    // No packet stays behind unreported, however few were sent last.
    device_sends(&ring, &device_head, UINT32_MAX);
    ring_clean(&ring, &tx);
    CHECK_EQ(ring_in_use(&ring), 0);
    CHECK_EQ(mempool_free_count(pool), BUFFERS);
    CHECK(ring.tail > 10 * size);
    ring_destroy(space, &ring);
    mempool_destroy(pool);
}

static void packets_come_once_and_in_order(uint32_t size, uint32_t buffers) {
    struct ring ring;
    struct mempool *pool;
    struct packet_buffer *batch[200];
    uint32_t device_head = 0, written = 0, read = 0, held = 0;
    uint64_t broken = 0;
    CHECK_EQ(mempool_create(space, buffers, 1024, &pool), 0);
    CHECK_EQ(ring_create(space, size, &ring), 0);
    for (int turn = 0; turn < 3000; turn++) {
        ring_fill(&ring, &rx, pool);
        CHECK(ring_free(&ring) == 0 || mempool_free_count(pool) == 0);
        device_receives(&ring, &device_head, random_below(200), &written);
        uint32_t count = ring_read(&ring, &rx, batch + held, random_below(200 - held), &broken);
        for (uint32_t i = held; i < held + count; i++) CHECK_EQ(batch[i]->length, ++read);
        held += count;
        CHECK_EQ(mempool_free_count(pool) + ring_in_use(&ring) + held, buffers);
        if (random_below(3)) {
            mempool_free_batch(batch, held);
            held = 0;
        }
    }
    mempool_free_batch(batch, held);
    CHECK(read > 1000 && broken > 100 && ring.tail > 10 * size);
    ring_destroy(space, &ring);
    CHECK_EQ(mempool_free_count(pool), buffers);
    mempool_destroy(pool);
}

static void one_report_is_asked_for_every_32_packets(void) {
    struct ring ring;
    struct mempool *pool;
    struct packet_buffer *batch[100];
    uint32_t reports = 0;
    CHECK_EQ(mempool_create(space, 100, 1024, &pool), 0);
    CHECK_EQ(ring_create(space, 128, &ring), 0);
    CHECK_EQ(mempool_alloc_batch(pool, batch, 100), 100);
    CHECK_EQ(ring_link(&ring, &tx, batch, 100), 100);
    for (uint32_t i = 0; i < 100; i++) reports += ring.descriptors[i].word[1] & REPORT ? 1 : 0;
    CHECK_EQ(reports, 4);
    CHECK_EQ(ring_clean(&ring, &tx), 0);
    uint32_t head = 0;
    device_sends(&ring, &head, 31);
    CHECK_EQ(ring_clean(&ring, &tx), 0);
    device_sends(&ring, &head, 1);
    CHECK_EQ(ring_clean(&ring, &tx), 32);
    ring_destroy(space, &ring);  // with 68 packets in it
    CHECK_EQ(mempool_free_count(pool), 100);
    mempool_destroy(pool);
}

static void impossible_rings_are_refused(void) {
    static const uint32_t sizes[] = {0, 1, 32, 100, 513, 8192, 1u << 31};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct ring ring;
        CHECK_EQ(ring_create(space, sizes[i], &ring), -EINVAL);
    }
}

static int run(struct dma_space *opened) {
    space = opened;
    for (uint32_t size = RING_SMALLEST; size <= RING_LARGEST; size *= 4) every_sent_buffer_comes_back(size);
    packets_come_once_and_in_order(64, 1000);
    packets_come_once_and_in_order(512, 1000);
    packets_come_once_and_in_order(512, 300);  // fewer buffers than descriptors
    one_report_is_asked_for_every_32_packets();
    impossible_rings_are_refused();
    CHECK(space->reservations == NULL);
    return test_summary();
}

int main(int argc, char **argv) { return dma_main(argc, argv, "Tests descriptor rings.", run); }
