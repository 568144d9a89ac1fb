// rings: a driver and a device on the same page.
//
// The device here is the function toy_nic below: thirty lines that do in plain sight what a NIC does in silicon. It
// has one TX and one RX ring, a head and a tail for each, and sends to itself whatever it is given. All that it knows
// are IOVAs; toy_translate plays its IOMMU. The driver side is the real one, ring.h, which drives the 82599 in
// chapter 5.

#include "ring.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "dma_main.h"
#include "log.h"

enum { RING_SIZE = RING_SMALLEST, POOL_SIZE = 256, ROUNDS = 1000 };

// ---- The toy's descriptor: a format as small as it can be ---------------------------------------------------------

// word[0]: the IOVA of the data. word[1]: the length in the low 32 bits, and above it:
static const uint64_t TOY_REPORT = 1ull << 32, TOY_DONE = 1ull << 33;

static void toy_write_tx(struct descriptor *descriptor, iova_t data, uint32_t length) {
    *descriptor = (struct descriptor){{data.value, length}};
}

// A plain load will do, as the toy runs in our thread. A device that works at the same time takes an atomic one.
static bool toy_done(const struct descriptor *descriptor) { return descriptor->word[1] & TOY_DONE; }

static void toy_request_report(struct descriptor *descriptor) { descriptor->word[1] |= TOY_REPORT; }

static void toy_write_rx(struct descriptor *descriptor, iova_t data) {
    *descriptor = (struct descriptor){{data.value, 0}};
}

static enum rx_state toy_state(const struct descriptor *descriptor) {
    return toy_done(descriptor) ? RX_PACKET : RX_EMPTY;
}

static void toy_take(const struct descriptor *descriptor, struct packet_buffer *buffer) {
    buffer->length = (uint16_t)descriptor->word[1];
}

static const struct tx_format toy_tx = {toy_write_tx, toy_request_report, toy_done, NULL, NULL};
static const struct rx_format toy_rx = {toy_write_rx, toy_done, toy_state, toy_take};

// ---- The toy NIC --------------------------------------------------------------------------------------------------

struct toy_nic {
    iova_t tx_base, rx_base;                      // what a driver would write to TDBAL and RDBAL
    uint32_t tx_head, tx_tail, rx_head, rx_tail;  // slot numbers, as in TDH, TDT, RDH, RDT
    const struct ring *tx, *rx;                   // for toy_translate only
    struct mempool *pool;
};

// What an IOMMU does: from the device's address to the memory. This one knows three pieces, and refuses nothing.
static void *toy_translate(const struct toy_nic *nic, uint64_t iova) {
    const struct packet_buffer *first = mempool_buffer(nic->pool, 0);
    if (iova - nic->tx->memory.iova.value < nic->tx->memory.size)
        return (char *)nic->tx->memory.virt + (iova - nic->tx->memory.iova.value);
    if (iova - nic->rx->memory.iova.value < nic->rx->memory.size)
        return (char *)nic->rx->memory.virt + (iova - nic->rx->memory.iova.value);
    return (char *)first->data + (iova - first->iova.value);
}

// Sends at most `most` packets: from the TX ring's head through the wire, a memcpy, to the RX ring's head.
static void toy_nic(struct toy_nic *nic, uint32_t most) {
    while (most-- && nic->tx_head != nic->tx_tail && nic->rx_head != nic->rx_tail) {
        struct descriptor *tx = toy_translate(nic, nic->tx_base.value + nic->tx_head * sizeof *tx);
        struct descriptor *rx = toy_translate(nic, nic->rx_base.value + nic->rx_head * sizeof *rx);
        uint32_t length = (uint32_t)tx->word[1];
        memcpy(toy_translate(nic, rx->word[0]), toy_translate(nic, tx->word[0]), length);
        rx->word[1] = length | TOY_DONE;
        if (tx->word[1] & TOY_REPORT) tx->word[1] |= TOY_DONE;
        nic->tx_head = (nic->tx_head + 1) % RING_SIZE;
        nic->rx_head = (nic->rx_head + 1) % RING_SIZE;
    }
}

// ---- The driver ---------------------------------------------------------------------------------------------------

// 'o': ours and empty. '=': the device's, not done. '!': DD is set, we have not looked yet.
static void print_ring(const char *name, const struct ring *ring) {
    char picture[RING_SIZE + 1] = {0};
    memset(picture, 'o', RING_SIZE);
    for (uint32_t position = ring->head; position != ring->tail; position++) {
        uint32_t slot = ring_slot(ring, position);
        picture[slot] = toy_done(&ring->descriptors[slot]) ? '!' : '=';
    }
    printf("  %s %s  head %2u tail %2u\n", name, picture, ring_slot(ring, ring->head), ring_slot(ring, ring->tail));
}

static void show(const char *what, const struct ring *tx, const struct ring *rx) {
    printf("%s\n", what);
    print_ring("TX", tx);
    print_ring("RX", rx);
}

