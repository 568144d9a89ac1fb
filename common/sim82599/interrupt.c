// interrupt.c: from a cause to a message.
//
// There are two kinds of cause. A queue's cause is, by way of IVAR, a vector: with MSI-X one of 64, otherwise one of
// the 16 lower bits of EICR, which are the same bits. Everything else (link, errors) has a bit of its own in the
// upper half of EICR, and IVAR_MISC gives them all one vector.
//
// A vector is asserted while a cause of it is pending and not masked. A message goes out when it becomes asserted,
// and no sooner after the last one than EITR allows. That alone loses no wake-up: whatever comes while a vector is
// masked or throttled stays pending and asserts it later. Some of what software would have to do for each message the
// device can do by itself: clear the cause (EIAC) and mask it (EIAM), see 7.3.
#include "core.h"

enum { THROTTLE_UNIT_NS = 2000, OTHERS = 0x7fff0000 };

static bool one_message_per_vector(const struct sim_device *device) {
    return device->interrupt_mode == SIM_IRQ_MSIX && reg(device, IXGBE_GPIE) & IXGBE_GPIE_MULTIPLE_MSIX;
}

// 8.2.3.5.6: what EIAM and EIAM_EX name. Messages of MSI-X mask it where GPIE.EIAME says so; otherwise accesses to
// the causes do: reading or clearing one masks it, setting one unmasks it.
static uint64_t auto_masked(const struct sim_device *device) {
    return (uint64_t)reg(device, IXGBE_REG(EIAM_EX, 1)) << 32 | reg(device, IXGBE_REG(EIAM_EX, 0)) |
           (reg(device, IXGBE_EIAM) & 0xffff);
}

static bool messages_mask(const struct sim_device *device) {
    return one_message_per_vector(device) && reg(device, IXGBE_GPIE) & IXGBE_GPIE_EIAME;
}

static void auto_mask(struct sim_device *device, uint64_t queues, uint32_t others) {
    device->queue_mask &= ~(queues & auto_masked(device));
    device->other_mask &= ~(others & reg(device, IXGBE_EIAM));
}

static void set_causes(struct sim_device *device, uint64_t queues, uint32_t others) {
    device->queue_causes |= queues;
    device->other_causes |= others;
    if (messages_mask(device)) return;
    device->queue_mask |= queues & auto_masked(device);
    device->other_mask |= others & reg(device, IXGBE_EIAM);
}

// What the registers show of it. EIMS and EIMS_EX overlap in the lower 16 vectors.
static void show(struct sim_device *device) {
    reg_set(device, IXGBE_EICR, (uint32_t)(device->queue_causes & 0xffff) | device->other_causes);
    reg_set(device, IXGBE_EIMS, (uint32_t)(device->queue_mask & 0xffff) | device->other_mask);
    reg_set(device, IXGBE_REG(EIMS_EX, 0), (uint32_t)device->queue_mask);
    reg_set(device, IXGBE_REG(EIMS_EX, 1), (uint32_t)(device->queue_mask >> 32));
}

void interrupt_reset(struct sim_device *device) {
    device->queue_causes = device->queue_mask = device->asserted = 0;
    device->other_causes = device->other_mask = 0;
    for (unsigned vector = 0; vector < SIM_MSIX_VECTORS; vector++) device->next_interrupt_ns[vector] = 0;
    config_interrupt_status(device, false);
}

void sim_set_interrupt_mode(struct sim_device *device, enum sim_interrupt_mode mode) {
    device->interrupt_mode = mode;
    device->asserted = 0;
    config_interrupt_status(device, false);
    interrupts_send(device);
}

// 8.2.3.5.16: four bytes a register, RX 2n, TX 2n, RX 2n+1, TX 2n+1.
void interrupt_queue(struct sim_device *device, enum sim_ring ring, unsigned queue) {
    uint32_t entry = reg(device, IXGBE_REG(IVAR, queue / 2)) >> (queue % 2 * 16 + (ring == SIM_RING_TX ? 8 : 0));
    if (!(entry & IXGBE_IVAR_INT_ALLOC_VAL0)) return;
    unsigned vector = entry & (one_message_per_vector(device) ? 63 : 15);
    device->queue_causes |= UINT64_C(1) << vector;
}

void interrupt_other(struct sim_device *device, uint32_t cause) {
    device->other_causes |= cause & OTHERS;
    show(device);
}

// The vectors that have an unmasked cause.
static uint64_t levels(const struct sim_device *device) {
    uint64_t queues = device->queue_causes & device->queue_mask;
    bool others = device->other_causes & device->other_mask;
    if (!one_message_per_vector(device)) return queues || others;
    uint32_t misc = reg(device, IXGBE_IVAR_MISC) >> 8;
    if (others && misc & IXGBE_IVAR_MISC_INT_ALLOC_VAL0) queues |= UINT64_C(1) << (misc & 63);
    return queues;
}

