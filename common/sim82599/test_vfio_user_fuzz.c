// test_vfio_user_fuzz.c: messages that are almost right, many of them, always the same ones.
//
// Each begins as a message that a client could send in earnest: it maps memory, sets up queues and interrupts, reads
// and writes registers. Then something may happen to it: bits turn over, a field gets a value from the edge of its
// range, bytes are missing or too many, descriptors come along. Whatever the server answers must be an answer. At the
// end it must still serve a client that behaves, and have kept nothing of all the others.
//
//   test_vfio_user_fuzz [MESSAGES [SEED]]
//
// With arguments, it also shows what the server and lint say.
#include "test_vfio_user.h"

#include <fcntl.h>
#include <time.h>

#include "ixgbe_regs.h"
#include "test.h"

enum { MESSAGES = 100000, SECONDS = 20, PAGE = 4096, MEMORY = 64 * PAGE, SERVERS = 2 };
#define IOVA UINT64_C(0x100000)

static char path[SERVERS][64];
static struct vfio_user *servers[SERVERS];
static struct client client;
static int memory_file, event, ends[2];
static uint64_t random_state;
static unsigned replies, errors, connections;

// xorshift64*
static uint32_t any(void) {
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return (uint32_t)(random_state * UINT64_C(0x2545f4914f6cdd1d) >> 32);
}
static uint32_t below(uint32_t limit) { return any() % limit; }
static bool one_in(uint32_t n) { return below(n) == 0; }

// ---- The two ports, joined by a cable that carries a frame when it is asked to ----

static struct wire wires[SERVERS];

static unsigned cable_send(struct wire *wire, const struct wire_frame *frames, unsigned count) {
    return sim_receive_burst(wires[wire == &wires[0]].port, frames, count, false);
}
static unsigned cable_poll(struct wire *wire, unsigned budget) { return (void)wire, (void)budget, 0; }
static bool cable_carrier(const struct wire *wire) { return (void)wire, true; }
static const struct wire_ops cable_ops = {
    .name = "cable", .send = cable_send, .poll = cable_poll, .carrier = cable_carrier};

static bool begin(void) {
    for (unsigned port = 0; port < SERVERS; port++) {
        snprintf(path[port], sizeof path[port], "/tmp/sim82599-fuzz-%d-%u", (int)getpid(), port);
        if (vfio_user_open(port, path[port], &servers[port]) != 0) return false;
        wires[port] = (struct wire){&cable_ops, vfio_user_device(servers[port])};
        sim_set_wire(wires[port].port, &wires[port]);
    }
    return true;
}

// ---- Messages ----

struct message {
    struct header header;
    union {
        uint8_t bytes[512];
        uint32_t words[128];
        uint64_t longs[64];
    } payload;
    uint32_t length;  // of the payload
    int fds[17];
    unsigned fd_count;
};

static uint64_t edge(void) {
    static const uint64_t edges[] = {
        0,          1,          3,    4,     15,      16,      31,        32,        63,
        64,         255,        4095, 4096,  0x1fffc, 0x1fffd, 0x20000,   0x20001,   0x7fffffff,
        0x80000000, 0xfffffffc, -1u,  -4095, -3,      -1,      INT64_MAX, INT64_MIN, (uint64_t)1 << 32,
    };
    return edges[below(sizeof edges / sizeof *edges)];
}

static void transfer(struct message *message, uint32_t region, uint64_t offset, uint32_t count) {
    message->payload.longs[0] = offset;
    message->payload.words[2] = region;
    message->payload.words[3] = count;
    message->length = 16;
}

static uint64_t somewhere(void) { return IOVA + below(80) * PAGE; }

static void make_map(struct message *message) {
    message->payload.words[0] = 32;
    message->payload.words[1] = 1 + below(3);
    message->payload.longs[1] = below(64) * PAGE;
    message->payload.longs[2] = somewhere();
    message->payload.longs[3] = (1 + below(16)) * PAGE;
    message->length = 32;
    message->fds[0] = memory_file;
    message->fd_count = !one_in(16);
}

static void make_unmap(struct message *message) {
    message->payload.words[0] = 24;
    message->payload.words[1] = one_in(16) ? 2 : 0;
    message->payload.longs[1] = one_in(8) ? edge() : somewhere();
    message->payload.longs[2] = one_in(8) ? edge() : below(8) * PAGE;
    message->length = 24;
}

static void make_info(struct message *message) {
    bool region = message->header.command == GET_REGION_INFO;
    message->payload.words[0] = region ? 32 : 16;
    message->payload.words[2] = below(10);
    message->length = region ? 32 : 16;
}

