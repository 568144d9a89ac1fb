// test_trace.c: what the trace looks like, line by line. The lines stand in the chapters' transcripts too, so a
// change here is a change there.
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "iommu.h"
#include "ixgbe_regs.h"
#include "sim.h"
#include "test.h"
#include "trace.h"

static uint32_t registers[SIM_BAR0_SIZE / 4] __attribute__((aligned(4096)));
static struct sim_device *device;
static uint64_t now_ns;
static char path[64], where[80], text[65536];

static uint64_t front_now(void *context) {
    (void)context;
    return now_ns;
}
static void front_interrupt(void *context, unsigned vector) { (void)context, (void)vector; }

static void power_on(void) {
    static struct sim_front front = {
        .now_ns = front_now, .interrupt = front_interrupt, .registers = registers, .every_access_seen = true};
    now_ns = 7000000000;
    device = sim_create(0, &front);
}

static const char *written(void) {
    int file = open(path, O_RDONLY);
    ssize_t length = file < 0 ? 0 : read(file, text, sizeof text - 1);
    text[length > 0 ? length : 0] = '\0';
    if (file >= 0) close(file);
    return text;
}

// Runs `event` 1.5 us after a first event, and compares the one line it writes from the port's name on.
#define LINE(event, expected)                                                                                        \
    do {                                                                                                             \
        CHECK_EQ(trace_open(where), 0);                                                                              \
        trace_event(device, "begin");                                                                                \
        now_ns += 1500;                                                                                              \
        event;                                                                                                       \
        trace_open(NULL);                                                                                            \
        if (!CHECK(strcmp(written(), "         0.0us p0 begin\n         1.5us p0 " expected "\n") == 0))             \
            printf("  %s", text);                                                                                    \
    } while (0)

static void test_registers(void) {
    LINE(trace_register_write(device, IXGBE_REG(RXDCTL, 5), IXGBE_RXDCTL_ENABLE),
         "W RXDCTL[5]       0x02000000 ENABLE");
    LINE(trace_register_read(device, IXGBE_TXDCTL, 0x02040824),
         "R TXDCTL[0]       0x02040824 PTHRESH=36 HTHRESH=8 WTHRESH=4 ENABLE");
    LINE(trace_register_write(device, ixgbe_rx_queue_reg(IXGBE_RDT, 64), 511), "W RDT[64]         0x000001ff 511");
    LINE(trace_register_write(device, IXGBE_EIMS, IXGBE_EICR_LSC | 3), "W EIMS            0x00100003 RTXQ=0x3 LSC");
    LINE(trace_register_write(device, IXGBE_EIMC, 0x7fffffff), "W EIMC            0x7fffffff all");
    LINE(trace_register_write(device, IXGBE_REG(RAH, 0), 0x80000159), "W RAH[0]          0x80000159 RAH=0x159 AV");
    LINE(trace_register_write(device, IXGBE_REG(EIMS_EX, 0), 1), "W EIMS[1]         0x00000001");
    LINE(trace_register_write(device, IXGBE_MRQC_ALIAS, 1), "W MRQC            0x00000001 MRQE=1");
    LINE(trace_register_read(device, 0x1fffc, 0), "R 0x1fffc         0x00000000");
    LINE(trace_register_read(device, IXGBE_CTRL, 0), "R CTRL            0x00000000");
}

