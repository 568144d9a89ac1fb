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

// A format of the test's own. word[1]: done, report wanted, broken, the packet ends here, this is a context; and in
// the low half the length.
#define DONE    (1ull << 63)
#define REPORT  (1ull << 62)
#define BROKEN  (1ull << 61)
#define END     (1ull << 60)
#define CONTEXT (1ull << 59)

static void write_tx(struct descriptor *descriptor, iova_t data, uint32_t length) {
    *descriptor = (struct descriptor){{data.value, length | END}};
}
static void request_report(struct descriptor *descriptor) { descriptor->word[1] |= REPORT; }
static bool tx_done(const struct descriptor *descriptor) { return descriptor->word[1] & DONE; }
static bool make_context(const struct packet_buffer *packet, struct descriptor *context) {
    *context = (struct descriptor){{packet->request.vlan, CONTEXT}};
    return packet->request.what & PACKET_INSERT_VLAN;
}
static void write_part(struct descriptor *descriptor, const struct packet_buffer *packet,
                       const struct packet_buffer *part, uint32_t total) {
    bool last = !(packet->request.what & PACKET_CHAINED) || !part->next;
    *descriptor = (struct descriptor){{part->iova.value, part->length | (last ? END : 0) | (uint64_t)total << 16}};
}
static void write_rx(struct descriptor *descriptor, iova_t data) {
    *descriptor = (struct descriptor){{data.value, 0}};
}
static bool rx_whole(const struct descriptor *descriptor) {
    return (descriptor->word[1] & (DONE | BROKEN | END)) == (DONE | END);
}
static enum rx_state rx_state(const struct descriptor *descriptor) {
    if (!(descriptor->word[1] & DONE)) return RX_EMPTY;
    if (!(descriptor->word[1] & END)) return RX_PART;
    return descriptor->word[1] & BROKEN ? RX_BROKEN : RX_PACKET;
}
static void rx_take(const struct descriptor *descriptor, struct packet_buffer *buffer) {
    buffer->length = (uint16_t)descriptor->word[1];
    bool end = descriptor->word[1] & END;
    buffer->flags = end ? 82599 : 0;
    buffer->vlan = end ? 100 : 0;
    buffer->rss_hash = end ? 0xcafe : 0;
}
static const struct tx_format tx = {write_tx, request_report, tx_done, make_context, write_part};
static const struct rx_format rx = {write_rx, rx_whole, rx_state, rx_take};

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

// From the device's address to the memory, as an IOMMU does.
static void *at_iova(struct mempool *pool, uint64_t iova) {
    const struct packet_buffer *first = mempool_buffer(pool, 0);
    return (char *)first->data + (iova - first->iova.value);
}

