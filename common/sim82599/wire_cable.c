// The cable between port 0 and port 1 of a machine.
//
// Where the port at the other end lives decides what a cable is. In the same process a frame goes straight into the
// other port. In another process of the same user it goes through a ring in shared memory (machine.h), which that
// process empties whenever it polls. With nobody there, frames are gone, and after a moment the neighbour is heard:
// as if the port had been plugged into an office switch instead.
//
// A cable loses what the port at the other end cannot take, as a real one does, unless both ports have agreed on flow
// control: then the sender keeps the frame until there is room.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ixgbe_regs.h"
#include "machine.h"
#include "wire_kinds.h"

struct cable {
    struct line line;
    unsigned port;
    bool alone_quiet;
    uint64_t checked_ns;  // when we last asked whether the owner of the other end is still alive
    struct neighbour neighbour;
    struct sim_pauses told, heard;  // PAUSE frames: our port's that the other end knows of, and the other way round
};

enum { CHECK_NS = 10 * 1000 * 1000 };

// The ends that are in this process.
static struct cable *ends[MACHINE_PORTS];

static unsigned other_port(const struct cable *cable) { return cable->port ^ 1; }

static struct cable *other_end_here(const struct cable *cable) {
    return machine_claims[other_port(cable)] ? ends[other_port(cable)] : NULL;
}

// The ring. A record is a frame's length, the frame, and padding to 8 bytes; it is never split. Where the next one
// does not fit in front of the end, a length of SKIP says that the rest is unused. A frame that was sent by a port
// which obeys PAUSE says so, since by the time it is taken out that port may have been reset, or be gone.

enum { RECORD_HEADER = 4, RECORD_ALIGN = 8, MAY_BE_PAUSED = 1 << 30 };
static const uint32_t SKIP = UINT32_MAX;

static uint32_t record_size(uint32_t length) {
    return (RECORD_HEADER + length + RECORD_ALIGN - 1) / RECORD_ALIGN * RECORD_ALIGN;
}

static bool ring_put(struct machine_ring *ring, const void *frame, uint32_t length, bool may_be_paused) {
    uint64_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_acquire);
    uint32_t at = head % MACHINE_RING_SIZE, to_end = MACHINE_RING_SIZE - at;
    uint32_t skip = record_size(length) > to_end ? to_end : 0;
    if (head - tail + skip + record_size(length) > MACHINE_RING_SIZE) return false;
    if (skip) {
        memcpy(ring->bytes + at, &SKIP, sizeof SKIP);
        head += skip;
        at = 0;
    }
    uint32_t header = length | (may_be_paused ? MAY_BE_PAUSED : 0);
    memcpy(ring->bytes + at, &header, sizeof header);
    memcpy(ring->bytes + at + RECORD_HEADER, frame, length);
    atomic_store_explicit(&ring->head, head + record_size(length), memory_order_release);
    return true;
}

// The oldest frame, to be looked at in place until ring_release; NULL: there is none. The other process is no more
// trusted than any user's program should be with memory of its own: nonsense in the ring empties it.
static const void *ring_first(struct machine_ring *ring, uint32_t *length, bool *may_be_paused) {
    uint64_t head = atomic_load_explicit(&ring->head, memory_order_acquire);
    uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    while (head != tail) {
        uint32_t at = tail % MACHINE_RING_SIZE, to_end = MACHINE_RING_SIZE - at;
        uint32_t header;
        memcpy(&header, ring->bytes + at, sizeof header);
        *may_be_paused = header & MAY_BE_PAUSED;
        *length = header & ~(uint32_t)MAY_BE_PAUSED;
        if (*length <= SIM_MAX_FRAME && record_size(*length) <= to_end && record_size(*length) <= head - tail) {
            atomic_store_explicit(&ring->tail, tail, memory_order_relaxed);
            return ring->bytes + at + RECORD_HEADER;
        }
        tail = header == SKIP && to_end <= head - tail ? tail + to_end : head;
    }
    atomic_store_explicit(&ring->tail, tail, memory_order_release);
    return NULL;
}

