// ixgbe.c: the 82599, from power-on to packets and back to silence.
//
// The order is that of the datasheet's chapter 4.6, "Device Initialization": interrupts off, reset, wait for EEPROM
// and DMA, MAC and link, statistics, receive unit, transmit unit. Each step is a function here, and the table
// bring_up calls them in their order. What happens per packet is in the middle, and is short; what undoes it all is
// at the end.
//
// How the card finds a packet: it knows the ring's IOVA from a register; in the ring it finds descriptors; in each
// descriptor, a buffer's IOVA. It never sees a pointer of ours.

#include "ixgbe.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "clock.h"
#include "ixgbe_descriptors.h"
#include "log.h"

enum {
    QUEUE_TIMEOUT_MS = 1000,  // microseconds would do, on a machine that is not busy with something else
};

// ---- Waiting ------------------------------------------------------------------------------------------------------

// Until the bits in `mask` read as `wanted`.
static int wait_for(struct ixgbe *ixgbe, uint32_t reg, uint32_t mask, uint32_t wanted, uint32_t timeout_ms,
                    const char *what) {
    uint64_t deadline = clock_ns() + timeout_ms * 1000000ull;
    for (;;) {
        bool late = clock_ns() > deadline;  // before the look, so that one always follows
        uint32_t value = ixgbe_read(ixgbe, reg);
        if (value == IXGBE_GONE)
            return log_error(-ENODEV, "%s: every register reads as all ones; the card does not answer any more",
                             ixgbe->nic.device.address);
        if ((value & mask) == wanted) return 0;
        if (late)
            return log_error(-ETIMEDOUT, "%s: %s did not happen within %u ms (register 0x%05x reads 0x%08x)",
                             ixgbe->nic.device.address, what, timeout_ms, reg, value);
        sleep_us(10);
    }
}

// ---- Bringing up, in the datasheet's order ------------------------------------------------------------------------

// 4.6.3.1: no interrupt may come in the middle of what follows.
static int disable_interrupts(struct ixgbe *ixgbe) {
    ixgbe_write(ixgbe, IXGBE_EIMC, 0x7fffffff);
    ixgbe_write(ixgbe, IXGBE_REG(EIMC_EX, 0), 0xffffffff);
    ixgbe_write(ixgbe, IXGBE_REG(EIMC_EX, 1), 0xffffffff);
    return 0;
}

// 5.2.5.3.2: no new DMA, and the one under way has ended. A reset in the middle of one could leave the bus hanging.
// The datasheet has a way out, too, for a card that does not come to an end. It is left out: before bring-up VFIO has
// reset the card, and what does not end in `stop` loses its bus mastering.
static int stop_bus_mastering(struct ixgbe *ixgbe) {
    ixgbe_set(ixgbe, IXGBE_CTRL, IXGBE_CTRL_MASTER_DISABLE);
    return wait_for(ixgbe, IXGBE_STATUS, IXGBE_STATUS_PCIE_MASTER_ENABLE_STATUS, 0, 100, "the end of all DMA");
}

// 4.2.1.6.1 and 4.2.1.7: software and link reset together. The bits clear themselves when the reset is done; the
// EEPROM takes up to 10 ms more to be read back.
static int reset(struct ixgbe *ixgbe) {
    ixgbe_set(ixgbe, IXGBE_CTRL, IXGBE_CTRL_RST | IXGBE_CTRL_LRST);
    sleep_us(1000);
    int error = wait_for(ixgbe, IXGBE_CTRL, IXGBE_CTRL_RST | IXGBE_CTRL_LRST, 0, 100, "the end of the reset");
    if (!error) sleep_us(10000);
    return error;
}

// 4.6.3: the card reads its EEPROM (MAC address, defaults) and clears its memories by itself.
static int wait_until_ready(struct ixgbe *ixgbe) {
    int error = wait_for(ixgbe, IXGBE_EEC, IXGBE_EEC_AUTO_RD, IXGBE_EEC_AUTO_RD, 1000, "reading of the EEPROM");
    if (error) return error;
    return wait_for(ixgbe, IXGBE_RDRXCTL, IXGBE_RDRXCTL_DMAIDONE, IXGBE_RDRXCTL_DMAIDONE, 1000,
                    "initialization of the DMA engine");
}