// Writes each packet's number into its length and into the memory that the descriptor points to.
static void device_receives(struct ring *ring, struct mempool *pool, uint32_t *head, uint32_t count,
                            uint32_t *length) {
    for (; count && *head != ring->tail; count--, ++*head) {
        struct descriptor *descriptor = &ring->descriptors[ring_slot(ring, *head)];
        uint64_t broken = random_below(10) == 0 ? BROKEN : 0;
        if (!broken) ++*length;
        uint16_t number = broken ? 0 : (uint16_t)*length;
        *(uint16_t *)at_iova(pool, descriptor->word[0]) = number;
        descriptor->word[1] = number | broken | END | DONE;
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
        for (uint32_t i = 0; i < linked; i++)
            CHECK_EQ(ring.descriptors[ring_slot(&ring, ring.tail - linked + i)].word[0], batch[i]->iova.value);
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
        device_receives(&ring, pool, &device_head, random_below(200), &written);
        uint32_t count = ring_read(&ring, &rx, batch + held, random_below(200 - held), &broken);
        for (uint32_t i = held; i < held + count; i++) {
            CHECK_EQ(batch[i]->length, (uint16_t)++read);
            CHECK_EQ(*(uint16_t *)batch[i]->data, batch[i]->length);
        }
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

// As when packets of several ports leave at one.
static void buffers_go_back_to_their_own_pools(void) {
    enum { POOLS = 3, BUFFERS = 300 };
    struct ring ring;
    struct mempool *pools[POOLS];
    struct packet_buffer *batch[200];
    uint32_t device_head = 0;
    for (int i = 0; i < POOLS; i++) CHECK_EQ(mempool_create(space, BUFFERS, 1024, &pools[i]), 0);
    CHECK_EQ(ring_create(space, 256, &ring), 0);
    for (int turn = 0; turn < 1000; turn++) {
        uint32_t count = 0, most = random_below(100);
        while (count < most) {
            uint32_t run = 1 + random_below(turn % 2 ? 3 : 40);
            count += mempool_alloc_batch(pools[random_below(POOLS)], batch + count, run);
        }
        uint32_t linked = ring_link(&ring, &tx, batch, count);
        mempool_free_batch(batch + linked, count - linked);
        device_sends(&ring, &device_head, random_below(200));
        ring_clean(&ring, &tx);
    }
    ring_destroy(space, &ring);
    for (int i = 0; i < POOLS; i++) {
        struct packet_buffer *all[BUFFERS + 1];
        CHECK_EQ(mempool_alloc_batch(pools[i], all, BUFFERS + 1), BUFFERS);
        for (uint32_t k = 0; k < BUFFERS; k++) CHECK(all[k]->pool == pools[i]);
        mempool_free_batch(all, BUFFERS);
        mempool_destroy(pools[i]);
    }
}

static struct packet_buffer *chain_of(struct mempool *pool, uint32_t parts) {
    struct packet_buffer *first = NULL;
    while (parts--) {
        struct packet_buffer *part = mempool_alloc(pool);
        part->length = (uint16_t)(100 + parts);
        part->next = first;
        first = part;
    }
    first->request.what = PACKET_CHAINED;
    return first;
}

static void packets_in_several_buffers_are_sent(void) {
    struct ring ring;
    struct mempool *pool;
    uint32_t device_head = 0;
    CHECK_EQ(mempool_create(space, 100, 1024, &pool), 0);
    CHECK_EQ(ring_create(space, 64, &ring), 0);
    for (int turn = 0; turn < 200; turn++) {
        uint32_t parts = 1 + random_below(9), start = ring.tail;
        struct packet_buffer *packets[3] = {mempool_alloc(pool), chain_of(pool, parts), mempool_alloc(pool)};
        if (parts == 1) packets[1]->request.what |= PACKET_INSERT_VLAN, packets[1]->request.vlan = (uint16_t)turn;
        bool told = parts == 1 && turn;
        CHECK_EQ(ring_link(&ring, &tx, packets, 3), 3);
        CHECK_EQ(ring.tail - start, 2 + parts + told);
        const struct descriptor *context = &ring.descriptors[ring_slot(&ring, start + 1)];
        if (told) CHECK(context->word[1] == CONTEXT && context->word[0] == (uint64_t)turn);
        const struct descriptor *last = &ring.descriptors[ring_slot(&ring, start + told + parts)];
        CHECK((last->word[1] & (END | REPORT)) == (END | REPORT));
        if (parts > 1) CHECK(!(last[ring_slot(&ring, start + parts) ? -1 : 63].word[1] & (END | REPORT)));
        CHECK_EQ(packets[1]->request.what, 0);
        device_sends(&ring, &device_head, 2);  // not all of it
        ring_clean(&ring, &tx);
        device_sends(&ring, &device_head, UINT32_MAX);
        ring_clean(&ring, &tx);
        CHECK_EQ(ring_in_use(&ring), 0);
        CHECK_EQ(mempool_free_count(pool), 100);
    }
    ring_destroy(space, &ring);
    mempool_destroy(pool);
}

static void a_packet_without_room_stays_with_the_caller(void) {
    struct ring ring;
    struct mempool *pool;
    CHECK_EQ(mempool_create(space, 200, 1024, &pool), 0);
    CHECK_EQ(ring_create(space, 64, &ring), 0);
    struct packet_buffer *packets[2] = {chain_of(pool, 40), chain_of(pool, 40)};
    CHECK_EQ(ring_link(&ring, &tx, packets, 2), 1);
    CHECK_EQ(packets[1]->request.what, PACKET_CHAINED);
    mempool_free(packets[1]);
    CHECK_EQ(mempool_free_count(pool), 160);
    struct packet_buffer *tagged = chain_of(pool, 23);  // 23 descriptors are free, and the tag would need one more
    tagged->request.what |= PACKET_INSERT_VLAN;
    CHECK_EQ(ring_link(&ring, &tx, &tagged, 1), 0);
    mempool_free(tagged);
    struct packet_buffer *endless = chain_of(pool, 64);
    CHECK_EQ(ring_link(&ring, &tx, &endless, 1), 0);
    mempool_free_batch(&endless, 1);
    ring_destroy(space, &ring);
    CHECK_EQ(mempool_free_count(pool), 200);
    mempool_destroy(pool);
}

// A context that says the same as the last one is not sent again.
static void contexts_are_told_once(void) {
    struct ring ring;
    struct mempool *pool;
    static const uint16_t tags[] = {7, 7, 8, 8, 7};
    static const uint32_t descriptors[] = {2, 1, 2, 1, 2};
    CHECK_EQ(mempool_create(space, 100, 1024, &pool), 0);
    CHECK_EQ(ring_create(space, 64, &ring), 0);
    for (size_t i = 0; i < sizeof tags / sizeof *tags; i++) {
        struct packet_buffer *packet = mempool_alloc(pool);
        packet->request = (struct packet_request){.what = PACKET_INSERT_VLAN, .vlan = tags[i]};
        uint32_t before = ring.tail;
        CHECK_EQ(ring_link(&ring, &tx, &packet, 1), 1);
        CHECK_EQ(ring.tail - before, descriptors[i]);
    }
    ring_destroy(space, &ring);  // with contexts in it, which have no buffers
    CHECK_EQ(mempool_free_count(pool), 100);
    mempool_destroy(pool);
}

// Random packets of one to five parts, some broken, written by the device in random portions.
static void packets_in_several_buffers_are_received(void) {
    struct ring ring;
    struct mempool *pool;
    struct packet_buffer *batch[64];
    uint32_t device_head = 0, to_come = 0, length = 0, packets = 0, number = 0;
    uint64_t broken = 0, expected_broken = 0;
    uint16_t first_lengths[4096], parts_of[4096];
    CHECK_EQ(mempool_create(space, 300, 1024, &pool), 0);
    CHECK_EQ(ring_create(space, 128, &ring), 0);
    for (int turn = 0; turn < 2000; turn++) {
        ring_fill(&ring, &rx, pool);
        for (uint32_t count = random_below(60); count && device_head != ring.tail; count--, device_head++) {
            uint64_t end = 0;
            if (!to_come) {
                to_come = 1 + random_below(5);
                parts_of[number % 4096] = (uint16_t)to_come;
                first_lengths[number % 4096] = (uint16_t)(length + 1);
            }
            if (--to_come == 0) {
                end = END;
                if (random_below(10) == 0) {
                    end |= BROKEN;
                    expected_broken++;
                } else {
                    number++;
                }
            }
            ring.descriptors[ring_slot(&ring, device_head)].word[1] = (uint16_t)++length | end | DONE;
        }
        uint32_t count = ring_read(&ring, &rx, batch, 64, &broken);
        for (uint32_t i = 0; i < count; i++, packets++) {
            uint32_t parts = 1;
            CHECK_EQ(batch[i]->length, first_lengths[packets % 4096]);
            CHECK(batch[i]->flags == 82599 && batch[i]->vlan == 100 && batch[i]->rss_hash == 0xcafe);
            if (batch[i]->request.what & PACKET_CHAINED)
                for (const struct packet_buffer *part = batch[i]->next; part; part = part->next, parts++)
                    CHECK_EQ(part->length, (uint16_t)(batch[i]->length + parts));
            CHECK_EQ(parts, parts_of[packets % 4096]);
        }
        mempool_free_batch(batch, count);
    }
    while (ring_read(&ring, &rx, batch, 1, &broken)) {
        mempool_free(batch[0]);
        packets++;
    }
    CHECK(packets > 5000);
    CHECK_EQ(packets, number);
    CHECK_EQ(broken, expected_broken);
    ring_destroy(space, &ring);
    CHECK_EQ(mempool_free_count(pool), 300);
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
    buffers_go_back_to_their_own_pools();
    packets_in_several_buffers_are_sent();
    a_packet_without_room_stays_with_the_caller();
    contexts_are_told_once();
    packets_in_several_buffers_are_received();
    impossible_rings_are_refused();
    CHECK(space->reservations == NULL);
    return test_summary();
}

int main(int argc, char **argv) { return dma_main(argc, argv, "Tests descriptor rings.", run); }
