// test_vfio_user.c: what a virtual machine monitor sees of a port: its answers, its interrupts, and what it does to
// the memory that it was given. And what a client sees that does not keep to the rules: an error, or a closed
// connection.
#include "test_vfio_user.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "clock.h"
#include "ixgbe_regs.h"
#include "observe.h"
#include "test.h"

enum { PAGE = 4096, PAGES = 256, MEMORY = PAGES * PAGE };
#define IOVA UINT64_C(0x7f0000000000)

static char path[64];
static struct vfio_user *server;
static struct client client;
static int memory_file;
static uint8_t *memory;

// ---- A port on a bench: what it sends comes back to it ----

static unsigned loop_send(struct wire *wire, const struct wire_frame *frames, unsigned count) {
    return sim_receive_burst(wire->port, frames, count, false);
}
static unsigned loop_poll(struct wire *wire, unsigned budget) { return (void)wire, (void)budget, 0; }
static bool loop_carrier(const struct wire *wire) { return (void)wire, true; }
static const struct wire_ops loop_ops = {
    .name = "loop", .send = loop_send, .poll = loop_poll, .carrier = loop_carrier};
static struct wire loop = {.ops = &loop_ops};

static bool make_memory(void) {
    memory_file = memfd_create("guest-memory", MFD_CLOEXEC);
    if (memory_file < 0 || ftruncate(memory_file, MEMORY) != 0) return false;
    void *mapped = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED, memory_file, 0);
    memory = mapped == MAP_FAILED ? NULL : mapped;
    return memory;
}

static bool begin(void) {
    if (vfio_user_open(0, path, &server) != 0) return false;
    loop.port = vfio_user_device(server);
    sim_set_wire(loop.port, &loop);
    return client_begin(&client, server, path);
}

static void end(void) {
    client_close(&client);
    vfio_user_close(server);
}

// ---- Questions ----

static void test_version(void) {
    CHECK(vfio_user_open(0, path, &server) == 0);
    CHECK(client_connect(&client, server, path));
    CHECK_EQ(request(&client, VERSION, proposal, sizeof proposal), 0);
    CHECK(reply_length > 4 && reply[reply_length - 1] == 0);
    CHECK(memcmp(reply, "\0\0\0\0{", 5) == 0);
    const char *text = (const char *)reply + 4;
    CHECK(strstr(text, "\"max_msg_fds\":16") && strstr(text, "\"max_data_xfer_size\":131072"));
    CHECK(strstr(text, "\"pgsizes\":4096") && strstr(text, "\"max_dma_maps\":65535"));
    CHECK(strstr(text, "\"write_multiple\":true") && !strstr(text, "migration"));
    CHECK_EQ(request(&client, VERSION, proposal, sizeof proposal), EINVAL);  // once only
    CHECK_EQ(request(&client, GET_INFO, (uint32_t[]){16, 0, 0, 0}, 16), 0);
    client_close(&client);

    CHECK(client_connect(&client, server, path));
    CHECK_EQ(request(&client, VERSION, "\0\0\7\0", 4), 0);  // a later minor version, and no capabilities
    CHECK(memcmp(reply, "\0\0\0\0{", 5) == 0 && !strstr((const char *)reply + 4, "write_multiple"));
    client_close(&client);

    static const struct {
        const char *capability;
        bool wanted;
    } offers[] = {{"\"write_multiple\" :\n true", true},
                  {"\"write_multiple\":false", false},
                  {"\"write_multiple\":\"true\"", false},
                  {"\"write_multiple\"", false}};
    for (unsigned i = 0; i < sizeof offers / sizeof *offers; i++) {
        char payload[128] = "\0\0\0\0";
        int length = snprintf(payload + 4, sizeof payload - 4, "{\"capabilities\":{%s}}", offers[i].capability);
        CHECK(client_connect(&client, server, path));
        CHECK_EQ(request(&client, VERSION, payload, 4 + (uint32_t)length + 1), 0);
        CHECK_EQ(strstr((const char *)reply + 4, "write_multiple") != NULL, offers[i].wanted);
        client_close(&client);
    }

    static const struct {
        const char *what, *payload;
        uint32_t length;
    } refused[] = {
        {"another major version", "\1\0\0\0", 4}, {"half a version", "\0\0", 2}, {"no end", "\0\0\0\0{}", 6}};
    for (unsigned i = 0; i < sizeof refused / sizeof *refused; i++) {
        CHECK(client_connect(&client, server, path));
        CHECK(request(&client, VERSION, refused[i].payload, refused[i].length) > 0);
        CHECK_EQ(client_receive(&client), CLOSED);
        client_close(&client);
    }
    CHECK(client_connect(&client, server, path));
    CHECK_EQ(request(&client, GET_INFO, (uint32_t[]){16, 0, 0, 0}, 16), EINVAL);  // before the version
    CHECK_EQ(client_receive(&client), CLOSED);
    end();
}

static void test_infos(void) {
    CHECK(begin());
    uint32_t info[8];
    CHECK_EQ(request(&client, GET_INFO, (uint32_t[]){16, 0, 0, 0}, 16), 0);
    CHECK_EQ(reply_length, 16);
    memcpy(info, reply, 16);
    CHECK(info[0] == 16 && info[1] == 3 && info[2] == 9 && info[3] == 5);  // PCI, reset; regions; interrupt types
    CHECK_EQ(request(&client, GET_INFO, (uint32_t[]){15, 0, 0, 0}, 16), EINVAL);

    static const uint64_t sizes[9] = {[BAR0] = 0x20000, [BAR2] = 0x20, [BAR4] = 0x4000, [CONFIG] = 0x1000};
    for (uint32_t region = 0; region < 9; region++) {
        uint32_t question[8] = {sizeof question, 0, region};
        CHECK_EQ(request(&client, GET_REGION_INFO, question, sizeof question), 0);
        CHECK_EQ(reply_length, 32);
        memcpy(info, reply, 32);
        uint64_t size = info[4] | (uint64_t)info[5] << 32;
        CHECK(info[0] == 32 && info[2] == region && info[3] == 0);
        CHECK_EQ(size, sizes[region]);
        CHECK_EQ(info[1], sizes[region] ? 3 : 0);  // read, write; not to be mapped
    }
    CHECK_EQ(request(&client, GET_REGION_INFO, (uint32_t[8]){32, 0, 9}, 32), EINVAL);
    CHECK_EQ(request(&client, GET_REGION_INFO, (uint32_t[8]){31, 0, 0}, 32), EINVAL);

    static const uint32_t counts[5] = {1, 1, 64, 1, 0};
    for (uint32_t type = 0; type < 5; type++) {
        CHECK_EQ(request(&client, GET_IRQ_INFO, (uint32_t[4]){16, 0, type}, 16), 0);
        memcpy(info, reply, 16);
        CHECK(info[0] == 16 && info[2] == type);
        CHECK_EQ(info[3], counts[type]);
    }
    CHECK_EQ(request(&client, GET_IRQ_INFO, (uint32_t[4]){16, 0, 5}, 16), EINVAL);
    CHECK_EQ(request(&client, GET_IRQ_INFO, (uint32_t[4]){0, 0, 0}, 16), EINVAL);
    end();
}

