// device.c: the device as a whole: what a register access does, what a reset does, what a step does.
//
// Most registers are memory with rules: which bits can be written, what a read or a one written clears. Those rules
// come from the table and are applied here for all registers alike. The few that do something have an entry in the
// table of effects below. The queues' registers have none: in threaded mode nobody tells us of a write to them, so
// what the driver wants of a queue is found out in the step, by looking.
#include "core.h"
#include "iommu.h"

#include <stdlib.h>

enum {  // how long things take; short, but not nothing
    RESET_NS = 5000,
    EEPROM_LOAD_NS = 200000,
    DMA_READY_NS = 300000,
    SCAN_NS = 50000,  // where nobody tells us of writes, how often to look at all the queues' control registers
};

// 4.2.1.6.1: CTRL.RST and CTRL.LRST reset everything but the PCIe configuration. The device then loads its EEPROM
// and initializes its memories; software waits for EEC.AUTO_RD and RDRXCTL.DMAIDONE (4.6.3).
static void ctrl_written(struct sim_device *device, uint32_t offset, uint32_t value) {
    (void)offset;
    if (value & (IXGBE_CTRL_RST | IXGBE_CTRL_LRST)) {
        device_reset(device);
        reg_set(device, IXGBE_CTRL, value & (IXGBE_CTRL_RST | IXGBE_CTRL_LRST));
        reg_bits(device, IXGBE_EEC, IXGBE_EEC_AUTO_RD, false);
        reg_bits(device, IXGBE_RDRXCTL, IXGBE_RDRXCTL_DMAIDONE, false);
        timer_start(device, TIMER_RESET, RESET_NS);
        return;  // MASTER_DISABLE, if written along, is reset too
    }
    // 5.2.5.3.2: nothing of ours is ever under way between two accesses, so the stop is immediate.
    reg_bits(device, IXGBE_STATUS, IXGBE_STATUS_PCIE_MASTER_ENABLE_STATUS, !(value & IXGBE_CTRL_MASTER_DISABLE));
}

static void rss_key_written(struct sim_device *device, uint32_t offset, uint32_t value) {
    (void)offset, (void)value;
    device->rss_stale = true;
}

// The module in the cage pulls SDP2 up, as long as software has not made the pin an output.
static uint32_t esdp_read(struct sim_device *device, uint32_t offset, uint32_t value) {
    (void)device, (void)offset;
    bool output = field(value, IXGBE_ESDP_SDP_IODIR) & 1 << 2;
    return output ? value : value | IXGBE_ESDP_SDP2_DATA;
}

// 7.1.2.7: flow director. There are no filters to be added, but its tables can be initialized.
static void fdirctrl_written(struct sim_device *device, uint32_t offset, uint32_t value) {
    reg_set(device, offset, value | IXGBE_FDIRCTRL_INIT_DONE);
}

static void fdircmd_written(struct sim_device *device, uint32_t offset, uint32_t value) {
    if (value & IXGBE_FDIRCMD_CMD) observe_event(device, "flow director filters are not implemented");
    reg_set(device, offset, value & ~(uint32_t)IXGBE_FDIRCMD_CMD);
}

// 8.2.3.22.11: nobody answers on the PHY's management wires, because an SFP+ module has other ones. Reads give all
// ones.
static void msca_written(struct sim_device *device, uint32_t offset, uint32_t value) {
    if (!(value & IXGBE_MSCA_MDICMD)) return;
    reg_bits(device, offset, IXGBE_MSCA_MDICMD, false);
    reg_bits(device, IXGBE_MSRWD, 0xffff0000, true);
}

