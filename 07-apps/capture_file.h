// capture_file.h: a pcap file that is whole at every moment.
//
// The format is small: a 24-byte header, then for each packet 16 bytes of time and lengths, and its bytes. A reader
// that finds half a packet at the end calls the file damaged. But a write that is under way when a process is killed
// may stop half way, and so may one that fills the disk. So the file is written by a process of its own: the
// capturing program feeds it through a pipe, and whatever happens to that program, the writer writes out the whole
// packets that it has, and only those. If the disk is full, it cuts the file back to the last whole packet and says
// so.
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "mempool.h"

// Where it goes. The capturing program and the writer have one each, but share the descriptor's place in the file.
struct capture_output {
    int fd;
    const char *path;
    off_t whole;        // bytes of ours in the file, up to the last whole packet
    uint64_t *packets;  // of these; counted by the writer, in memory that both share
    bool is_file;       // and not a pipe, say
    bool all_ours;      // a file that was empty, or is to be emptied: so it can be cut back
    bool created;       // by us
};

struct capture_file {
    struct capture_output output;
    bool begun;
    int pipe;
    pid_t writer;
    int error;  // the first thing that went wrong; from then on nothing is written
    char *buffer;
    uint32_t used;
    uint32_t snaplen;
    bool (*give_up)(void);
    uint64_t deadline_ns;  // for the reader, once give_up has said so
};

// Opens the file at `path`, or creates it; "-" is standard output. `path` must stay. Another capture into the same
// file is -EBUSY. Packets are cut to `snaplen` bytes. Where nobody reads what is written, a flush waits; `give_up`,
// if not NULL, says when that should come to an end. 0 or a negative errno after saying why. Call it before anything
// that a child process must not inherit, such as an open device.
int capture_open(struct capture_file *file, const char *path, uint32_t snaplen, bool (*give_up)(void));

// Empties the file and writes its header. Until then, what was in it is still there; so call it once nothing else can
// fail, and before the first packet. 0 or a negative errno after saying why.
int capture_begin(struct capture_file *file);

// A packet, of one buffer or several, that arrived at `time_ns` since 1970. It is copied, and on its way to the file
// after the next capture_flush, at the latest. 0 or a negative errno.
int capture_add(struct capture_file *file, uint64_t time_ns, const struct packet_buffer *packet);
int capture_flush(struct capture_file *file);

// Flushes, and waits until everything is in the file, unless that was given up. A file that was created and never
// begun is removed. *packets: how many are in the file. 0, or the negative errno of whatever went wrong since open.
int capture_close(struct capture_file *file, uint64_t *packets);
