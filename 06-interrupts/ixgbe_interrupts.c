// ixgbe_interrupts.c: from a cause to a vector inside the 82599.
//
//     a packet is written to RX queue 3
//       -> IVAR[1] says which vector (with MSI-X) or which bit of EICR (with MSI)    8.2.3.5.16
//       -> the bit in EICR is set, whether anybody wants it or not                   8.2.3.5.1
//       -> if EIMS has the bit too, and EITR's interval is over, the message goes    8.2.3.5.3, 8.2.3.5.12
//       -> EIAC clears the cause, EIAM the mask: silence, until it is armed again    8.2.3.5.5, 8.2.3.5.6

#include "ixgbe_interrupts.h"

#include "ixgbe.h"

// In MSI-X mode the bits of EICR, EIMS and the like are vectors; so queue n is bit n in both modes, if with MSI each
// queue is given the bit of its own number.
static uint32_t queue_bit(uint32_t queue) { return 1u << queue; }

// Four entries of 8 bits in each IVAR register: RX and TX of two neighbouring queues (8.2.3.5.16).
static void map_rx_queue(struct ixgbe *ixgbe, uint32_t queue) {
    uint32_t reg = IXGBE_REG(IVAR, queue / 2), shift = queue % 2 * 16;
    uint32_t others = ixgbe_read(ixgbe, reg) & ~(0xffu << shift);
    ixgbe_write(ixgbe, reg, others | (IXGBE_IVAR_INT_ALLOC_VAL0 | queue) << shift);
}

static void connect(struct nic *nic, uint32_t vectors, uint32_t interval_us, bool msix) {
    struct ixgbe *ixgbe = (struct ixgbe *)nic;
    uint32_t queues = (1u << nic->rx_queues) - 1;
    // 8.2.3.5.18: many vectors, each masked by its own message (EIAME with EIAM) and pending bits kept in the card.
    ixgbe_write(ixgbe, IXGBE_GPIE, msix ? IXGBE_GPIE_MULTIPLE_MSIX | IXGBE_GPIE_PBA_SUPPORT | IXGBE_GPIE_EIAME : 0);
    for (uint32_t queue = 0; queue < nic->rx_queues; queue++) map_rx_queue(ixgbe, queue);
    // The upper of the two entries is "all other causes".
    ixgbe_write(ixgbe, IXGBE_IVAR_MISC,
                IXGBE_IVAR_MISC_INT_ALLOC_VAL1 | (vectors - 1) << IXGBE_IVAR_MISC_INT_ALLOC1_SHIFT);
    ixgbe_write(ixgbe, IXGBE_EIAC, msix ? queues : 0);
    ixgbe_write(ixgbe, IXGBE_EIAM, queues);
    // In units of 2 us, from bit 3 on.
    for (uint32_t vector = 0; vector < vectors; vector++)
        ixgbe_write(ixgbe, ixgbe_eitr_reg(vector), interval_us / 2 << IXGBE_EITR_ITR_INTERVAL_SHIFT);
    ixgbe_write(ixgbe, IXGBE_EICR, 0x7fffffff);  // nothing from before
    ixgbe_write(ixgbe, IXGBE_EIMS, IXGBE_EICR_LSC);
}

// These writes must have arrived before the caller looks at the ring once more. Otherwise the first of them would
// clear the cause of a packet that the look was too early for.
static void arm(struct nic *nic, uint32_t queue) {
    struct ixgbe *ixgbe = (struct ixgbe *)nic;
    ixgbe_write(ixgbe, IXGBE_EICR, queue_bit(queue));
    ixgbe_write(ixgbe, IXGBE_EIMS, queue_bit(queue));
    ixgbe_flush(ixgbe);
}

static void disarm(struct nic *nic, uint32_t queue) {
    ixgbe_write((struct ixgbe *)nic, IXGBE_EIMC, queue_bit(queue));
}

// Reading EICR would clear it, and a cause that comes in meanwhile can get lost: an erratum of the chip, says Linux's
// driver, and reads EICS instead. The datasheet calls that write-only, but it reads as EICR does and clears nothing.
static bool link_changed(struct nic *nic) {
    struct ixgbe *ixgbe = (struct ixgbe *)nic;
    bool changed = ixgbe_read(ixgbe, IXGBE_EICS) & IXGBE_EICR_LSC;
    if (changed) ixgbe_write(ixgbe, IXGBE_EICR, IXGBE_EICR_LSC);
    ixgbe_write(ixgbe, IXGBE_EIMS, IXGBE_EICR_LSC);
    return changed;
}

static void disconnect(struct nic *nic) {
    struct ixgbe *ixgbe = (struct ixgbe *)nic;
    ixgbe_write(ixgbe, IXGBE_EIMC, 0x7fffffff);
    for (uint32_t i = 0; i < (nic->rx_queues + 1) / 2; i++) ixgbe_write(ixgbe, IXGBE_REG(IVAR, i), 0);
    ixgbe_write(ixgbe, IXGBE_IVAR_MISC, 0);
}

const struct interrupt_ops ixgbe_interrupt_ops = {
    .driver = "ixgbe",
    .connect = connect,
    .arm = arm,
    .disarm = disarm,
    .link_changed = link_changed,
    .disconnect = disconnect,
};
