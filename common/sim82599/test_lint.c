// test_lint.c: every rule of lint.def is broken once, on the real device core, and its message seen; and a driver
// that does everything right sees none.
//
// The driver here is a few lines: each step of bringing the device up is a function of its own, so that a test can
// leave one out or do it wrong. Each test runs in a process of its own, because lint says everything only once.
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "iommu.h"
#include "ixgbe_regs.h"
#include "lint.h"
#include "sim.h"
#include "test.h"
#include "test_vfio_user.h"
#include "wire.h"

enum { RING = 64, BUFFER = 2048, FRAME = 64, MEMORY = 1 << 20 };
#define IOVA    UINT64_C(0x100000000)
#define TX_RING (IOVA)
#define RX_RING (IOVA + 0x10000)
#define BUFFERS (IOVA + 0x20000)

static char memory[MEMORY] __attribute__((aligned(4096)));
static uint32_t registers[SIM_BAR0_SIZE / 4] __attribute__((aligned(4096)));
static struct sim_device *device;
static struct iommu *iommu;
static uint64_t now_ns;
static unsigned frames_sent;

// The front: time goes on by a microsecond at every access, and the device works until it has nothing to do.

static uint64_t front_now(void *context) {
    (void)context;
    return now_ns;
}

static void front_interrupt(void *context, unsigned vector) { (void)context, (void)vector; }

static void settle(void) {
    now_ns += 1000;
    for (int turn = 0; turn < 1000 && sim_step(device); turn++) {
    }
}

static uint32_t get(uint32_t offset) {
    uint32_t value = sim_register_read(device, offset);
    settle();
    return value;
}

static void set(uint32_t offset, uint32_t value) {
    sim_register_write(device, offset, value);
    settle();
}

static void set_bits(uint32_t offset, uint32_t bits) { set(offset, get(offset) | bits); }

static void wait_for(uint32_t offset, uint32_t mask, uint32_t wanted) {
    for (int tries = 0; tries < 1000000 && (get(offset) & mask) != wanted; tries++) {
    }
}

static unsigned wire_send(struct wire *wire, const struct wire_frame *frames, unsigned count) {
    (void)wire, (void)frames;
    frames_sent += count;
    return count;
}
static unsigned wire_poll(struct wire *wire, unsigned budget) { return (void)wire, (void)budget, 0; }
static bool wire_carrier(const struct wire *wire) { return (void)wire, true; }
static const struct wire_ops wire_ops = {
    .name = "test", .send = wire_send, .poll = wire_poll, .carrier = wire_carrier};
static struct wire wire = {.ops = &wire_ops};

static void power_on(bool every_access_seen) {
    static struct sim_front front = {.now_ns = front_now, .interrupt = front_interrupt, .registers = registers};
    front.every_access_seen = every_access_seen;
    sim_observed = every_access_seen;
    now_ns = 1000000;
    device = sim_create(0, &front);
    iommu = iommu_create();
    iommu_map(iommu, IOVA, MEMORY, memory, IOMMU_READ | IOMMU_WRITE);
    sim_set_iommu(device, iommu);
    wire.port = device;
    sim_set_wire(device, &wire);
    sim_set_interrupt_mode(device, SIM_IRQ_MSIX);
}

// The driver.

static void *at(uint64_t iova) { return memory + (iova - IOVA); }

static void bus_mastering_on(void) { sim_config_write(device, 4, &(uint16_t){6}, 2); }

static void reset(void) {
    set(IXGBE_EIMC, 0x7fffffff);
    set_bits(IXGBE_CTRL, IXGBE_CTRL_MASTER_DISABLE);
    set(IXGBE_CTRL, IXGBE_CTRL_RST);
    wait_for(IXGBE_CTRL, IXGBE_CTRL_RST, 0);
    set(IXGBE_EIMC, 0x7fffffff);
}

static void wait_until_ready(void) {
    wait_for(IXGBE_EEC, IXGBE_EEC_AUTO_RD, IXGBE_EEC_AUTO_RD);
    wait_for(IXGBE_RDRXCTL, IXGBE_RDRXCTL_DMAIDONE, IXGBE_RDRXCTL_DMAIDONE);
}

static void bring_up(bool every_access_seen) {
    power_on(every_access_seen);
    bus_mastering_on();
    reset();
    wait_until_ready();
}

