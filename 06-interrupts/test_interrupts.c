// test_interrupts.c: wakes up for every packet, and for nothing else.

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli.h"
#include "clock.h"
#include "interrupts.h"
#include "ixgbe.h"
#include "ixgbe_interrupts.h"
#include "test.h"

enum { FRAME = 60, ARRIVAL_MS = 30000 };  // only what has failed takes so long
enum { ETHER_TYPE = 0x88b5 };             // of queue 0; queue n has the n-th after it

static struct nic_host host;
static struct nic *from, *to;
static struct mempool *pool;
static struct interrupts interrupts;

static void open_cards_alone(uint32_t rx_queues) {
    if (!CHECK_EQ(nic_open(&host, DEFAULT_ADDRESS, NULL, &from), 0) ||
        !CHECK_EQ(nic_open(&host, DEFAULT_ADDRESS_2, &(struct nic_config){.rx_queues = rx_queues}, &to), 0) ||
        !CHECK_EQ(mempool_create(&host.space, 2048, MEMPOOL_DEFAULT_SIZE, &pool), 0))
        exit(test_summary());
    for (uint32_t queue = 0; queue < rx_queues; queue++)
        CHECK_EQ(nic_steer(to, &(struct nic_flow){.ether_type = (uint16_t)(ETHER_TYPE + queue)}, queue), 0);
    CHECK(nic_wait_for_link(from, ARRIVAL_MS, NULL) && nic_wait_for_link(to, ARRIVAL_MS, NULL));
}

static void open_cards(uint32_t rx_queues, uint32_t interval_us) {
    open_cards_alone(rx_queues);
    if (!CHECK_EQ(interrupts_open(&interrupts, to, interval_us), 0)) exit(test_summary());
}

static void close_cards(void) {
    interrupts_close(&interrupts);
    nic_close(from);
    nic_close(to);
    CHECK_EQ(mempool_free_count(pool), mempool_count(pool));
    mempool_destroy(pool);
}

// The ring holds fewer packets than the pool, so it is never the pool that runs out.
static bool send_one(uint32_t queue) {
    struct packet_buffer *buffer = mempool_alloc(pool);
    uint64_t deadline = clock_ns() + ARRIVAL_MS * 1000000ull;
    uint32_t taken;
    uint8_t *frame = memset(buffer->data, 0, FRAME);
    memset(frame, 0xff, 6);
    frame[6] = 2, frame[12] = ETHER_TYPE >> 8, frame[13] = (uint8_t)(ETHER_TYPE + queue);
    buffer->length = FRAME;
    while (!(taken = nic_transmit(from, 0, &buffer, 1)) && clock_ns() < deadline) sleep_us(10);
    if (!CHECK_EQ(taken, 1)) mempool_free(buffer);
    return taken;
}

// Calls until a packet is there or one whole sleep has brought nothing.
static uint32_t receive(uint32_t queue, int timeout_ms) {
    struct packet_buffer *buffers[32];
    uint64_t end = clock_ns() + (uint64_t)timeout_ms * 1000000;
    uint32_t count;
    while (!(count = interrupts_receive(&interrupts, queue, buffers, 32, timeout_ms)) && clock_ns() < end) {
    }
    mempool_free_batch(buffers, count);
    return count;
}

// A lost wake-up would still find its packet, but only at the end of the sleep.
static uint32_t receive_in_time(uint32_t queue) {
    uint64_t start = clock_ns();
    uint32_t count = receive(queue, ARRIVAL_MS);
    return CHECK(clock_ns() - start < ARRIVAL_MS * 1000000ull) ? count : 0;
}

static void silence_is_slept_through(void) {
    open_cards(1, 0);
    uint64_t wakeups = interrupts.wakeups, start = clock_ns();
    CHECK_EQ(receive(0, 200), 0);
    CHECK(clock_ns() - start >= 190000000);
    CHECK_EQ(interrupts.wakeups, wakeups);
    close_cards();
}

// One packet at a time, each sent when the last one has been taken, and most of them into a sleep.
static sem_t packet_taken;

static void *send_slowly(void *count) {
    for (uintptr_t i = 0; i < (uintptr_t)count; i++) {
        sleep_us(3000);
        if (!send_one(0)) break;
        sem_wait(&packet_taken);
    }
    return NULL;
}

