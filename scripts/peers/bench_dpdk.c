// bench_dpdk: the rounds of 07-apps/bench.c, driven by DPDK's driver for the same card.
//
// Started like any program of DPDK's, with its options before -- and those of bench behind. Which of its paths DPDK
// takes is decided there: --force-max-simd-bitwidth=64 leaves only the scalar one. Everything else is as DPDK likes
// it best: no offloads, so that the short transmit functions are taken, and its default thresholds.

#define ALLOW_EXPERIMENTAL_API  // rte_vect_get_max_simd_bitwidth
#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_vect.h>
#include <stdio.h>

#include "rounds.h"

enum { TIMEOUT_MS = 5000 };

static uint16_t in, out;
static struct rte_mempool *pool;
static uint16_t frame_length;

static uint32_t receive_turn(uint32_t queue, uint32_t batch) {
    struct rte_mbuf *buffers[LARGEST_BATCH];
    uint16_t count = rte_eth_rx_burst(in, (uint16_t)queue, buffers, (uint16_t)batch);
    rte_pktmbuf_free_bulk(buffers, count);
    return count;
}

static uint32_t transmit_turn(uint32_t queue, uint32_t batch) {
    struct rte_mbuf *buffers[LARGEST_BATCH];
    uint16_t count = (uint16_t)batch;
    if (rte_pktmbuf_alloc_bulk(pool, buffers, count) != 0) return 0;
    for (uint16_t i = 0; i < count; i++) buffers[i]->data_len = (uint16_t)(buffers[i]->pkt_len = frame_length);
    uint16_t taken = rte_eth_tx_burst(out, (uint16_t)queue, buffers, count);
    rte_pktmbuf_free_bulk(buffers + taken, count - taken);
    return taken;
}

static uint32_t forward_turn(uint32_t queue, uint32_t batch) {
    struct rte_mbuf *buffers[LARGEST_BATCH];
    uint16_t count = rte_eth_rx_burst(in, (uint16_t)queue, buffers, (uint16_t)batch);
    for (uint16_t i = 0; i < count; i++) ++*rte_pktmbuf_mtod(buffers[i], uint8_t *);
    uint16_t taken = count ? rte_eth_tx_burst(out, (uint16_t)queue, buffers, count) : 0;
    rte_pktmbuf_free_bulk(buffers + taken, count - taken);
    return taken;
}

static const struct operation operations[] = {
    {"receive", receive_turn}, {"transmit", transmit_turn}, {"forward", forward_turn}};

static int failed(const char *what, int error) {
    fprintf(stderr, "bench_dpdk: %s: %s\n", what, rte_strerror(-error));
    return -1;
}

// As ours has it, KiB for KiB: otherwise the card would spend its turns on frames that it has no room for.
static int switch_flow_control_on(uint16_t port) {
    struct rte_eth_fc_conf wanted = {
        .mode = RTE_ETH_FC_FULL, .high_water = 448, .low_water = 256, .pause_time = 0xffff, .send_xon = 1};
    return rte_eth_dev_flow_ctrl_set(port, &wanted);
}

// A ring pair for each queue, RSS if there are several, nothing else.
static int open_port(const char *address, const struct rounds_options *options, uint16_t *port) {
    uint16_t queues = (uint16_t)options->queues, ring = (uint16_t)options->ring;
    struct rte_eth_conf config = {0};
    if (queues > 1) {
        config.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
        config.rx_adv_conf.rss_conf.rss_hf = RTE_ETH_RSS_IPV4 | RTE_ETH_RSS_NONFRAG_IPV4_UDP;
    }
    int error = rte_eth_dev_get_port_by_name(address, port);
    if (error) return failed(address, error);
    error = rte_eth_dev_configure(*port, queues, queues, &config);
    for (uint16_t i = 0; i < queues && !error; i++) {
        error = rte_eth_rx_queue_setup(*port, i, ring, 0, NULL, pool);
        if (!error) error = rte_eth_tx_queue_setup(*port, i, ring, 0, NULL);
    }
    if (!error) error = switch_flow_control_on(*port);
    if (!error) error = rte_eth_dev_start(*port);
    if (!error) error = rte_eth_promiscuous_enable(*port);
    return error ? failed(address, error) : 0;
}

static int wait_for_link(uint16_t port) {
    struct rte_eth_link link;
    for (int ms = 0; ms < TIMEOUT_MS; ms++) {
        if (rte_eth_link_get_nowait(port, &link) == 0 && link.link_status) return 0;
        rte_delay_us_sleep(1000);
    }
    return failed("no link", -ENOLINK);
}

static int open_ports(const struct rounds_options *options) {
    // For both ports' rings, what a turn has in hand, and what a thread keeps to itself.
    unsigned count = (unsigned)(4 * options->queues * options->ring) + 1024;
    pool = rte_pktmbuf_pool_create("packets", count, 256, 0, RTE_MBUF_DEFAULT_BUF_SIZE, (int)rte_socket_id());
    if (!pool) return failed("packet pool", -rte_errno);
    if (open_port(options->addresses[0], options, &in) || open_port(options->addresses[1], options, &out)) return -1;
    return wait_for_link(in) || wait_for_link(out) ? -1 : 0;
}

int main(int argc, char **argv) {
    struct rounds_options options;
    cli_guard_output();
    rte_delay_us_callback_register(rte_delay_us_sleep);  // the card needs turns to get ready in, too
    int used = rte_eal_init(argc, argv);
    if (used < 0) return failed("start", -rte_errno), 1;
    if (rounds_parse(argc - used, argv + used, &options)) return 2;
    // The vector path receives four packets at a time, and none if fewer are asked for.
    if (rte_vect_get_max_simd_bitwidth() >= RTE_VECT_SIMD_128) options.least_batch = 4;
    frame_length = (uint16_t)(options.size - FRAME_CRC);
    cli_stop_on_signals();
    int error = open_ports(&options);
    if (!error) error = rounds_run(&options, operations);
    uint16_t port;
    RTE_ETH_FOREACH_DEV(port) {
        rte_eth_dev_stop(port);
        rte_eth_dev_close(port);
    }
    rte_eal_cleanup();
    return error ? 1 : 0;
}
