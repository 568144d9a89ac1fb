// test_preload_posted.c: with --posted, register writes arrive late, and a driver that forgets this is found out.

#include "test_foreign.h"

#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>

enum {
    STATUS = 0x00008,
    EICR = 0x00800,
    EICS = 0x00808,
    EIMS = 0x00880,
    IVAR = 0x00900,
    RDBAL = 0x01000,
    RDLEN = 0x01008,
    SRRCTL = 0x01014,
    RDT = 0x01018,
    RXDCTL = 0x01028,
    RXCTRL = 0x03000,
    FCTRL = 0x05080,
    LINKS = 0x042a4,
    DMATXCTL = 0x04a80,
    TDBAL = 0x06000,
    TDLEN = 0x06008,
    TDT = 0x06018,
    TXDCTL = 0x06028,
    ENABLE = 1 << 25,
    LINK_UP = 1 << 30,
    PROMISCUOUS = 3 << 8,
    RING = 0x1000,  // in our memory, which is also its IOVA
    BUFFER = 0x2000,
    FRAME = 60,
};

static uint8_t *memory[2];

static struct nic open_posted(unsigned port, int container) {
    setenv("SIM82599_POSTED", "1", 1);
    struct nic nic = nic_open(port, container);
    uint16_t command = 6;  // memory, bus master
    CHECK_EQ(pwrite(nic.device, &command, 2, region_offset(CONFIG) + 4), 2);
    return nic;
}

static bool was_raised(int event) {
    uint64_t times;
    return read(event, &times, sizeof times) == sizeof times;
}

static void a_write_arrives_with_the_next_read(void) {
    struct nic nic = open_posted(0, -1), other = open_posted(1, nic.container);
    int event = eventfd(0, EFD_NONBLOCK);
    CHECK_EQ(nic_set_trigger(&nic, VFIO_PCI_MSI_IRQ_INDEX, 0, event), 0);
    nic_write(&nic, EIMS, 1);
    nic_write(&nic, EICS, 1);
    CHECK(!was_raised(event));
    nic_read(&other, STATUS);  // another device's
    CHECK(!was_raised(event));
    nic_read(&nic, STATUS);
    CHECK(was_raised(event));

    nic_write(&nic, EICR, 1);
    nic_write(&nic, EICS, 1);
    CHECK(!was_raised(event));
    usleep(1);  // time passes
    CHECK(was_raised(event));
}

static void writes_keep_their_order(void) {
    struct nic nic = open_posted(0, -1);
    for (uint32_t i = 0; i < 1000; i++) nic_write(&nic, 0x0a228, i);  // more than can be under way
    CHECK_EQ(nic_read(&nic, 0x0a228), 999);
    nic_write(&nic, 0x0a228, 7);
    uint16_t ids[2];
    CHECK_EQ(pread(nic.device, ids, 4, region_offset(CONFIG)), 4);
    CHECK_EQ(nic_read(&nic, 0x0a228), 7);
}

static void wait_for(const struct nic *nic, uint32_t offset, uint32_t bit) {
    for (int i = 0; i < 30000 && !(nic_read(nic, offset) & bit); i++) usleep(1000);
    CHECK(nic_read(nic, offset) & bit);
}

// A ring of 64 descriptors, in the memory of its port, and one buffer.
static void start(const struct nic *nic, unsigned port, bool receives) {
    uint64_t iova = port * UINT64_C(0x10000) + 0x100000;
    memory[port] = new_pages(0x4000);
    CHECK_EQ(nic_map_dma(nic, memory[port], iova, 0x4000), 0);
    uint64_t buffer = iova + BUFFER;
    memcpy(memory[port] + RING, &buffer, sizeof buffer);
    if (receives) {
        nic_write(nic, FCTRL, PROMISCUOUS);
        nic_write(nic, RXCTRL, 1);
        nic_write(nic, SRRCTL, 1 << 25 | 2);
    } else {
        nic_write(nic, DMATXCTL, 1);
    }
    nic_write(nic, receives ? RDBAL : TDBAL, (uint32_t)iova + RING);
    nic_write(nic, receives ? RDLEN : TDLEN, 64 * 16);
    nic_write(nic, receives ? RXDCTL : TXDCTL, ENABLE);
    wait_for(nic, receives ? RXDCTL : TXDCTL, ENABLE);
    if (receives) nic_write(nic, RDT, 1);
    wait_for(nic, LINKS, LINK_UP);
}

// One frame, whole and with its CRC from the device; and a read, so that the doorbell has been heard.
static void send_frame(const struct nic *nic) {
    uint32_t command = FRAME | 1 << 24 | 1 << 25 | 1 << 29 | 3 << 20;  // EOP, IFCS, DEXT, data
    uint32_t options = FRAME << 14;
    memcpy(memory[0] + RING + 8, &command, 4);
    memcpy(memory[0] + RING + 12, &options, 4);
    nic_write(nic, TDT, 1);
    nic_read(nic, STATUS);
}

static bool has_arrived(void) {
    uint32_t status;
    memcpy(&status, memory[1] + RING + 8, sizeof status);
    return status & 1;
}

// Arms the queue's interrupt, looks whether there is a packet, and sleeps. The packet comes after the look.
static bool wakes(bool sure_that_it_is_armed) {
    struct nic from = open_posted(0, -1), to = open_posted(1, from.container);
    int event = eventfd(0, EFD_NONBLOCK);
    CHECK_EQ(nic_set_trigger(&to, VFIO_PCI_MSI_IRQ_INDEX, 0, event), 0);
    start(&from, 0, false);
    start(&to, 1, true);
    nic_write(&to, IVAR, 0x80);
    nic_read(&to, STATUS);

    nic_write(&to, EICR, 1);
    nic_write(&to, EIMS, 1);
    if (sure_that_it_is_armed) nic_read(&to, STATUS);
    CHECK(!has_arrived());
    send_frame(&from);
    // Only the driver that is not sure is meant to sleep in vain.
    bool woken = poll(&(struct pollfd){.fd = event, .events = POLLIN}, 1, sure_that_it_is_armed ? 10000 : 100) == 1;
    CHECK(has_arrived());
    return woken;
}

static void an_arm_without_a_read_sleeps_over_a_packet(void) { CHECK(!wakes(false)); }
static void an_arm_with_a_read_does_not(void) { CHECK(wakes(true)); }

int main(int argc, char **argv) {
    static const struct test_case tests[] = {
        {"next_read", a_write_arrives_with_the_next_read, STEPPED | MANUAL, NULL, 0},
        {"order", writes_keep_their_order, ALL_MODES, NULL, 0},
        {"hasty", an_arm_without_a_read_sleeps_over_a_packet, STEPPED | MANUAL, NULL, 0},
        {"careful", an_arm_with_a_read_does_not, ALL_MODES, NULL, 0},
    };
    return run_cases(argc, argv, tests, sizeof tests / sizeof *tests);
}
