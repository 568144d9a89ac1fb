// wire.h: what a port's cable is plugged into.
//
// A wire end belongs to one port. The transmit engine hands it frames, each step polls it for frames that came in,
// and it says whether there is light on the fibre. Frames travel without preamble and CRC, and in bursts: what goes
// on between two ports is then looked up once for many frames.
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct sim_device;
struct wire;

struct wire_frame {
    const uint8_t *bytes;
    uint32_t length;
};

struct wire_ops {
    const char *name;
    // Returns how many frames the wire has taken, from the first one on (they may still be lost on the way). Fewer
    // than `count`: the partner asked for a PAUSE or the line is busy (paced wires); the transmit engine keeps the
    // others and tries again in a later step.
    unsigned (*send)(struct wire *wire, const struct wire_frame *frames, unsigned count);
    // Give the port what has arrived, by sim_receive(), at most `budget` frames. Returns how many.
    unsigned (*poll)(struct wire *wire, unsigned budget);
    bool (*carrier)(const struct wire *wire);
    void (*close)(struct wire *wire);
};

struct wire {
    const struct wire_ops *ops;
    struct sim_device *port;
};

// Plugs port's cable in, as a text says:
//   cable                       the other port of this machine, in this process or in another one of the same user
//   cable,alone=quiet           the same, but with nobody driving the other end there is silence; without this a
//                               small realistic mix of traffic is heard then
//   replay:FILE[,loop][,fast]   the frames of a pcap file, at their own pace or as fast as they are taken
//   generator[:size=N][,rate=PPS][,flows=N]   numbered UDP frames; no rate: as fast as they are taken
//   sink                        light, and nobody there
//   tap:NAME                    a TAP interface of the host
//   unplugged                   no light
// and after any
//   ,paced                      no faster than 10 Gbit/s, preamble, CRC and gap counted
//   ,record=FILE                what the port sends goes into a pcap file too
// Returns 0, -EINVAL after saying what is wrong with the text, or what failed underneath, after saying so.
int wire_plug(const char *text, struct sim_device *port, struct wire **wire);
void wire_unplug(struct wire *wire);

// The machine that the ports of several processes stand in: a name, and the lock that makes a port exclusive.
// wire_claim_port: 0, or -EBUSY where another process has this port open (VFIO's answer to a second open of a group).
int wire_claim_port(unsigned port, struct sim_device *device);
void wire_release_port(unsigned port);