// 8.2.3.1.3: a card may have firmware that looks after the link while nobody else does. It looks at this bit.
static int take_over(struct ixgbe *ixgbe) {
    ixgbe_set(ixgbe, IXGBE_CTRL_EXT, IXGBE_CTRL_EXT_DRV_LOAD);
    return 0;
}

// 4.6.4.2: 10 Gbit/s over SFI, as SFP+ modules want it: no negotiation, just light. Pin SDP3 is the module's
// TX_DISABLE, and another driver may have left the laser off.
static int start_link(struct ixgbe *ixgbe) {
    ixgbe_clear(ixgbe, IXGBE_ESDP, IXGBE_ESDP_SDP3_DATA);
    uint32_t autoc = ixgbe_read(ixgbe, IXGBE_AUTOC) & ~(uint32_t)IXGBE_AUTOC_LMS;
    ixgbe_write(ixgbe, IXGBE_AUTOC,
                autoc | IXGBE_LMS_10G_SERIAL_NO_AN << IXGBE_AUTOC_LMS_SHIFT | IXGBE_AUTOC_RESTART_AN);
    return 0;
}

// 3.7.7.3: when the receive buffer is nearly full, ask the link partner to pause (XOFF), and let it go on (XON) when
// it is half empty. And do the same for the partner. Without this, a burst that is faster than us is lost.
static int start_flow_control(struct ixgbe *ixgbe) {
    enum { KIB = 1024, XOFF_AT = 448 * KIB, XON_AT = 256 * KIB };  // of 512 KiB; the rest is for what is on its way
    ixgbe_write(ixgbe, IXGBE_REG(FCRTL, 0), XON_AT | IXGBE_FCRTL_XONE);
    ixgbe_write(ixgbe, IXGBE_REG(FCRTH, 0), XOFF_AT | IXGBE_FCRTH_FCEN);
    ixgbe_write(ixgbe, IXGBE_REG(FCTTV, 0), 0xffff);                    // pause as long as a frame can ask for ...
    ixgbe_write(ixgbe, IXGBE_FCRTV, 0x7fff);                            // ... and ask again at half time
    ixgbe_set(ixgbe, IXGBE_MFLCN, IXGBE_MFLCN_RFCE | IXGBE_MFLCN_DPF);  // obey PAUSE frames, and keep them to itself
    ixgbe_write(ixgbe, IXGBE_FCCFG, IXGBE_FCCFG_TFCE_802_3X << IXGBE_FCCFG_TFCE_SHIFT);
    return 0;
}

// 4.6.5: the counters clear when they are read.
static int clear_stats(struct ixgbe *ixgbe) {
    ixgbe_accumulate_counters(ixgbe);
    memset(ixgbe->totals, 0, sizeof ixgbe->totals);
    return 0;
}

// A ring's place and size, and both its ends at 0. The same four registers for both directions.
static void set_ring(struct ixgbe *ixgbe, const struct ring *ring, uint32_t base_low, uint32_t base_high,
                     uint32_t length, uint32_t head, uint32_t tail) {
    ixgbe_write(ixgbe, base_low, (uint32_t)ring->memory.iova.value);
    ixgbe_write(ixgbe, base_high, (uint32_t)(ring->memory.iova.value >> 32));
    ixgbe_write(ixgbe, length, ring->size * (uint32_t)sizeof *ring->descriptors);
    ixgbe_write(ixgbe, head, 0);
    ixgbe_write(ixgbe, tail, 0);
}

// 4.6.7.1, 4.6.8.1: a queue is on or off when its control register reads so, not when it was told so.
static int switch_queue(struct ixgbe *ixgbe, uint32_t control, bool on, const char *what) {
    const uint32_t enable = IXGBE_RXDCTL_ENABLE;
    _Static_assert(IXGBE_RXDCTL_ENABLE == IXGBE_TXDCTL_ENABLE, "one bit for both directions");
    if (on)
        ixgbe_set(ixgbe, control, enable);
    else
        ixgbe_clear(ixgbe, control, enable);
    return wait_for(ixgbe, control, enable, on ? enable : 0, QUEUE_TIMEOUT_MS, what);
}

// The doorbell: all descriptors before the tail are the card's from here on.
static void move_tail(struct ixgbe *ixgbe, const struct ring *ring, uint32_t tail) {
    barrier_before_doorbell();
    ixgbe_write(ixgbe, tail, ring_slot(ring, ring->tail));
}

