// Any wire, with somebody listening to what the port sends.
//
// Every frame that the wire has taken goes into a pcap file too, with the device's time, and without its CRC. Each is
// one write, so the file is whole at every moment, whatever happens to the program.
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/uio.h>
#include <unistd.h>

#include "wire_kinds.h"

struct record {
    struct wire wire;
    struct wire *under;
    int file;
    off_t size;  // of what is whole in it
};

// Whole or not at all: on a full disk a write may end in the middle.
static int write_parts(struct record *record, const struct iovec parts[2]) {
    ssize_t size = (ssize_t)(parts[0].iov_len + parts[1].iov_len), written = writev(record->file, parts, 2);
    if (written == size) {
        record->size += size;
        return 0;
    }
    int error = written < 0 ? -errno : -ENOSPC;
    if (written > 0 && ftruncate(record->file, record->size) < 0) error = -errno;
    return error;
}

// The classic format, with times in nanoseconds: see wire_replay.c.
static int write_file_header(struct record *record) {
    uint32_t magic = 0xa1b23c4d;
    const struct {
        uint16_t major, minor;
        uint32_t zone, accuracy, longest, link;
    } header = {2, 4, 0, 0, SIM_MAX_FRAME, 1};
    return write_parts(record, (const struct iovec[]){{&magic, sizeof magic}, {(void *)&header, sizeof header}});
}

static void write_frame(struct record *record, const struct wire_frame *frame) {
    uint64_t now = sim_now(record->wire.port);
    uint32_t length = frame->length;
    uint32_t header[4] = {(uint32_t)(now / 1000000000), (uint32_t)(now % 1000000000), length, length};
    int error = write_parts(record, (const struct iovec[]){{header, sizeof header}, {(void *)frame->bytes, length}});
    if (!error) return;
    wire_complain("record: writing stopped; the frames before are in the file: %s", strerror(-error));
    close(record->file);
    record->file = -1;
}

static unsigned record_send(struct wire *wire, const struct wire_frame *frames, unsigned count) {
    struct record *record = (struct record *)wire;
    unsigned taken = record->under->ops->send(record->under, frames, count);
    for (unsigned i = 0; i < taken && record->file >= 0; i++) write_frame(record, &frames[i]);
    return taken;
}

static unsigned record_poll(struct wire *wire, unsigned budget) {
    struct wire *under = ((struct record *)wire)->under;
    return under->ops->poll(under, budget);
}

static bool record_carrier(const struct wire *wire) {
    const struct wire *under = ((const struct record *)wire)->under;
    return under->ops->carrier(under);
}

static void record_close(struct wire *wire) {
    struct record *record = (struct record *)wire;
    wire_unplug(record->under);
    if (record->file >= 0) close(record->file);
    free(record);
}

static const struct wire_ops record_ops = {"record", record_send, record_poll, record_carrier, record_close};

// Two ports in one file would overwrite each other.
static int open_file(struct record *record, const char *path) {
    record->file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    if (record->file < 0 || flock(record->file, LOCK_EX | LOCK_NB) < 0)
        return errno == EWOULDBLOCK ? -EEXIST : -errno;
    if (ftruncate(record->file, 0) < 0 && errno != EINVAL) return -errno;  // EINVAL: a pipe
    return write_file_header(record);
}

int wire_record(const char *path, struct wire *under, struct wire **wire) {
    struct record *record = calloc(1, sizeof *record);
    if (!record) return -ENOMEM;
    int error = open_file(record, path);
    if (error) {
        wire_complain("record: cannot write %s: %s", path,
                      error == -EEXIST ? "another port records there" : strerror(-error));
        if (record->file >= 0) close(record->file);
        free(record);
        return error;
    }
    record->wire = (struct wire){&record_ops, under->port};
    record->under = under;
    *wire = &record->wire;
    return 0;
}