static void start(void) { bring_up(true); }

static void rx_configure(void) {
    set_bits(IXGBE_FCTRL, IXGBE_FCTRL_UPE | IXGBE_FCTRL_MPE | IXGBE_FCTRL_BAM);
    set_bits(IXGBE_HLREG0, IXGBE_HLREG0_RXCRCSTRP);
    set_bits(IXGBE_RDRXCTL, IXGBE_RDRXCTL_CRC_STRIP);
    set(IXGBE_RDBAL, (uint32_t)RX_RING);
    set(IXGBE_RDBAH, (uint32_t)(RX_RING >> 32));
    set(IXGBE_RDLEN, RING * 16);
    set(IXGBE_RDH, 0);
    set(IXGBE_RDT, 0);
    set(IXGBE_SRRCTL, BUFFER / 1024 | IXGBE_DESCTYPE_ADVANCED << IXGBE_SRRCTL_DESCTYPE_SHIFT);
}

static void rx_give(unsigned index, uint64_t iova) {
    union ixgbe_rx_desc *ring = at(RX_RING);
    ring[index] = (union ixgbe_rx_desc){.read = {.packet_iova = iova}};
}

static uint64_t buffer(unsigned index) { return BUFFERS + (uint64_t)index * BUFFER; }

static void rx_fill(void) {
    for (unsigned i = 0; i < RING; i++) rx_give(i, buffer(i));
}

static void enable(uint32_t control) {
    set_bits(control, IXGBE_RXDCTL_ENABLE);
    wait_for(control, IXGBE_RXDCTL_ENABLE, IXGBE_RXDCTL_ENABLE);
}

static void disable(uint32_t control) {
    set(control, get(control) & ~(uint32_t)IXGBE_RXDCTL_ENABLE);
    wait_for(control, IXGBE_RXDCTL_ENABLE, 0);
}

static void rx_start(void) {
    rx_configure();
    rx_fill();
    enable(IXGBE_RXDCTL);
    set(IXGBE_RDT, RING - 1);
    set_bits(IXGBE_RXCTRL, IXGBE_RXCTRL_RXEN);
}

static void tx_configure(void) {
    set_bits(IXGBE_DMATXCTL, IXGBE_DMATXCTL_TE);
    set(IXGBE_TDBAL, (uint32_t)TX_RING);
    set(IXGBE_TDBAH, (uint32_t)(TX_RING >> 32));
    set(IXGBE_TDLEN, RING * 16);
    set(IXGBE_TDH, 0);
    set(IXGBE_TDT, 0);
}

static void tx_start(void) {
    tx_configure();
    enable(IXGBE_TXDCTL);
}

enum {
    TX_COMMAND = (int)(IXGBE_TXD_CMD_DTYP_DATA | IXGBE_TXD_CMD_EOP | IXGBE_TXD_CMD_IFCS | IXGBE_TXD_CMD_RS |
                       IXGBE_TXD_CMD_DEXT)
};

static void tx_put(unsigned index, uint32_t command, uint32_t length, uint32_t options) {
    union ixgbe_tx_desc *ring = at(TX_RING);
    ring[index].read.iova = buffer(index);
    ring[index].read.command = command | length;
    ring[index].read.options = options | length << IXGBE_TXD_OPT_PAYLEN_SHIFT;
}

static void link_up(void) { wait_for(IXGBE_LINKS, IXGBE_LINKS_LINK_UP, IXGBE_LINKS_LINK_UP); }

static void all_up(void) {
    start();
    tx_start();
    rx_start();
    link_up();
}

static void arrive(void) {
    static const uint8_t frame[FRAME] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45};
    sim_receive(device, frame, sizeof frame);
    settle();
}

// What must be silent.