static void ring_release(struct machine_ring *ring, uint32_t length) {
    uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    atomic_store_explicit(&ring->tail, tail + record_size(length), memory_order_release);
}

static void ring_empty(struct machine_ring *ring) {
    atomic_store_explicit(&ring->tail, atomic_load_explicit(&ring->head, memory_order_acquire), memory_order_release);
}

// Both ends tell each other how many PAUSE frames their ports have sent, and the ports count them as if they had
// come.

static struct sim_pauses pauses_of(unsigned port) {
    const struct machine_port *shared = machine_port(port);
    if (!shared) return (struct sim_pauses){0};
    return (struct sim_pauses){atomic_load_explicit(&shared->xon, memory_order_relaxed),
                               atomic_load_explicit(&shared->xoff, memory_order_relaxed)};
}

static struct sim_pauses pauses_since(struct sim_pauses now, struct sim_pauses before) {
    return (struct sim_pauses){now.xon - before.xon, now.xoff - before.xoff};
}

static void exchange_pauses(struct cable *cable) {
    struct sim_pauses sent = sim_pauses_sent(cable->line.wire.port), sent_there = pauses_of(other_port(cable));
    struct sim_pauses ours = pauses_since(sent, cable->told), theirs = pauses_since(sent_there, cable->heard);
    if (machine_port(cable->port) && (ours.xon || ours.xoff)) {
        atomic_fetch_add_explicit(&machine_port(cable->port)->xon, ours.xon, memory_order_relaxed);
        atomic_fetch_add_explicit(&machine_port(cable->port)->xoff, ours.xoff, memory_order_relaxed);
        cable->told = sent;
    }
    if (theirs.xon || theirs.xoff) {
        cable->heard = sent_there;
        sim_pauses_received(cable->line.wire.port, theirs);
    }
}

// Both ends in this process.

static unsigned send_here(struct cable *cable, struct cable *other, const struct wire_frame *frames, unsigned count) {
    return sim_receive_burst(other->line.wire.port, frames, count, sim_pause_honoured(cable->line.wire.port));
}

// The other end in another process.

// FCCFG.TFCE is 1 where the port answers a full buffer with PAUSE frames (8.2.3.3.7).
static bool sends_pause(const struct sim_device *port) {
    return (sim_peek(port, IXGBE_FCCFG) & IXGBE_FCCFG_TFCE) == 1u << IXGBE_FCCFG_TFCE_SHIFT;
}

static uint32_t describe_end(const struct sim_device *port) {
    return END_IS_CABLE | (sim_laser_on(port) ? END_LASER_ON : 0) |
           (sim_receiver_open(port) ? END_RECEIVER_OPEN : 0) | (sends_pause(port) ? END_SENDS_PAUSE : 0);
}

static void check_life(struct cable *cable) {
    uint64_t now = sim_now(cable->line.wire.port);
    if (now - cable->checked_ns < CHECK_NS) return;
    cable->checked_ns = now;
    machine_forget_dead(other_port(cable));
}

// False: the sender keeps the frame, because the other end is full and would have asked for a PAUSE.
static bool put_elsewhere(struct cable *cable, const struct wire_frame *frame) {
    uint32_t other = machine_flags(other_port(cable));
    if (!(other & END_RECEIVER_OPEN) || frame->length > SIM_MAX_FRAME) return true;
    bool may_be_paused = sim_pause_honoured(cable->line.wire.port);
    struct machine_ring *ring = &machine_port(other_port(cable))->arriving;
    if (ring_put(ring, frame->bytes, frame->length, may_be_paused)) return true;
    check_life(cable);
    return !(other & END_SENDS_PAUSE && may_be_paused);
}

static unsigned send_elsewhere(struct cable *cable, const struct wire_frame *frames, unsigned count) {
    unsigned taken = 0;
    while (taken < count && put_elsewhere(cable, &frames[taken])) taken++;
    return taken;
}