// ---- Registers ----

static void test_regions(void) {
    CHECK(begin());
    CHECK_EQ(read_region(&client, CONFIG, 0, 4), 0x10fb8086);
    CHECK_EQ(read_region(&client, CONFIG, 2, 1), 0xfb);
    CHECK_EQ(write_region(&client, CONFIG, 0x10, 4, 0xffffffff), 0);
    CHECK_EQ(read_region(&client, CONFIG, 0x10, 4) & ~15u, 0xfffe0000);

    // Widths. RDBAL and RDBAH of queue 0 are neighbours that keep what is written, but for the seven lowest bits.
    CHECK_EQ(write_region(&client, BAR0, IXGBE_RDBAL, 8, UINT64_C(0x1122334455667780)), 0);
    CHECK_EQ(reg_read(&client, IXGBE_RDBAL), 0x55667780);
    CHECK_EQ(reg_read(&client, IXGBE_RDBAH), 0x11223344);
    CHECK_EQ(read_region(&client, BAR0, IXGBE_RDBAL, 8), UINT64_C(0x1122334455667780));
    CHECK_EQ(read_region(&client, BAR0, IXGBE_RDBAL + 1, 2), 0x6677);
    CHECK_EQ(read_region(&client, BAR0, IXGBE_RDBAL + 3, 2), 0x4455);
    CHECK_EQ(write_region(&client, BAR0, IXGBE_RDBAH + 1, 2, 0xaabb), 0);
    CHECK_EQ(reg_read(&client, IXGBE_RDBAH), 0x11aabb44);
    CHECK_EQ(write_region(&client, BAR0, IXGBE_RDBAH, 1, 0xee), 0);
    CHECK_EQ(reg_read(&client, IXGBE_RDBAH), 0x11aabbee);

    // The I/O BAR: an address, and the register there.
    CHECK_EQ(write_region(&client, BAR2, 0, 4, IXGBE_RDBAH), 0);
    CHECK_EQ(read_region(&client, BAR2, 4, 4), 0x11aabbee);
    CHECK_EQ(write_region(&client, BAR2, 4, 4, 5), 0);
    CHECK_EQ(reg_read(&client, IXGBE_RDBAH), 5);
    CHECK_EQ(write_region(&client, BAR2, 0, 4, 0xffffffff), 0);
    CHECK_EQ(read_region(&client, BAR2, 4, 4), read_region(&client, BAR0, 0x1fffc, 4));

    // The MSI-X table keeps what is written, and begins with every vector masked. The pending bits are not to be
    // written.
    CHECK_EQ(read_region(&client, BAR4, 16 * 63 + 12, 4), 1);
    CHECK_EQ(write_region(&client, BAR4, 16 * 63, 8, UINT64_C(0xfee00000)), 0);
    CHECK_EQ(read_region(&client, BAR4, 16 * 63, 8), UINT64_C(0xfee00000));
    CHECK_EQ(write_region(&client, BAR4, 0x2000, 4, 0xffffffff), 0);
    CHECK_EQ(read_region(&client, BAR4, 0x2000, 4), 0);

    static const struct {
        uint32_t region, count;
        uint64_t offset;
    } outside[] = {
        {BAR0, 4, 0x20000},        {BAR0, 4, 0x1fffd}, {BAR0, 4, UINT64_MAX},
        {BAR0, 4, UINT64_MAX - 3}, {BAR0, 0, 0},       {1, 4, 0},
        {BAR2, 4, 0x1e},           {BAR4, 8, 0x3ffc},  {6, 1, 0},
        {CONFIG, 4, 0xffe},        {8, 1, 0},          {9, 1, 0},
        {UINT32_MAX, 1, 0},        {BAR0, 0x20001, 0}, {BAR0, UINT32_MAX, 0},
    };
    for (unsigned i = 0; i < sizeof outside / sizeof *outside; i++) {
        struct transfer transfer = {outside[i].offset, outside[i].region, outside[i].count, {0}};
        CHECK_EQ(request(&client, REGION_READ, &transfer, TRANSFER_HEAD), EINVAL);
        uint32_t data = outside[i].count > sizeof transfer.data ? 64 : outside[i].count;
        CHECK_EQ(request(&client, REGION_WRITE, &transfer, TRANSFER_HEAD + data), EINVAL);
    }
    // A write whose count and data differ.
    struct transfer transfer = {IXGBE_RDBAH, BAR0, 4, {1}};
    CHECK_EQ(request(&client, REGION_WRITE, &transfer, TRANSFER_HEAD), EINVAL);
    CHECK_EQ(request(&client, REGION_WRITE, &transfer, TRANSFER_HEAD + 3), EINVAL);
    CHECK_EQ(request(&client, REGION_WRITE, &transfer, TRANSFER_HEAD + 5), EINVAL);
    CHECK_EQ(reg_read(&client, IXGBE_RDBAH), 5);

    // All of a BAR at once is the most that can be asked for.
    transfer = (struct transfer){0, BAR0, SIM_BAR0_SIZE, {0}};
    CHECK_EQ(request(&client, REGION_READ, &transfer, TRANSFER_HEAD), 0);
    CHECK_EQ(reply_length, TRANSFER_HEAD + SIM_BAR0_SIZE);
    CHECK(memcmp(reply + TRANSFER_HEAD + IXGBE_RDBAH, "\5\0\0\0", 4) == 0);
    end();
}

