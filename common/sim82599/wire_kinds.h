// wire_kinds.h: what the kinds of wire have in common: their options, the pace of the line, how they are opened.
//
// Every kind is a struct that begins with a struct line, which begins with the struct wire that the port knows. A
// record is none of its own: it goes between a port and any of them.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "observe.h"
#include "sim.h"
#include "wire.h"

// The text after the kind's name, taken apart. What was not given is 0, false or NULL.
struct wire_options {
    const char *argument;  // FILE or NAME
    const char *record;
    bool paced, alone_quiet, loop, fast;
    uint64_t size, rate, flows;
};

// One direction of a line that carries no more than 10 Gbit/s. Time is counted in tenths of a nanosecond: a bit.
// The port is stepped now and then and not all the time, so a line that was idle may catch up a little.
struct pacer {
    bool on;
    uint64_t now;         // the device's clock when it was last looked at
    uint64_t busy_until;  // the last bit counted leaves then
};

enum { PACER_CREDIT = 16 * 1000 * 10 };  // 16 µs, about one jumbo frame

static inline bool pacer_ready(struct pacer *pacer, const struct sim_device *port) {
    if (!pacer->on || pacer->busy_until <= pacer->now) return true;
    pacer->now = sim_now(port) * 10;
    return pacer->busy_until <= pacer->now;
}

// A frame takes its bytes, CRC (4), padding up to 64, preamble and start (8) and the gap to the next frame (12).
static inline void pacer_count(struct pacer *pacer, uint32_t length) {
    if (!pacer->on) return;
    uint64_t bytes = (length + 4 < 64 ? 64 : length + 4) + 20;
    uint64_t earliest = pacer->now > PACER_CREDIT ? pacer->now - PACER_CREDIT : 0;
    if (pacer->busy_until < earliest) pacer->busy_until = earliest;
    pacer->busy_until += bytes * 8;
}

struct line {
    struct wire wire;
    struct pacer out, in;  // seen from the port
};

// What a polite link partner asks before each frame, and does with it then.
static inline bool line_may_deliver(struct line *line) {
    return pacer_ready(&line->in, line->wire.port) && !sim_pause_wanted(line->wire.port);
}

static inline void line_deliver(struct line *line, const void *frame, uint32_t length) {
    pacer_count(&line->in, length);
    sim_receive(line->wire.port, frame, length);
}

// For wires whose far end only talks: takes every frame at the line's pace, and forgets it.
unsigned line_swallow(struct wire *wire, const struct wire_frame *frames, unsigned count);
bool line_has_light(const struct wire *wire);
void line_free(struct wire *wire);

// Open one kind: 0, or a negative errno after saying why. wire_plug fills in the port and the pace.
int wire_cable(const struct wire_options *options, struct sim_device *port, struct line **line);
int wire_replay(const struct wire_options *options, struct sim_device *port, struct line **line);
int wire_generator(const struct wire_options *options, struct sim_device *port, struct line **line);
int wire_tap(const struct wire_options *options, struct sim_device *port, struct line **line);

// The wire `under` with a record of what its port sends, in a pcap file. Unplugging it unplugs both.
int wire_record(const char *path, struct wire *under, struct wire **wire);

// What is heard on a cable at whose other end nobody drives a port (wire_neighbour.c).
struct neighbour {
    uint64_t next_ns;  // when the next frame is due; 0: not listening yet
    unsigned step;     // in the script, and how often the script has been played
    uint32_t round;
    uint32_t tcp_next[2];  // the next sequence number of the TCP client and server
    uint8_t our_mac[6];    // the port's, as of the frame that is being written
};

void neighbour_hush(struct neighbour *neighbour);
unsigned neighbour_poll(struct neighbour *neighbour, struct line *line, unsigned budget);

// The address that the port answers to now: RAL[0] and RAH[0] (8.2.3.7.9).
void wire_port_mac(const struct sim_device *port, uint8_t mac[6]);

// One line on standard error.
__attribute__((format(printf, 1, 2))) void wire_complain(const char *format, ...);
