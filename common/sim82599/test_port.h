// test_port.h: a port at a real wire, and as much of a driver as it takes to see what arrives: one receive queue.
//
// Frames to be sent are given to the wire directly, as the transmit engine does. The device's clock is a number that
// the test moves, or that moves by itself at each look (tick_ns).
#pragma once

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "iommu.h"
#include "ixgbe_regs.h"
#include "observe.h"
#include "sim.h"
#include "test.h"
#include "wire.h"

enum { RING = 512, BUFFER = 16384, RING_AT = RING * BUFFER, MEMORY = RING_AT + 65536, IOVA = 0x10000000 };
enum { MS = 1000 * 1000 };

struct port {
    struct sim_device *device;
    struct iommu *iommu;
    uint32_t *registers;
    uint8_t *memory;
    struct wire *wire;
    unsigned next;  // descriptor that is filled next
};

static uint64_t now_ns = 1000 * MS, tick_ns;

static inline uint64_t front_now(void *context) {
    (void)context;
    return now_ns += tick_ns;
}
static inline void front_interrupt(void *context, unsigned vector) { (void)context, (void)vector; }

static inline void set(struct port *port, uint32_t offset, uint32_t value) {
    sim_register_write(port->device, offset, value);
}
static inline uint32_t get(struct port *port, uint32_t offset) { return sim_register_read(port->device, offset); }

// Until nothing moves, or for long enough: some wires never rest.
static inline void settle(struct port *port) {
    for (unsigned steps = 0; steps < 32 && sim_step(port->device); steps++) continue;
}

// Time passes in steps of 20 µs, the port being stepped all the while.
static inline void pass(struct port *port, uint64_t duration_ns) {
    for (uint64_t end = now_ns + duration_ns; now_ns < end; now_ns += 20000) sim_step(port->device);
    sim_step(port->device);
}

static inline uint64_t *descriptor(struct port *port, unsigned index) {
    return (uint64_t *)(void *)(port->memory + RING_AT) + 2 * index;
}

static inline void fill_descriptor(struct port *port, unsigned index) {
    descriptor(port, index)[0] = IOVA + index * BUFFER;
    descriptor(port, index)[1] = 0;
}

static inline void open_receiver(struct port *port) {
    for (unsigned i = 0; i < RING; i++) fill_descriptor(port, i);
    set(port, IXGBE_FCTRL, IXGBE_FCTRL_UPE | IXGBE_FCTRL_MPE | IXGBE_FCTRL_BAM);
    set(port, IXGBE_MAXFRS, 15000u << 16);
    set(port, IXGBE_HLREG0, get(port, IXGBE_HLREG0) | IXGBE_HLREG0_RXCRCSTRP | IXGBE_HLREG0_JUMBOEN);
    set(port, IXGBE_RDRXCTL, get(port, IXGBE_RDRXCTL) | IXGBE_RDRXCTL_CRC_STRIP);
    set(port, IXGBE_RDBAL, IOVA + RING_AT);
    set(port, IXGBE_RDLEN, RING * 16);
    set(port, IXGBE_SRRCTL, BUFFER / 1024);
    set(port, IXGBE_RXDCTL, IXGBE_RXDCTL_ENABLE);
    settle(port);
    while (!(get(port, IXGBE_RXDCTL) & IXGBE_RXDCTL_ENABLE)) pass(port, 20000);
    set(port, IXGBE_RDT, RING - 1);
    set(port, IXGBE_RXCTRL, IXGBE_RXCTRL_RXEN);
    settle(port);
}

// Frames that are 802.3x-paused instead of lost, in both directions.
static inline void agree_on_pause(struct port *port) {
    set(port, IXGBE_FCRTH, (256 * 1024) | IXGBE_FCRTH_FCEN);
    set(port, IXGBE_FCRTL, (128 * 1024) | IXGBE_FCRTL_XONE);
    set(port, IXGBE_FCTTV, 0xffff);
    set(port, IXGBE_FCRTV, 0x7fff);
    set(port, IXGBE_FCCFG, 1u << IXGBE_FCCFG_TFCE_SHIFT);
    set(port, IXGBE_MFLCN, IXGBE_MFLCN_RFCE);
}

static inline struct port *port_on(unsigned number, const char *wire) {
    struct port *port = calloc(1, sizeof *port);
    port->registers = calloc(1, SIM_BAR0_SIZE);
    port->memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    const struct sim_front front = {NULL, front_now, front_interrupt, port->registers, true};
    port->device = sim_create(number, &front);
    port->iommu = iommu_create();
    iommu_map(port->iommu, IOVA, MEMORY, port->memory, IOMMU_READ | IOMMU_WRITE);
    sim_set_iommu(port->device, port->iommu);
    sim_config_write(port->device, 4, &(const uint16_t){6}, 2);
    CHECK_EQ(wire_claim_port(number, port->device), 0);
    CHECK_EQ(wire_plug(wire, port->device, &port->wire), 0);
    sim_set_wire(port->device, port->wire);
    return port;
}

#define CHECK_BETWEEN(value, low, high) check_between(__LINE__, #value, value, low, high)
static inline void check_between(int line, const char *what, uint64_t value, uint64_t low, uint64_t high) {
    char text[256];
    snprintf(text, sizeof text, "%s is %llu, expected %llu to %llu", what, (unsigned long long)value,
             (unsigned long long)low, (unsigned long long)high);
    test_check_(value >= low && value <= high, __FILE__, line, text);
}

// Powered, link up, receiver open. The link needs some milliseconds of training; nobody else has to be there for it.
static inline struct port *port_up(unsigned number, const char *wire) {
    struct port *port = port_on(number, wire);
    pass(port, 20 * MS);
    open_receiver(port);
    CHECK(sim_receiver_open(port->device));
    return port;
}

static inline struct port *port_up_with_pause(unsigned number, const char *wire) {
    struct port *port = port_on(number, wire);
    agree_on_pause(port);
    pass(port, 20 * MS);
    open_receiver(port);
    return port;
}

static inline void port_off(struct port *port) {
    unsigned number = sim_port(port->device);
    sim_set_wire(port->device, NULL);
    wire_unplug(port->wire);
    wire_release_port(number);
    sim_destroy(port->device);
    iommu_destroy(port->iommu);
    munmap(port->memory, MEMORY);
    free(port->registers);
    free(port);
}

static inline int send_frame(struct port *port, const void *frame, uint32_t length) {
    return port->wire->ops->send(port->wire, &(struct wire_frame){frame, length}, 1) ? 0 : -EAGAIN;
}

// The oldest received frame, valid until the next call; 0 and NULL: there is none.
static inline uint32_t take(struct port *port, const uint8_t **frame) {
    unsigned index = port->next;
    *frame = NULL;
    if (!(descriptor(port, index)[1] >> 32 & 1)) return 0;
    uint32_t length = descriptor(port, index)[1] & 0xffff;
    *frame = port->memory + (size_t)index * BUFFER;
    fill_descriptor(port, index);
    set(port, IXGBE_RDT, index);
    port->next = (index + 1) % RING;
    return length;
}

static inline unsigned take_all(struct port *port) {
    unsigned count = 0, steps = 0;
    const uint8_t *frame;
    do {
        while (take(port, &frame)) count++;
    } while (sim_step(port->device) && ++steps < 10000);
    return count;
}
