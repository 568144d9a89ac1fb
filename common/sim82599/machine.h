// machine.h: the machine that the ports stand in, as the wires see it.
//
// Processes of one user that name the same machine ($SIM82599_MACHINE, else "default") share a small file in
// /dev/shm: for each port what its owner has to say to the other end of the cable, and the frames that are on their
// way to it. Port 0 and port 1 are joined by a cable, wherever their owners live.
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct sim_device;

enum { MACHINE_PORTS = 2, MACHINE_RING_SIZE = 2 << 20 };

// What a port's owner publishes about its end of the cable. Nothing at all: nobody is there.
enum {
    END_IS_CABLE = 1,  // the port is plugged into the cable, not into some other wire
    END_LASER_ON = 2,
    END_RECEIVER_OPEN = 4,  // a frame would be looked at
    END_SENDS_PAUSE = 8,
};

// Frames on their way into a port, from the process that owns the other port. One writer, one reader, no lock; head
// and tail count bytes since the beginning and never wrap, the place in `bytes` is their remainder.
struct machine_ring {
    _Alignas(64) _Atomic uint64_t head;  // written by the sending process only
    _Alignas(64) _Atomic uint64_t tail;  // written by the receiving process only
    _Alignas(64) uint8_t bytes[MACHINE_RING_SIZE];
};

struct machine_port {
    // PAUSE frames that the port has sent, whoever owned it.
    _Alignas(64) _Atomic uint32_t xon;
    _Atomic uint32_t xoff;
    // The flags above in the lower half; the upper half counts claims, so that a dead owner's flags cannot be
    // mistaken for its successor's.
    _Alignas(64) _Atomic uint64_t state;
    struct machine_ring arriving;
};

// The ports that this process has claimed, NULL for the others. Read it on the hot path; machine.c writes it.
extern struct sim_device *machine_claims[MACHINE_PORTS];

// The shared side of a port; NULL while this process has claimed no port, and so shares nothing.
struct machine_port *machine_port(unsigned port);

// Says `flags` about a port that this process has claimed.
void machine_publish(unsigned port, uint32_t flags);
// What the port's owner has last said, in whatever process it is; 0: there is no owner, or it has said nothing.
uint32_t machine_flags(unsigned port);
// An owner that was killed leaves its flags behind. Asks the kernel (one system call) whether the port's lock is
// still held, and takes the flags back if not.
void machine_forget_dead(unsigned port);
