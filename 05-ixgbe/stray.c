// stray: what happens when the driver gives the card an address that nobody mapped.
//
// Three packets. The first one is as it should be. The second one arrives, but the descriptor that it arrives in
// names an IOVA that was never mapped. The third one is to be sent from such an IOVA. In no case may a byte move; and
// the program looks at who notices.

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "clock.h"
#include "log.h"
#include "two_ports.h"

enum {
    FRAME = 60,
    UNTOUCHED = 0x55,
    MOST_PACKETS = 4096,
    TIMEOUT_MS = 10000,  // for each packet that must arrive
    SILENCE_MS = 1000,   // for what must not
};

// IOVA space is handed out from its lower end, so the last page is mapped for nobody.
static iova_t never_mapped(const struct dma_space *space) {
    return (iova_t){space->ranges[space->range_count - 1].last & ~(uint64_t)4095};
}

static int send_packet(struct two_ports *ports, struct packet_buffer *buffer) {
    if (nic_transmit(ports->from, 0, &buffer, 1)) return 0;
    mempool_free(buffer);
    return log_error(-ENOBUFS, "%s takes no packet", ports->from->device.address);
}

static struct packet_buffer *make_packet(struct two_ports *ports) {
    nic_transmit(ports->from, 0, NULL, 0);  // take back what has been sent
    struct packet_buffer *buffer = mempool_alloc(ports->pool);
    if (!buffer) {
        log_error(-ENOBUFS, "no buffer for a packet");
        return NULL;
    }
    uint8_t *frame = memset(buffer->data, 0, FRAME);
    nic_get_mac(ports->to, frame);
    nic_get_mac(ports->from, frame + 6);
    frame[12] = 0x88, frame[13] = 0xb5;  // for experiments
    buffer->length = FRAME;
    return buffer;
}

// The next packet that arrives, or NULL if none does in time.
static struct packet_buffer *receive_packet(struct two_ports *ports, uint32_t timeout_ms) {
    struct packet_buffer *buffer;
    uint64_t deadline = clock_ns() + timeout_ms * 1000000ull;
    do
        if (nic_receive(ports->to, 0, &buffer, 1)) return buffer;
    while (clock_ns() < deadline && !cli_stop());
    return NULL;
}

static struct packet_buffer *send_and_receive(struct two_ports *ports) {
    struct packet_buffer *buffer = make_packet(ports);
    return buffer && !send_packet(ports, buffer) ? receive_packet(ports, TIMEOUT_MS) : NULL;
}

// Somebody has had enough of waiting, or the card knows why, or it may be the cable.
static int nothing_arrived(const struct two_ports *ports) {
    int error = cli_stop() ? -EINTR : nic_check(ports->from);
    return error ? error : log_error(-EIO, "%s: no packet arrived", ports->to->device.address);
}

static bool is_untouched(const struct packet_buffer *buffer) {
    for (uint32_t i = 0; i < FRAME; i++)
        if (((const uint8_t *)buffer->data)[i] != UNTOUCHED) return false;
    return true;
}

// Puts `buffer` back into the pool under another IOVA and sends packets until the receiving card has used it.
static int receive_astray(struct two_ports *ports, struct packet_buffer *buffer) {
    iova_t right = buffer->iova;
    buffer->iova = never_mapped(ports->to->space);
    memset(buffer->data, UNTOUCHED, FRAME);
    mempool_free(buffer);
    struct packet_buffer *arrived = NULL;
    uint32_t packets = 0;
    while (packets++ < MOST_PACKETS && (arrived = send_and_receive(ports)) && arrived != buffer)
        mempool_free(arrived);
    buffer->iova = right;
    if (arrived != buffer) return nothing_arrived(ports);
    bool untouched = is_untouched(buffer);
    printf("receiving: packet %u came in that buffer, says its descriptor, %u bytes; of them were written: %s\n",
           packets, buffer->length, untouched ? "none" : "some!");
    mempool_free(buffer);
    if (nic_check(ports->to)) return -EFAULT;
    printf("           the card has noticed nothing, for nobody answers a write\n");
    return untouched ? 0 : -EFAULT;
}

static int check_in_time(const struct nic *nic) {
    uint64_t deadline = clock_ns() + TIMEOUT_MS * 1000000ull;
    int error;
    while (!(error = nic_check(nic)) && clock_ns() < deadline && !cli_stop()) sleep_us(1000);
    return error;
}

static int send_astray(struct two_ports *ports) {
    struct nic_stats before, after;
    struct packet_buffer *buffer = make_packet(ports), *arrived;
    if (!buffer) return -ENOBUFS;
    iova_t right = buffer->iova;
    nic_read_stats(ports->from, &before);
    buffer->iova = never_mapped(ports->from->space);
    int error = send_packet(ports, buffer);
    buffer->iova = right;
    if (error) return error;
    error = check_in_time(ports->from);
    if (!error && cli_stop()) return -EINTR;
    arrived = receive_packet(ports, SILENCE_MS);
    nic_read_stats(ports->from, &after);
    printf("sending:   the card counted %" PRIu64 " packets sent, and %s arrived\n",
           after.tx_packets - before.tx_packets, arrived ? "something" : "nothing");
    if (arrived) mempool_free(arrived);
    if (error == -EFAULT) printf("           the card has noticed, for a read is answered, if only with a refusal\n");
    if (error == -EFAULT && !arrived && after.tx_packets == before.tx_packets) return 0;
    return log_error(-EIO, "that is not what an IOMMU and a cable between the two ports would have done");
}

static int run(struct two_ports *ports) {
    struct packet_buffer *buffer = send_and_receive(ports);
    if (!buffer) return nothing_arrived(ports);
    printf("a packet goes from IOVA to IOVA, and arrives. Now for IOVA 0x%" PRIx64 ", which nobody mapped:\n",
           never_mapped(ports->to->space).value);
    int error = receive_astray(ports, buffer);
    return error ? error : send_astray(ports);
}

int main(int argc, char **argv) {
    return two_ports_main(argc, argv, "Gives the cards an address that was never mapped, for receiving and sending.",
                          false, run);
}