static void every_packet_wakes(void) {
    enum { PACKETS = 100 };
    pthread_t sender;
    open_cards(1, 0);
    uint64_t wakeups = interrupts.wakeups;
    uint32_t received = 0;
    sem_init(&packet_taken, 0, 0);
    CHECK_EQ(pthread_create(&sender, NULL, send_slowly, (void *)PACKETS), 0);
    for (; received < PACKETS; received++) {
        if (!CHECK_EQ(receive_in_time(0), 1)) break;
        sem_post(&packet_taken);
    }
    for (uint32_t missing = PACKETS - received; missing; missing--) sem_post(&packet_taken);
    pthread_join(sender, NULL);
    sem_destroy(&packet_taken);
    CHECK_EQ(received, PACKETS);
    // On a busy machine a packet may come before we sleep.
    CHECK(interrupts.wakeups > wakeups && interrupts.wakeups - wakeups <= 2 * PACKETS);
    close_cards();
}

// As fast as possible, with the interrupt armed and disarmed at every possible moment.
static void *send_fast(void *count) {
    for (uintptr_t i = 0; i < (uintptr_t)count && send_one(0); i++) {
    }
    return NULL;
}

static void no_packet_is_slept_over(void) {
    enum { PACKETS = 20000 };
    pthread_t sender;
    uint32_t received = 0;
    open_cards(1, 2);
    CHECK_EQ(pthread_create(&sender, NULL, send_fast, (void *)PACKETS), 0);
    while (received < PACKETS) {
        uint32_t count = receive_in_time(0);
        if (!CHECK(count > 0)) break;
        received += count;
    }
    pthread_join(sender, NULL);
    CHECK_EQ(received, PACKETS);
    close_cards();
}

static void *send_later(void *queue) {
    sleep_us(2000);
    send_one((uint32_t)(uintptr_t)queue);
    return NULL;
}

// A packet that comes before we sleep is found without an interrupt, and shows nothing: then another one.
static bool sleeper_is_woken(uint32_t queue) {
    uint64_t wakeups = interrupts.wakeups, deadline = clock_ns() + ARRIVAL_MS * 1000000ull;
    bool arrived;
    do {
        pthread_t sender;
        if (!CHECK_EQ(pthread_create(&sender, NULL, send_later, (void *)(uintptr_t)queue), 0)) return false;
        arrived = CHECK_EQ(receive_in_time(queue), 1);
        pthread_join(sender, NULL);
    } while (arrived && interrupts.wakeups == wakeups && clock_ns() < deadline);
    return arrived && CHECK(interrupts.wakeups > wakeups);
}

static void each_queue_has_its_vector(void) {
    enum { QUEUES = 4 };
    open_cards(QUEUES, 0);
    CHECK(interrupts.msix);
    CHECK_EQ(interrupts.vectors, QUEUES + 1);
    for (uint32_t queue = 0; queue < QUEUES && sleeper_is_woken(queue); queue++) {
    }
    CHECK_EQ(interrupts.link_changes, 0);
    close_cards();
}

// The interrupts themselves, without the polling before them: those of a queue since the last time, after waiting for
// the first. None comes late: a register access, such as disarming, is over when the card has done all that is due.
static uint64_t interrupts_sent(uint32_t queue) {
    struct pollfd vector = {.fd = interrupts.event_fds[queue], .events = POLLIN};
    uint64_t times = 0;
    poll(&vector, 1, ARRIVAL_MS);
    return read(vector.fd, &times, sizeof times) == sizeof times ? times : 0;
}

static bool send_and_take(uint32_t queue) {
    struct packet_buffer *buffer;
    uint64_t deadline = clock_ns() + ARRIVAL_MS * 1000000ull;
    uint32_t taken;
    if (!send_one(queue)) return false;
    while (!(taken = nic_receive(to, queue, &buffer, 1)) && clock_ns() < deadline) sleep_us(10);
    mempool_free_batch(&buffer, taken);
    return CHECK_EQ(taken, 1);
}

static void an_interrupt_disarms_itself(void) {
    open_cards(1, 0);
    interrupts.ops->arm(to, 0);
    for (int packets = 0; packets < 3 && send_and_take(0); packets++) {
    }
    interrupts.ops->disarm(to, 0);
    CHECK_EQ(interrupts_sent(0), 1);
    close_cards();
}

