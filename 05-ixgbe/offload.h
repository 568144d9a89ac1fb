// offload.h: work on a packet that the card can do in its program's place.
//
// Computing checksums, cutting a long stretch of TCP data into packets (TSO) and putting in a VLAN tag cost the
// processor a pass over the data, and the card, which passes over it anyway, nothing. Each is asked for packet by
// packet, in `request` of its first buffer (mempool.h). These functions fill that in; whoever knows better where the
// headers are may do it by hand. All headers must lie in the first buffer.
//
// The other way round nothing needs to be asked for: what the card found out about a received packet is in `flags`.
#pragma once

#include <stdint.h>

#include "mempool.h"

// The most data that one TSO request may hold: as much as an IP packet's length field can say.
enum { OFFLOAD_LARGEST_SEND = 65535 };

// Makes the card fill in the checksums: that of the IPv4 header if there is one, and that of TCP, UDP or SCTP if the
// packet has one of them and is no fragment. What stands in the checksum fields is overwritten. 0; -EPROTONOSUPPORT
// if there is nothing that the card could compute, and then nothing is asked for; -EINVAL for headers that are cut
// short, or that speak of more than there is. Handles Ethernet II with one VLAN tag or none, IPv4 with options, and
// IPv6 without extension headers.
int offload_checksums(struct packet_buffer *packet);

// Makes the card cut the packet's TCP data into segments of `segment_size` bytes, 1 to 9216, each with its own copy
// of the headers, lengths, sequence numbers and checksums put right. Errors as above; -EPROTONOSUPPORT if it is not
// TCP, -EINVAL if nothing follows its header, -EMSGSIZE if the packet is longer than OFFLOAD_LARGEST_SEND.
int offload_segments(struct packet_buffer *packet, uint16_t segment_size);

// Makes the card put a VLAN tag in: priority in bits 15 to 13, VLAN in 11 to 0.
void offload_vlan(struct packet_buffer *packet, uint16_t tag);

// Appends a buffer, or a packet of several, to a packet.
void packet_append(struct packet_buffer *packet, struct packet_buffer *rest);

// Bytes in all buffers of the packet.
uint32_t packet_length(const struct packet_buffer *packet);