static void right_driver(void) {
    all_up();
    set(IXGBE_GPIE, IXGBE_GPIE_MULTIPLE_MSIX | IXGBE_GPIE_PBA_SUPPORT | IXGBE_GPIE_EIAME);
    set(IXGBE_IVAR, 0x80 | 0x80 << 8);
    set(IXGBE_IVAR_MISC, 0x81 << 8);
    set(IXGBE_EIMS, IXGBE_EICR_LSC | 1);
    union ixgbe_rx_desc *rx = at(RX_RING);
    union ixgbe_tx_desc *tx = at(TX_RING);
    unsigned received = 0, next = 0, sent = 0;
    for (unsigned round = 0; round < 10 * RING; round++) {
        arrive();
        while (rx[next].wb.status_error & IXGBE_RXD_STATUS_DD) {
            rx_give(next, buffer(next));
            set(IXGBE_RDT, next);
            next = (next + 1) % RING;
            received++;
        }
        tx_put(round % RING, TX_COMMAND, FRAME, 0);
        set(IXGBE_TDT, (round + 1) % RING);
        sent += tx[round % RING].wb.status & IXGBE_TXD_STATUS_DD;
    }
    get(IXGBE_GORCL);
    get(IXGBE_GORCH);
    set(IXGBE_EIMC, 0x7fffffff);
    disable(IXGBE_RXDCTL);
    disable(IXGBE_TXDCTL);
    observe_map(device, IOVA, MEMORY, false);
    iommu_unmap(iommu, IOVA, MEMORY);
    reset();
    if (received == 10 * RING && sent == 10 * RING && frames_sent == 10 * RING && lint_breaches() == 0) return;
    fprintf(stderr, "received %u, DD on %u, on the wire %u, breaches %u\n", received, sent, frames_sent,
            lint_breaches());
}

// What other drivers do, and may: reset pointers while disabled, RDH after ENABLE, RXEN last, receive mask in MSI-X
// mode for vectors that nobody uses, a reset of every queue before they know the device.
static void other_drivers(void) {
    start();
    for (unsigned i = 0; i < SIM_QUEUES; i++) set(ixgbe_tx_queue_reg(IXGBE_TXDCTL, i), IXGBE_TXDCTL_SWFLSH);
    rx_configure();
    rx_fill();
    enable(IXGBE_RXDCTL);
    set(IXGBE_RDH, 0);
    set(IXGBE_RDT, RING - 1);
    now_ns += 500000000;
    tx_start();
    set(IXGBE_TDT, 0);
    set_bits(IXGBE_RXCTRL, IXGBE_RXCTRL_RXEN);
    set(IXGBE_GPIE, IXGBE_GPIE_MULTIPLE_MSIX);
    set(IXGBE_IVAR, 0x80);
    set(IXGBE_IVAR_MISC, 0x81 << 8);
    set(IXGBE_EIMS, 0xfff00000 & ~(uint32_t)IXGBE_EICR_OTHER_CAUSE);
    set(IXGBE_REG(EIMS_EX, 0), 0xffffffff);
    set(IXGBE_REG(EIMS_EX, 1), 0xffffffff);
    set_bits(IXGBE_SRRCTL, IXGBE_SRRCTL_DROP_EN);
    disable(IXGBE_RXDCTL);
    set(IXGBE_RDBAL, (uint32_t)RX_RING);
    set(IXGBE_RDT, 0);
    enable(IXGBE_RXDCTL);
}

static void threaded(void) {
    bring_up(false);
    tx_start();
    rx_start();
    disable(IXGBE_RXDCTL);
    registers[IXGBE_TXDCTL / 4] &= ~(uint32_t)IXGBE_TXDCTL_ENABLE;  // which nobody is told of
    reset();
    observe_map(device, IOVA, MEMORY, false);
}

// Where the queues' registers are memory, a driver reads at once that they are off, and may take its memory away.
static void threaded_without_a_reset(void) {
    bring_up(false);
    tx_start();
    rx_start();
    registers[IXGBE_TXDCTL / 4] &= ~(uint32_t)IXGBE_TXDCTL_ENABLE;
    registers[IXGBE_RXDCTL / 4] &= ~(uint32_t)IXGBE_RXDCTL_ENABLE;
    observe_map(device, IOVA, MEMORY, false);
}

// What must not. One function a rule, with the rule's name.

static void reset_while_unmasked(void) {
    start();
    set(IXGBE_EIMS, IXGBE_EICR_LSC);
    set_bits(IXGBE_CTRL, IXGBE_CTRL_MASTER_DISABLE);
    set(IXGBE_CTRL, IXGBE_CTRL_RST);
}

