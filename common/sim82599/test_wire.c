// Every kind of wire, seen through a real port: what arrives in its receive ring, what it refuses to take, and what
// is said about a text that makes no sense.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "machine.h"
#include "test_port.h"

static const uint64_t MOST_IDLE_NS = 60000000000;  // in real time, since the other end may be kept waiting

// Frame number n has contents and a length that follow from n alone.
static uint32_t make_frame(uint32_t n, uint8_t frame[2048]) {
    uint32_t random = n * 2654435761u + 1, length = 60 + n * 7919 % 1455;
    for (uint32_t i = 0; i < length; i++) {
        random = random * 1664525 + 1013904223;
        frame[i] = (uint8_t)(random >> 24);
    }
    frame[0] &= 0xfe;
    frame[12] = 0x88, frame[13] = 0xb5;  // a local experiment's EtherType
    return length;
}

static bool is_frame(uint32_t n, const uint8_t *frame, uint32_t length) {
    uint8_t expected[2048];
    return make_frame(n, expected) == length && memcmp(frame, expected, length) == 0;
}

static char scratch[] = "/tmp/test_wire.XXXXXX";

static const char *in_scratch(const char *name) {
    static char paths[4][128];
    static unsigned turn;
    char *path = paths[turn++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", scratch, name);
    return path;
}

// What was said on standard error.

static char said[4096];
static int real_stderr;

static void listen_to_stderr(void) {
    fflush(stderr);
    real_stderr = dup(2);
    int file = memfd_create("stderr", 0);
    dup2(file, 2);
    close(file);
}

static void stop_listening(void) {
    fflush(stderr);
    ssize_t length = pread(2, said, sizeof said - 1, 0);
    said[length > 0 ? length : 0] = '\0';
    dup2(real_stderr, 2);
    close(real_stderr);
}

static struct sim_device *bare_device(void) {
    static uint32_t registers[SIM_BAR0_SIZE / 4];
    const struct sim_front front = {NULL, front_now, front_interrupt, registers, true};
    return sim_create(0, &front);
}

static void refuse(const char *text, const char *expected) {
    struct sim_device *device = bare_device();
    struct wire *wire;
    listen_to_stderr();
    int error = wire_plug(text, device, &wire);
    stop_listening();
    if (!CHECK(error < 0) || !CHECK(wire == NULL) || !CHECK(strstr(said, expected))) {
        printf("     \"%s\": %d, said: %s     expected: %s\n", text, error, said, expected);
    }
    sim_destroy(device);
}

static void accept(const char *text, const char *name) {
    struct sim_device *device = bare_device();
    struct wire *wire;
    if (CHECK_EQ(wire_plug(text, device, &wire), 0)) {
        CHECK(strcmp(wire->ops->name, name) == 0);
        CHECK(wire->port == device);
    }
    wire_unplug(wire);
    sim_destroy(device);
}

static void test_texts(void) {
    accept("cable", "cable");
    accept("cable,alone=quiet,paced", "cable");
    accept("generator", "generator");
    accept("generator,paced", "generator");
    accept("generator:size=1514,rate=10,flows=32768,paced", "generator");
    accept("generator:rate=10", "generator");
    accept("sink", "sink");
    accept("sink,paced", "sink");
    accept("unplugged", "unplugged");

    refuse("", "there is no kind \"\"; the kinds are cable, replay:FILE, generator, sink, tap:NAME, unplugged");
    refuse("cabel", "wire \"cabel\": there is no kind \"cabel\"");
    refuse("cable,alone=loud", "cable has no option \"alone=loud\"; it takes alone=quiet, paced");
    refuse("cable,", "cable has no option \"\"");
    refuse("cable:x", "\"x\"");
    refuse("sink,loop", "sink has no option \"loop\"; it takes paced");
    refuse("generator:sise=60", "has no option \"sise=60\"; it takes size=BYTES, rate=PPS, flows=N, paced");
    refuse("generator:size=59", "size=\"59\" must be a whole number from 60 to 1514");
    refuse("generator:size=1515", "from 60 to 1514");
    refuse("generator:size=", "size=\"\" must be");
    refuse("generator:size=64x", "size=\"64x\" must be");
    refuse("generator:size=-64", "size=\"-64\" must be");
    refuse("generator:rate=0", "rate=\"0\" must be");
    refuse("generator:rate=99999999999999999999", "must be");
    refuse("generator:flows=32769", "from 1 to 32768");
    refuse("replay", "replay needs a FILE: replay:FILE");
    refuse("replay:,loop", "replay needs a FILE");
    refuse("tap", "tap needs a NAME: tap:NAME");
    refuse("tap:a-name-of-more-than-15-letters", "tap:a-name-of-more-than-15-letters: ");
}

static void test_light(void) {
    struct port *port = port_on(0, "unplugged");
    CHECK(!port->wire->ops->carrier(port->wire));
    pass(port, 20 * MS);
    CHECK(!(get(port, IXGBE_LINKS) & IXGBE_LINKS_LINK_UP));
    port_off(port);

    port = port_up(0, "sink");
    CHECK(get(port, IXGBE_LINKS) & IXGBE_LINKS_LINK_UP);
    CHECK_EQ(send_frame(port, said, 60), 0);
    CHECK_EQ(port->wire->ops->poll(port->wire, 64), 0);
    port_off(port);

    struct port *a = port_on(0, "cable"), *b = port_on(1, "cable");
    CHECK(a->wire->ops->carrier(a->wire));
    set(b, IXGBE_ESDP, IXGBE_ESDP_SDP3_DATA);
    CHECK(!a->wire->ops->carrier(a->wire));
    CHECK(b->wire->ops->carrier(b->wire));
    port_off(b);
    CHECK(a->wire->ops->carrier(a->wire));
    port_off(a);
}

// The cable, both ends here.

static void test_cable(void) {
    struct port *ports[2] = {port_up(0, "cable"), port_up(1, "cable")};
    for (unsigned from = 0; from < 2; from++) {
        unsigned wrong = 0;
        for (uint32_t n = 0; n < 2000; n++) {
            uint8_t frame[2048];
            const uint8_t *received;
            uint32_t length = make_frame(n, frame);
            if (send_frame(ports[from], frame, length) != 0) wrong++;
            settle(ports[!from]);
            uint32_t got = take(ports[!from], &received);
            if (!got || !is_frame(n, received, got)) wrong++;
        }
        CHECK_EQ(wrong, 0);
        CHECK_EQ(take_all(ports[from]), 0);
    }
    static uint8_t jumbo[9018] = {0x02};
    const uint8_t *received;
    CHECK_EQ(send_frame(ports[0], jumbo, sizeof jumbo), 0);
    settle(ports[1]);
    CHECK_EQ(take(ports[1], &received), sizeof jumbo);
    port_off(ports[1]);

    // With the other end gone, frames are gone too, and nobody minds.
    CHECK_EQ(send_frame(ports[0], jumbo, 60), 0);
    port_off(ports[0]);
}

static unsigned send_numbered(struct port *port, unsigned count, int *error) {
    uint8_t frame[2048];
    unsigned sent = 0;
    for (*error = 0; sent < count && !*error; sent += !*error) {
        uint32_t length = make_frame(sent, frame);
        *error = send_frame(port, frame, length);
    }
    return sent;
}

static void test_pause(void) {
    struct port *a = port_up(0, "cable"), *b = port_up(1, "cable");
    int error;
    agree_on_pause(a);
    agree_on_pause(b);
    unsigned sent = send_numbered(a, 100000, &error);
    CHECK_EQ(error, -EAGAIN);
    CHECK(sent > 100 && sent < 100000);
    uint32_t asked = get(b, IXGBE_LXOFFTXC), told = 0;
    CHECK(asked > 0);
    sim_step(b->device);
    sim_step(a->device);
    CHECK_EQ(get(a, IXGBE_LXOFFRXCNT), asked);
    CHECK_EQ(get(a, IXGBE_LXONRXCNT), 0);
    unsigned wrong = 0, received = 0;
    const uint8_t *frame;
    do {
        for (uint32_t length; (length = take(b, &frame));) wrong += !is_frame(received++, frame, length);
    } while (sim_step(b->device));
    CHECK_EQ(received, sent);
    CHECK_EQ(wrong, 0);
    CHECK_EQ(send_frame(a, said, 60), 0);
    told = get(b, IXGBE_LXONTXC);
    CHECK(told > 0);
    sim_step(a->device);
    CHECK_EQ(get(a, IXGBE_LXONRXCNT), told);

    // A port that does not obey PAUSE sends on, and what does not fit is counted as missed.
    set(a, IXGBE_MFLCN, 0);
    take_all(b);
    get(b, IXGBE_RXMPC);
    sent = send_numbered(a, 2000, &error);
    CHECK_EQ(sent, 2000);
    CHECK_EQ(error, 0);
    uint32_t missed = get(b, IXGBE_RXMPC);
    CHECK(missed > 0);
    CHECK_EQ(take_all(b) + missed, sent);
    port_off(b);
    port_off(a);
}

static void test_other_end_in_another_wire(void) {
    struct port *a = port_up(0, "cable"), *b = port_up(1, "sink");
    CHECK_EQ(send_frame(a, said, 60), 0);
    CHECK_EQ(take_all(b), 0);
    pass(a, 300 * MS);
    CHECK(take_all(a) > 0);
    port_off(b);
    port_off(a);
}

// Claims, and the cable between processes.

static const char *machine_path(void) {
    static char path[256];
    snprintf(path, sizeof path, "/dev/shm/sim82599-%u-%s", (unsigned)geteuid(), getenv("SIM82599_MACHINE"));
    return path;
}

// A child that does something, tells us so, and waits to be ended.
struct child {
    pid_t pid;
    int from, to;
};

static struct child start_child(void (*body)(struct child *parent)) {
    int up[2], down[2];
    if (pipe(up) || pipe(down)) abort();
    fflush(NULL);
    struct child child = {.pid = fork(), .from = up[0], .to = down[1]};
    if (child.pid == 0) {
        close(up[0]), close(down[1]);
        body(&(struct child){.from = down[0], .to = up[1]});
        _exit(0);
    }
    close(up[1]), close(down[0]);
    return child;
}

static void say(struct child *child, char word) {
    if (write(child->to, &word, 1) != 1) _exit(1);
}

// What the other side says, '\0' if it has ended.
static char hear(struct child *child) {
    char word = '\0';
    return read(child->from, &word, 1) == 1 ? word : '\0';
}

static void end_child(struct child *child, int signal) {
    if (signal) kill(child->pid, signal);
    close(child->to);
    waitpid(child->pid, NULL, 0);
    close(child->from);
}

static struct sim_device *const some_device = (struct sim_device *)16;  // claims only remember it

static void claim_and_wait(struct child *parent) {
    int error = wire_claim_port(1, some_device);
    say(parent, error == -EBUSY ? 'b' : error ? 'e' : 'y');
    hear(parent);
}

static void only_wait(struct child *parent) {
    say(parent, 'y');
    hear(parent);
}

static void test_claims(void) {
    CHECK_EQ(wire_claim_port(1, some_device), 0);
    CHECK_EQ(wire_claim_port(1, some_device), -EBUSY);
    CHECK_EQ(wire_claim_port(MACHINE_PORTS, some_device), -ENODEV);
    CHECK(access(machine_path(), F_OK) == 0);

    struct child second = start_child(claim_and_wait);
    CHECK_EQ(hear(&second), 'b');
    end_child(&second, 0);

    // A child from before the release has no part in the claim.
    struct child bystander = start_child(only_wait);
    CHECK_EQ(hear(&bystander), 'y');
    wire_release_port(1);
    CHECK(access(machine_path(), F_OK) != 0);
    second = start_child(claim_and_wait);
    CHECK_EQ(hear(&second), 'y');
    CHECK_EQ(wire_claim_port(1, some_device), -EBUSY);
    CHECK_EQ(wire_claim_port(0, some_device), 0);
    end_child(&bystander, SIGKILL);
    CHECK_EQ(wire_claim_port(1, some_device), -EBUSY);

    end_child(&second, SIGKILL);
    CHECK_EQ(wire_claim_port(1, some_device), 0);
    wire_release_port(0);
    CHECK(access(machine_path(), F_OK) == 0);
    second = start_child(claim_and_wait);
    CHECK_EQ(hear(&second), 'b');
    end_child(&second, 0);
    wire_release_port(1);
    CHECK(access(machine_path(), F_OK) != 0);
}

// Two processes that open and close the port all the time never have it both at once. Whoever has it holds a pipe's
// only byte.
enum { CONTENDED_CLAIMS = 100 };
static int token[2];

static bool claim_often(void) {
    bool alone = true;
    for (unsigned claims = 0; claims < CONTENDED_CLAIMS;) {
        if (wire_claim_port(1, some_device) != 0) continue;
        char byte;
        alone &= read(token[0], &byte, 1) == 1;
        sched_yield();
        alone &= write(token[1], "t", 1) == 1;
        wire_release_port(1);
        claims++;
    }
    return alone;
}

static void claim_often_too(struct child *parent) { say(parent, claim_often() ? 'y' : 'n'); }

static void test_contended_claims(void) {
    CHECK_EQ(pipe2(token, O_NONBLOCK), 0);
    CHECK_EQ(write(token[1], "t", 1), 1);
    struct child other = start_child(claim_often_too);
    CHECK(claim_often());
    CHECK_EQ(hear(&other), 'y');
    end_child(&other, 0);
    close(token[0]), close(token[1]);
}

// Somebody removes the file of a machine that is in use: bad enough, but not the end of the next one's.
static void test_removed_file(void) {
    CHECK_EQ(wire_claim_port(1, some_device), 0);
    CHECK_EQ(unlink(machine_path()), 0);
    struct child next = start_child(claim_and_wait);
    CHECK_EQ(hear(&next), 'y');
    wire_release_port(1);
    CHECK(access(machine_path(), F_OK) == 0);
    CHECK_EQ(wire_claim_port(1, some_device), -EBUSY);
    end_child(&next, SIGKILL);
    CHECK_EQ(wire_claim_port(1, some_device), 0);
    wire_release_port(1);
}

static void test_bad_machines(void) {
    char *good = strdup(getenv("SIM82599_MACHINE"));
    listen_to_stderr();
    setenv("SIM82599_MACHINE", "../x", 1);
    int slash = wire_claim_port(0, some_device);
    setenv("SIM82599_MACHINE", good, 1);
    int file = open(machine_path(), O_CREAT | O_WRONLY, 0600);
    CHECK_EQ(write(file, "x", 1), 1);
    close(file);
    int foreign = wire_claim_port(0, some_device);
    unlink(machine_path());
    CHECK_EQ(symlink(in_scratch("elsewhere"), machine_path()), 0);
    int link = wire_claim_port(0, some_device);
    unlink(machine_path());
    stop_listening();
    CHECK_EQ(slash, -EINVAL);
    CHECK_EQ(foreign, -EPROTO);
    CHECK_EQ(link, -ELOOP);
    CHECK(strstr(said, "SIM82599_MACHINE is \"../x\""));
    CHECK(strstr(said, "another version"));
    free(good);
}

enum { FAR_FRAMES = 100000 };

static void send_them_all(struct child *parent) {
    tick_ns = 1000;
    struct port *port = port_up(1, "cable");
    agree_on_pause(port);
    say(parent, 'r');
    hear(parent);
    uint8_t frame[2048];
    for (uint32_t n = 0; n < FAR_FRAMES; n++) {
        uint32_t length = make_frame(n, frame);
        while (send_frame(port, frame, length) == -EAGAIN) {
            sched_yield();
            sim_step(port->device);
        }
    }
    say(parent, 'd');
    hear(parent);
    port_off(port);
}

// Receives until `count` frames have come or nothing more does. Returns how many were not the expected ones.
static unsigned receive_numbered(struct port *port, uint32_t count, uint32_t *received) {
    unsigned wrong = 0;
    const uint8_t *frame;
    *received = 0;
    uint64_t last = clock_ns();
    for (unsigned idle = 0; *received < count && clock_ns() - last < MOST_IDLE_NS; idle++) {
        sim_step(port->device);
        for (uint32_t length; (length = take(port, &frame)); idle = 0, last = clock_ns())
            wrong += !is_frame((*received)++, frame, length);
        if (idle % 64 == 63) sched_yield();
    }
    return wrong;
}

static void test_far_cable(void) {
    tick_ns = 1000;
    struct port *port = port_up(0, "cable");
    agree_on_pause(port);
    sim_step(port->device);
    struct child sender = start_child(send_them_all);
    CHECK_EQ(hear(&sender), 'r');
    take_all(port);  // what the neighbour has said so far
    say(&sender, 'g');
    uint32_t received;
    CHECK_EQ(receive_numbered(port, FAR_FRAMES, &received), 0);
    CHECK_EQ(received, FAR_FRAMES);
    CHECK_EQ(hear(&sender), 'd');
    CHECK_EQ(get(port, IXGBE_RXMPC), 0);
    end_child(&sender, 0);
    tick_ns = 0;
    port_off(port);
}

static void receive_nothing(struct child *parent) {
    struct port *port = port_up(1, "cable");
    agree_on_pause(port);
    sim_step(port->device);
    say(parent, 'r');
    hear(parent);
    for (unsigned i = 0; i < 1000; i++) sim_step(port->device);  // without a driver that would take a frame
    say(parent, sim_pause_wanted(port->device) && get(port, IXGBE_RXMPC) == 0 ? 'p' : 'n');
    hear(parent);
    set(port, IXGBE_ESDP, IXGBE_ESDP_SDP3_DATA);
    sim_step(port->device);
    say(parent, 'l');
    hear(parent);
}

static void receive_what_was_left(struct child *parent) {
    struct port *port = port_up(1, "cable");
    say(parent, take_all(port) ? 'n' : 'y');
}

static bool far_end_pauses;

static void lose_what_does_not_fit(struct child *parent) {
    struct port *port = port_up(1, "cable,alone=quiet");
    if (far_end_pauses) agree_on_pause(port);
    sim_step(port->device);
    say(parent, 'r');
    hear(parent);
    unsigned got = take_all(port);
    say(parent, got > 1000 && got < 100000 ? 'y' : 'n');
}

// The receiver is closed twice: before anything is sent, and over what has been sent.
static void open_too_late(struct child *parent) {
    struct port *port = port_up(1, "cable,alone=quiet");
    agree_on_pause(port);
    set(port, IXGBE_RXCTRL, 0);
    sim_step(port->device);
    say(parent, 'c');
    hear(parent);
    set(port, IXGBE_RXCTRL, IXGBE_RXCTRL_RXEN);
    unsigned got = take_all(port);
    say(parent, got ? 'n' : 'o');
    hear(parent);
    set(port, IXGBE_RXCTRL, 0);
    sim_step(port->device);
    set(port, IXGBE_RXCTRL, IXGBE_RXCTRL_RXEN);
    say(parent, take_all(port) ? 'n' : 'y');
}

static void test_far_receiver_is_closed(void) {
    struct port *port = port_up(0, "cable");
    agree_on_pause(port);
    int error;
    struct child other = start_child(open_too_late);
    CHECK_EQ(hear(&other), 'c');
    CHECK_EQ(send_numbered(port, 100000, &error), 100000);
    say(&other, 'o');
    CHECK_EQ(hear(&other), 'o');
    CHECK_EQ(send_numbered(port, 100, &error), 100);
    say(&other, 'x');
    CHECK_EQ(hear(&other), 'y');
    end_child(&other, 0);
    port_off(port);
}

static void test_far_end_stops_or_dies(void) {
    struct port *port = port_up(0, "cable");
    agree_on_pause(port);
    int error;

    struct child other = start_child(receive_nothing);
    CHECK_EQ(hear(&other), 'r');
    sim_step(port->device);
    unsigned sent = send_numbered(port, 100000, &error);
    CHECK_EQ(error, -EAGAIN);
    CHECK(sent > 1000);
    CHECK(port->wire->ops->carrier(port->wire));
    CHECK_EQ(get(port, IXGBE_LXOFFRXCNT), 0);
    say(&other, 'p');
    CHECK_EQ(hear(&other), 'p');
    sim_step(port->device);
    CHECK_EQ(get(port, IXGBE_LXOFFRXCNT), 1);
    send_numbered(port, 100000, &error);
    CHECK_EQ(error, -EAGAIN);
    say(&other, 'l');
    CHECK_EQ(hear(&other), 'l');
    CHECK(!port->wire->ops->carrier(port->wire));
    say(&other, 'x');
    end_child(&other, SIGKILL);

    now_ns += 20 * MS;
    sim_step(port->device);
    CHECK(port->wire->ops->carrier(port->wire));
    sent = send_numbered(port, 1000, &error);
    CHECK_EQ(sent, 1000);
    pass(port, 150 * MS);
    CHECK_EQ(take_all(port), 0);
    pass(port, 100 * MS);
    CHECK(take_all(port) > 0);

    // The next owner does not get what was on its way to the dead one.
    other = start_child(receive_what_was_left);
    CHECK_EQ(hear(&other), 'y');
    end_child(&other, 0);

    // Unless both have agreed on flow control the sender never waits, and what the ring cannot hold is lost.
    for (unsigned round = 0; round < 2; round++) {
        now_ns += 20 * MS;
        pass(port, 20 * MS);
        far_end_pauses = round == 0;
        set(port, IXGBE_MFLCN, far_end_pauses ? 0 : IXGBE_MFLCN_RFCE);
        other = start_child(lose_what_does_not_fit);
        CHECK_EQ(hear(&other), 'r');
        CHECK_EQ(send_numbered(port, 100000, &error), 100000);
        say(&other, 'g');
        CHECK_EQ(hear(&other), 'y');
        end_child(&other, 0);
    }
    port_off(port);
}

enum { LEFT_BEHIND = 2000 };  // more than the receive packet buffer holds, less than the ring between the processes

static void send_and_leave(struct child *parent) {
    struct port *port = port_up(1, "cable");
    agree_on_pause(port);
    say(parent, 'r');
    hear(parent);
    int error;
    CHECK_EQ(send_numbered(port, LEFT_BEHIND, &error), LEFT_BEHIND);
    sim_function_reset(port->device);
    sim_step(port->device);
    say(parent, 'd');
    hear(parent);
    port_off(port);
}

// What was sent under flow control arrives, though its sender forgets the agreement in a reset, and then leaves.
static void test_far_sender_leaves(void) {
    for (unsigned round = 0; round < 2; round++) {
        struct port *port = port_up_with_pause(0, "cable");
        sim_step(port->device);
        struct child sender = start_child(send_and_leave);
        CHECK_EQ(hear(&sender), 'r');
        take_all(port);
        say(&sender, 'g');
        CHECK_EQ(hear(&sender), 'd');
        if (round == 1) {
            say(&sender, 'x');
            end_child(&sender, 0);
        }
        pass(port, 1 * MS);  // nobody takes anything
        uint32_t received;
        CHECK_EQ(receive_numbered(port, LEFT_BEHIND, &received), 0);
        CHECK_EQ(received, LEFT_BEHIND);
        CHECK_EQ(get(port, IXGBE_RXMPC), 0);
        if (round == 0) {
            say(&sender, 'x');
            end_child(&sender, 0);
        }
        port_off(port);
    }
}

static void test_nonsense_in_shared_memory(void) {
    struct port *port = port_up(0, "cable");
    struct machine_port *shared = machine_port(0), *other = machine_port(1);
    atomic_store(&other->state, (uint64_t)7 << 32 | END_IS_CABLE | END_LASER_ON);  // an owner that is gone
    const uint32_t lengths[] = {SIM_MAX_FRAME + 1, 0x7fffffff, UINT32_MAX, UINT32_MAX - 1, 15000};
    for (unsigned i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        uint64_t tail = atomic_load(&shared->arriving.tail);
        memcpy(shared->arriving.bytes + tail % MACHINE_RING_SIZE, &lengths[i], 4);
        atomic_store(&shared->arriving.head, tail + 64);
        CHECK_EQ(port->wire->ops->poll(port->wire, 64), 0);
        CHECK_EQ(atomic_load(&shared->arriving.tail), tail + 64);
    }
    port_off(port);
}

// The neighbour. Its frames are checked here by a walk of our own through their headers.

enum { HEARD = 2000 };
static struct heard {
    uint32_t length;
    uint8_t bytes[1600];
} heard[HEARD];

static unsigned listen(struct port *port, uint64_t duration_ns) {
    unsigned count = 0;
    const uint8_t *frame;
    for (uint64_t end = now_ns + duration_ns; now_ns < end; now_ns += 100000) {
        settle(port);
        for (uint32_t length; (length = take(port, &frame));) {
            if (count == HEARD || length > sizeof heard->bytes) continue;
            heard[count].length = length;
            memcpy(heard[count++].bytes, frame, length);
        }
    }
    return count;
}

static uint32_t add(const uint8_t *bytes, uint32_t length, uint32_t total) {
    for (uint32_t i = 0; i < length; i++) total += (uint32_t)bytes[i] << (i % 2 ? 0 : 8);
    while (total >> 16) total = (total & 0xffff) + (total >> 16);
    return total;
}

static uint32_t be16(const uint8_t *bytes) { return (uint32_t)(bytes[0] << 8 | bytes[1]); }

// Lengths agree and checksums add up; everything that is not ARP has an IP header.
static bool well_formed(const uint8_t *frame, uint32_t length) {
    const uint8_t *ip = frame + (be16(frame + 12) == 0x8100 ? 18 : 14);
    uint32_t type = be16(ip - 2), room = length - (uint32_t)(ip - frame);
    if (length < 60 || length > 1514) return false;
    if (type == 0x0806) return room >= 28;
    bool v4 = type == 0x0800;
    if (!v4 && type != 0x86dd) return false;
    uint32_t header = v4 ? 20 : 40, payload = v4 ? be16(ip + 2) - 20 : be16(ip + 4), protocol = ip[v4 ? 9 : 6];
    if (header + payload > room || (v4 && add(ip, 20, 0) != 0xffff)) return false;
    uint32_t total = protocol == 1 ? 0 : add(ip + (v4 ? 12 : 8), v4 ? 8 : 32, protocol + payload);
    if (protocol == 17 && be16(ip + header + 4) != payload) return false;
    return add(ip + header, payload, total) == 0xffff;
}

static unsigned heard_with(unsigned count, unsigned at, const void *bytes, uint32_t length) {
    unsigned found = 0;
    for (unsigned i = 0; i < count; i++) found += memcmp(heard[i].bytes + at, bytes, length) == 0;
    return found;
}

static void put_pcap(const char *name, unsigned count) {
    FILE *file = fopen(name, "w");
    const uint32_t header[6] = {0xa1b23c4d, 4 << 16 | 2, 0, 0, 65535, 1};
    fwrite(header, sizeof header, 1, file);
    for (unsigned i = 0; i < count; i++) {
        const uint32_t record[4] = {1700000000, i * 1000000 % 1000000000, heard[i].length, heard[i].length};
        fwrite(record, sizeof record, 1, file);
        fwrite(heard[i].bytes, heard[i].length, 1, file);
    }
    fclose(file);
}

static int lines_of(const char *format, ...) {
    char command[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(command, sizeof command, format, arguments);
    va_end(arguments);
    FILE *output = popen(command, "r");
    int lines = 0;
    for (char line[512]; output && fgets(line, sizeof line, output);) {
        if (lines++ < 5) printf("     %s", line);
    }
    return output ? pclose(output) == 0 ? lines : -1 : -1;
}

static void ask_tshark(unsigned count) {
    if (system("tshark --version >/dev/null 2>&1") != 0) {
        SKIP("tshark is not installed, so nobody else dissects the neighbour's frames");
        return;
    }
    const char *file = in_scratch("neighbour.pcap");
    char command[256];
    put_pcap(file, count);
    int complaints =
        lines_of("tshark -r %s -o ip.check_checksum:TRUE -o udp.check_checksum:TRUE -o tcp.check_checksum:TRUE "
                 "-Y '_ws.malformed || ip.checksum.status == Bad || udp.checksum.status == Bad || "
                 "tcp.checksum.status == Bad || icmp.checksum.status == Bad || icmpv6.checksum.status == Bad || "
                 "(_ws.expert.severity >= 0x600000 && !dns.retransmit_request && !(icmp.resp_not_found || "
                 "icmpv6.resp_not_found))' 2>%s/tshark.err",
                 file, scratch);
    CHECK_EQ(complaints, 0);
    snprintf(command, sizeof command, "tshark -r %s 2>/dev/null | grep -q 'HTTP/1.1 200 OK'", file);
    CHECK_EQ(system(command), 0);
}

static void test_neighbour(void) {
    struct port *port = port_up(0, "cable");
    CHECK_EQ(listen(port, 190 * MS), 0);
    unsigned count = listen(port, 1000 * MS);
    CHECK_BETWEEN(count, 950, 1050);
    unsigned bad = 0;
    for (unsigned i = 0; i < count; i++) bad += !well_formed(heard[i].bytes, heard[i].length);
    CHECK_EQ(bad, 0);

    uint8_t mac[6];
    uint32_t low = get(port, IXGBE_RAL), high = get(port, IXGBE_RAH);
    memcpy(mac, &low, 4);
    memcpy(mac + 4, &high, 2);
    unsigned ours = heard_with(count, 0, mac, 6), multicast = heard_with(count, 0, "\x01\x00\x5e\x00\x00\xfb", 6);
    CHECK(ours > 20);
    CHECK(multicast > 20);
    CHECK(heard_with(count, 0, "\xff\xff\xff\xff\xff\xff", 6) > 20);
    CHECK(heard_with(count, 0, "\x33\x33\xff", 3) > 20);
    CHECK(heard_with(count, 12, "\x81\x00", 2) > 20);
    CHECK(heard_with(count, 12, "\x86\xdd", 2) > 20);
    CHECK(ours + multicast < count / 2);
    unsigned distinct_sources = 0;
    for (unsigned i = 0; i < count; i++) distinct_sources += heard_with(1, 6, heard[i].bytes + 6, 6) == 0;
    CHECK(distinct_sources > 0);
    ask_tshark(count);

    // The other end is plugged in: silence. It goes: after a moment the neighbour is back.
    struct port *other = port_on(1, "cable");
    listen(port, 1 * MS);
    CHECK_EQ(listen(port, 500 * MS), 0);
    port_off(other);
    CHECK_EQ(listen(port, 190 * MS), 0);
    CHECK(listen(port, 100 * MS) > 50);

    // A closed receiver starts the 200 ms anew.
    set(port, IXGBE_RXCTRL, 0);
    listen(port, 300 * MS);
    set(port, IXGBE_RXCTRL, IXGBE_RXCTRL_RXEN);
    CHECK_EQ(listen(port, 190 * MS), 0);
    CHECK(listen(port, 100 * MS) > 50);
    port_off(port);

    // The same again.
    static struct heard first[HEARD];
    memcpy(first, heard, sizeof first);
    for (unsigned run = 0; run < 2; run++) {
        port = port_up(0, "cable,paced");
        count = listen(port, 500 * MS);
        CHECK(count > 250);
        if (run) CHECK(memcmp(first, heard, count * sizeof *heard) == 0);
        memcpy(first, heard, sizeof first);
        port_off(port);
    }

    port = port_up(0, "cable,alone=quiet");
    CHECK_EQ(listen(port, 1000 * MS), 0);
    port_off(port);
}

// Replay.

struct format {
    uint32_t magic;
    bool swapped;
    uint32_t fraction_ns;
};
static const struct format formats[] = {
    {0xa1b2c3d4, false, 1000},
    {0xa1b2c3d4, true, 1000},
    {0xa1b23c4d, false, 1},
    {0xa1b23c4d, true, 1},
};

static void put_number(FILE *file, const struct format *format, uint32_t number) {
    if (format->swapped) number = __builtin_bswap32(number);
    fwrite(&number, 4, 1, file);
}

// A capture of frames 0 to count-1, `gap_ns` apart, across the end of a second.
static const char *put_capture(const struct format *format, uint32_t count, uint64_t gap_ns, uint32_t link) {
    const char *name = in_scratch("capture.pcap");
    FILE *file = fopen(name, "w");
    uint64_t time_ns = 1699999999999000000;
    uint8_t frame[2048];
    put_number(file, format, format->magic);
    put_number(file, format, format->swapped ? 4 << 16 | 2 : 2 | 4 << 16);
    for (unsigned i = 0; i < 2; i++) put_number(file, format, 0);
    put_number(file, format, 65535);
    put_number(file, format, link);
    for (uint32_t n = 0; n < count; n++, time_ns += gap_ns) {
        uint32_t length = make_frame(n, frame);
        put_number(file, format, (uint32_t)(time_ns / 1000000000));
        put_number(file, format, (uint32_t)(time_ns % 1000000000 / format->fraction_ns));
        put_number(file, format, length);
        put_number(file, format, length);
        fwrite(frame, length, 1, file);
    }
    fclose(file);
    return name;
}

static struct port *replay(const char *file, const char *options) {
    char text[256];
    snprintf(text, sizeof text, "replay:%s%s", file, options);
    return port_up(0, text);
}

static void test_replay_formats(void) {
    for (unsigned f = 0; f < sizeof formats / sizeof *formats; f++) {
        struct port *port = replay(put_capture(&formats[f], 50, 100000, 1), "");
        uint32_t received = 0, wrong = 0;
        const uint8_t *frame;
        take(port, &frame);  // the first is due at once
        received++;
        for (unsigned slot = 1; slot < 50; slot++) {
            now_ns += 99000;
            settle(port);
            wrong += take(port, &frame) != 0;  // not yet
            now_ns += 1000;
            settle(port);
            uint32_t length = take(port, &frame);
            wrong += !length || !is_frame(received++, frame, length);
        }
        CHECK_EQ(wrong, 0);
        now_ns += 1000 * MS;
        CHECK_EQ(take_all(port), 0);
        port_off(port);
    }
}

static void test_replay_options(void) {
    struct port *port = replay(put_capture(&formats[0], 300, 1000000, 1), ",fast");
    uint32_t received;
    CHECK_EQ(receive_numbered(port, 300, &received), 0);
    CHECK_EQ(received, 300);
    CHECK_EQ(take_all(port), 0);
    port_off(port);

    port = replay(put_capture(&formats[2], 10, 1000000, 1), ",loop");
    unsigned wrong = 0;
    const uint8_t *frame;
    for (unsigned n = 0; n < 95; n++, now_ns += 1000000) {
        settle(port);
        for (uint32_t length; (length = take(port, &frame)); received++) {
            wrong += !is_frame((received - 300) % 10, frame, length);
        }
    }
    CHECK_EQ(wrong, 0);
    CHECK(received - 300 >= 95);
    port_off(port);

    port = replay(put_capture(&formats[0], 0, 0, 1), ",loop,fast");
    CHECK_EQ(take_all(port), 0);
    port_off(port);

    port = replay(put_capture(&formats[0], 1, 0, 1), ",fast,loop");
    agree_on_pause(port);
    pass(port, 100 * MS);  // endless, but it waits for a port that is full
    CHECK(sim_pause_wanted(port->device));
    CHECK_EQ(get(port, IXGBE_RXMPC), 0);
    CHECK(take_all(port) > 10000);
    port_off(port);
}

// What a port sends is in the file, whole, whatever the wire does with it; what the wire has not taken is not.
static void test_record(void) {
    enum { FRAMES = 40 };
    char text[256];
    const char *name = in_scratch("record.pcap");
    snprintf(text, sizeof text, "sink,paced,record=%s", name);
    struct port *port = port_up(0, text);
    unsigned taken = 0, busy = 0;
    for (uint8_t frame[2048]; taken < FRAMES; now_ns += 100) {
        uint32_t length = make_frame(taken, frame);
        if (port->wire->ops->send(port->wire, &(struct wire_frame){frame, length}, 1))
            taken++;
        else
            busy++;
    }
    CHECK(busy > 0);

    // The file is whole already.
    snprintf(text, sizeof text, "replay:%s,fast", name);
    struct port *other = port_up(1, text);
    uint32_t received;
    CHECK_EQ(receive_numbered(other, FRAMES, &received), 0);
    CHECK_EQ(received, FRAMES);
    CHECK_EQ(take_all(other), 0);
    port_off(other);

    snprintf(text, sizeof text, "sink,record=%s", name);
    refuse(text, "another port records there");
    port_off(port);
    accept(text, "record");
    refuse("sink,record=/nonexistent/file", "cannot write /nonexistent/file: No such file or directory");
    refuse("sink,record=", "cannot write : No such file");
    if (access("/dev/full", W_OK) == 0) refuse("sink,record=/dev/full", "No space left");
}

static void rewrite(const char *name, long at, const void *bytes, size_t length) {
    FILE *file = fopen(name, "r+");
    fseek(file, at, SEEK_SET);
    fwrite(bytes, length, 1, file);
    fclose(file);
}

static void refuse_file(const char *name, const char *expected) {
    char text[256];
    snprintf(text, sizeof text, "replay:%s", name);
    refuse(text, expected);
}

static void test_bad_captures(void) {
    refuse_file(in_scratch("absent.pcap"), "absent.pcap: No such file or directory");
    refuse_file(scratch, "not a file");
    const char *name = put_capture(&formats[0], 3, 1000, 1);
    struct stat status;
    stat(name, &status);
    CHECK_EQ(truncate(name, status.st_size - 1), 0);
    refuse_file(name, "the file ends in the middle of frame 3");
    CHECK_EQ(truncate(name, 24 + 15), 0);
    refuse_file(name, "the file ends in the middle of frame 1");
    CHECK_EQ(truncate(name, 23), 0);
    refuse_file(name, "is not a pcap file");
    CHECK_EQ(truncate(name, 0), 0);
    refuse_file(name, "is empty");

    name = put_capture(&formats[1], 3, 1000, 1);
    rewrite(name, 24 + 8, "\x00\x00\x3e\x01", 4);
    refuse_file(name, "frame 1 has 15873 bytes, the port takes no more than 15872");
    rewrite(name, 24 + 8, "\x00\x00\x00\x0d", 4);
    refuse_file(name, "frame 1 has 13 bytes, that is no Ethernet frame");
    rewrite(name, 0, "GIF8", 4);
    refuse_file(name, "is not a pcap file");
    rewrite(name, 0, "\x0a\x0d\x0d\x0a", 4);
    refuse_file(name, "is a pcapng file; convert it with: tcpdump -r");
    refuse_file(put_capture(&formats[3], 3, 1000, 113), "was not captured on Ethernet (its link type is 113)");

    // A frame that its sender's NIC would have padded.
    name = put_capture(&formats[0], 1, 1000, 1);
    rewrite(name, 24 + 8, &(const uint32_t){42}, 4);
    CHECK_EQ(truncate(name, 24 + 16 + 42), 0);
    struct port *port = replay(name, "");
    const uint8_t *frame;
    uint8_t expected[2048];
    make_frame(0, expected);
    memset(expected + 42, 0, 18);
    CHECK_EQ(take(port, &frame), 60);
    CHECK(memcmp(frame, expected, 60) == 0);
    port_off(port);
}

// Generator.

static uint64_t sequence_of(const uint8_t *frame) {
    uint64_t sequence = 0;
    for (unsigned i = 0; i < 8; i++) sequence = sequence << 8 | frame[42 + i];
    return sequence;
}

static void check_generated(const char *text, uint32_t size, uint32_t flows) {
    struct port *port = port_up_with_pause(0, text);
    uint8_t mac[6];
    uint32_t low = get(port, IXGBE_RAL), high = get(port, IXGBE_RAH), sizes = 0, order = 0, form = 0, flow = 0,
             to = 0;
    memcpy(mac, &low, 4);
    memcpy(mac + 4, &high, 2);
    uint64_t expected = 0;
    const uint8_t *frame;
    while (expected < 70000) {
        sim_step(port->device);
        for (uint32_t length; (length = take(port, &frame)); expected++) {
            sizes += length != size;
            order += sequence_of(frame) != expected;
            form += !well_formed(frame, length);
            flow += be16(frame + 34) != 32768 + expected % flows;
            to += memcmp(frame, mac, 6) != 0;
        }
    }
    CHECK_EQ(sizes, 0);
    CHECK_EQ(order, 0);
    CHECK_EQ(form, 0);
    CHECK_EQ(flow, 0);
    CHECK_EQ(to, 0);
    port_off(port);
}

static unsigned received_in(struct port *port, uint64_t duration_ns, uint64_t step_ns) {
    unsigned count = take_all(port);
    for (uint64_t end = now_ns + duration_ns; now_ns < end;) {
        now_ns += step_ns;
        count += take_all(port);
    }
    return count;
}

static void test_generator(void) {
    check_generated("generator", 60, 1);
    check_generated("generator:size=61,flows=3", 61, 3);
    check_generated("generator:size=1514,flows=32768", 1514, 32768);

    struct port *port = port_up(0, "generator:rate=12345");
    CHECK_EQ(received_in(port, 1000 * MS, 1 * MS), 12345 + 1);  // the first one at the very beginning
    port_off(port);
    port = port_up(0, "generator:rate=3");
    CHECK_EQ(received_in(port, 10000ull * MS, 100 * MS), 29 + 2);
    port_off(port);

    // Of ten idle seconds only a tenth of one is made up for.
    port = port_up(0, "generator:rate=10000");
    received_in(port, 10 * MS, 1 * MS);
    now_ns += 10000ull * MS;
    CHECK_BETWEEN(take_all(port), 1000, 1002);
    port_off(port);

    // As fast as they are taken, and no faster: with flow control nothing is missed.
    port = port_up_with_pause(0, "generator");
    for (unsigned i = 0; i < 10000; i++) sim_step(port->device);
    CHECK(sim_pause_wanted(port->device));
    CHECK_EQ(get(port, IXGBE_RXMPC), 0);
    port_off(port);
}

// Pace: 10 Gbit/s is 14880.95 of the smallest frames a millisecond, and 812.7 of the largest without jumbo.
// An idle line may catch up 16 µs at the start.
enum { CREDIT_60 = 240, CREDIT_1514 = 15 };

static void test_paced(void) {
    struct port *port = port_up(0, "generator,paced");
    unsigned count = received_in(port, 10 * MS, 10000);
    CHECK_BETWEEN(count, 148810 - 1, 148810 + CREDIT_60);
    port_off(port);

    port = port_up(0, "generator:size=1514,paced");
    count = received_in(port, 10 * MS, 10000);
    CHECK_BETWEEN(count, 8127 - 1, 8127 + CREDIT_1514);
    port_off(port);

    const char *kinds[] = {"sink,paced", "cable,paced,alone=quiet", "unplugged,paced"};
    for (unsigned kind = 0; kind < 3; kind++) {
        port = port_on(0, kinds[kind]);
        now_ns += 1000 * MS;
        count = 0;
        for (uint64_t end = now_ns + 1 * MS; now_ns < end; now_ns += 10000) {
            while (send_frame(port, said, 60) == 0) count++;
        }
        CHECK_BETWEEN(count, 14881 - 160, 14881 + CREDIT_60);
        port_off(port);
    }

    // One paced end is enough: the line is slow for both.
    struct port *a = port_up(0, "cable,paced"), *b = port_up(1, "cable");
    now_ns += 1000 * MS;
    unsigned from_a = 0, from_b = 0;
    for (uint64_t end = now_ns + 1 * MS; now_ns < end; now_ns += 10000) {
        while (send_frame(a, said, 60) == 0) from_a++;
        while (send_frame(b, said, 60) == 0) from_b++;
        take_all(a);
        take_all(b);
    }
    CHECK_BETWEEN(from_a, 14881 - 160, 14881 + CREDIT_60);
    CHECK_BETWEEN(from_b, 14881 - 160, 14881 + CREDIT_60);
    port_off(a);
    port_off(b);
}

int main(void) {
    char machine[32];
    snprintf(machine, sizeof machine, "test-%d", (int)getpid());
    setenv("SIM82599_MACHINE", machine, 1);
    if (!mkdtemp(scratch)) return 1;
    setvbuf(stdout, NULL, _IOLBF, 0);  // the children begin with nothing to print
    alarm(280);

    test_texts();
    test_light();
    test_cable();
    test_pause();
    test_other_end_in_another_wire();
    test_claims();
    test_contended_claims();
    test_removed_file();
    test_bad_machines();
    test_far_cable();
    test_far_end_stops_or_dies();
    test_far_receiver_is_closed();
    test_far_sender_leaves();
    test_nonsense_in_shared_memory();
    test_neighbour();
    test_replay_formats();
    test_replay_options();
    test_record();
    test_bad_captures();
    test_generator();
    test_paced();

    lines_of("rm -r %s", scratch);
    CHECK(access(machine_path(), F_OK) != 0);
    return test_summary();
}