static void test_write_multi(void) {
    CHECK(begin());
    struct {
        uint64_t count;
        struct {
            uint64_t offset;
            uint32_t region, count;
            uint64_t data;
        } writes[3];
    } multi = {3, {{IXGBE_RDBAL, BAR0, 4, 0x1000}, {IXGBE_RDBAH, BAR0, 4, 7}, {IXGBE_TDBAL, BAR0, 8, 0x900002000}}};
    CHECK_EQ(request(&client, REGION_WRITE_MULTI, &multi, sizeof multi), 0);
    CHECK_EQ(reply_length, 8);
    CHECK_EQ(reply[0], 3);
    CHECK_EQ(read_region(&client, BAR0, IXGBE_RDBAL, 8), UINT64_C(0x700001000));
    CHECK_EQ(read_region(&client, BAR0, IXGBE_TDBAL, 8), UINT64_C(0x900002000));

    multi.writes[0].data = 0x3000;
    multi.writes[2].count = 9;  // none of them, then
    CHECK_EQ(request(&client, REGION_WRITE_MULTI, &multi, sizeof multi), EINVAL);
    CHECK_EQ(reg_read(&client, IXGBE_RDBAL), 0x1000);
    multi.count = 2;
    CHECK_EQ(request(&client, REGION_WRITE_MULTI, &multi, sizeof multi), EINVAL);
    multi.count = UINT64_C(0x0aaaaaaaaaaaaaab);  // times 24 is 8 in 64 bits
    CHECK_EQ(request(&client, REGION_WRITE_MULTI, &multi, 16), EINVAL);
    end();
}

static void test_no_reply(void) {
    CHECK(begin());
    struct {
        struct header header;
        uint64_t offset;
        uint32_t region, count, data;
    } __attribute__((packed)) posted = {{1, REGION_WRITE, 36, NO_REPLY, 0}, IXGBE_RDBAH, BAR0, 4, 0x77};
    CHECK(client_send(&client, &posted, sizeof posted, NULL, 0));
    CHECK_EQ(client_receive(&client), SILENCE);
    CHECK_EQ(reg_read(&client, IXGBE_RDBAH), 0x77);
    posted.region = 1;  // nor is there an answer to what is wrong
    CHECK(client_send(&client, &posted, sizeof posted, NULL, 0));
    CHECK_EQ(client_receive(&client), SILENCE);
    CHECK_EQ(reg_read(&client, IXGBE_RDBAH), 0x77);
    end();
}

// ---- Memory and packets: a driver's bring-up, with one queue of eight descriptors in each direction ----

enum { RING = 8, TX_RING = 0, RX_RING = PAGE, TX_BUFFER = 2 * PAGE, RX_BUFFER = 16 * PAGE, FRAME = 1000 };

static void map_pages(void) {
    // In an order that leaves holes: 0, 85, 170, 255, 84, ...
    for (unsigned i = 0; i < PAGES; i++) {
        uint64_t offset = i * 85 % PAGES * PAGE;
        if (map(&client, memory_file, offset, IOVA + offset, PAGE, 3) != 0) CHECK(!"map a page");
    }
}

static bool wait_for(uint32_t offset, uint32_t bits) {
    for (unsigned tries = 0; tries < 5000; tries++) {
        if ((reg_read(&client, offset) & bits) == bits) return true;
        usleep(1000);
    }
    return false;
}

static void enable_queue(uint32_t base, uint32_t control, uint64_t ring) {
    write_region(&client, BAR0, base, 8, IOVA + ring);
    reg_write(&client, base + IXGBE_RDLEN - IXGBE_RDBAL, RING * 16);
    reg_write(&client, control, IXGBE_RXDCTL_ENABLE);
    CHECK(wait_for(control, IXGBE_RXDCTL_ENABLE));
}

static union ixgbe_rx_desc *rx_descriptor(unsigned index) {
    return (union ixgbe_rx_desc *)(void *)(memory + RX_RING) + index;
}
static union ixgbe_tx_desc *tx_descriptor(unsigned index) {
    return (union ixgbe_tx_desc *)(void *)(memory + TX_RING) + index;
}

// A buffer in the middle of two pages each, so that a frame lies in two mappings where those are not neighbours.
static uint64_t rx_buffer(unsigned index) { return RX_BUFFER + index * 2 * PAGE + PAGE - 512; }

static void bring_up(void) {
    memset(memory, 0, MEMORY);
    write_region(&client, CONFIG, 4, 2, 6);  // bus mastering
    CHECK(wait_for(IXGBE_LINKS, IXGBE_LINKS_LINK_UP));
    reg_write(&client, IXGBE_FCTRL, IXGBE_FCTRL_UPE);
    reg_write(&client, IXGBE_SRRCTL, 2 | IXGBE_DESCTYPE_ADVANCED << IXGBE_SRRCTL_DESCTYPE_SHIFT);
    reg_write(&client, IXGBE_DMATXCTL, IXGBE_DMATXCTL_TE);
    for (unsigned i = 0; i < RING; i++) rx_descriptor(i)->read.packet_iova = IOVA + rx_buffer(i);
    enable_queue(IXGBE_TDBAL, IXGBE_TXDCTL, TX_RING);
    enable_queue(IXGBE_RDBAL, IXGBE_RXDCTL, RX_RING);
    reg_write(&client, IXGBE_RDT, RING - 1);
    reg_write(&client, IXGBE_RXCTRL, IXGBE_RXCTRL_RXEN);
}

static void send_frame(unsigned index) {
    uint8_t *frame = memory + TX_BUFFER;
    for (unsigned i = 0; i < FRAME; i++) frame[i] = (uint8_t)(i * 7 + index);
    memcpy(frame, "\2\0\0\0\0\1\2\0\0\0\0\2\x88\xb5", 14);
    *tx_descriptor(index) =
        (union ixgbe_tx_desc){.read = {
                                  .iova = IOVA + TX_BUFFER,
                                  .command = IXGBE_TXD_CMD_DEXT | IXGBE_TXD_CMD_DTYP_DATA | IXGBE_TXD_CMD_EOP |
                                             IXGBE_TXD_CMD_IFCS | IXGBE_TXD_CMD_RS | FRAME,
                                  .options = (uint32_t)FRAME << IXGBE_TXD_OPT_PAYLEN_SHIFT,
                              }};
    reg_write(&client, IXGBE_TDT, index + 1);
}

static bool received(unsigned index) {
    return rx_descriptor(index)->wb.status_error & IXGBE_RXD_STATUS_DD && rx_descriptor(index)->wb.length == FRAME &&
           memcmp(memory + rx_buffer(index), memory + TX_BUFFER, FRAME) == 0;
}

static bool master_abort(void) { return read_region(&client, CONFIG, 6, 2) & 1 << 13; }

