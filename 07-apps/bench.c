// bench: how many cycles does this driver spend on a packet?
//
// Three turns, which rounds.c times: take packets in, send packets, and both. Frames come in at the first port and
// are sent at the second. `make bench` runs this with a generator on the first wire and nobody on the second.

#include "rounds.h"

#include "app.h"
#include "software_nic.h"

static struct nic_host host;
static struct nic *in, *out;
static struct mempool *pool;
static uint32_t frame_length;  // of what is sent, without CRC

static uint32_t receive_turn(uint32_t queue, uint32_t batch) {
    struct packet_buffer *buffers[LARGEST_BATCH];
    uint32_t count = nic_receive(in, queue, buffers, batch);
    mempool_free_batch(buffers, count);
    return count;
}

static uint32_t transmit_turn(uint32_t queue, uint32_t batch) {
    struct packet_buffer *buffers[LARGEST_BATCH];
    uint32_t count = mempool_alloc_batch(pool, buffers, batch);
    for (uint32_t i = 0; i < count; i++) buffers[i]->length = (uint16_t)frame_length;
    uint32_t taken = nic_transmit(out, queue, buffers, count);
    mempool_free_batch(buffers + taken, count - taken);
    return taken;
}

// As ixy's forwarder does, one byte of each packet is changed, so that its first cache line is really needed.
static uint32_t forward_turn(uint32_t queue, uint32_t batch) {
    struct packet_buffer *buffers[LARGEST_BATCH];
    uint32_t count = nic_receive(in, queue, buffers, batch);
    for (uint32_t i = 0; i < count; i++) ++*(uint8_t *)buffers[i]->data;
    uint32_t taken = count ? nic_transmit(out, queue, buffers, count) : 0;
    mempool_free_batch(buffers + taken, count - taken);
    return taken;
}

static const struct operation operations[] = {
    {"receive", receive_turn}, {"transmit", transmit_turn}, {"forward", forward_turn}};

static int open_ports(const struct rounds_options *options) {
    uint32_t queues = (uint32_t)options->queues, ring = (uint32_t)options->ring;
    const struct nic_config config = {.rx_queues = queues,
                                      .tx_queues = queues,
                                      .rx_ring_size = ring,
                                      .tx_ring_size = ring,
                                      .rx_buffers = 2 * ring + LARGEST_BATCH};
    int error = nic_open(&host, options->addresses[0], &config, &in);
    if (!error) error = nic_open(&host, options->addresses[1], &config, &out);
    if (!error) error = mempool_create(&host.space, queues * ring + LARGEST_BATCH, MEMPOOL_DEFAULT_SIZE, &pool);
    if (error) return error;
    nic_set_promiscuous(in, true);
    error = app_wait_for_link(in);
    return error ? error : app_wait_for_link(out);
}

int main(int argc, char **argv) {
    struct rounds_options options;
    cli_guard_output();
    if (rounds_parse(argc, argv, &options)) return 2;
    frame_length = (uint32_t)options.size - FRAME_CRC;
    if (!options.addresses_named)
        use_software_nic_if_no_hardware(argv, DEFAULT_ADDRESS, DEFAULT_ADDRESS_2, "generator:flows=256");
    cli_stop_on_signals();
    int error = nic_host_open(&host);
    if (error) return 1;
    error = open_ports(&options);
    if (!error) error = rounds_run(&options, operations);
    nic_close(out);  // first: it may hold packets that belong to the other one's pool
    nic_close(in);
    mempool_destroy(pool);
    nic_host_close(&host);
    return error ? 1 : 0;
}