// Takes free buffers and writes a number into each: the "fill" of the TX side.
static uint32_t make_packets(struct mempool *pool, struct packet_buffer **buffers, uint32_t count, uint32_t *number) {
    count = mempool_alloc_batch(pool, buffers, count);
    for (uint32_t i = 0; i < count; i++) {
        memcpy(buffers[i]->data, number, sizeof *number);
        buffers[i]->length = 60;
        ++*number;
    }
    return count;
}

struct driver {
    struct ring tx, rx;
    struct mempool *pool;
    struct toy_nic nic;
    uint32_t sent, received;
};

static void fill(struct driver *driver) {
    ring_fill(&driver->rx, &toy_rx, driver->pool);
    barrier_before_doorbell();
    driver->nic.rx_tail = ring_slot(&driver->rx, driver->rx.tail);
}

static void link_packets(struct driver *driver, uint32_t count) {
    struct packet_buffer *buffers[RING_SIZE];
    count = make_packets(driver->pool, buffers, count, &driver->sent);
    uint32_t linked = ring_link(&driver->tx, &toy_tx, buffers, count);
    mempool_free_batch(buffers + linked, count - linked);
    driver->sent -= count - linked;
    barrier_before_doorbell();
    driver->nic.tx_tail = ring_slot(&driver->tx, driver->tx.tail);
}

// Every packet must carry the next number.
static int read_and_release(struct driver *driver) {
    struct packet_buffer *buffers[RING_SIZE];
    uint64_t broken = 0;
    uint32_t count = ring_read(&driver->rx, &toy_rx, buffers, RING_SIZE, &broken);
    int error = broken ? log_error(-EIO, "%u broken packets", (unsigned)broken) : 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t number;
        memcpy(&number, buffers[i]->data, sizeof number);
        if (number != driver->received++)
            error = log_error(-EIO, "packet %u came in place of %u", number, driver->received - 1);
    }
    mempool_free_batch(buffers, count);
    return error;
}

static int show_one_round(struct driver *driver) {
    show("Two empty rings of 64. o: ours", &driver->tx, &driver->rx);
    fill(driver);
    show("fill: 63 empty buffers for the device to receive into. =: the device's", &driver->tx, &driver->rx);
    link_packets(driver, 40);
    show("link: 40 packets to send; the tail has moved, the doorbell rung", &driver->tx, &driver->rx);
    toy_nic(&driver->nic, 35);
    show("The device has sent 35. !: done. RX reports each, TX only the last of a group of 32", &driver->tx,
         &driver->rx);
    printf("clean: %u buffers go back to the free stack\n", ring_clean(&driver->tx, &toy_tx));
    int error = read_and_release(driver);
    show("read, release: 35 packets received and given back", &driver->tx, &driver->rx);
    fill(driver);
    show("fill again: the tail wraps around the end of the array", &driver->tx, &driver->rx);
    return error;
}

// The same a thousand times with changing amounts, so that head and tail wrap often and at odd places.
static int many_rounds(struct driver *driver) {
    int error = 0;
    for (uint32_t round = 0; round < ROUNDS && !error; round++) {
        link_packets(driver, round * 7 % 50);
        toy_nic(&driver->nic, round * 5 % 45);
        ring_clean(&driver->tx, &toy_tx);
        error = read_and_release(driver);
        fill(driver);
    }
    // What is in the rings now takes one round more, if neither side waits for the other in vain.
    for (uint32_t round = 0; driver->received < driver->sent && !error; round++) {
        if (round == ROUNDS)
            return log_error(-ETIMEDOUT, "%u of %u packets have not arrived; who has the descriptors?",
                             driver->sent - driver->received, driver->sent);
        toy_nic(&driver->nic, RING_SIZE);
        ring_clean(&driver->tx, &toy_tx);
        error = read_and_release(driver);
        fill(driver);
    }
    ring_clean(&driver->tx, &toy_tx);
    if (error) return error;
    printf(
        "After a thousand rounds more: %u packets sent, %u received, in order; each ring has gone round %u times\n",
        driver->sent, driver->received, driver->sent / RING_SIZE);
    show("At the end TX is empty and RX waits", &driver->tx, &driver->rx);
    return error;
}

static int run(struct dma_space *space) {
    struct driver driver = {0};
    int error = mempool_create(space, POOL_SIZE, MEMPOOL_DEFAULT_SIZE, &driver.pool);
    if (!error) error = ring_create(space, RING_SIZE, &driver.tx);
    if (!error) error = ring_create(space, RING_SIZE, &driver.rx);
    if (!error) {
        driver.nic = (struct toy_nic){.tx_base = driver.tx.memory.iova,
                                      .rx_base = driver.rx.memory.iova,
                                      .tx = &driver.tx,
                                      .rx = &driver.rx,
                                      .pool = driver.pool};
        error = show_one_round(&driver);
        if (!error) error = many_rounds(&driver);
    }
    ring_destroy(space, &driver.rx);
    ring_destroy(space, &driver.tx);
    mempool_destroy(driver.pool);
    return error;
}

int main(int argc, char **argv) {
    return dma_main(argc, argv, "Sends packets through two descriptor rings and shows who owns which slot.", run);
}