static void make_irqs(struct message *message) {
    static const uint32_t data[] = {DATA_NONE, DATA_BOOL, DATA_EVENTFD}, actions[] = {MASK, UNMASK, TRIGGER, TRIGGER};
    uint32_t type = data[below(3)], count = below(17);
    message->length = 20 + (type == DATA_BOOL ? count : 0);
    message->payload.words[0] = message->length;
    message->payload.words[1] = type | actions[below(4)];
    message->payload.words[2] = below(5);
    message->payload.words[3] = below(4);
    message->payload.words[4] = count;
    for (unsigned i = 0; i < 16; i++) message->fds[i] = event;
    message->fd_count = type == DATA_EVENTFD ? count : 0;
    if (message->fd_count > 16) message->fd_count = 16;
}

static void make_read(struct message *message) {
    static const uint32_t regions[] = {BAR0, BAR0, BAR0, BAR2, BAR4, CONFIG};
    transfer(message, regions[below(6)], below(0x20000), 1 << below(4));
    if (one_in(4)) message->payload.longs[0] &= 0xffc;
}

// What a driver would write: a queue that is on, with a ring in mapped memory, and the switches that make it run.
static void make_driver_write(struct message *message) {
    static const struct {
        uint32_t offset, value;
    } switches[] = {
        {IXGBE_DMATXCTL, IXGBE_DMATXCTL_TE},
        {IXGBE_RXCTRL, IXGBE_RXCTRL_RXEN},
        {IXGBE_FCTRL, 0x700},
        {IXGBE_HLREG0, IXGBE_HLREG0_LPBK | IXGBE_HLREG0_TXPADEN | IXGBE_HLREG0_RXCRCSTRP | IXGBE_HLREG0_JUMBOEN},
        {IXGBE_MAXFRS, 0x3e000000},
        {IXGBE_GPIE, IXGBE_GPIE_MULTIPLE_MSIX | IXGBE_GPIE_EIAME},
        {IXGBE_EIMS, 0x7fffffff},
        {IXGBE_IVAR, 0x83828180},
        {IXGBE_AUTOC, IXGBE_AUTOC_FLU},
        {IXGBE_EIMS_EX, 0xffffffff},
        {IXGBE_MRQC, 1},
    };
    uint32_t ring = one_in(2) ? IXGBE_TDBAL : IXGBE_RDBAL;
    uint32_t base = ring + below(4) * IXGBE_RDBAL_STRIDE, choice = below(7), offset, value;
    switch (choice) {
    case 0: offset = base, value = (uint32_t)somewhere(); break;
    case 1: offset = base + 4, value = 0; break;
    case 2: offset = base + 8, value = 128 << below(6); break;
    case 3: offset = base + IXGBE_RDT - IXGBE_RDBAL, value = below(64); break;
    case 4: offset = base + IXGBE_RXDCTL - IXGBE_RDBAL, value = one_in(8) ? 0 : IXGBE_RXDCTL_ENABLE; break;
    case 5: offset = base + IXGBE_SRRCTL - IXGBE_RDBAL, value = (1 + below(16)) | below(6) << 25; break;
    default:
        choice = below(sizeof switches / sizeof *switches);
        offset = switches[choice].offset, value = switches[choice].value;
    }
    transfer(message, BAR0, offset, 4);
    message->payload.words[4] = value;
    message->length = 20;
}

static void make_write(struct message *message) {
    if (!one_in(4)) {
        make_driver_write(message);
    } else if (one_in(2)) {
        transfer(message, CONFIG, 4, 2);
        message->payload.words[4] = 6;
        message->length = 18;
    } else {
        make_read(message);
        message->length = 16 + message->payload.words[3];
        message->payload.longs[2] = any();
    }
}

static void make_multi(struct message *message) {
    uint32_t count = below(8);
    message->payload.longs[0] = count;
    for (uint32_t i = 0; i < count; i++) {
        struct message one = {0};
        make_driver_write(&one);
        memcpy(message->payload.bytes + 8 + 24 * i, one.payload.bytes, 24);
    }
    message->length = 8 + 24 * count;
}

static void make_version(struct message *message) {
    message->length = sizeof proposal;
    memcpy(message->payload.bytes, proposal, sizeof proposal);
}

static void make_nothing(struct message *message) { message->length = one_in(4) ? below(64) : 0; }