// 4.6.7, first half: what the whole receive unit shares.
static int set_up_receive_unit(struct ixgbe *ixgbe) {
    ixgbe_clear(ixgbe, IXGBE_RXCTRL, IXGBE_RXCTRL_RXEN);
    ixgbe_reset_filters(ixgbe);
    // Strip the CRC, and say so in both places that need to know. Three fields of RDRXCTL have reset values that the
    // datasheet asks software to change: RSCFRSTSIZE to 0, RSCACKC and FCOE_WRFIX to 1 (8.2.3.8.8).
    ixgbe_set(ixgbe, IXGBE_HLREG0, IXGBE_HLREG0_RXCRCSTRP);
    ixgbe_clear(ixgbe, IXGBE_RDRXCTL, IXGBE_RDRXCTL_RSCFRSTSIZE);
    ixgbe_set(ixgbe, IXGBE_RDRXCTL, IXGBE_RDRXCTL_CRC_STRIP | IXGBE_RDRXCTL_RSCACKC | IXGBE_RDRXCTL_FCOE_WRFIX);
    // 8.2.3.22.13, with CRC. What is longer than an ordinary frame is taken only if both registers say so.
    ixgbe_write(ixgbe, IXGBE_MAXFRS, (ixgbe->max_frame + 4) << IXGBE_MAXFRS_MFS_SHIFT);
    if (ixgbe->max_frame > NIC_DEFAULT_FRAME) ixgbe_set(ixgbe, IXGBE_HLREG0, IXGBE_HLREG0_JUMBOEN);
    if (ixgbe->nic.rx_queues > 1) ixgbe_start_rss(ixgbe);
    return 0;
}

// 4.6.7, second half: for each queue, ring and buffer size, then enable, and only when the card says that it is
// enabled (4.6.7.1) hand it the first descriptors.
static int start_rx_queue(struct ixgbe *ixgbe, uint32_t queue) {
    struct ixgbe_rx_queue *rx = &ixgbe->rx[queue];
    set_ring(ixgbe, &rx->ring, ixgbe_rx_queue_reg(IXGBE_RDBAL, queue), ixgbe_rx_queue_reg(IXGBE_RDBAH, queue),
             ixgbe_rx_queue_reg(IXGBE_RDLEN, queue), ixgbe_rx_queue_reg(IXGBE_RDH, queue),
             ixgbe_rx_queue_reg(IXGBE_RDT, queue));
    // 8.2.3.8.7: buffers of the size that the pool's really have, counted in KiB.
    ixgbe_write(ixgbe, ixgbe_rx_queue_reg(IXGBE_SRRCTL, queue),
                IXGBE_DESCTYPE_ADVANCED << IXGBE_SRRCTL_DESCTYPE_SHIFT |
                    IXGBE_BUFFER_SIZE / 1024 << IXGBE_SRRCTL_BSIZEPACKET_SHIFT |
                    (ixgbe->drop_when_full ? IXGBE_SRRCTL_DROP_EN : 0));
    // 4.6.7, last sentence: this bit is 1 after a reset, and must be 0.
    ixgbe_clear(ixgbe, ixgbe_rx_queue_reg(IXGBE_DCA_RXCTRL, queue), IXGBE_DCA_RXCTRL_RESERVED_12);
    if (ixgbe->remove_vlan) ixgbe_set(ixgbe, ixgbe_rx_queue_reg(IXGBE_RXDCTL, queue), IXGBE_RXDCTL_VME);
    int error = switch_queue(ixgbe, ixgbe_rx_queue_reg(IXGBE_RXDCTL, queue), true, "enabling of an RX queue");
    if (error) return error;
    ring_fill(&rx->ring, &ixgbe_rx_format, rx->pool);
    move_tail(ixgbe, &rx->ring, ixgbe_rx_queue_reg(IXGBE_RDT, queue));
    return 0;
}

static int start_receive_queues(struct ixgbe *ixgbe) {
    int error = 0;
    for (uint32_t queue = 0; queue < ixgbe->nic.rx_queues && !error; queue++) error = start_rx_queue(ixgbe, queue);
    return error;
}

