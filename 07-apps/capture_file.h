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

struct capture_file {
    int pipe;
    pid_t writer;
    int error;  // the first thing that went wrong; from then on nothing is written
    char *buffer;
    uint32_t used;
    uint32_t snaplen;
    bool for_a_reader;  // what is written goes to a program, and not into a file
    bool (*give_up)(void);
    uint64_t deadline_ns;  // for the reader, once give_up has said so
    uint64_t *in_file;     // packets; counted by the writer, in memory that both share
};

// Creates or empties the file at `path`; "-" is standard output. Packets are cut to `snaplen` bytes. Where nobody
// reads what is written, a flush waits; `give_up`, if not NULL, says when that should come to an end. 0 or a negative
// errno after saying why. Call it before anything that a child process must not inherit, such as an open device.
int capture_open(struct capture_file *file, const char *path, uint32_t snaplen, bool (*give_up)(void));

// One packet of `length` bytes that arrived at `time_ns` since 1970. It is on its way to the file after the next
// capture_flush, at the latest. 0 or a negative errno.
int capture_add(struct capture_file *file, uint64_t time_ns, const void *packet, uint32_t length);
int capture_flush(struct capture_file *file);

// Flushes, and waits until everything is in the file, unless that was given up. *packets: how many are. 0, or the
// negative errno of whatever went wrong since open.
int capture_close(struct capture_file *file, uint64_t *packets);