static void test_packets(void) {
    CHECK(begin());
    map_pages();
    bring_up();
    send_frame(0);
    CHECK(tx_descriptor(0)->wb.status & IXGBE_TXD_STATUS_DD);
    CHECK(received(0));
    CHECK_EQ(mappings_of("guest-memory"), 2);  // ours, and one of the device's for all pages

    // A mapping over an older one replaces it. The second buffer's pages change places with two that are far away.
    uint64_t second = rx_buffer(1) / PAGE * PAGE;
    CHECK_EQ(map(&client, memory_file, MEMORY - PAGE, IOVA + second, PAGE, 3), 0);
    CHECK_EQ(map(&client, memory_file, MEMORY - 3 * PAGE, IOVA + second + PAGE, PAGE, 3), 0);
    send_frame(1);
    CHECK(rx_descriptor(1)->wb.status_error & IXGBE_RXD_STATUS_DD);
    CHECK(memcmp(memory + MEMORY - 512, memory + TX_BUFFER, 512) == 0);
    CHECK(memcmp(memory + MEMORY - 3 * PAGE, memory + TX_BUFFER + 512, FRAME - 512) == 0);
    CHECK(!master_abort());

    // Where the device may only read, it does not write; nor anywhere near.
    uint64_t third = rx_buffer(2) / PAGE * PAGE;
    CHECK_EQ(map(&client, memory_file, third + PAGE, IOVA + third + PAGE, PAGE, 1), 0);
    memset(memory + third, 0xee, 2 * PAGE);
    send_frame(2);
    for (unsigned i = 0; i < 2 * PAGE; i++) {
        if (memory[third + i] != 0xee) CHECK(!"no byte is written through a mapping that is for reading");
    }
    end();
    CHECK_EQ(mappings_of("guest-memory"), 1);
}

// Two ports at one cable that carries no more than 10 Gbit/s, in a process of its own: sim82599d.
static pid_t start_paced_server(const char *other_path) {
    pid_t process = fork();
    if (process == 0) {
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        execl("build/sim82599d", "sim82599d", "--socket", path, "--socket", other_path, "--machine",
              strrchr(path, '/') + 1, "--wire", "cable,alone=quiet,paced", (char *)NULL);
        _exit(127);
    }
    client = (struct client){.socket = -1};
    for (unsigned tries = 0; tries < 1000 && !client_begin(&client, NULL, path); tries++) {
        close(client.socket);
        usleep(10000);
    }
    return process;
}

// A ring full of frames of 12 us each, of which the line takes little more than one at once.
static void send_jumbo_frames(void) {
    enum { JUMBO = 15000 };
    for (unsigned i = 0; i < RING; i++) {
        *tx_descriptor(i) =
            (union ixgbe_tx_desc){.read = {
                                      .iova = IOVA + TX_BUFFER,
                                      .command = IXGBE_TXD_CMD_DEXT | IXGBE_TXD_CMD_DTYP_DATA | IXGBE_TXD_CMD_EOP |
                                                 IXGBE_TXD_CMD_IFCS | IXGBE_TXD_CMD_RS | JUMBO,
                                      .options = (uint32_t)JUMBO << IXGBE_TXD_OPT_PAYLEN_SHIFT,
                                  }};
    }
    uint32_t head = reg_read(&client, IXGBE_TDH);
    const volatile uint32_t *status = &tx_descriptor((head + RING - 2) % RING)->wb.status;
    reg_write(&client, IXGBE_TDT, (head + RING - 1) % RING);
    for (unsigned tries = 0; tries < 300000 && !(*status & IXGBE_TXD_STATUS_DD); tries++) usleep(100);
    CHECK(*status & IXGBE_TXD_STATUS_DD);
}

static uint64_t paced_ms(void) {
    uint64_t start = clock_ns();
    for (unsigned times = 0; times < 20; times++) send_jumbo_frames();
    return (clock_ns() - start) / 1000000;
}