static const struct {
    enum command command;
    void (*make)(struct message *message);
    unsigned weight;
} kinds[] = {
    {REGION_WRITE, make_write, 40}, {REGION_READ, make_read, 10},    {DMA_MAP, make_map, 12},
    {DMA_UNMAP, make_unmap, 4},     {SET_IRQS, make_irqs, 8},        {GET_INFO, make_info, 2},
    {GET_IRQ_INFO, make_info, 2},   {GET_REGION_INFO, make_info, 2}, {REGION_WRITE_MULTI, make_multi, 6},
    {VERSION, make_version, 1},     {RESET, make_nothing, 1},        {DEVICE_FEATURE, make_nothing, 1},
};

static struct message make(void) {
    struct message message = {.header = {.id = (uint16_t)any(), .flags = one_in(4) ? NO_REPLY : 0}};
    unsigned all = 0, kind = 0;
    for (unsigned i = 0; i < sizeof kinds / sizeof *kinds; i++) all += kinds[i].weight;
    for (uint32_t chosen = below(all); chosen >= kinds[kind].weight; kind++) chosen -= kinds[kind].weight;
    message.header.command = (uint16_t)kinds[kind].command;
    kinds[kind].make(&message);
    message.header.size = 16 + message.length;
    return message;
}

// ---- What happens to them ----

static void turn_bits(struct message *message) {
    for (uint32_t bits = 1 + below(4); bits > 0 && message->length > 0; bits--) {
        message->payload.bytes[below(message->length)] ^= (uint8_t)(1 << below(8));
    }
}

static void set_field(struct message *message) {
    uint64_t value = edge();
    if (one_in(2) && message->length >= 8) {
        message->payload.longs[below(message->length / 8)] = value;
    } else if (message->length >= 4) {
        message->payload.words[below(message->length / 4)] = (uint32_t)value;
    }
}

static void set_length(struct message *message) {
    message->length = one_in(2) ? below(sizeof message->payload) : message->length + below(3) - 1;
    if (message->length > sizeof message->payload) message->length = 0;
    if (!one_in(16)) message->header.size = 16 + message->length;
}

static void set_header(struct message *message) {
    uint32_t value = (uint32_t)edge();
    switch (below(16)) {
    case 0: message->header.size = value; break;
    case 1: message->header.flags = value; break;
    case 2: message->header.error = value; break;
    default: message->header.command = (uint16_t)below(24);
    }
}

static void set_fds(struct message *message) {
    const int choice[] = {memory_file, event, ends[0], ends[1]};
    message->fd_count = one_in(64) ? 17 : below(17);
    for (unsigned i = 0; i < message->fd_count; i++) message->fds[i] = choice[below(4)];
}

static void (*const mutations[])(struct message *message) = {turn_bits,  set_field,  set_field,
                                                             set_length, set_header, set_fds};

// ---- One message after the other ----

static bool reply_is_sound(void) {
    uint32_t size = reply_header.size, flags = reply_header.flags;
    if (size < 16 || size > 16 + 16 + 0x20000) return false;
    return flags == REPLY
               ? reply_header.error == 0
               : flags == (REPLY | ERROR) && size == 16 && reply_header.error > 0 && reply_header.error < 134;
}

// False: the connection has ended.
static bool read_replies(void) {
    for (;;) {
        int answer = client_receive(&client);
        if (answer == SILENCE) return true;
        if (answer == CLOSED) return false;
        replies++;
        errors += answer > 0;
        if (!reply_is_sound()) CHECK(!"every reply is a whole one");
    }
}

// A device that runs: memory, a loop instead of a partner, and four queues in each direction with packets in them.
static void bring_up(void) {
    static const uint32_t all[][2] = {
        {IXGBE_HLREG0, IXGBE_HLREG0_LPBK | IXGBE_HLREG0_TXPADEN | IXGBE_HLREG0_JUMBOEN},
        {IXGBE_MAXFRS, 0x3e000000},
        {IXGBE_AUTOC, IXGBE_AUTOC_FLU},
        {IXGBE_FCTRL, IXGBE_FCTRL_UPE | IXGBE_FCTRL_MPE | IXGBE_FCTRL_BAM},
        {IXGBE_DMATXCTL, IXGBE_DMATXCTL_TE},
        {IXGBE_RXCTRL, IXGBE_RXCTRL_RXEN},
        {IXGBE_EIMS, 0x7fffffff},
    };
    map(&client, memory_file, 0, IOVA, MEMORY, 3);
    write_region(&client, CONFIG, 4, 2, 6);
    for (unsigned i = 0; i < sizeof all / sizeof *all; i++) reg_write(&client, all[i][0], all[i][1]);
    for (uint32_t queue = 0; queue < 8; queue++) {
        uint32_t base = (queue < 4 ? IXGBE_RDBAL : IXGBE_TDBAL) + queue % 4 * IXGBE_RDBAL_STRIDE;
        write_region(&client, BAR0, base, 8, IOVA + below(60) * PAGE);
        reg_write(&client, base + IXGBE_RDLEN - IXGBE_RDBAL, 128 << below(6));
        reg_write(&client, base + IXGBE_RXDCTL - IXGBE_RDBAL, IXGBE_RXDCTL_ENABLE);
        for (unsigned tries = 0; tries < 2; tries++) reg_read(&client, base + IXGBE_RXDCTL - IXGBE_RDBAL);
        reg_write(&client, base + IXGBE_RDT - IXGBE_RDBAL, 7);
    }
}

