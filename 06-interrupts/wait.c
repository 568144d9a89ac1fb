// wait: a receiver that sleeps.
//
// A second thread sends a burst of packets out of the first port every now and then. The main thread receives on the
// second port and sleeps in between. At the end it says how often it was woken, for how many packets, and how much
// CPU time that took; and then the same for a second in which nothing comes at all.

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli.h"
#include "clock.h"
#include "interrupts.h"
#include "log.h"
#include "two_ports.h"

enum {
    BURSTS = 20,
    BURST = 100,
    PAUSE_MS = 50,
    FRAME = 60,
    INTERVAL_US = 100,
    QUIET_MS = 1000,
    BATCH = 32,
    CHECK_MS = 1000,
    SEND_TIMEOUT_MS = 10000,  // how late the sending card may be
    LAST_PACKETS_MS = 10000,  // how late the last packets may come
};

struct sender {
    struct nic *nic;
    struct mempool *pool;
    uint8_t to[6];
    uint32_t sent;
    int error;
};

// Until there are buffers for a burst: on a busy machine, sending those of the ones before may take a while.
static int wait_for_buffers(const struct sender *sender) {
    uint64_t deadline = clock_ns() + SEND_TIMEOUT_MS * 1000000ull;
    while (mempool_free_count(sender->pool) < BURST && !cli_stop()) {
        if (clock_ns() > deadline)
            return log_error(-ETIMEDOUT, "%s sends nothing any more", sender->nic->device.address);
        sleep_us(1000);
        nic_transmit(sender->nic, 0, NULL, 0);
    }
    return 0;
}

static void *send_bursts(void *argument) {
    struct sender *sender = argument;
    for (uint32_t burst = 0; burst < BURSTS && !cli_stop(); burst++) {
        struct packet_buffer *buffers[BURST];
        sender->error = wait_for_buffers(sender);
        if (sender->error) break;
        uint32_t count = mempool_alloc_batch(sender->pool, buffers, BURST);
        for (uint32_t i = 0; i < count; i++) {
            uint8_t *frame = memset(buffers[i]->data, 0, FRAME);
            memcpy(frame, sender->to, 6);
            frame[6] = 0x02;
            frame[12] = 0x88, frame[13] = 0xb5;  // for experiments, as in chapter 5
            buffers[i]->length = FRAME;
        }
        uint32_t taken = nic_transmit(sender->nic, 0, buffers, count);
        mempool_free_batch(buffers + taken, count - taken);
        sender->sent += taken;
        sleep_us(PAUSE_MS * 1000);
    }
    return NULL;
}

// CPU time of this thread alone, in microseconds.
static uint64_t cpu_us(void) {
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (uint64_t)time.tv_sec * 1000000 + (uint64_t)time.tv_nsec / 1000;
}

// Receives for `duration_ms`, or until `wanted` packets are there, and says how many came and what it took. Looks
// once a second whether the card is in order, and so sleeps no longer: one that is not wakes nobody.
static int receive(struct interrupts *interrupts, uint32_t wanted, uint64_t duration_ms, uint32_t *total) {
    uint64_t start = clock_ns(), cpu = cpu_us(), wakeups = interrupts->wakeups;
    uint64_t end = start + duration_ms * 1000000, now = start, checked = start;
    uint32_t received = 0;
    int error = 0;
    for (; !error && received < wanted && now < end && !cli_stop(); now = clock_ns()) {
        struct packet_buffer *buffers[BATCH];
        int timeout_ms = end - now < CHECK_MS * 1000000ull ? (int)((end - now) / 1000000) + 1 : CHECK_MS;
        uint32_t count = interrupts_receive(interrupts, 0, buffers, BATCH, timeout_ms);
        mempool_free_batch(buffers, count);
        received += count;
        if (now - checked >= CHECK_MS * 1000000ull) {
            error = nic_check(interrupts->nic);
            checked = now;
        }
    }
    wakeups = interrupts->wakeups - wakeups;
    printf("  %" PRIu64 " ms: %u packets, woken %" PRIu64 " times", (now - start) / 1000000, received, wakeups);
    if (wakeups) printf(" (%.1f packets each)", (double)received / (double)wakeups);
    printf(", CPU time %.1f ms\n", (double)(cpu_us() - cpu) / 1000);
    *total += received;
    return error;
}

static int run_with_interrupts(struct interrupts *interrupts, struct sender *sender) {
    printf("%s: %u %s vector%s, at most one interrupt every %d us\n", interrupts->nic->device.address,
           interrupts->vectors, interrupts->msix ? "MSI-X" : "MSI", interrupts->vectors > 1 ? "s" : "", INTERVAL_US);
    pthread_t thread;
    int error = pthread_create(&thread, NULL, send_bursts, sender);
    if (error) return log_error(-error, "the sending thread could not be started");
    printf("%d bursts of %d packets, one every %d ms:\n", BURSTS, BURST, PAUSE_MS);
    uint32_t received = 0;
    error = receive(interrupts, BURSTS * BURST, BURSTS * PAUSE_MS + LAST_PACKETS_MS, &received);
    pthread_join(thread, NULL);
    if (!error) error = nic_check(sender->nic);
    if (!error) error = sender->error;
    if (error) return error;
    if (cli_stop()) return -EINTR;
    printf("and nothing at all:\n");
    error = receive(interrupts, UINT32_MAX, QUIET_MS, &received);
    printf("%u sent, %u received; the link changed %" PRIu64 " times\n", sender->sent, received,
           interrupts->link_changes);
    if (!error && cli_stop()) return -EINTR;
    if (error || received == sender->sent) return error;
    return log_error(-EIO, "%s: packets are missing", interrupts->nic->device.address);
}

static int run(struct two_ports *ports) {
    struct sender sender = {.nic = ports->from, .pool = ports->pool};
    struct interrupts interrupts;
    nic_get_mac(ports->to, sender.to);
    int error = interrupts_open(&interrupts, ports->to, INTERVAL_US);
    if (error) return error;
    error = run_with_interrupts(&interrupts, &sender);
    interrupts_close(&interrupts);
    return error;
}

int main(int argc, char **argv) {
    return two_ports_main(argc, argv, "Receives bursts of packets, and sleeps until an interrupt in between.", false,
                          run);
}