static void reset_while_a_high_vector_is_unmasked(void) {
    start();
    set(IXGBE_IVAR, 0x80 | 40);
    set(IXGBE_REG(EIMS_EX, 1), 1 << (40 - 32));
    set_bits(IXGBE_CTRL, IXGBE_CTRL_MASTER_DISABLE);
    set(IXGBE_CTRL, IXGBE_CTRL_RST);
}

static void reset_while_running(void) {
    start();
    tx_start();
    reset();
}

static void reset_while_mastering_the_bus(void) {
    start();
    set(IXGBE_CTRL, IXGBE_CTRL_RST);
}

static void reset_not_awaited(void) {
    power_on(true);
    sim_register_write(device, IXGBE_CTRL, IXGBE_CTRL_RST);
    sim_register_write(device, IXGBE_FCTRL, IXGBE_FCTRL_BAM);
}

static void device_not_ready(void) {
    power_on(true);
    bus_mastering_on();
    reset();
    tx_start();
}

static void bus_mastering_off(void) {
    power_on(true);
    reset();
    wait_until_ready();
    tx_start();
}

static void ring_misaligned(void) {
    start();
    tx_configure();
    set(IXGBE_TDBAL, (uint32_t)TX_RING + 64);
    enable(IXGBE_TXDCTL);
}

static void ring_length(void) {
    start();
    tx_configure();
    set(IXGBE_TDLEN, RING * 16 + 16);
    enable(IXGBE_TXDCTL);
}

static void config_while_enabled(void) {
    start();
    tx_start();
    set(IXGBE_TDBAL, (uint32_t)TX_RING + 4096);
}

static void enable_not_awaited(void) {
    start();
    tx_configure();
    set(IXGBE_TXDCTL, IXGBE_TXDCTL_ENABLE);
    now_ns += 1000000;
    settle();
    tx_put(0, TX_COMMAND, FRAME, 0);
    set(IXGBE_TDT, 1);
}

static void tail_while_disabled(void) {
    start();
    rx_configure();
    rx_fill();
    set(IXGBE_RDT, RING - 1);
}

static void tail_beyond_ring(void) {
    start();
    tx_start();
    set(IXGBE_TDT, RING);
}

static void ring_overrun(void) {
    all_up();
    set(IXGBE_RDT, 0);  // the head is at 0, and the tail was at 63
    set(IXGBE_RDT, RING - 1);
}

static void descriptor_changed(void) {
    all_up();
    rx_give(5, buffer(RING));
    for (int i = 0; i < 6; i++) arrive();
    rx_give(0, buffer(0));
    set(IXGBE_RDT, 0);
}

static void unmap_in_use(void) {
    start();
    tx_start();
    observe_map(device, IOVA, MEMORY, false);
}

static void memory_lost(void) {
    start();
    observe_memory_lost(device, memory, sizeof memory);
}

static void rx_engine_off(void) {
    start();
    rx_configure();
    rx_fill();
    enable(IXGBE_RXDCTL);
    set(IXGBE_RDT, RING - 1);
    now_ns += 2000000000;
    get(IXGBE_LINKS);
}

static void buffer_size(void) {
    start();
    rx_configure();
    set(IXGBE_SRRCTL, IXGBE_DESCTYPE_ADVANCED << IXGBE_SRRCTL_DESCTYPE_SHIFT);
    enable(IXGBE_RXDCTL);
}

static void descriptor_type(void) {
    start();
    rx_configure();
    set(IXGBE_SRRCTL, 2 | 3 << IXGBE_SRRCTL_DESCTYPE_SHIFT);
    enable(IXGBE_RXDCTL);
}

static void crc_strip_mismatch(void) {
    start();
    set_bits(IXGBE_HLREG0, IXGBE_HLREG0_RXCRCSTRP);
    set_bits(IXGBE_RXCTRL, IXGBE_RXCTRL_RXEN);
}

static void buffer_twice(void) {
    start();
    rx_configure();
    rx_fill();
    rx_give(7, buffer(3));
    enable(IXGBE_RXDCTL);
    set(IXGBE_RDT, RING - 1);
}

static void buffer_outside_mapping(void) {
    start();
    rx_configure();
    rx_fill();
    rx_give(7, IOVA + MEMORY - 1024);
    enable(IXGBE_RXDCTL);
    set(IXGBE_RDT, RING - 1);
}

static void tx_engine_off(void) {
    start();
    tx_configure();
    set(IXGBE_DMATXCTL, 0);
    set_bits(IXGBE_TXDCTL, IXGBE_TXDCTL_ENABLE);
}