#define ALL(name) IXGBE_##name, IXGBE_##name##_COUNT, IXGBE_##name##_STRIDE
static const struct effect {
    uint32_t first, count, stride;
    uint32_t (*read)(struct sim_device *device, uint32_t offset, uint32_t value);
    void (*written)(struct sim_device *device, uint32_t offset, uint32_t value);  // after the bits have changed
} effects[] = {
    {0, 0, 0, NULL, NULL},
    {ALL(CTRL), NULL, ctrl_written},
    {ALL(ESDP), esdp_read, NULL},
    {ALL(I2CCTL), NULL, i2cctl_written},
    {ALL(EEC), NULL, eec_written},
    {ALL(EERD), NULL, eerd_written},
    {ALL(MSCA), NULL, msca_written},
    {ALL(AUTOC), NULL, autoc_written},
    {ALL(LINKS), links_read, NULL},
    {ALL(RSSRK), NULL, rss_key_written},
    {ALL(ETQF), NULL, steering_written},
    {ALL(ETQS), NULL, steering_written},
    {ALL(SAQF), NULL, steering_written},
    {ALL(DAQF), NULL, steering_written},
    {ALL(SDPQF), NULL, steering_written},
    {ALL(FTQF), NULL, steering_written},
    {ALL(L34TIMIR), NULL, steering_written},
    {ALL(FDIRCTRL), NULL, fdirctrl_written},
    {ALL(FDIRCMD), NULL, fdircmd_written},
    {ALL(RXDCTL), queue_control_read, NULL},
    {ALL(RXDCTL_HIGH), queue_control_read, NULL},
    {ALL(TXDCTL), queue_control_read, NULL},
    {ALL(EICR), interrupt_register_read, interrupt_register_written},
    {ALL(EICS), interrupt_register_read, interrupt_register_written},
    {ALL(EIMS), NULL, interrupt_register_written},
    {ALL(EIMC), NULL, interrupt_register_written},
    {ALL(EICS_EX), interrupt_register_read, interrupt_register_written},
    {ALL(EIMS_EX), NULL, interrupt_register_written},
    {ALL(EIMC_EX), NULL, interrupt_register_written},
    {ALL(EITR), NULL, interrupt_register_written},
    {ALL(EITR_HIGH), NULL, interrupt_register_written},
};

static void map_effects(void) {
    for (uint8_t i = 1; i < sizeof effects / sizeof *effects; i++) {
        for (uint32_t n = 0; n < effects[i].count; n++) map_at(effects[i].first + n * effects[i].stride)->effect = i;
    }
}

static void run_timers(struct sim_device *device);

// Every access goes to a register's real home, so that older addresses need no thought anywhere else.
uint32_t sim_register_read(struct sim_device *device, uint32_t offset) {
    device->accesses++;
    if (fault_now(device, FAULT_UNPLUGGED)) return UINT32_MAX;
    run_timers(device);
    const struct map_entry *entry = map_at(offset);
    uint32_t *home = reg_at(device, entry->offset);
    if (entry->access == ACCESS_RC) count_tallies(device);
    uint32_t value = entry->row && entry->access != ACCESS_WO ? load(home) : 0;
    if (entry->row && entry->access == ACCESS_RC) store(home, 0);
    if (entry->row && entry->access == ACCESS_SEM) store(home, value | 1);
    const struct effect *effect = &effects[map_at(entry->offset)->effect];
    if (entry->row && effect->read) value = effect->read(device, entry->offset, value);
    observe_register_read(device, offset, value);
    return value;
}

void sim_register_write(struct sim_device *device, uint32_t offset, uint32_t value) {
    device->accesses++;
    if (fault_now(device, FAULT_UNPLUGGED)) return;
    run_timers(device);
    observe_register_write(device, offset, value);
    const struct map_entry *entry = map_at(offset);
    if (!entry->row || entry->access == ACCESS_RO || entry->access == ACCESS_RC) return;
    uint32_t *home = reg_at(device, entry->offset);
    uint32_t old = load(home), bits = value & entry->writable;
    switch ((enum access)entry->access) {
    case ACCESS_W1C: store(home, old & ~bits); break;
    case ACCESS_W1S: store(home, old | bits); break;
    case ACCESS_WO: break;
    default: store(home, (old & ~entry->writable) | bits);
    }
    const struct effect *effect = &effects[map_at(entry->offset)->effect];
    if (effect->written) effect->written(device, entry->offset, entry->access == ACCESS_WO ? value : bits);
    device->scan = device->intake_stale = true;
}

uint32_t sim_peek(const struct sim_device *device, uint32_t offset) {
    if (fault_now(device, FAULT_UNPLUGGED)) return UINT32_MAX;
    const struct map_entry *entry = map_at(offset);
    return entry->row ? queue_control_peek(device, entry->offset, reg(device, entry->offset)) : 0;
}

bool dma_allowed(const struct sim_device *device) {
    return sim_bus_mastering(device) && reg(device, IXGBE_STATUS) & IXGBE_STATUS_PCIE_MASTER_ENABLE_STATUS;
}

void device_reset(struct sim_device *device) {
    observe_reset(device);
    count_tallies(device);  // so that none is left to be counted after the reset
    for (int timer = 0; timer < TIMERS; timer++) device->deadline_ns[timer] = SIM_NEVER;
    registers_reset(device);
    queues_reset(device);
    receive_reset(device);
    transmit_reset(device);
    interrupt_reset(device);
    device->intake_stale = device->rss_stale = device->steering.stale = true;
    memset(&device->spi, 0, sizeof device->spi);
    memset(&device->i2c, 0, sizeof device->i2c);
    eeprom_loaded(device);
    link_restart(device);
}