// 4.6.7, last step: while the receiver is switched on, the data path in front of it is held, so that it does not
// start in the middle of a frame.
static int open_receiver(struct ixgbe *ixgbe) {
    ixgbe_set(ixgbe, IXGBE_SECRXCTRL, IXGBE_SECRXCTRL_RX_DIS);
    int error = wait_for(ixgbe, IXGBE_SECRXSTAT, IXGBE_SECRXSTAT_SECRX_RDY, IXGBE_SECRXSTAT_SECRX_RDY, 100,
                         "emptying of the receive path");
    if (error) return error;
    // 8.2.3.1.3: no DMA is to say "no snoop", so that all of it stays coherent with our caches.
    ixgbe_set(ixgbe, IXGBE_CTRL_EXT, IXGBE_CTRL_EXT_NS_DIS);
    ixgbe_set(ixgbe, IXGBE_RXCTRL, IXGBE_RXCTRL_RXEN);
    ixgbe_clear(ixgbe, IXGBE_SECRXCTRL, IXGBE_SECRXCTRL_RX_DIS);
    return 0;
}

// 4.6.8: what all TX queues share. The arbiter must rest while MTQC changes.
static int set_up_transmit_unit(struct ixgbe *ixgbe) {
    ixgbe_set(ixgbe, IXGBE_HLREG0, IXGBE_HLREG0_TXCRCEN | IXGBE_HLREG0_TXPADEN);
    ixgbe_set(ixgbe, IXGBE_RTTDCS, IXGBE_RTTDCS_ARBDIS);
    ixgbe_write(ixgbe, IXGBE_MTQC, 0);           // no traffic classes, no virtual machines: plain queues
    ixgbe_write(ixgbe, IXGBE_DTXMXSZRQ, 0xfff);  // so up to 1 MB may be asked for at once (4.6.11.3.4)
    ixgbe_clear(ixgbe, IXGBE_RTTDCS, IXGBE_RTTDCS_ARBDIS);
    ixgbe_set(ixgbe, IXGBE_DMATXCTL, IXGBE_DMATXCTL_TE);
    return 0;
}

static int start_tx_queue(struct ixgbe *ixgbe, uint32_t queue) {
    uint32_t control = ixgbe_tx_queue_reg(IXGBE_TXDCTL, queue);
    set_ring(ixgbe, &ixgbe->tx[queue].ring, ixgbe_tx_queue_reg(IXGBE_TDBAL, queue),
             ixgbe_tx_queue_reg(IXGBE_TDBAH, queue), ixgbe_tx_queue_reg(IXGBE_TDLEN, queue),
             ixgbe_tx_queue_reg(IXGBE_TDH, queue), ixgbe_tx_queue_reg(IXGBE_TDT, queue));
    // 7.2.3.4: fetch descriptors when fewer than 32 are on the card and 8 are waiting. Write back (WTHRESH 0) exactly
    // those that ask for a report.
    ixgbe_write(ixgbe, control, 32u << IXGBE_TXDCTL_PTHRESH_SHIFT | 8u << IXGBE_TXDCTL_HTHRESH_SHIFT);
    return switch_queue(ixgbe, control, true, "enabling of a TX queue");
}

static int start_transmit_queues(struct ixgbe *ixgbe) {
    int error = 0;
    for (uint32_t queue = 0; queue < ixgbe->nic.tx_queues && !error; queue++) error = start_tx_queue(ixgbe, queue);
    return error;
}

// ---- Packets ------------------------------------------------------------------------------------------------------

static uint32_t receive(struct nic *nic, uint32_t queue, struct packet_buffer **buffers, uint32_t count) {
    struct ixgbe *ixgbe = (struct ixgbe *)nic;
    struct ixgbe_rx_queue *rx = &ixgbe->rx[queue];
    uint32_t received = ring_read(&rx->ring, &ixgbe_rx_format, buffers, count, &rx->broken);
    __atomic_store_n(&rx->packets, rx->packets + received, __ATOMIC_RELAXED);  // others may look at it
    if (ring_is_worth_it(&rx->ring, ring_free(&rx->ring)) && ring_fill(&rx->ring, &ixgbe_rx_format, rx->pool))
        move_tail(ixgbe, &rx->ring, ixgbe_rx_queue_reg(IXGBE_RDT, queue));
    return received;
}

static uint32_t transmit(struct nic *nic, uint32_t queue, struct packet_buffer *const *buffers, uint32_t count) {
    struct ixgbe *ixgbe = (struct ixgbe *)nic;
    struct ixgbe_tx_queue *tx = &ixgbe->tx[queue];
    struct ring *ring = &tx->ring;
    if (ring_is_worth_it(ring, ring_in_use(ring)) || !count) ring_clean(ring, &ixgbe_tx_format);
    uint32_t linked = ring_link(ring, &ixgbe_tx_format, buffers, count);
    __atomic_store_n(&tx->packets, tx->packets + linked, __ATOMIC_RELAXED);
    if (linked) move_tail(ixgbe, ring, ixgbe_tx_queue_reg(IXGBE_TDT, queue));
    return linked;
}

