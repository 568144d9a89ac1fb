// test_front.h: the smallest front there can be: a port, some DMA memory, a clock that moves when told to, a recorder
// of interrupts, and a wire whose far end is the test. The device is looked at from outside only, as a driver would.
#pragma once

#include "core.h"
#include "iommu.h"
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    MEMORY_BYTES = 4 << 20,
    WIRE_FRAMES = 512,
    RING_SIZE = 64,     // descriptors
    TX_RING = 0x1000,   // offsets in DMA memory, which are also where things are relative to IOVA_BASE
    RX_RING = 0x40000,  // queue n: + n * 0x1000
    TX_BUFFERS = 0x100000,
    RX_BUFFERS = 0x200000,
    BUFFER_BYTES = 2048,
};
#define IOVA_BASE UINT64_C(0x100000000)

struct sent_frame {
    uint32_t length;
    uint8_t bytes[SIM_MAX_FRAME];
};

struct bench {
    struct sim_device *device;
    struct iommu *iommu;
    uint8_t *memory;
    uint64_t now_ns;
    uint32_t registers[SIM_BAR0_SIZE / 4];
    unsigned interrupts[SIM_MSIX_VECTORS];
    struct wire wire;
    bool light, busy;  // the wire's far end
    unsigned accept;   // frames until it is busy
    struct sent_frame *sent;
    unsigned sent_count;
};

// What lint has to say where a test breaks rules on purpose is another test's business.
static inline void hush(bool quiet) {
    static int kept = -1;
    fflush(stderr);
    if (kept < 0) kept = dup(2);
    int nowhere = quiet ? open("/dev/null", O_WRONLY) : -1;
    dup2(quiet ? nowhere : kept, 2);
    if (quiet) close(nowhere);
}

static inline struct bench *bench_of(const struct wire *wire) {
    return (struct bench *)(uintptr_t)((const char *)wire - offsetof(struct bench, wire));
}

static inline uint64_t bench_now(void *context) { return ((struct bench *)context)->now_ns; }
static inline void bench_interrupt(void *context, unsigned vector) {
    ((struct bench *)context)->interrupts[vector]++;
}

static inline unsigned bench_send(struct wire *wire, const struct wire_frame *frames, unsigned count) {
    struct bench *bench = bench_of(wire);
    unsigned taken = 0;
    for (; taken < count && !bench->busy && bench->accept > 0; taken++) {
        bench->accept--;
        struct sent_frame *slot = &bench->sent[bench->sent_count++ % WIRE_FRAMES];
        slot->length = frames[taken].length;
        memcpy(slot->bytes, frames[taken].bytes, frames[taken].length);
    }
    return taken;
}

static inline unsigned bench_poll(struct wire *wire, unsigned budget) {
    (void)wire, (void)budget;
    return 0;
}
static inline bool bench_carrier(const struct wire *wire) { return bench_of(wire)->light; }
static inline void bench_close(struct wire *wire) { (void)wire; }

static const struct wire_ops bench_wire_ops = {"test", bench_send, bench_poll, bench_carrier, bench_close};

static inline uint32_t rd(struct bench *bench, uint32_t offset) {
    uint32_t value = sim_register_read(bench->device, offset);
    sim_step(bench->device);
    return value;
}
static inline void wr(struct bench *bench, uint32_t offset, uint32_t value) {
    sim_register_write(bench->device, offset, value);
    sim_step(bench->device);
}
static inline void set_bits(struct bench *bench, uint32_t offset, uint32_t bits) {
    wr(bench, offset, rd(bench, offset) | bits);
}
static inline void settle(struct bench *bench) {
    while (sim_step(bench->device)) continue;
}
static inline void pass_us(struct bench *bench, uint64_t us) {
    settle(bench);
    for (uint64_t end = bench->now_ns + us * 1000; bench->now_ns < end;) {
        uint64_t next = sim_next_timer_ns(bench->device);
        bench->now_ns = next > bench->now_ns && next < end ? next : end;
        settle(bench);
    }
}