// Each packet comes as soon as its interrupt is armed. The first interrupt goes at once, the others have to wait.
static void interrupts_are_throttled(void) {
    enum { QUEUE = 1, INTERVAL_US = 1000, PACKETS = 50 };
    open_cards(QUEUE + 1, INTERVAL_US);
    uint64_t start = clock_ns(), sent = 0;
    for (int packets = 0; packets < PACKETS; packets++) {
        interrupts.ops->arm(to, QUEUE);
        if (!send_and_take(QUEUE)) break;
        sent += interrupts_sent(QUEUE);
    }
    CHECK_EQ(sent, PACKETS);
    // A card whose time is not ours may be a little fast.
    CHECK(sent <= 1 + (clock_ns() - start) / (INTERVAL_US * 1000ull * 3 / 4));
    close_cards();
}

// As good as pulling the other end of the cable: its laser goes off (3.5.6). Nothing is looked at but the interrupt.
static bool link_change_wakes(bool laser_on) {
    struct packet_buffer *buffer;
    uint64_t changes = interrupts.link_changes, deadline = clock_ns() + ARRIVAL_MS * 1000000ull;
    (laser_on ? ixgbe_clear : ixgbe_set)((struct ixgbe *)from, IXGBE_ESDP, IXGBE_ESDP_SDP3_DATA);
    while (interrupts.link_changes == changes && clock_ns() < deadline)
        mempool_free_batch(&buffer, interrupts_receive(&interrupts, 0, &buffer, 1, ARRIVAL_MS));
    return CHECK_EQ(interrupts.link_changes, changes + 1) && CHECK_EQ(nic_link_mbit(to) != 0, laser_on);
}

static void every_link_change_wakes(void) {
    open_cards(2, 0);
    CHECK(link_change_wakes(false) && link_change_wakes(true) && link_change_wakes(false));
    close_cards();
}

// What interrupts_open does where MSI-X has fewer vectors than it wants; the software NIC always has enough.
static void open_msi(void) {
    interrupts = (struct interrupts){.nic = to,
                                     .ops = &ixgbe_interrupt_ops,
                                     .vectors = 1,
                                     .event_fds = {eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)},
                                     .epoll_fd = epoll_create1(EPOLL_CLOEXEC)};
    struct epoll_event event = {.events = EPOLLIN};
    CHECK_EQ(epoll_ctl(interrupts.epoll_fd, EPOLL_CTL_ADD, interrupts.event_fds[0], &event), 0);
    _Alignas(struct vfio_irq_set) char memory[sizeof(struct vfio_irq_set) + sizeof(int)];
    struct vfio_irq_set *msi = (struct vfio_irq_set *)memory;
    *msi = (struct vfio_irq_set){.argsz = sizeof memory,
                                 .flags = VFIO_IRQ_SET_ACTION_TRIGGER | VFIO_IRQ_SET_DATA_EVENTFD,
                                 .index = VFIO_PCI_MSI_IRQ_INDEX,
                                 .count = 1};
    memcpy(msi->data, interrupts.event_fds, sizeof(int));
    CHECK_EQ(ioctl(to->device.fd, VFIO_DEVICE_SET_IRQS, msi), 0);
    interrupts.ops->connect(to, 1, 0, false);
}

static void with_msi_all_share_a_vector(void) {
    enum { QUEUES = 4 };
    open_cards_alone(QUEUES);
    open_msi();
    for (uint32_t queue = 0; queue < QUEUES && sleeper_is_woken(queue); queue++) {
    }
    CHECK_EQ(interrupts.link_changes, 0);
    CHECK(link_change_wakes(false) && link_change_wakes(true) && link_change_wakes(false));
    close_cards();
}

int main(void) {
    if (!CHECK_EQ(nic_host_open(&host), 0)) return test_summary();
    silence_is_slept_through();
    every_packet_wakes();
    no_packet_is_slept_over();
    each_queue_has_its_vector();
    an_interrupt_disarms_itself();
    interrupts_are_throttled();
    every_link_change_wakes();
    with_msi_all_share_a_vector();
    nic_host_close(&host);
    return test_summary();
}