static void test_descriptors(void) {
    uint32_t split = IXGBE_DESCTYPE_ADVANCED << IXGBE_SRRCTL_DESCTYPE_SHIFT | 2;
    sim_register_write(device, IXGBE_SRRCTL, split);
    union ixgbe_rx_desc rx = {.read = {.packet_iova = 0x100022000}};
    LINE(trace_fetch(device, SIM_RING_RX, 0, 17, &rx), "DMA RX ring 0 [17] fetch: buffer iova 0x100022000");
    rx = (union ixgbe_rx_desc){.wb = {.info = IXGBE_RSS_TYPE_IPV4,
                                      .rss_hash = 0x1234,
                                      .length = 60,
                                      .status_error = IXGBE_RXD_STATUS_DD | IXGBE_RXD_STATUS_EOP}};
    LINE(trace_write_back(device, SIM_RING_RX, 0, 17, &rx),
         "DMA RX ring 0 [17] write back: DD EOP length 60 RSS IPv4 0x1234");
    sim_register_write(device, IXGBE_SRRCTL, 2);
    union ixgbe_rx_legacy_desc old = {.wb = {.length = 60, .status = 3, .errors = IXGBE_RXD_LEGACY_ERROR_L4E}};
    LINE(trace_write_back(device, SIM_RING_RX, 0, 18, &old), "DMA RX ring 0 [18] write back: DD EOP L4E length 60");

    union ixgbe_tx_desc tx = {.read = {.iova = 0x100040000,
                                       .command = 60 | IXGBE_TXD_CMD_DTYP_DATA | IXGBE_TXD_CMD_DEXT |
                                                  IXGBE_TXD_CMD_EOP | IXGBE_TXD_CMD_IFCS | IXGBE_TXD_CMD_RS,
                                       .options = 60u << IXGBE_TXD_OPT_PAYLEN_SHIFT | IXGBE_TXD_OPT_TXSM}};
    LINE(trace_fetch(device, SIM_RING_TX, 3, 0, &tx),
         "DMA TX ring 3 [0] fetch: data iova 0x100040000 length 60 EOP IFCS RS TXSM PAYLEN 60");
    tx.read.command = 60 | IXGBE_TXD_CMD_EOP;
    LINE(trace_fetch(device, SIM_RING_TX, 3, 1, &tx),
         "DMA TX ring 3 [1] fetch: legacy iova 0x100040000 length 60 EOP");
    struct ixgbe_tx_context_desc context = {
        .header_lengths = 20 | 14 << IXGBE_TXC_MACLEN_SHIFT,
        .command = IXGBE_TXD_CMD_DTYP_CONTEXT | IXGBE_TXD_CMD_DEXT | IXGBE_TXC_IPV4 | IXGBE_TXC_L4T_TCP,
        .segmentation = 1 << IXGBE_TXC_IDX_SHIFT | 20 << IXGBE_TXC_L4LEN_SHIFT | 1448u << IXGBE_TXC_MSS_SHIFT};
    LINE(trace_fetch(device, SIM_RING_TX, 3, 2, &context),
         "DMA TX ring 3 [2] fetch: context 1: MACLEN 14 IPLEN 20 L4LEN 20 MSS 1448 IPv4 TCP");
    tx = (union ixgbe_tx_desc){.wb = {.status = IXGBE_TXD_STATUS_DD}};
    LINE(trace_write_back(device, SIM_RING_TX, 3, 0, &tx), "DMA TX ring 3 [0] write back: DD");
}

static void test_events(void) {
    static const uint8_t frame[60] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 0x1a, 8, 6};
    LINE(trace_frame(device, true, frame, 60), "TX frame, 60 bytes, 02:00:00:00:00:1a > ff:ff:ff:ff:ff:ff, ARP");
    LINE(trace_frame(device, false, frame, 10), "RX frame, 10 bytes");
    LINE(trace_dropped(device, false, "no descriptor", 60), "RX dropped, 60 bytes: no descriptor");
    LINE(trace_dropped(device, true, "impossible length", 10), "TX dropped, 10 bytes: impossible length");
    LINE(trace_interrupt(device, 2, IXGBE_EICR_LSC | 5), "IRQ vector 2: RTXQ0 RTXQ2 LSC");
    LINE(trace_event(device, "link up"), "link up");
    LINE(trace_map(device, 0x100000000, 0x200000, true), "MAP   iova 0x100000000 size 0x200000");
    LINE(trace_map(device, 0x100000000, 0x200000, false), "UNMAP iova 0x100000000 size 0x200000");
    LINE(trace_dma(device, true, 0x100000040, 64), "DMA write iova 0x100000040 length 64");
    LINE(trace_dma_fault(device, false, 0xdead0000, 64), "FAULT DMA read iova 0xdead0000 length 64: not moved");
    LINE(trace_reset(device), "reset");
    sim_register_write(device, IXGBE_RDBAL, 0x10000);
    sim_register_write(device, IXGBE_RDBAH, 1);
    sim_register_write(device, IXGBE_RDLEN, 8192);
    LINE(trace_queue_enabled(device, SIM_RING_RX, 0), "RX queue 0 enabled: 512 descriptors at iova 0x100010000");
    LINE(trace_queue_disabled(device, SIM_RING_TX, 127), "TX queue 127 disabled");
}

static void test_repeated_reads_are_one_line(void) {
    CHECK_EQ(trace_open(where), 0);
    for (int i = 0; i < 42; i++, now_ns += 1000) trace_register_read(device, IXGBE_STATUS, 0x80000);
    trace_register_read(device, IXGBE_STATUS, 0);
    trace_register_read(device, IXGBE_STATUS, 0);
    trace_register_write(device, IXGBE_STATUS, 0);
    trace_register_read(device, IXGBE_STATUS, 0);
    trace_open("");
    CHECK(strcmp(written(), "         0.0us p0 R STATUS          0x00080000 PCIE_MASTER_ENABLE_STATUS\n"
                            "        41.0us p0 R ...             41 times more\n"
                            "        42.0us p0 R STATUS          0x00000000\n"
                            "        42.0us p0 R ...             once more\n"
                            "        42.0us p0 W STATUS          0x00000000\n"
                            "        42.0us p0 R STATUS          0x00000000\n") == 0);
}