// ---- Everything that is not packets -------------------------------------------------------------------------------

static uint32_t link_mbit(const struct nic *nic) {
    uint32_t links = ixgbe_read((const struct ixgbe *)nic, IXGBE_LINKS);
    if (links == IXGBE_GONE || !(links & IXGBE_LINKS_LINK_UP)) return 0;
    switch ((links & IXGBE_LINKS_LINK_SPEED) >> IXGBE_LINKS_LINK_SPEED_SHIFT) {
    case IXGBE_SPEED_100M: return 100;
    case IXGBE_SPEED_1G: return 1000;
    case IXGBE_SPEED_10G: return 10000;
    default: return 0;
    }
}

static void get_pause(const struct nic *nic, bool *sends, bool *obeys) {
    const struct ixgbe *ixgbe = (const struct ixgbe *)nic;
    *sends = ixgbe_read(ixgbe, IXGBE_FCCFG) & IXGBE_FCCFG_TFCE;
    *obeys = ixgbe_read(ixgbe, IXGBE_MFLCN) & IXGBE_MFLCN_RFCE;
}

static struct mempool *rx_pool(struct nic *nic, uint32_t queue) { return ((struct ixgbe *)nic)->rx[queue].pool; }

// ---- Memory, opening, closing -------------------------------------------------------------------------------------

static int allocate(struct ixgbe *ixgbe, const struct nic_config *config) {
    struct dma_space *space = ixgbe->nic.space;
    int error = 0;
    for (uint32_t i = 0; i < config->rx_queues && !error; i++) {
        error = mempool_create(space, config->rx_buffers, IXGBE_BUFFER_SIZE, &ixgbe->rx[i].pool);
        if (!error) error = ring_create(space, config->rx_ring_size, &ixgbe->rx[i].ring);
    }
    for (uint32_t i = 0; i < config->tx_queues && !error; i++)
        error = ring_create(space, config->tx_ring_size, &ixgbe->tx[i].ring);
    return error;
}

static void release(struct ixgbe *ixgbe) {
    for (uint32_t i = 0; i < IXGBE_MOST_QUEUES; i++) {
        ring_destroy(ixgbe->nic.space, &ixgbe->tx[i].ring);
        ring_destroy(ixgbe->nic.space, &ixgbe->rx[i].ring);
        mempool_destroy(ixgbe->rx[i].pool);
    }
    if (ixgbe->bar) munmap(ixgbe->bar, ixgbe->bar_size);
    free(ixgbe);
}

// 4.6.7.1.2 and 4.6.8.1.2: clear ENABLE, wait until it reads as cleared, and then a little more, since the card may
// still be writing what it had in hand. The receiver goes first, as in Linux's driver and DPDK's, so that nothing
// comes in any more for queues that stop one after the other.
static int stop_queues(struct ixgbe *ixgbe) {
    ixgbe_clear(ixgbe, IXGBE_RXCTRL, IXGBE_RXCTRL_RXEN);
    int error = 0;
    for (uint32_t queue = 0; queue < ixgbe->nic.rx_queues && !error; queue++)
        error = switch_queue(ixgbe, ixgbe_rx_queue_reg(IXGBE_RXDCTL, queue), false, "stopping of an RX queue");
    for (uint32_t queue = 0; queue < ixgbe->nic.tx_queues && !error; queue++)
        error = switch_queue(ixgbe, ixgbe_tx_queue_reg(IXGBE_TXDCTL, queue), false, "stopping of a TX queue");
    sleep_us(100);
    return error;
}

// What cannot be stopped politely, the reset stops.
static void stop(struct ixgbe *ixgbe) {
    disable_interrupts(ixgbe);
    int error = stop_queues(ixgbe);
    ixgbe_clear(ixgbe, IXGBE_CTRL_EXT, IXGBE_CTRL_EXT_DRV_LOAD);
    if (error != -ENODEV) error = stop_bus_mastering(ixgbe);
    if (!error) error = reset(ixgbe);
    if (error)
        log_warning("%s was not stopped in good order; taking its bus mastering away", ixgbe->nic.device.address);
}