static void security_block_left_closed(void) {
    all_up();
    set_bits(IXGBE_SECRXCTRL, IXGBE_SECRXCTRL_RX_DIS);
    set(IXGBE_SECRXCTRL, IXGBE_SECRXCTRL_SECRX_DIS);
    now_ns += 2000000000;
    get(IXGBE_LINKS);
    if (lint_breaches() != 0) fprintf(stderr, "sim82599: lint: too early\n");
    set_bits(IXGBE_SECRXCTRL, IXGBE_SECRXCTRL_RX_DIS);
    now_ns += 2000000000;
    get(IXGBE_LINKS);
}

static void send_one(uint32_t command, uint32_t length, uint32_t options) {
    all_up();
    tx_put(0, command, length, options);
    set(IXGBE_TDT, 1);
}

static void tx_type(void) { send_one((TX_COMMAND & ~(uint32_t)IXGBE_TXD_CMD_DTYP) | 5 << 20, FRAME, 0); }
static void tx_length(void) { send_one(TX_COMMAND, FRAME, 1 << IXGBE_TXD_OPT_PAYLEN_SHIFT); }
static void tx_no_crc(void) { send_one(TX_COMMAND & ~(uint32_t)IXGBE_TXD_CMD_IFCS, FRAME, 0); }
static void tx_no_crc_in_the_first(void) {
    all_up();
    tx_put(0, TX_COMMAND & ~(uint32_t)(IXGBE_TXD_CMD_IFCS | IXGBE_TXD_CMD_EOP), FRAME, 0);
    ((union ixgbe_tx_desc *)at(TX_RING))->read.options = 2 * FRAME << IXGBE_TXD_OPT_PAYLEN_SHIFT;
    tx_put(1, TX_COMMAND, FRAME, 0);
    set(IXGBE_TDT, 2);
}

// 1000 bytes in segments of 500, behind 14 + 20 + 20 bytes of headers.
static void send_segments(uint32_t payload_length, uint32_t options) {
    const struct ixgbe_tx_context_desc context = {
        .header_lengths = 14 << IXGBE_TXC_MACLEN_SHIFT | 20,
        .command = IXGBE_TXD_CMD_DEXT | IXGBE_TXD_CMD_DTYP_CONTEXT | IXGBE_TXC_IPV4 | IXGBE_TXC_L4T_TCP,
        .segmentation = 500u << IXGBE_TXC_MSS_SHIFT | 20 << IXGBE_TXC_L4LEN_SHIFT,
    };
    union ixgbe_tx_desc *ring = at(TX_RING);
    memcpy(&ring[0], &context, sizeof context);
    ring[1].read.iova = buffer(1);
    ring[1].read.command = TX_COMMAND | IXGBE_TXD_CMD_TSE | 1054;
    ring[1].read.options = options | payload_length << IXGBE_TXD_OPT_PAYLEN_SHIFT;
    set(IXGBE_TDT, 2);
}

enum { BOTH_SUMS = IXGBE_TXD_OPT_IXSM | IXGBE_TXD_OPT_TXSM };
static void right_segments(void) {
    all_up();
    send_segments(1000, BOTH_SUMS);
    if (frames_sent != 2) fprintf(stderr, "%u frames on the wire, not 2\n", frames_sent);
}
static void segments_with_headers_in_paylen(void) { all_up(), send_segments(1054, BOTH_SUMS); }
static void segments_without_l4_sum(void) { all_up(), send_segments(1000, IXGBE_TXD_OPT_IXSM); }
static void segments_without_ip_sum(void) { all_up(), send_segments(1000, IXGBE_TXD_OPT_TXSM); }

static void tx_packet_open(void) { send_one(TX_COMMAND & ~(uint32_t)IXGBE_TXD_CMD_EOP, FRAME, 0); }
static void offload_without_context(void) { send_one(TX_COMMAND, FRAME, IXGBE_TXD_OPT_IXSM); }

static void no_report_status(void) {
    all_up();
    for (unsigned i = 0; i < RING; i++) {
        tx_put(i, TX_COMMAND & ~(uint32_t)IXGBE_TXD_CMD_RS, FRAME, 0);
        set(IXGBE_TDT, (i + 1) % RING);
    }
}