static void reconnect(void) {
    if (connections++) client_close(&client);
    unsigned port = below(SERVERS);
    bool connected = one_in(8) ? client_connect(&client, servers[port], path[port])
                               : client_begin(&client, servers[port], path[port]);
    if (!connected) CHECK(!"a new client is served");
    if (one_in(2)) bring_up();
}

static void fuzz_one(void) {
    struct message message = make();
    if (one_in(3)) mutations[below(sizeof mutations / sizeof *mutations)](&message);
    if (one_in(12)) mutations[below(sizeof mutations / sizeof *mutations)](&message);
    bool sent = client_send(&client, &message, 16 + message.length, message.fds, message.fd_count);
    bool whole = message.header.size == 16 + message.length;
    if (!sent || !read_replies() || one_in(500) || (!whole && one_in(8))) reconnect();
}

// The device's own memory accesses, to what clients have mapped, happen in between.
// Returns how many messages there was time for.
static uint64_t fuzz(uint64_t messages) {
    time_t start = time(NULL);
    uint64_t sent = 0;
    for (; sent < messages && (sent % 1024 != 0 || time(NULL) - start <= SECONDS); sent++) fuzz_one();
    return sent;
}

static void make_files(void) {
    memory_file = memfd_create("fuzz-memory", MFD_CLOEXEC);
    event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    CHECK(memory_file >= 0 && event >= 0 && ftruncate(memory_file, MEMORY) == 0 && pipe2(ends, O_CLOEXEC) == 0);
    // Descriptors to be found there: packets to send, and buffers.
    bool written = true;
    for (uint64_t at = 0; at < MEMORY; at += 16) {
        uint64_t descriptor[2] = {somewhere() + below(PAGE), (uint64_t)any() << 32};
        uint32_t command =
            IXGBE_TXD_CMD_EOP | IXGBE_TXD_CMD_IFCS | IXGBE_TXD_CMD_DEXT | IXGBE_TXD_CMD_DTYP_DATA | below(2000);
        descriptor[1] |= one_in(4) ? any() : command;
        written &= pwrite(memory_file, descriptor, 16, (off_t)at) == 16;
    }
    CHECK(written);
}

int main(int count, char **words) {
    if (count == 1 && !freopen("/dev/null", "w", stderr)) return 1;
    uint64_t messages = count > 1 ? strtoull(words[1], NULL, 0) : MESSAGES;
    random_state = (count > 2 ? strtoull(words[2], NULL, 0) : 0) + UINT64_C(0x9e3779b97f4a7c15);
    make_files();
    unsigned files = open_files();
    CHECK(begin());
    reconnect();
    messages = fuzz(messages);
    client_close(&client);
    printf("%llu messages, %u replies, of which %u errors, over %u connections\n", (unsigned long long)messages,
           replies, errors, connections);
    CHECK(messages < 1000 || (replies > messages / 4 && errors > messages / 100 && connections > messages / 1000));

    for (unsigned port = 0; port < SERVERS; port++) {
        CHECK(client_begin(&client, servers[port], path[port]));
        CHECK_EQ(read_region(&client, CONFIG, 0, 4), 0x10fb8086);
        CHECK_EQ(read_region(&client, CONFIG, 4, 2), 0);
        client_close(&client);
    }
    CHECK_EQ(mappings_of("fuzz-memory"), 0);
    CHECK_EQ(open_files(), files + SERVERS);  // the listening sockets
    for (unsigned port = 0; port < SERVERS; port++) vfio_user_close(servers[port]);
    CHECK_EQ(open_files(), files);
    return test_summary();
}
