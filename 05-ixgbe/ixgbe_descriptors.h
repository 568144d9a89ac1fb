// ixgbe_descriptors.h: what the 82599 writes into descriptors and wants to find there: its format for chapter 4's
// rings.
//
// Of the many that the card knows these are the advanced receive descriptor (7.1.6) and the advanced data descriptor
// (7.2.3.2.4), for a packet in one buffer that asks for nothing. What more there is, ixgbe_offload.c has.
#pragma once

#include <string.h>

#include "ixgbe_regs.h"
#include "ring.h"

enum { IXGBE_BUFFER_SIZE = MEMPOOL_DEFAULT_SIZE };  // holds every frame of ordinary length; others take several

// Both words of a descriptor are read and written whole, so that neither side ever sees half of one.
static inline void descriptor_store(uint64_t *word, uint64_t value) {
    __atomic_store_n(word, value, __ATOMIC_RELAXED);
}
static inline uint64_t descriptor_load(const uint64_t *word) { return __atomic_load_n(word, __ATOMIC_RELAXED); }

// 7.1.6.1: where to put a packet. There is no header buffer; its field being 0 also clears last round's DD.
static inline void ixgbe_write_rx(struct descriptor *descriptor, iova_t data) {
    descriptor_store(&descriptor->word[0], data.value);
    descriptor_store(&descriptor->word[1], 0);
}

// 7.1.6.2: DD and EOP say that a packet is there and ends here. An error, or a length that fills the whole buffer,
// needs the second look below. One comparison finds the packets that need none.
static inline bool ixgbe_rx_whole(const struct descriptor *descriptor) {
    const uint64_t whole = IXGBE_RXD_STATUS_DD | IXGBE_RXD_STATUS_EOP;
    const uint64_t suspect = IXGBE_RXD_ERROR_RXE | (uint64_t)(0xffff & ~(IXGBE_BUFFER_SIZE - 1)) << 32;
    return (descriptor_load(&descriptor->word[1]) & (whole | suspect)) == whole;
}

static inline enum rx_state ixgbe_rx_state(const struct descriptor *descriptor) {
    uint64_t word = descriptor_load(&descriptor->word[1]);
    if (!(word & IXGBE_RXD_STATUS_DD)) return RX_EMPTY;
    if ((word >> 32 & 0xffff) > IXGBE_BUFFER_SIZE)
        return RX_BROKEN;  // whoever believes that reads somebody else's data
    if (!(word & IXGBE_RXD_STATUS_EOP)) return RX_PART;
    return word & IXGBE_RXD_ERROR_RXE ? RX_BROKEN : RX_PACKET;
}

// 7.1.6.2: packet type, RSS hash, status, errors, length, VLAN tag: struct packet_buffer has them in the same order.
static inline void ixgbe_take_rx(const struct descriptor *descriptor, struct packet_buffer *buffer) {
    memcpy(buffer->received, descriptor, sizeof buffer->received);
}

// 7.2.3.2.4: an advanced data descriptor: one buffer that is a whole packet (EOP), CRC to be added (IFCS). The length
// stands in it twice, as this buffer's and as the packet's (PAYLEN): one multiplication puts it into both places.
static inline void ixgbe_write_tx(struct descriptor *descriptor, iova_t data, uint32_t length) {
    const uint64_t command = IXGBE_TXD_CMD_DEXT | IXGBE_TXD_CMD_DTYP_DATA | IXGBE_TXD_CMD_IFCS | IXGBE_TXD_CMD_EOP;
    descriptor_store(&descriptor->word[0], data.value);
    descriptor_store(&descriptor->word[1], command + length * (1 + (1ull << (32 + IXGBE_TXD_OPT_PAYLEN_SHIFT))));
}

static inline void ixgbe_request_report(struct descriptor *descriptor) {
    descriptor_store(&descriptor->word[1], descriptor_load(&descriptor->word[1]) | IXGBE_TXD_CMD_RS);
}

// 7.2.3.2.5: the card overwrites the descriptor; DD is in the upper half of the second word.
static inline bool ixgbe_tx_done(const struct descriptor *descriptor) {
    return descriptor_load(&descriptor->word[1]) >> 32 & IXGBE_TXD_STATUS_DD;
}

// In ixgbe_offload.c.
bool ixgbe_make_context(const struct packet_buffer *packet, struct descriptor *descriptor);
void ixgbe_write_part(struct descriptor *descriptor, const struct packet_buffer *packet,
                      const struct packet_buffer *part, uint32_t total);

static const struct rx_format ixgbe_rx_format = {ixgbe_write_rx, ixgbe_rx_whole, ixgbe_rx_state, ixgbe_take_rx};
static const struct tx_format ixgbe_tx_format = {ixgbe_write_tx, ixgbe_request_report, ixgbe_tx_done,
                                                 ixgbe_make_context, ixgbe_write_part};