void sim_function_reset(struct sim_device *device) {
    device->now_ns = device->front.now_ns(device->front.context);
    config_reset(device);
    device_reset(device);
}

// The steps of a reset, each a while after the one before; a fault may keep one from ending.
static void reset_done(struct sim_device *device) {
    if (fault_now(device, FAULT_RESET_STUCK)) return;
    reg_bits(device, IXGBE_CTRL, IXGBE_CTRL_RST | IXGBE_CTRL_LRST, false);
    timer_start(device, TIMER_EEPROM, EEPROM_LOAD_NS);
    timer_start(device, TIMER_DMA_READY, DMA_READY_NS);
}

static void eeprom_ready(struct sim_device *device) {
    if (!fault_now(device, FAULT_EEPROM_STUCK)) reg_bits(device, IXGBE_EEC, IXGBE_EEC_AUTO_RD, true);
}

static void dma_ready(struct sim_device *device) {
    if (!fault_now(device, FAULT_DMA_STUCK)) reg_bits(device, IXGBE_RDRXCTL, IXGBE_RDRXCTL_DMAIDONE, true);
}

static void queue_deadline(struct sim_device *device) { device->scan = true; }

static void (*const timers[TIMERS])(struct sim_device *device) = {
    [TIMER_RESET] = reset_done,  [TIMER_EEPROM] = eeprom_ready,  [TIMER_DMA_READY] = dma_ready,
    [TIMER_LINK] = link_poll,    [TIMER_QUEUE] = queue_deadline, [TIMER_INTERRUPT] = interrupts_send,
    [TIMER_PAUSE] = pause_again,
};

static void run_timers(struct sim_device *device) {
    device->now_ns = device->front.now_ns(device->front.context);
    for (int timer = 0; timer < TIMERS; timer++) {
        if (device->now_ns < device->deadline_ns[timer]) continue;
        device->deadline_ns[timer] = SIM_NEVER;
        timers[timer](device);
    }
}

uint64_t sim_next_timer_ns(const struct sim_device *device) {
    uint64_t next = SIM_NEVER;
    if (fault_now(device, FAULT_UNPLUGGED)) return next;
    for (int timer = 0; timer < TIMERS; timer++) {
        if (device->deadline_ns[timer] < next) next = device->deadline_ns[timer];
    }
    return next;
}

bool sim_step(struct sim_device *device) {
    if (fault_now(device, FAULT_UNPLUGGED)) return false;
    run_timers(device);
    bool moved = false;
    bool scan = device->front.every_access_seen || device->scan || device->now_ns >= device->next_scan_ns;
    if (scan) {
        device->scan = false;
        device->next_scan_ns = device->now_ns + SCAN_NS;
        moved |= queues_scan(device);
        link_poll(device);
    }
    if (device->wire) moved |= device->wire->ops->poll(device->wire, SIM_BATCH) > 0;
    moved |= transmit_step(device);
    moved |= receive_step(device);
    interrupts_send(device);
    if (scan) count_tallies(device);
    dma_forget(device);
    return moved;
}

struct sim_device *sim_create(unsigned port, const struct sim_front *front) {
    struct sim_device *device = calloc(1, sizeof *device);
    if (!device) return NULL;
    device->front = *front;
    device->registers = front->registers;
    device->port = port;
    device->fifo.memory = malloc(FIFO_BYTES + FRAME_ROOM);
    device->gathered.bytes = malloc(GATHERED_BYTES);
    device->segment = malloc(SEGMENT_BYTES);
    if (!device->fifo.memory || !device->gathered.bytes || !device->segment) {
        sim_destroy(device);
        return NULL;
    }
    map_effects();
    eeprom_fill(device);
    sim_function_reset(device);
    return device;
}

void sim_destroy(struct sim_device *device) {
    if (!device) return;
    free(device->fifo.memory);
    free(device->gathered.bytes);
    free(device->segment);
    free(device);
}

unsigned sim_port(const struct sim_device *device) { return device->port; }
uint64_t sim_now(const struct sim_device *device) { return device->front.now_ns(device->front.context); }
bool sim_every_access_seen(const struct sim_device *device) { return device->front.every_access_seen; }

void sim_set_iommu(struct sim_device *device, struct iommu *iommu) {
    device->iommu = iommu;
    dma_forget(device);
}

void sim_set_wire(struct sim_device *device, struct wire *wire) {
    device->wire = wire;
    device->now_ns = device->front.now_ns(device->front.context);
    timer_start(device, TIMER_LINK, 0);
}