// What waits for a busy line goes on when the line is free, and not at the next look at the light, 10 ms later.
static void test_paced_cable(void) {
    char other_path[72];
    snprintf(other_path, sizeof other_path, "%s-1", path);
    pid_t process = start_paced_server(other_path);
    map_pages();
    bring_up();
    uint64_t best = UINT64_MAX;
    for (unsigned tries = 0; tries < 50 && best >= 150; tries++) {  // a busy machine may take its time
        uint64_t ms = paced_ms();
        if (ms < best) best = ms;
    }
    CHECK(best < 150);
    close(client.socket);
    kill(process, SIGTERM);
    int status = -1;
    CHECK(waitpid(process, &status, 0) == process && WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void test_unmap(void) {
    CHECK(begin());
    map_pages();
    bring_up();
    // Unmapping what was never there, in any size.
    CHECK_EQ(unmap(&client, 0, UINT64_C(0x100000000), 0), 0);
    CHECK_EQ(reply_length, 24);
    CHECK_EQ(unmap(&client, UINT64_C(1) << 63, UINT64_C(1) << 63, 0), 0);
    unsigned breaches = lint_breaches();
    CHECK_EQ(unmap(&client, PAGE, UINT64_MAX, 0) == 0 && !master_abort(), 1);  // to the very end: all of ours, too
    CHECK(lint_breaches() > breaches);                                         // the rings among it
    send_frame(0);
    CHECK(master_abort());
    CHECK(!(tx_descriptor(0)->wb.status & IXGBE_TXD_STATUS_DD));
    for (unsigned i = 0; i < FRAME; i++) {
        if (memory[rx_buffer(0) + i]) CHECK(!"no byte is written where nothing is mapped");
    }

    // The same for a hole in the middle.
    CHECK_EQ(request(&client, RESET, NULL, 0), 0);
    map_pages();
    CHECK_EQ(unmap(&client, IOVA + rx_buffer(0) / PAGE * PAGE + PAGE, PAGE, 0), 0);
    bring_up();
    send_frame(0);
    CHECK(tx_descriptor(0)->wb.status & IXGBE_TXD_STATUS_DD);
    CHECK(!received(0));
    CHECK_EQ(memory[rx_buffer(0)], 0);  // not even the part that is mapped

    // And for everything at once.
    CHECK_EQ(request(&client, RESET, NULL, 0), 0);
    map_pages();
    CHECK_EQ(unmap(&client, 1, 0, 2), EINVAL);
    CHECK_EQ(unmap(&client, 0, 0, 2), 0);
    bring_up();
    send_frame(0);
    CHECK(!(tx_descriptor(0)->wb.status & IXGBE_TXD_STATUS_DD));
    CHECK_EQ(unmap(&client, 0, PAGE, 1), EINVAL);  // dirty pages are not for us
    end();
}

// A monitor maps again what it has mapped when its address space changes. Then nothing is unmapped under a ring.
static void test_mapping_again_is_no_unmapping(void) {
    CHECK(begin());
    map_pages();
    bring_up();
    unsigned breaches = lint_breaches();
    CHECK_EQ(map(&client, memory_file, TX_RING, IOVA + TX_RING, PAGE, 3), 0);
    CHECK_EQ(map(&client, memory_file, 0, IOVA, MEMORY, 3), 0);
    memcpy(memory + MEMORY - PAGE, memory + TX_RING, PAGE);
    CHECK_EQ(map(&client, memory_file, MEMORY - PAGE, IOVA + TX_RING, PAGE, 3), 0);
    CHECK_EQ(lint_breaches(), breaches);
    CHECK_EQ(unmap(&client, IOVA + TX_RING, PAGE, 0), 0);
    CHECK_EQ(lint_breaches(), breaches + 1);
    end();
}

static void test_map_refuses(void) {
    CHECK(begin());
    unsigned files = open_files();
    char name[] = "/tmp/sim82599-test-XXXXXX";
    int read_only = mkstemp(name);
    CHECK(ftruncate(read_only, MEMORY) == 0);
    close(read_only);
    read_only = open(name, O_RDONLY | O_CLOEXEC);
    unlink(name);
    int ends[2];
    CHECK(pipe2(ends, O_CLOEXEC) == 0);

    CHECK_EQ(map(&client, memory_file, 0, IOVA, MEMORY + PAGE, 3), EINVAL);  // beyond the end of the file
    CHECK_EQ(map(&client, memory_file, MEMORY, IOVA, PAGE, 3), EINVAL);
    CHECK_EQ(map(&client, memory_file, UINT64_MAX - PAGE + 1, IOVA, PAGE, 3), EINVAL);
    CHECK_EQ(map(&client, memory_file, PAGE, IOVA, UINT64_MAX - PAGE + 1, 3), EINVAL);
    CHECK_EQ(map(&client, memory_file, 0, UINT64_MAX - PAGE + 1, 2 * PAGE, 3), EINVAL);
    CHECK_EQ(map(&client, memory_file, 0, IOVA, 0, 3), EINVAL);
    CHECK_EQ(map(&client, memory_file, 1, IOVA, PAGE, 3), EINVAL);
    CHECK_EQ(map(&client, memory_file, 0, IOVA + 8, PAGE, 3), EINVAL);
    CHECK_EQ(map(&client, memory_file, 0, IOVA, PAGE - 1, 3), EINVAL);
    CHECK_EQ(map(&client, memory_file, 0, IOVA, PAGE, 0), EINVAL);
    CHECK_EQ(map(&client, memory_file, 0, IOVA, PAGE, 7), EINVAL);
    CHECK_EQ(map(&client, ends[0], 0, IOVA, PAGE, 1), EINVAL);
    CHECK_EQ(map(&client, read_only, 0, IOVA, PAGE, 3), EACCES);
    CHECK_EQ(map(&client, read_only, 0, IOVA, PAGE, 1), 0);
    CHECK_EQ(map(&client, memory_file, 0, UINT64_MAX - PAGE + 1, PAGE, 3), 0);  // the very last page
    CHECK_EQ(map(&client, -1, 0, IOVA, PAGE, 3), 0);  // a monitor's own memory: nothing is there for us
    struct dma_map message = {31, 3, 0, IOVA, PAGE};
    CHECK_EQ(request_with_fds(&client, DMA_MAP, &message, sizeof message, &memory_file, 1), EINVAL);
    message.argsz = 32;
    CHECK_EQ(request_with_fds(&client, DMA_MAP, &message, sizeof message - 1, &memory_file, 1), EINVAL);
    CHECK_EQ(request_with_fds(&client, DMA_MAP, &message, sizeof message, (int[]){memory_file, memory_file}, 2),
             EINVAL);
    close(read_only);
    close(ends[0]);
    close(ends[1]);
    CHECK_EQ(open_files(), files);
    end();
}

// More files than the device keeps, one after the other and then all at once.
static void test_many_files(void) {
    CHECK(begin());
    enum { MANY = 100 };
    unsigned refused = 0;
    for (unsigned keep = 0; keep < 2; keep++) {
        for (unsigned i = 0; i < MANY; i++) {
            int fd = memfd_create("one-of-many", MFD_CLOEXEC);
            CHECK(ftruncate(fd, PAGE) == 0);
            int error = map(&client, fd, 0, IOVA + i * 2 * PAGE, PAGE, 3);
            if (!keep) CHECK_EQ(error, 0);
            refused += error == ENOSPC;
            if (!keep) unmap(&client, IOVA + i * 2 * PAGE, PAGE, 0);
            close(fd);
        }
    }
    CHECK(refused > 0 && refused < MANY);
    CHECK(mappings_of("one-of-many") <= MANY - refused);
    end();
    CHECK_EQ(mappings_of("one-of-many"), 0);
}

// A client makes its memory shorter than what it has mapped; the device reaches for what is gone.
static void test_truncated_memory(void) {
    CHECK(begin());
    int fd = memfd_create("shrinking", MFD_CLOEXEC);
    CHECK(ftruncate(fd, MEMORY) == 0);
    map_pages();
    bring_up();
    CHECK_EQ(map(&client, fd, RX_BUFFER, IOVA + RX_BUFFER, 16 * PAGE, 3), 0);
    CHECK(ftruncate(fd, PAGE) == 0);
    send_frame(0);
    CHECK_EQ(client_receive(&client), CLOSED);
    client_close(&client);

    CHECK(client_begin(&client, server, path));  // nobody else suffers
    map_pages();
    bring_up();
    send_frame(0);
    CHECK(received(0));
    CHECK_EQ(map(&client, fd, 0, IOVA, 2 * PAGE, 3), EINVAL);
    close(fd);
    end();
    CHECK_EQ(mappings_of("shrinking"), 0);
}

// ---- Interrupts ----

static uint64_t count_of(int event) {
    uint64_t count = 0;
    return read(event, &count, sizeof count) == sizeof count ? count : 0;
}

static void make_events(int *events, unsigned count) {
    for (unsigned i = 0; i < count; i++) events[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}
static void close_all(int *fds, unsigned count) {
    for (unsigned i = 0; i < count; i++) close(fds[i]);
}

static void test_msix(void) {
    unsigned files = open_files();
    CHECK(begin());
    int events[4];
    make_events(events, 4);
    CHECK_EQ(set_irqs(&client, MSIX, DATA_EVENTFD | TRIGGER, 0, 1, NULL, 0), 0);  // QEMU's way to switch MSI-X on
    CHECK_EQ(set_irqs(&client, MSIX, DATA_EVENTFD | TRIGGER, 0, 4, events, 4), 0);
    map_pages();
    bring_up();
    reg_write(&client, IXGBE_GPIE, IXGBE_GPIE_MULTIPLE_MSIX);
    reg_write(&client, IXGBE_IVAR, 0x81 | 0x82 << 8);  // received: vector 1; sent: vector 2
    reg_write(&client, IXGBE_EIAC, 0xffff);
    reg_write(&client, IXGBE_EIMS_EX, 6);
    send_frame(0);
    CHECK(received(0));
    CHECK_EQ(count_of(events[0]), 0);
    CHECK_EQ(count_of(events[1]), 1);
    CHECK_EQ(count_of(events[2]), 1);
    CHECK_EQ(count_of(events[3]), 0);

    // Another descriptor for one of them, and none for another.
    CHECK_EQ(set_irqs(&client, MSIX, DATA_EVENTFD | TRIGGER, 1, 1, &events[3], 1), 0);
    CHECK_EQ(set_irqs(&client, MSIX, DATA_EVENTFD | TRIGGER, 2, 1, NULL, 0), 0);
    send_frame(1);
    CHECK(received(1));
    CHECK_EQ(count_of(events[1]), 0);
    CHECK_EQ(count_of(events[2]), 0);
    CHECK_EQ(count_of(events[3]), 1);

    // The client may raise one itself.
    CHECK_EQ(set_irqs(&client, MSIX, DATA_NONE | TRIGGER, 0, 2, NULL, 0), 0);
    CHECK_EQ(count_of(events[0]), 1);
    CHECK_EQ(count_of(events[3]), 1);
    struct irq_set chosen = {IRQ_SET_HEAD + 3, DATA_BOOL | TRIGGER, MSIX, 0, 3, {0, 1, 1}};
    CHECK_EQ(request(&client, SET_IRQS, &chosen, IRQ_SET_HEAD + 3), 0);
    CHECK_EQ(count_of(events[0]), 0);
    CHECK_EQ(count_of(events[3]), 1);

    CHECK_EQ(set_irqs(&client, MSIX, DATA_NONE | TRIGGER, 0, 0, NULL, 0), 0);  // off
    send_frame(2);
    CHECK(received(2));
    CHECK_EQ(count_of(events[3]), 0);
    end();
    close_all(events, 4);
    CHECK_EQ(open_files(), files);
}

// The cause of these interrupts is one that nothing else raises: the link may come up at any moment.
static void test_msi(void) {
    CHECK(begin());
    int event;
    make_events(&event, 1);
    CHECK_EQ(set_irqs(&client, MSI, DATA_EVENTFD | TRIGGER, 0, 1, &event, 1), 0);
    reg_write(&client, IXGBE_EIMS, IXGBE_EICR_GPI_SDP1);
    reg_write(&client, IXGBE_EICS, IXGBE_EICR_GPI_SDP1);
    CHECK_EQ(count_of(event), 1);
    end();
    close(event);
}

// What the device holds back, unmasking does not let go. The longest that it does is a millisecond, and on a busy
// machine that may be over before we have looked: then again.
static bool is_held_back(int event) {
    for (int tries = 0; tries < 1000; tries++) {
        uint64_t start = clock_ns();
        reg_write(&client, IXGBE_EITR, IXGBE_EITR_ITR_INTERVAL | IXGBE_EITR_ITR_COUNTER);
        reg_write(&client, IXGBE_EICS, IXGBE_EICR_GPI_SDP1);
        CHECK_EQ(set_irqs(&client, INTX, DATA_NONE | UNMASK, 0, 1, NULL, 0), 0);
        if (!count_of(event)) return true;
        if (clock_ns() - start < 1000000) return false;
        (void)reg_read(&client, IXGBE_EICR);
        CHECK_EQ(set_irqs(&client, INTX, DATA_NONE | UNMASK, 0, 1, NULL, 0), 0);
        (void)count_of(event);
    }
    return false;
}

static void test_intx(void) {
    CHECK(begin());
    int event;
    make_events(&event, 1);
    CHECK_EQ(set_irqs(&client, INTX, DATA_EVENTFD | TRIGGER, 0, 1, &event, 1), 0);
    reg_write(&client, IXGBE_EIMS, IXGBE_EICR_GPI_SDP1);
    (void)reg_read(&client, IXGBE_EICR);
    (void)count_of(event);
    CHECK_EQ(set_irqs(&client, INTX, DATA_NONE | UNMASK, 0, 1, NULL, 0), 0);
    reg_write(&client, IXGBE_EICS, IXGBE_EICR_GPI_SDP1);
    CHECK_EQ(count_of(event), 1);
    CHECK(read_region(&client, CONFIG, 6, 2) & 1 << 3);
    reg_write(&client, IXGBE_EICS, IXGBE_EICR_GPI_SDP0);
    CHECK_EQ(count_of(event), 0);  // it masks itself
    CHECK_EQ(set_irqs(&client, INTX, DATA_NONE | UNMASK, 0, 1, NULL, 0), 0);
    CHECK_EQ(count_of(event), 1);  // the level is still high
    (void)reg_read(&client, IXGBE_EICR);
    CHECK_EQ(set_irqs(&client, INTX, DATA_NONE | UNMASK, 0, 1, NULL, 0), 0);
    CHECK_EQ(count_of(event), 0);

    CHECK(is_held_back(event));
    reg_write(&client, IXGBE_EITR, 0);
    CHECK_EQ(count_of(event), 1);
    (void)reg_read(&client, IXGBE_EICR);

    CHECK_EQ(set_irqs(&client, INTX, DATA_NONE | MASK, 0, 1, NULL, 0), 0);
    reg_write(&client, IXGBE_EICS, IXGBE_EICR_GPI_SDP1);
    CHECK_EQ(count_of(event), 0);
    write_region(&client, CONFIG, 4, 2, 1 << 10);  // INTx off for the whole function
    CHECK_EQ(set_irqs(&client, INTX, DATA_NONE | UNMASK, 0, 1, NULL, 0), 0);
    CHECK_EQ(count_of(event), 0);
    write_region(&client, CONFIG, 4, 2, 0);
    CHECK_EQ(count_of(event), 1);
    end();
    close(event);
}

static void test_set_irqs_refuses(void) {
    CHECK(begin());
    unsigned files = open_files();
    int ends[2], events[3];
    CHECK(pipe2(ends, O_CLOEXEC) == 0);
    make_events(events, 3);
    static const struct {
        uint32_t index, flags, start, count;
        unsigned fds;
        int error;
    } wrong[] = {
        {5, DATA_NONE | TRIGGER, 0, 0, 0, EINVAL},
        {MSIX, DATA_EVENTFD | TRIGGER, 63, 2, 2, EINVAL},
        {MSIX, DATA_EVENTFD | TRIGGER, UINT32_MAX, 2, 2, EINVAL},
        {MSIX, DATA_EVENTFD | TRIGGER, 2, UINT32_MAX, 1, EINVAL},
        {MSIX, DATA_EVENTFD | TRIGGER, 0, 3, 2, EINVAL},  // three interrupts, two descriptors
        {MSIX, DATA_EVENTFD | TRIGGER, 0, 2, 3, EINVAL},
        {MSIX, DATA_EVENTFD | TRIGGER, 0, 0, 0, EINVAL},
        {MSIX, DATA_NONE | TRIGGER, 0, 1, 1, EINVAL},
        {MSIX, DATA_NONE | TRIGGER, 1, 0, 0, EINVAL},
        {MSIX, DATA_NONE | DATA_EVENTFD | TRIGGER, 0, 1, 1, EINVAL},
        {MSIX, DATA_NONE, 0, 1, 0, EINVAL},
        {MSIX, TRIGGER, 0, 1, 0, EINVAL},
        {MSIX, DATA_NONE | TRIGGER | MASK, 0, 1, 0, EINVAL},
        {MSIX, DATA_NONE | TRIGGER | 64, 0, 1, 0, EINVAL},
        {MSIX, DATA_BOOL | TRIGGER, 0, 3, 0, EINVAL},  // without the three bytes
        {MSIX, DATA_NONE | MASK, 0, 1, 0, ENOTSUP},
        {INTX, DATA_EVENTFD | UNMASK, 0, 1, 1, ENOTSUP},
        {REQ, DATA_EVENTFD | TRIGGER, 0, 1, 1, EINVAL},
    };
    for (unsigned i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        int error =
            set_irqs(&client, wrong[i].index, wrong[i].flags, wrong[i].start, wrong[i].count, events, wrong[i].fds);
        if (error != wrong[i].error) printf("case %u:\n", i);
        CHECK_EQ(error, wrong[i].error);
    }
    CHECK_EQ(set_irqs(&client, MSIX, DATA_EVENTFD | TRIGGER, 0, 2, (int[]){events[0], ends[1]}, 2),
             EINVAL);  // a pipe
    CHECK_EQ(set_irqs(&client, MSIX, DATA_EVENTFD | TRIGGER, 0, 1, &memory_file, 1), EINVAL);
    struct irq_set message = {19, DATA_NONE | TRIGGER, MSIX, 0, 0, {0}};
    CHECK_EQ(request(&client, SET_IRQS, &message, IRQ_SET_HEAD), EINVAL);
    CHECK_EQ(open_files(), files + 5);
    close_all(ends, 2);
    close_all(events, 3);
    end();
}

// ---- Reset, and the next client ----

static void test_reset(void) {
    CHECK(begin());
    map_pages();
    bring_up();
    write_region(&client, BAR4, 12, 4, 0);
    CHECK_EQ(request(&client, RESET, NULL, 0), 0);
    CHECK_EQ(reply_length, 0);
    CHECK_EQ(reg_read(&client, IXGBE_RXDCTL) & IXGBE_RXDCTL_ENABLE, 0);
    CHECK_EQ(reg_read(&client, IXGBE_RDBAL), 0);
    CHECK_EQ(read_region(&client, CONFIG, 4, 2), 0);
    CHECK_EQ(read_region(&client, BAR4, 12, 4), 1);
    write_region(&client, BAR4, 12, 4, 0);
    write_region(&client, CONFIG, 0xa8, 2, 0x8000);  // a function-level reset is the same
    CHECK_EQ(read_region(&client, BAR4, 12, 4), 1);
    bring_up();  // the mappings have stayed
    send_frame(0);
    CHECK(received(0));
    end();
}

static void test_reconnect(void) {
    unsigned files = open_files();
    CHECK(begin());
    int events[8];
    make_events(events, 8);
    CHECK_EQ(set_irqs(&client, MSIX, DATA_EVENTFD | TRIGGER, 0, 8, events, 8), 0);
    map_pages();
    bring_up();

    struct client next;
    CHECK(client_connect(&next, server, path));  // it waits
    CHECK_EQ(request(&next, VERSION, proposal, sizeof proposal), SILENCE);
    CHECK_EQ(reg_read(&client, IXGBE_RXCTRL), IXGBE_RXCTRL_RXEN);
    client_close(&client);
    CHECK_EQ(client_receive(&next), 0);
    CHECK_EQ(reg_read(&next, IXGBE_RXCTRL), 0);
    CHECK_EQ(read_region(&next, CONFIG, 4, 2), 0);
    CHECK_EQ(mappings_of("guest-memory"), 1);
    client = next;

    bring_up();  // but nothing is mapped
    send_frame(0);
    CHECK(!(tx_descriptor(0)->wb.status & IXGBE_TXD_STATUS_DD));
    CHECK(master_abort());
    CHECK_EQ(set_irqs(&client, MSIX, DATA_NONE | TRIGGER, 0, 8, NULL, 0), 0);
    for (unsigned i = 0; i < 8; i++) CHECK_EQ(count_of(events[i]), 0);
    end();
    close_all(events, 8);
    CHECK_EQ(open_files(), files);
}

// ---- The socket ----

static void test_socket_file(void) {
    CHECK(vfio_user_open(0, path, &server) == 0);
    struct vfio_user *second = NULL;
    CHECK_EQ(-vfio_user_open(1, path, &second), EADDRINUSE);  // somebody lives there
    CHECK(access(path, F_OK) == 0);
    CHECK(client_begin(&client, server, path));  // and is undisturbed
    end();
    CHECK(access(path, F_OK) != 0);

    int dead = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, path);
    CHECK(bind(dead, (struct sockaddr *)&address, sizeof address) == 0);
    close(dead);
    CHECK(access(path, F_OK) == 0);
    CHECK(begin());
    end();

    int file = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    close(file);
    CHECK_EQ(-vfio_user_open(0, path, &second), EADDRINUSE);  // no socket at all
    CHECK(access(path, F_OK) == 0);
    unlink(path);

    char long_path[200];
    memset(long_path, 'x', sizeof long_path - 1);
    long_path[sizeof long_path - 1] = '\0';
    CHECK_EQ(-vfio_user_open(0, long_path, &second), ENAMETOOLONG);
    CHECK_EQ(-vfio_user_open(0, "", &second), ENAMETOOLONG);
    CHECK_EQ(-vfio_user_open(0, "/dev/null/socket", &second), ENOTDIR);
}

// ---- Messages that are none ----

static void test_unknown_commands(void) {
    CHECK(begin());
    static const uint16_t unknown[] = {
        0, GET_REGION_IO_FDS, DMA_READ, DMA_WRITE, DIRTY_PAGES, DEVICE_FEATURE, 17, 18, 19, 255, 0x7fff, 0xffff};
    for (unsigned i = 0; i < sizeof unknown / sizeof *unknown; i++) {
        CHECK_EQ(request(&client, unknown[i], (uint32_t[8]){32}, 32), ENOTSUP);
        CHECK_EQ(reply_length, 0);
    }
    CHECK_EQ(request(&client, RESET, "x", 1), EINVAL);
    CHECK_EQ(request(&client, GET_INFO, NULL, 0), EINVAL);
    CHECK_EQ(request(&client, GET_INFO, (uint32_t[5]){16}, 20), EINVAL);
    CHECK_EQ(request(&client, REGION_READ, (uint32_t[3]){0}, 12), EINVAL);
    CHECK_EQ(request(&client, REGION_WRITE_MULTI, "1234567", 7), EINVAL);
    CHECK_EQ(request(&client, GET_INFO, (uint32_t[4]){16}, 16), 0);
    end();
}

static void test_bad_headers(void) {
    static const struct {
        const char *what;
        struct header header;
    } bad[] = {
        {"no size", {1, GET_INFO, 0, 0, 0}},
        {"less than a header", {1, GET_INFO, 15, 0, 0}},
        {"more than any message", {1, REGION_WRITE, 16 + 16 + 0x20000 + 1, 0, 0}},
        {"as much as can be", {1, REGION_WRITE, UINT32_MAX, 0, 0}},
        {"a reply", {1, GET_INFO, 32, REPLY, 0}},
        {"neither command nor reply", {1, GET_INFO, 32, 0x0f, 0}},
        {"neither, and no reply wanted", {1, GET_INFO, 32, 0x02 | NO_REPLY, 0}},
    };
    CHECK(begin());
    client_close(&client);
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
        CHECK(client_begin(&client, server, path));
        uint8_t message[32] = {0};
        memcpy(message, &bad[i].header, sizeof bad[i].header);
        CHECK(client_send(&client, message, sizeof message, NULL, 0));
        int answer = client_receive(&client);
        if (answer != CLOSED) printf("%s:\n", bad[i].what);
        CHECK_EQ(answer, CLOSED);
        client_close(&client);
    }
    CHECK(client_begin(&client, server, path));
    end();
}

static void test_descriptors(void) {
    unsigned files = open_files();
    CHECK(begin());
    int many[240];  // not much more is taken by any C library
    for (unsigned i = 0; i < 240; i++) many[i] = memory_file;
    CHECK_EQ(request_with_fds(&client, GET_INFO, (uint32_t[4]){16}, 16, many, 1), EINVAL);  // where none belongs
    CHECK_EQ(request_with_fds(&client, RESET, NULL, 0, many, 16), EINVAL);
    for (unsigned count = 17; count <= 240; count += 223) {
        CHECK_EQ(request_with_fds(&client, RESET, NULL, 0, many, count), CLOSED);
        client_close(&client);
        CHECK(client_begin(&client, server, path));
    }
    // Descriptors with every piece of one message.
    struct header header = {7, RESET, sizeof header, 0, 0};
    for (unsigned i = 0; i < sizeof header; i++) {
        if (!client_send(&client, (uint8_t *)&header + i, 1, many, 2)) break;
        let_server_work(server);
    }
    CHECK_EQ(client_receive(&client), CLOSED);
    client_close(&client);

    // Descriptors with half a message, and then nothing.
    CHECK(client_begin(&client, server, path));
    CHECK(client_send(&client, &header, 8, many, 16));
    let_server_work(server);
    end();
    CHECK_EQ(open_files(), files);
}

static void test_pieces(void) {
    CHECK(begin());
    // A message byte by byte, and three in one.
    struct {
        struct header header;
        struct transfer transfer;
    } read = {{9, REGION_READ, 32, 0, 0}, {0, CONFIG, 4, {0}}};
    for (unsigned i = 0; i < 32; i++) {
        CHECK(client_send(&client, (uint8_t *)&read + i, 1, NULL, 0));
        let_server_work(server);
    }
    CHECK_EQ(client_receive(&client), 0);
    CHECK(reply_header.id == 9 && memcmp(reply + TRANSFER_HEAD, "\x86\x80\xfb\x10", 4) == 0);

    uint8_t three[96];
    for (uint16_t i = 0; i < 3; i++) {
        read.header.id = i;
        memcpy(three + 32 * i, &read, 32);
    }
    CHECK(client_send(&client, three, sizeof three, NULL, 0));
    for (unsigned i = 0; i < 3; i++) {
        CHECK_EQ(client_receive(&client), 0);
        CHECK_EQ(reply_header.id, i);
    }
    CHECK(client_send(&client, three, 31, NULL, 0));  // and half a message, and away
    end();
}

// A client that asks and does not listen: the server stops reading, and nothing is lost.
static void test_deaf_client(void) {
    CHECK(begin());
    struct {
        struct header header;
        struct transfer transfer;
    } read = {{0, REGION_READ, 32, 0, 0}, {0, BAR0, SIM_BAR0_SIZE, {0}}};
    unsigned sent = 0, answered = 0;
    while (sent < 100 && client_send(&client, &read, 32, NULL, 0)) {
        read.header.id = (uint16_t)++sent;
        let_server_work(server);
    }
    CHECK_EQ(sent, 100);
    CHECK(vfio_user_poll(server).events == POLLOUT);
    while (answered < sent && client_receive(&client) == 0) {
        CHECK_EQ(reply_header.id, answered);
        CHECK_EQ(reply_length, TRANSFER_HEAD + SIM_BAR0_SIZE);
        answered++;
    }
    CHECK_EQ(answered, sent);
    CHECK_EQ(read_region(&client, CONFIG, 0, 4), 0x10fb8086);

    for (unsigned i = 0; i < 50 && client_send(&client, &read, 32, NULL, 0); i++) let_server_work(server);
    end();  // or away, with all of that in the pipe
}

// The server's and lint's remarks about this client are many; with any argument they are shown.
int main(int count, char **words) {
    (void)words;
    if (count == 1 && !freopen("/dev/null", "w", stderr)) return 1;
    snprintf(path, sizeof path, "/tmp/sim82599-test-%d", (int)getpid());
    if (!make_memory()) {
        printf("no memory to share with a device: %s\n", strerror(errno));
        return 1;
    }
    test_version();
    test_infos();
    test_regions();
    test_write_multi();
    test_no_reply();
    test_packets();
    test_paced_cable();
    test_unmap();
    test_mapping_again_is_no_unmapping();
    test_map_refuses();
    test_many_files();
    test_truncated_memory();
    test_msix();
    test_msi();
    test_intx();
    test_set_irqs_refuses();
    test_reset();
    test_reconnect();
    test_socket_file();
    test_unknown_commands();
    test_bad_headers();
    test_descriptors();
    test_pieces();
    test_deaf_client();
    return test_summary();
}