// `seen`: the device sees every access, as in stepped mode.
static inline struct bench *bench_create_seen(bool seen) {
    struct bench *bench = calloc(1, sizeof *bench);
    bench->memory = aligned_alloc(4096, MEMORY_BYTES);
    memset(bench->memory, 0, MEMORY_BYTES);
    bench->sent = calloc(WIRE_FRAMES, sizeof *bench->sent);
    bench->now_ns = 1000000000;
    bench->light = true;
    bench->accept = UINT32_MAX;
    struct sim_front front = {bench, bench_now, bench_interrupt, bench->registers, seen};
    bench->device = sim_create(0, &front);
    bench->iommu = iommu_create();
    iommu_map(bench->iommu, IOVA_BASE, MEMORY_BYTES, bench->memory, IOMMU_READ | IOMMU_WRITE);
    sim_set_iommu(bench->device, bench->iommu);
    bench->wire = (struct wire){&bench_wire_ops, bench->device};
    sim_set_wire(bench->device, &bench->wire);
    const uint8_t command[2] = {0x06, 0x00};  // memory, bus master
    sim_config_write(bench->device, 0x04, command, 2);
    return bench;
}

static inline struct bench *bench_create(void) { return bench_create_seen(true); }

static inline void bench_destroy(struct bench *bench) {
    sim_destroy(bench->device);
    iommu_destroy(bench->iommu);
    free(bench->memory);
    free(bench->sent);
    free(bench);
}

// As a driver writes where queues' registers are plain memory: the device does not notice.
static inline void write_memory(struct bench *bench, uint32_t offset, uint32_t value) {
    bench->registers[offset / 4] = value;
}

static inline void write_rx_queue(struct bench *bench, unsigned queue,
                                  void (*write)(struct bench *bench, uint32_t offset, uint32_t value)) {
    uint64_t ring = IOVA_BASE + RX_RING + queue * 0x1000;
    union ixgbe_rx_desc *descriptors = (void *)(bench->memory + RX_RING + queue * 0x1000);
    for (unsigned i = 0; i < RING_SIZE; i++) {
        descriptors[i].read.packet_iova = IOVA_BASE + RX_BUFFERS + (queue % 8 * RING_SIZE + i) * BUFFER_BYTES;
        descriptors[i].read.header_iova = 0;
    }
    write(bench, ixgbe_rx_queue_reg(IXGBE_RDBAL, queue), (uint32_t)ring);
    write(bench, ixgbe_rx_queue_reg(IXGBE_RDBAH, queue), (uint32_t)(ring >> 32));
    write(bench, ixgbe_rx_queue_reg(IXGBE_RDLEN, queue), RING_SIZE * 16);
    write(bench, ixgbe_rx_queue_reg(IXGBE_SRRCTL, queue), IXGBE_DESCTYPE_ADVANCED << IXGBE_SRRCTL_DESCTYPE_SHIFT | 2);
    write(bench, ixgbe_rx_queue_reg(IXGBE_RXDCTL, queue), IXGBE_RXDCTL_ENABLE);
}

static inline void start_rx_queue(struct bench *bench, unsigned queue) {
    write_rx_queue(bench, queue, wr);
    for (int i = 0; i < 3 && !(rd(bench, ixgbe_rx_queue_reg(IXGBE_RXDCTL, queue)) & IXGBE_RXDCTL_ENABLE); i++)
        continue;
    wr(bench, ixgbe_rx_queue_reg(IXGBE_RDT, queue), RING_SIZE - 1);
}

static inline void start_tx_queue(struct bench *bench, unsigned queue) {
    uint64_t ring = IOVA_BASE + TX_RING + queue * 0x1000;
    wr(bench, ixgbe_tx_queue_reg(IXGBE_TDBAL, queue), (uint32_t)ring);
    wr(bench, ixgbe_tx_queue_reg(IXGBE_TDBAH, queue), (uint32_t)(ring >> 32));
    wr(bench, ixgbe_tx_queue_reg(IXGBE_TDLEN, queue), RING_SIZE * 16);
    wr(bench, ixgbe_tx_queue_reg(IXGBE_TXDCTL, queue), IXGBE_TXDCTL_ENABLE);
    for (int i = 0; i < 3 && !(rd(bench, ixgbe_tx_queue_reg(IXGBE_TXDCTL, queue)) & IXGBE_TXDCTL_ENABLE); i++)
        continue;
}

// What a driver does before it touches a queue: link, receiver, promiscuous.
static inline void bring_up(struct bench *bench) {
    pass_us(bench, 20000);
    wr(bench, IXGBE_FCTRL, IXGBE_FCTRL_UPE | IXGBE_FCTRL_MPE | IXGBE_FCTRL_BAM);
    set_bits(bench, IXGBE_RDRXCTL, IXGBE_RDRXCTL_CRC_STRIP);
    wr(bench, IXGBE_RXCTRL, IXGBE_RXCTRL_RXEN);
    set_bits(bench, IXGBE_DMATXCTL, IXGBE_DMATXCTL_TE);
}

