// test_cards.h: two cards with a cable between them: what is sent at `a` is to arrive at `b`.
#pragma once

#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "clock.h"
#include "nic.h"
#include "test.h"

enum {
    SHORTEST = 60,
    LONGEST = 1514,
    MOST = 2048,
    ARRIVAL_MS = 30000,  // for what must happen, on whatever machine; only what has failed takes so long
    PATIENCE_MS = 100,   // for what must not
};

static struct nic_host host;
static struct nic *a, *b;
static struct mempool *pool;

static inline void open_cards(const struct nic_config *config) {
    if (!CHECK_EQ(nic_open(&host, DEFAULT_ADDRESS, config, &a), 0) ||
        !CHECK_EQ(nic_open(&host, DEFAULT_ADDRESS_2, config, &b), 0) ||
        !CHECK_EQ(mempool_create(&host.space, MOST, MEMPOOL_DEFAULT_SIZE, &pool), 0))
        exit(test_summary());
    CHECK_EQ(nic_wait_for_link(a, ARRIVAL_MS, NULL), 10000);
    CHECK_EQ(nic_wait_for_link(b, ARRIVAL_MS, NULL), 10000);
}

static inline void close_cards(void) {
    nic_close(a);
    nic_close(b);
    CHECK_EQ(mempool_free_count(pool), mempool_count(pool));
    mempool_destroy(pool);
    CHECK(host.space.reservations == NULL);
    a = b = NULL;
}

// A frame to `to`: its length and `number` can be recognized in every byte.
static inline struct packet_buffer *frame(const uint8_t to[6], uint32_t length, uint32_t number) {
    struct packet_buffer *buffer = mempool_alloc(pool);
    uint8_t *data = buffer->data;
    for (uint32_t i = 0; i < length; i++) data[i] = (uint8_t)(i + length + number);
    memcpy(data, to, 6);
    memcpy(data + 6, "\x02\x00\x00\x00\x00\x99\x88\xb5", 8);
    buffer->length = (uint16_t)length;
    return buffer;
}

static inline bool is_frame(const struct packet_buffer *buffer, uint32_t length, uint32_t number) {
    const uint8_t *data = buffer->data;
    for (uint32_t i = 14; i < length; i++)
        if (data[i] != (uint8_t)(i + length + number)) return false;
    return buffer->length == (length < SHORTEST ? SHORTEST : length);
}

static inline void send(struct packet_buffer *buffer) { CHECK_EQ(nic_transmit(a, 0, &buffer, 1), 1); }

// The same, waiting for room in the ring.
static inline void send_patiently(struct packet_buffer *buffer) {
    uint64_t deadline = clock_ns() + ARRIVAL_MS * 1000000ull;
    while (!nic_transmit(a, 0, &buffer, 1) && clock_ns() < deadline) {
    }
}

// The next packet at b, or NULL if none comes.
static inline struct packet_buffer *receive(uint32_t patience_ms) {
    struct packet_buffer *buffer;
    uint64_t deadline = clock_ns() + patience_ms * 1000000ull;
    for (bool late = false; !late;) {
        late = clock_ns() >= deadline;  // before the look, so that one always follows
        if (nic_receive(b, 0, &buffer, 1)) return buffer;
    }
    return NULL;
}

static inline void expect(uint32_t length, uint32_t number) {
    struct packet_buffer *buffer = receive(ARRIVAL_MS);
    if (!CHECK(buffer != NULL)) return;
    CHECK(is_frame(buffer, length, number));
    mempool_free(buffer);
}

static inline uint64_t counter(struct nic *nic, const char *name) {
    struct nic_counter counters[64];
    uint32_t count = nic_read_counters(nic, counters, 64);
    for (uint32_t i = 0; i < count && i < 64; i++)
        if (!strcmp(counters[i].name, name)) return counters[i].value;
    CHECK(!"a counter of that name");
    return 0;
}

// What has been sent belongs to the past when the card has counted it: the cable brings it to b in the same moment,
// and whatever b is told from now on changes nothing for it.
static inline void wait_until_sent(void) {
    uint64_t deadline = clock_ns() + ARRIVAL_MS * 1000000ull;
    while (counter(a, "tx_pkts_nic") < counter(a, "tx_queue_0_packets") && clock_ns() < deadline) sleep_us(10);
    CHECK(counter(a, "tx_pkts_nic") >= counter(a, "tx_queue_0_packets"));
}

static inline void expect_nothing(void) {
    wait_until_sent();
    CHECK(receive(PATIENCE_MS) == NULL);
}