static void interrupt_without_vector(void) {
    start();
    set(IXGBE_GPIE, IXGBE_GPIE_MULTIPLE_MSIX);
    set(IXGBE_IVAR, 0x83);
    set(IXGBE_EIMS, 1);
}

// How wide an access is and who hears of a vector only a front sees: here it is a virtual machine's.
static struct client connect_client(void) {
    char path[64];
    struct vfio_user *server;
    struct client client;
    snprintf(path, sizeof path, "/tmp/sim82599-test-lint-%d", (int)getpid());
    if (vfio_user_open(0, path, &server) != 0 || !client_begin(&client, server, path)) _exit(1);
    unlink(path);
    return client;
}

static void vector_without_eventfd(void) {
    struct client client = connect_client();
    int event = eventfd(0, 0);
    if (set_irqs(&client, MSIX, DATA_EVENTFD | TRIGGER, 0, 1, &event, 1) != 0) _exit(1);
    reg_write(&client, IXGBE_GPIE, IXGBE_GPIE_MULTIPLE_MSIX);
    reg_write(&client, IXGBE_IVAR, 0x8380);  // transmit queue 0: vector 3; receive queue 0: vector 0
    reg_write(&client, IXGBE_EIMS, 1 << 3 | 1 << 0);
    reg_write(&client, IXGBE_EICS, 1 << 0);
    reg_write(&client, IXGBE_EICS, 1 << 3);
}

static void read_only_write(void) {
    start();
    set(IXGBE_LINKS, IXGBE_LINKS_LINK_UP | 1);
}

static void no_such_register(void) {
    start();
    get(0x1fffc);
}

static void reserved_bits(void) {
    start();
    set(IXGBE_SRRCTL, 0x80000002);
}

static void access_width(void) {
    struct client client = connect_client();
    write_region(&client, BAR0, IXGBE_RDT, 1, 0);
}

static void access_widths_of_all_kinds(void) {
    struct client client = connect_client();
    write_region(&client, BAR4, 0, 8, 0);  // no registers
    write_region(&client, BAR0, IXGBE_FDIRHASH, 8, 0);
    read_region(&client, BAR0, IXGBE_RDT, 4);
    read_region(&client, BAR0, IXGBE_RDBAL, 8);
    read_region(&client, BAR0, IXGBE_RDBAL + 2, 4);
    write_region(&client, BAR0, IXGBE_RDBAL, 2, 0);
    if (lint_breaches() != 3) fprintf(stderr, "sim82599: lint: %u breaches, not 3\n", lint_breaches());
}

static void counter_halves(void) {
    start();
    get(IXGBE_GORCH);
    get(IXGBE_GORCL);
}

static void counter_halves_of_a_queue(void) {
    start();
    get(IXGBE_REG(QBTC_L, 3));
    get(IXGBE_REG(QBTC_H, 3));
    get(IXGBE_REG(QBTC_L, 3));
    get(IXGBE_REG(QBTC_H, 4));
}

static void dma_outside_mapping(void) {
    all_up();
    tx_put(0, TX_COMMAND, FRAME, 0);
    ((union ixgbe_tx_desc *)at(TX_RING))->read.iova = 0xdead0000;
    set(IXGBE_TDT, 1);
}

static const struct {
    const char *rule;
    void (*run)(void);
} breaking[] = {
    {"reset-while-unmasked", reset_while_unmasked},
    {"reset-while-running", reset_while_running},
    {"reset-not-awaited", reset_not_awaited},
    {"device-not-ready", device_not_ready},
    {"bus-mastering-off", bus_mastering_off},
    {"ring-misaligned", ring_misaligned},
    {"ring-length", ring_length},
    {"config-while-enabled", config_while_enabled},
    {"enable-not-awaited", enable_not_awaited},
    {"tail-while-disabled", tail_while_disabled},
    {"tail-beyond-ring", tail_beyond_ring},
    {"ring-overrun", ring_overrun},
    {"descriptor-changed", descriptor_changed},
    {"unmap-in-use", unmap_in_use},
    {"memory-lost", memory_lost},
    {"rx-engine-off", rx_engine_off},
    {"buffer-size", buffer_size},
    {"descriptor-type", descriptor_type},
    {"crc-strip-mismatch", crc_strip_mismatch},
    {"buffer-twice", buffer_twice},
    {"buffer-outside-mapping", buffer_outside_mapping},
    {"tx-engine-off", tx_engine_off},
    {"tx-type", tx_type},
    {"tx-length", tx_length},
    {"tx-no-crc", tx_no_crc},
    {"tx-segmentation", segments_with_headers_in_paylen},
    {"tx-packet-open", tx_packet_open},
    {"offload-without-context", offload_without_context},
    {"no-report-status", no_report_status},
    {"interrupt-without-vector", interrupt_without_vector},
    {"vector-without-eventfd", vector_without_eventfd},
    {"read-only-write", read_only_write},
    {"no-such-register", no_such_register},
    {"reserved-bits", reserved_bits},
    {"access-width", access_width},
    {"counter-halves", counter_halves},
    {"dma-outside-mapping", dma_outside_mapping},
};

