// ixgbe_offload.c: how a packet's requests are put to the 82599.
//
// A data descriptor has room for a few bits only: please segment, please insert the IP checksum. Where the headers
// are, how long a segment is and what the VLAN tag is stands in a descriptor of its own, the *context descriptor*
// (7.2.3.2.3), which the card keeps for the packets that follow. It keeps two for each queue; this driver uses the
// first.

#include "ixgbe_descriptors.h"

static const struct {
    uint16_t what;
    uint32_t command;
} commands[] = {
    {PACKET_IPV4_CHECKSUM, IXGBE_TXC_IPV4},
    {PACKET_TCP_CHECKSUM, IXGBE_TXC_L4T_TCP},
    {PACKET_UDP_CHECKSUM, IXGBE_TXC_L4T_UDP},
    {PACKET_SCTP_CHECKSUM, IXGBE_TXC_L4T_SCTP},
};

enum { PACKET_L4_CHECKSUM = PACKET_TCP_CHECKSUM | PACKET_UDP_CHECKSUM | PACKET_SCTP_CHECKSUM };

bool ixgbe_make_context(const struct packet_buffer *packet, struct descriptor *descriptor) {
    const struct packet_request *request = &packet->request;
    if (!(request->what & ~PACKET_CHAINED)) return false;
    struct ixgbe_tx_context_desc context = {
        .header_lengths = request->l3_length | (uint32_t)request->l2_length << IXGBE_TXC_MACLEN_SHIFT |
                          (uint32_t)request->vlan << IXGBE_TXC_VLAN_SHIFT,
        .command = IXGBE_TXD_CMD_DEXT | IXGBE_TXD_CMD_DTYP_CONTEXT,
    };
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (request->what & commands[i].what) context.command |= commands[i].command;
    if (request->what & PACKET_SEGMENT) {
        context.segmentation = (uint32_t)request->l4_length << IXGBE_TXC_L4LEN_SHIFT;
        context.segmentation |= (uint32_t)request->segment_size << IXGBE_TXC_MSS_SHIFT;
    }
    memcpy(descriptor, &context, sizeof context);
    return true;
}

// 7.2.3.2.4. PAYLEN is the length of the packet; of one that is to be segmented, without its headers.
void ixgbe_write_part(struct descriptor *descriptor, const struct packet_buffer *packet,
                      const struct packet_buffer *part, uint32_t total) {
    const struct packet_request *request = &packet->request;
    bool last = !(request->what & PACKET_CHAINED) || !part->next;
    uint32_t command = IXGBE_TXD_CMD_DEXT | IXGBE_TXD_CMD_DTYP_DATA | IXGBE_TXD_CMD_IFCS | part->length;
    uint32_t options = request->what & ~PACKET_CHAINED ? IXGBE_TXD_OPT_CC : 0;
    if (last) command |= IXGBE_TXD_CMD_EOP;
    if (request->what & PACKET_INSERT_VLAN) command |= IXGBE_TXD_CMD_VLE;
    if (request->what & PACKET_IPV4_CHECKSUM) options |= IXGBE_TXD_OPT_IXSM;
    if (request->what & PACKET_L4_CHECKSUM) options |= IXGBE_TXD_OPT_TXSM;
    if (request->what & PACKET_SEGMENT) {
        command |= IXGBE_TXD_CMD_TSE;
        total -= (uint32_t)request->l2_length + request->l3_length + request->l4_length;
    }
    descriptor_store(&descriptor->word[0], part->iova.value);
    descriptor_store(&descriptor->word[1], command | (uint64_t)(options | total << IXGBE_TXD_OPT_PAYLEN_SHIFT) << 32);
}