static void stop_nic(struct nic *nic) {
    struct ixgbe *ixgbe = (struct ixgbe *)nic;
    stop(ixgbe);
    vfio_set_bus_mastering(&nic->device, false);
    for (uint32_t i = 0; i < IXGBE_MOST_QUEUES; i++) {
        ring_empty(&ixgbe->tx[i].ring);
        ring_empty(&ixgbe->rx[i].ring);
    }
    ixgbe->stopped = true;
}

static void close_nic(struct nic *nic) {
    struct ixgbe *ixgbe = (struct ixgbe *)nic;
    struct vfio_device device = nic->device;
    if (!ixgbe->stopped) stop_nic(nic);
    release(ixgbe);
    vfio_device_close(&device);
}

static const struct nic_ops ops = {
    .name = "ixgbe",
    .receive = receive,
    .transmit = transmit,
    .read_stats = ixgbe_read_stats,
    .read_counters = ixgbe_read_counters,
    .get_mac = ixgbe_get_mac,
    .set_mac = ixgbe_set_mac,
    .add_address = ixgbe_add_address,
    .set_promiscuous = ixgbe_set_promiscuous,
    .set_allmulticast = ixgbe_set_allmulticast,
    .set_vlan = ixgbe_set_vlan,
    .set_rss = ixgbe_set_rss,
    .steer = ixgbe_steer,
    .link_mbit = link_mbit,
    .get_pause = get_pause,
    .rx_pool = rx_pool,
    .stop = stop_nic,
    .close = close_nic,
};

static int (*const bring_up[])(struct ixgbe *ixgbe) = {
    disable_interrupts,     // 4.6.3.1
    stop_bus_mastering,     // 5.2.5.3.2
    reset,                  // 4.6.3.2
    disable_interrupts,     // again: the reset may have changed the masks
    wait_until_ready,       // 4.6.3
    take_over,              // 8.2.3.1.3
    start_flow_control,     // 3.7.7.3
    start_link,             // 4.6.4
    clear_stats,            // 4.6.5
    set_up_receive_unit,    // 4.6.7
    start_receive_queues,   // 4.6.7.1
    set_up_transmit_unit,   // 4.6.8
    start_transmit_queues,  // 4.6.8.1
    open_receiver,          // 4.6.7, last, when somebody is there to take the packets
};

static int check_config(const struct vfio_device *device, const struct nic_config *config) {
    if (config->rx_queues > IXGBE_MOST_QUEUES || config->tx_queues > IXGBE_MOST_QUEUES)
        return log_error(-EINVAL, "%s: %u RX and %u TX queues; this driver handles up to %d of each", device->address,
                         config->rx_queues, config->tx_queues, IXGBE_MOST_QUEUES);
    if (config->max_frame < NIC_DEFAULT_FRAME || config->max_frame > NIC_LARGEST_FRAME)
        return log_error(-EINVAL, "%s: frames of up to %u bytes; it can be %d to %d", device->address,
                         config->max_frame, NIC_DEFAULT_FRAME, NIC_LARGEST_FRAME);
    return 0;
}

int ixgbe_open(struct dma_space *space, const struct vfio_device *device, const struct nic_config *config,
               struct nic **nic) {
    int error = check_config(device, config);
    if (error) return error;
    struct ixgbe *ixgbe = aligned_alloc(_Alignof(struct ixgbe), sizeof *ixgbe);
    if (!ixgbe) return log_error(-ENOMEM, "%s", device->address);
    *ixgbe = (struct ixgbe){.nic = {.ops = &ops,
                                    .device = *device,
                                    .space = space,
                                    .rx_queues = config->rx_queues,
                                    .tx_queues = config->tx_queues},
                            .max_frame = config->max_frame,
                            .remove_vlan = config->remove_vlan,
                            .drop_when_full = config->drop_when_full};

    error = vfio_region_map(device, VFIO_PCI_BAR0_REGION_INDEX, &ixgbe->bar, &ixgbe->bar_size);
    if (!error) error = allocate(ixgbe, config);
    if (!error) error = vfio_set_bus_mastering(device, true);
    size_t step = 0, steps = sizeof bring_up / sizeof *bring_up;
    while (!error && step < steps) error = bring_up[step++](ixgbe);
    if (error) {
        // Memory is given back only when the card cannot reach it any more.
        vfio_set_bus_mastering(device, false);
        release(ixgbe);
        return error;
    }
    *nic = &ixgbe->nic;
    return 0;
}