// What `run` writes to standard error, in a process of its own.
static const char *heard(void (*run)(void)) {
    static char text[16384];
    FILE *file = tmpfile();
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        dup2(fileno(file), STDERR_FILENO);
        run();
        fflush(stderr);
        _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    ssize_t length = pread(fileno(file), text, sizeof text - 1, 0);
    text[length > 0 ? length : 0] = '\0';
    fclose(file);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    return text;
}

static unsigned messages(const char *text) {
    unsigned count = 0;
    while ((text = strstr(text, "sim82599: lint: "))) count++, text++;
    return count;
}

static void test_rule(const char *rule, void (*run)(void)) {
    char wanted[128];
    snprintf(wanted, sizeof wanted, "sim82599: lint: %s (82599 datasheet ", rule);
    const char *text = heard(run);
    // Its own message, once, with what it means on hardware, and no other rule's.
    if (CHECK(strstr(text, wanted) && strstr(text, "on hardware: ")) & CHECK_EQ(messages(text), 1)) return;
    printf("  %s heard:\n%s", rule, text);
}

static void test_silent(const char *what, void (*run)(void)) {
    const char *text = heard(run);
    if (!CHECK(*text == '\0')) printf("  %s heard:\n%s", what, text);
}

static void test_every_rule_has_a_test(void) {
    static const char *const names[] = {
#define RULE(id, name, section, rule, hardware) name,
#include "lint.def"
    };
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
        unsigned tests = 0;
        for (unsigned j = 0; j < sizeof breaking / sizeof breaking[0]; j++)
            tests += strcmp(names[i], breaking[j].rule) == 0;
        if (!CHECK_EQ(tests, 1)) printf("  rule %s\n", names[i]);
    }
}

static void counted_not_repeated(void) {
    start();
    for (int i = 0; i < 3; i++) get(0x1fffc);
    if (lint_breaches() != 3) fprintf(stderr, "sim82599: lint: %u breaches, not 3\n", lint_breaches());
}

int main(void) {
    test_every_rule_has_a_test();
    test_silent("a right driver", right_driver);
    test_silent("other drivers", other_drivers);
    test_silent("threaded mode", threaded);
    test_silent("threaded mode, without a reset", threaded_without_a_reset);
    test_silent("segments", right_segments);
    for (unsigned i = 0; i < sizeof breaking / sizeof breaking[0]; i++) test_rule(breaking[i].rule, breaking[i].run);
    test_rule("reset-while-unmasked", reset_while_a_high_vector_is_unmasked);
    test_rule("reset-while-running", reset_while_mastering_the_bus);
    test_rule("counter-halves", counter_halves_of_a_queue);
    test_rule("rx-engine-off", security_block_left_closed);
    test_rule("tx-no-crc", tx_no_crc_in_the_first);
    test_rule("tx-segmentation", segments_without_l4_sum);
    test_rule("tx-segmentation", segments_without_ip_sum);
    test_rule("no-such-register", counted_not_repeated);
    const char *text = heard(access_widths_of_all_kinds);
    CHECK_EQ(messages(text), 3);
    CHECK(strstr(text, "port 0 read 8 bytes at RDBAL[0]\n"));
    CHECK(strstr(text, "port 0 read 4 bytes at RDBAL[0]+2\n"));
    CHECK(strstr(text, "port 0 wrote 2 bytes at RDBAL[0]\n"));
    return test_summary();
}