// 7.3.1.4, 8.2.3.5.5: vectors above 15 have no place in EICR, so they are always cleared.
static void clear_and_mask_itself(struct sim_device *device, unsigned vector) {
    uint64_t bit = UINT64_C(1) << vector;
    uint32_t misc = reg(device, IXGBE_IVAR_MISC) >> 8;
    uint32_t others = misc & IXGBE_IVAR_MISC_INT_ALLOC_VAL0 && (misc & 63) == vector ? OTHERS : 0;
    uint32_t clear = reg(device, IXGBE_EIAC);
    device->queue_causes &= ~(bit & (clear | ~UINT64_C(0xffff)));
    device->other_causes &= ~(others & clear);
    if (messages_mask(device)) auto_mask(device, bit, others);
}

static void send(struct sim_device *device, unsigned vector) {
    uint32_t interval = field(reg(device, ixgbe_eitr_reg(vector)), IXGBE_EITR_ITR_INTERVAL);
    uint32_t causes = (uint32_t)(device->queue_causes & 0xffff) | device->other_causes;
    device->asserted |= UINT64_C(1) << vector;
    device->next_interrupt_ns[vector] = device->now_ns + (uint64_t)interval * THROTTLE_UNIT_NS;
    if (one_message_per_vector(device)) clear_and_mask_itself(device, vector);
    device->asserted &= levels(device);  // a message that has cleared its cause is over
    if (fault_now(device, FAULT_LOST_INTERRUPTS)) return;
    observe_interrupt(device, vector, causes);
    // INTx is a level, and whoever is told that it has risen may look.
    if (device->interrupt_mode == SIM_IRQ_INTX) config_interrupt_status(device, true);
    device->front.interrupt(device->front.context, vector);
}

void interrupts_send(struct sim_device *device) {
    if (!(device->queue_causes | device->other_causes | device->asserted)) return;
    uint64_t level = levels(device);
    device->asserted &= level;
    if (!device->asserted) config_interrupt_status(device, false);
    if (device->interrupt_mode != SIM_IRQ_NONE) {
        for (uint64_t pending = level & ~device->asserted; pending; pending &= pending - 1) {
            unsigned vector = (unsigned)__builtin_ctzll(pending);
            uint64_t allowed = device->next_interrupt_ns[vector];
            if (device->now_ns >= allowed) {
                send(device, vector);
            } else if (allowed < device->deadline_ns[TIMER_INTERRUPT]) {
                device->deadline_ns[TIMER_INTERRUPT] = allowed;
            }
        }
    }
    show(device);
}

// The EX registers hold all vectors, the plain ones the lower 16 and the other causes.
static uint64_t vectors_of(uint32_t offset, uint32_t value, uint32_t plain, uint32_t extended) {
    if (offset == plain) return value & 0xffff;
    return offset == extended ? value : (uint64_t)value << 32;
}

static void throttle_written(struct sim_device *device, uint32_t offset, uint32_t value) {
    unsigned vector =
        offset < IXGBE_EITR_HIGH ? (offset - IXGBE_EITR) / 4 : (offset - IXGBE_EITR_HIGH) / 4 + IXGBE_EITR_COUNT;
    if (vector >= SIM_MSIX_VECTORS || value & IXGBE_EITR_CNT_WDIS) return;
    uint64_t units = (uint64_t)field(value, IXGBE_EITR_ITR_COUNTER) << 2;  // the upper 7 of 9 bits
    device->next_interrupt_ns[vector] = device->now_ns + units * THROTTLE_UNIT_NS;
}

void interrupt_register_written(struct sim_device *device, uint32_t offset, uint32_t value) {
    switch (offset) {
    case IXGBE_EICR:
        device->queue_causes &= ~(uint64_t)(value & 0xffff);
        device->other_causes &= ~value;
        if (!messages_mask(device)) auto_mask(device, value & 0xffff, value & OTHERS);
        break;
    case IXGBE_EICS:
    case IXGBE_EICS_EX:
    case IXGBE_EICS_EX + 4:
        set_causes(device, vectors_of(offset, value, IXGBE_EICS, IXGBE_EICS_EX),
                   offset == IXGBE_EICS ? value & OTHERS : 0);
        break;
    case IXGBE_EIMS:
        device->other_mask |= value & OTHERS;
        // fallthrough
    case IXGBE_EIMS_EX:
    case IXGBE_EIMS_EX + 4: device->queue_mask |= vectors_of(offset, value, IXGBE_EIMS, IXGBE_EIMS_EX); break;
    case IXGBE_EIMC:
        device->other_mask &= ~value;
        // fallthrough
    case IXGBE_EIMC_EX:
    case IXGBE_EIMC_EX + 4: device->queue_mask &= ~vectors_of(offset, value, IXGBE_EIMC, IXGBE_EIMC_EX); break;
    default: throttle_written(device, offset, value);
    }
    show(device);
    interrupts_send(device);
}

// Reading EICR clears it: all of it, or with GPIE.OCD only the other causes. Reading EICS gives the same bits and
// leaves them alone.
uint32_t interrupt_register_read(struct sim_device *device, uint32_t offset, uint32_t value) {
    if (offset != IXGBE_EICR) return offset == IXGBE_EICS ? reg(device, IXGBE_EICR) : 0;
    device->other_causes &= ~(value & OTHERS);
    if (!(reg(device, IXGBE_GPIE) & IXGBE_GPIE_OCD)) device->queue_causes &= ~(uint64_t)(value & 0xffff);
    if (!messages_mask(device)) auto_mask(device, 0xffff, OTHERS);
    show(device);
    interrupts_send(device);
    return value;
}