static void test_a_table_being_cleared_is_two_lines(void) {
    CHECK_EQ(trace_open(where), 0);
    for (uint32_t i = 1; i < 128; i++, now_ns += 1000) trace_register_write(device, IXGBE_REG(RAH, i), 0);
    trace_register_write(device, IXGBE_REG(RAH, 127), 0);  // the same register again is a line of its own
    trace_open("");
    CHECK(strcmp(written(), "         0.0us p0 W RAH[1]          0x00000000\n"
                            "       126.0us p0 W ... RAH[127]    the same to 126 more\n"
                            "       127.0us p0 W RAH[127]        0x00000000\n") == 0);
}

static void test_a_killed_or_forked_process_loses_and_doubles_nothing(void) {
    CHECK_EQ(trace_open(where), 0);
    trace_register_read(device, IXGBE_STATUS, 0);
    trace_register_read(device, IXGBE_STATUS, 0);  // counted, not yet written: the child must not report it
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        trace_event(device, "from the child");
        raise(SIGKILL);
    }
    waitpid(child, NULL, 0);
    trace_open("");
    CHECK(strcmp(written(), "         0.0us p0 R STATUS          0x00000000\n"
                            "         0.0us p0 from the child\n"
                            "         0.0us p0 R ...             once more\n") == 0);
}

// What goes to standard error while `run` runs.
static const char *heard(void (*run)(void)) {
    FILE *file = tmpfile();
    int kept = dup(STDERR_FILENO);
    dup2(fileno(file), STDERR_FILENO);
    run();
    dup2(kept, STDERR_FILENO);
    close(kept);
    ssize_t length = pread(fileno(file), text, sizeof text - 1, 0);
    text[length > 0 ? length : 0] = '\0';
    fclose(file);
    return text;
}

static void bad_path(void) { CHECK_EQ(trace_open("text:/nonexistent/trace"), -ENOENT); }
static void bad_kind(void) { CHECK_EQ(trace_open("xml:trace"), -EINVAL); }

static void full_disk(void) {
    CHECK_EQ(trace_open("text:/dev/full"), 0);
    trace_event(device, "one");
    trace_event(device, "two");
    trace_open("");
}

static void to_standard_error(void) {
    CHECK_EQ(trace_open("-"), 0);
    trace_event(device, "one");
    trace_open("");
    trace_event(device, "two");
}

static void test_messages(void) {
    CHECK(strcmp(heard(bad_path), "sim82599: trace: cannot open /nonexistent/trace: no such directory\n") == 0);
    CHECK(strcmp(heard(bad_kind),
                 "sim82599: trace: \"xml:trace\" is neither \"-\" (standard error) nor \"text:FILE\"\n") == 0);
    CHECK(strcmp(heard(to_standard_error), "         0.0us p0 one\n") == 0);
    if (access("/dev/full", W_OK) != 0)
        SKIP("there is no /dev/full to write to");
    else
        CHECK(strcmp(heard(full_disk),
                     "sim82599: trace: the trace ends here, cannot write /dev/full: no space left on "
                     "the device\n") == 0);
}

static void test_observing(void) {
    sim_observed = false;
    trace_open(where);
    CHECK(sim_observed);
    trace_open("");
    CHECK(!sim_observed);
}

// Much text, whatever is in it, ends in a newline and in its own memory.
static void test_long_lines_are_cut(void) {
    static char much[2000];
    memset(much, 'x', sizeof much - 1);
    trace_open(where);
    trace_event(device, much);
    trace_open("");
    size_t length = strlen(written());
    CHECK(length > 500 && length < 1000 && text[length - 1] == '\n' && strchr(text, '\n') == text + length - 1);
}

int main(void) {
    snprintf(path, sizeof path, "/tmp/test_trace.%d", (int)getpid());
    snprintf(where, sizeof where, "text:%s", path);
    power_on();
    test_registers();
    test_descriptors();
    test_events();
    test_repeated_reads_are_one_line();
    test_a_table_being_cleared_is_two_lines();
    test_a_killed_or_forked_process_loses_and_doubles_nothing();
    test_messages();
    test_observing();
    test_long_lines_are_cut();
    unlink(path);
    sim_destroy(device);
    return test_summary();
}