static unsigned poll_elsewhere(struct cable *cable, unsigned budget) {
    struct sim_device *port = cable->line.wire.port;
    struct machine_ring *ring = &machine_port(cable->port)->arriving;
    unsigned done = 0;
    uint32_t length;
    bool may_be_paused;
    const void *frame;
    if (!sim_receiver_open(port)) ring_empty(ring);  // it hears nothing now, and nothing of this later
    while (done < budget && (frame = ring_first(ring, &length, &may_be_paused)) &&
           pacer_ready(&cable->line.in, port)) {
        if (may_be_paused && sim_pause_wanted(port)) break;
        line_deliver(&cable->line, frame, length);
        ring_release(ring, length);
        done++;
    }
    return done;
}

// What the port sees of it.

static unsigned carry(struct cable *cable, struct cable *other, const struct wire_frame *frames, unsigned count) {
    return other ? send_here(cable, other, frames, count) : send_elsewhere(cable, frames, count);
}

static bool line_is_free(struct cable *cable, struct cable *other) {
    if (other && !pacer_ready(&other->line.in, other->line.wire.port)) return false;
    return pacer_ready(&cable->line.out, cable->line.wire.port);
}

// A paced line takes one frame at a time.
static unsigned cable_send(struct wire *wire, const struct wire_frame *frames, unsigned count) {
    struct cable *cable = (struct cable *)wire;
    struct cable *other = other_end_here(cable);
    if (!cable->line.out.on && !(other && other->line.in.on)) return carry(cable, other, frames, count);
    unsigned taken = 0;
    while (taken < count && line_is_free(cable, other) && carry(cable, other, &frames[taken], 1)) {
        pacer_count(&cable->line.out, frames[taken].length);
        if (other) pacer_count(&other->line.in, frames[taken].length);
        taken++;
    }
    return taken;
}

static unsigned cable_poll(struct wire *wire, unsigned budget) {
    struct cable *cable = (struct cable *)wire;
    exchange_pauses(cable);
    if (other_end_here(cable)) {
        neighbour_hush(&cable->neighbour);
        return 0;
    }
    machine_publish(cable->port, describe_end(wire->port));
    check_life(cable);
    // What was sent before the other end went away still arrives.
    unsigned arrived = poll_elsewhere(cable, budget);
    if (arrived || machine_flags(other_port(cable))) {
        neighbour_hush(&cable->neighbour);
        return arrived;
    }
    return cable->alone_quiet ? 0 : neighbour_poll(&cable->neighbour, &cable->line, budget);
}

static bool cable_carrier(const struct wire *wire) {
    const struct cable *cable = (const struct cable *)wire;
    const struct cable *other = other_end_here(cable);
    if (other) return sim_laser_on(other->line.wire.port);
    uint32_t flags = machine_flags(other_port(cable));
    return !flags || flags & END_LASER_ON;
}

static void cable_close(struct wire *wire) {
    struct cable *cable = (struct cable *)wire;
    machine_publish(cable->port, 0);
    ends[cable->port] = NULL;
    free(cable);
}

static const struct wire_ops cable_ops = {"cable", cable_send, cable_poll, cable_carrier, cable_close};

int wire_cable(const struct wire_options *options, struct sim_device *port, struct line **line) {
    unsigned number = sim_port(port);
    if (number >= MACHINE_PORTS || ends[number]) {
        wire_complain("port %u has no free end of a cable; a cable joins port 0 and port 1", number);
        return -EINVAL;
    }
    struct cable *cable = calloc(1, sizeof *cable);
    if (!cable) return -ENOMEM;
    cable->line.wire.ops = &cable_ops;
    cable->port = number;
    cable->alone_quiet = options->alone_quiet;
    cable->told = sim_pauses_sent(port);
    cable->heard = pauses_of(number ^ 1);
    ends[number] = cable;
    *line = &cable->line;
    return 0;
}