static inline struct bench *bench_running(void) {
    struct bench *bench = bench_create();
    bring_up(bench);
    start_rx_queue(bench, 0);
    start_tx_queue(bench, 0);
    return bench;
}

static inline union ixgbe_rx_desc *rx_descriptor(struct bench *bench, unsigned queue, unsigned index) {
    return (union ixgbe_rx_desc *)(void *)(bench->memory + RX_RING + queue * 0x1000) + index;
}
static inline uint8_t *rx_buffer(struct bench *bench, unsigned queue, unsigned index) {
    return bench->memory + RX_BUFFERS + (queue % 8 * RING_SIZE + index) * BUFFER_BYTES;
}
static inline union ixgbe_tx_desc *tx_descriptor(struct bench *bench, unsigned queue, unsigned index) {
    return (union ixgbe_tx_desc *)(void *)(bench->memory + TX_RING + queue * 0x1000) + index;
}
static inline uint8_t *tx_buffer(struct bench *bench, unsigned index) {
    return bench->memory + TX_BUFFERS + index * SIM_MAX_FRAME;
}

// One buffer as an advanced data descriptor.
static inline void put_data(struct bench *bench, unsigned index, uint32_t length, uint32_t command,
                            uint32_t options) {
    *tx_descriptor(bench, 0, index) =
        (union ixgbe_tx_desc){.read = {
                                  .iova = IOVA_BASE + TX_BUFFERS + index * SIM_MAX_FRAME,
                                  .command = length | IXGBE_TXD_CMD_DEXT | IXGBE_TXD_CMD_DTYP_DATA | command,
                                  .options = options | length << IXGBE_TXD_OPT_PAYLEN_SHIFT,
                              }};
}
#define WHOLE (IXGBE_TXD_CMD_EOP | IXGBE_TXD_CMD_IFCS | IXGBE_TXD_CMD_RS)

// A UDP frame from `mac` on, checksums right, ports as given, payload counted up. Returns its length.
static inline uint32_t make_udp(uint8_t *frame, uint32_t length, uint16_t source, uint16_t destination) {
    static const uint8_t header[34] = {0x90, 0xe2, 0xba, 0x82, 0x59, 0,  2,  0, 0, 0,  0, 9, 8, 0,  0x45, 0, 0,
                                       0,    0x12, 0x34, 0,    0,    64, 17, 0, 0, 10, 0, 0, 1, 10, 0,    0, 2};
    memcpy(frame, header, sizeof header);
    frame[16] = (uint8_t)((length - 14) >> 8), frame[17] = (uint8_t)(length - 14);
    frame[34] = (uint8_t)(source >> 8), frame[35] = (uint8_t)source;
    frame[36] = (uint8_t)(destination >> 8), frame[37] = (uint8_t)destination;
    frame[38] = (uint8_t)((length - 34) >> 8), frame[39] = (uint8_t)(length - 34);
    frame[40] = frame[41] = 0;
    for (uint32_t i = 42; i < length; i++) frame[i] = (uint8_t)i;
    return length;
}

// The Internet checksum the way RFC 1071 puts it, two bytes at a time in network order.
static inline uint32_t slow_sum(const uint8_t *bytes, uint32_t length, uint32_t sum) {
    for (uint32_t i = 0; i < length; i += 2) sum += (uint32_t)(bytes[i] << 8 | (i + 1 < length ? bytes[i + 1] : 0));
    while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
    return sum;
}
static inline void put_sum(uint8_t *at, uint32_t sum) {
    sum = ~sum & 0xffff;
    at[0] = (uint8_t)(sum >> 8), at[1] = (uint8_t)sum;
}
static inline uint32_t pseudo_v4(const uint8_t *ip, uint32_t protocol, uint32_t length) {
    return slow_sum(ip + 12, 8, 0) + protocol + length;
}
static inline void fill_sums_v4(uint8_t *frame, uint32_t l4_sum_at) {
    uint8_t *ip = frame + 14, *l4 = ip + (ip[0] & 15) * 4;
    uint32_t length = (uint32_t)(ip[2] << 8 | ip[3]) - (uint32_t)(l4 - ip);
    ip[10] = ip[11] = l4[l4_sum_at] = l4[l4_sum_at + 1] = 0;
    put_sum(ip + 10, slow_sum(ip, (uint32_t)(l4 - ip), 0));
    put_sum(l4 + l4_sum_at, slow_sum(l4, length, pseudo_v4(ip, ip[9], length)));
}
