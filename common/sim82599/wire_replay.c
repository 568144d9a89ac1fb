// A far end that plays back a capture file.
//
// The classic pcap format: a header of 24 bytes whose first number says in which byte order the file is and whether
// its timestamps count micro- or nanoseconds; then records, each a header of 16 bytes (seconds, fraction, bytes in
// the file, bytes there were) and the frame. The whole file is checked before the first frame is sent, so a broken
// one is refused at once and not in the middle.
//
// The distance between two frames is that of their timestamps, on the device's clock. `fast` sends as fast as the
// port takes them; `loop` begins again after the last one.
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "wire_kinds.h"

enum { FILE_HEADER = 24, RECORD_HEADER = 16, LINK_ETHERNET = 1, ETHERNET_HEADER = 14 };

struct replay {
    struct line line;
    const uint8_t *file;
    size_t size;
    bool swapped, loop, fast;
    uint64_t fraction_ns;  // what the timestamps' fraction counts
    size_t at;             // of the next record
    bool running;
    uint64_t offset_ns;  // from the file's clock to the device's, modulo 2^64
};

struct record {
    uint64_t time_ns;
    uint32_t length;
    const uint8_t *frame;
};

static uint32_t number_at(const struct replay *replay, size_t at) {
    uint32_t number;
    memcpy(&number, replay->file + at, sizeof number);
    return replay->swapped ? __builtin_bswap32(number) : number;
}

static struct record record_at(const struct replay *replay, size_t at) {
    return (struct record){
        .time_ns = number_at(replay, at) * 1000000000ull + number_at(replay, at + 4) * replay->fraction_ns,
        .length = number_at(replay, at + 8),
        .frame = replay->file + at + RECORD_HEADER,
    };
}

static int check_file_header(struct replay *replay, const char *name) {
    static const struct {
        uint32_t magic;
        bool swapped;
        uint32_t fraction_ns;
    } formats[] = {
        {0xa1b2c3d4, false, 1000},
        {0xd4c3b2a1, true, 1000},
        {0xa1b23c4d, false, 1},
        {0x4d3cb2a1, true, 1},
    };
    uint32_t magic = replay->size >= sizeof magic ? number_at(replay, 0) : 0;
    for (unsigned i = 0; i < sizeof formats / sizeof *formats; i++) {
        if (magic != formats[i].magic) continue;
        replay->swapped = formats[i].swapped;
        replay->fraction_ns = formats[i].fraction_ns;
    }
    if (magic == 0x0a0d0d0a) {
        wire_complain("replay: %s is a pcapng file; convert it with: tcpdump -r %s -w new.pcap", name, name);
        return -EINVAL;
    }
    if (!replay->fraction_ns || replay->size < FILE_HEADER) {
        wire_complain("replay: %s is not a pcap file", name);
        return -EINVAL;
    }
    uint32_t link = number_at(replay, 20) & 0xffff;  // above are flags
    if (link != LINK_ETHERNET) {
        wire_complain("replay: %s was not captured on Ethernet (its link type is %u)", name, link);
        return -EINVAL;
    }
    return 0;
}

static int check_records(const struct replay *replay, const char *name) {
    unsigned long number = 1;
    for (size_t at = FILE_HEADER; at < replay->size; number++) {
        size_t rest = replay->size - at;
        uint32_t length = rest >= RECORD_HEADER ? number_at(replay, at + 8) : 0;
        if (length > SIM_MAX_FRAME) {
            wire_complain("replay: %s: frame %lu has %u bytes, the port takes no more than %d", name, number, length,
                          SIM_MAX_FRAME);
            return -EINVAL;
        }
        if (rest < RECORD_HEADER || rest - RECORD_HEADER < length) {
            wire_complain("replay: %s: the file ends in the middle of frame %lu", name, number);
            return -EINVAL;
        }
        if (length < ETHERNET_HEADER) {
            wire_complain("replay: %s: frame %lu has %u bytes, that is no Ethernet frame", name, number, length);
            return -EINVAL;
        }
        at += RECORD_HEADER + length;
    }
    return 0;
}

static int map_file(struct replay *replay, const char *name) {
    int fd = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat status;
    if (fd < 0 || fstat(fd, &status) != 0) {
        int error = errno;
        wire_complain("replay: cannot open %s: %s", name, strerror(error));
        if (fd >= 0) close(fd);
        return -error;
    }
    void *file = MAP_FAILED;
    if (S_ISREG(status.st_mode) && status.st_size > 0) {
        file = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    }
    close(fd);
    if (file == MAP_FAILED) {
        wire_complain("replay: %s is %s", name, S_ISREG(status.st_mode) ? "empty or cannot be mapped" : "not a file");
        return -EINVAL;
    }
    replay->file = file;
    replay->size = (size_t)status.st_size;
    return 0;
}

static bool next_record(struct replay *replay, struct record *record) {
    if (replay->at == replay->size && replay->loop) {
        replay->at = FILE_HEADER;
        replay->running = false;
    }
    if (replay->at == replay->size) return false;
    *record = record_at(replay, replay->at);
    return true;
}

static bool is_due(struct replay *replay, const struct record *record, uint64_t now) {
    if (replay->fast) return true;
    if (!replay->running) replay->offset_ns = now - record->time_ns;
    replay->running = true;
    return (int64_t)(record->time_ns + replay->offset_ns - now) <= 0;
}

// Frames of a captured file lack the padding that their own NIC added behind the capture; so do those of a TAP.
static void deliver_padded(struct line *line, const struct record *record) {
    if (record->length >= SIM_MIN_FRAME) {
        line_deliver(line, record->frame, record->length);
        return;
    }
    uint8_t frame[SIM_MIN_FRAME] = {0};
    memcpy(frame, record->frame, record->length);
    line_deliver(line, frame, sizeof frame);
}

// The file's clock stands still while nobody listens.
static unsigned replay_poll(struct wire *wire, unsigned budget) {
    struct replay *replay = (struct replay *)wire;
    if (!sim_receiver_open(wire->port)) {
        replay->running = false;
        return 0;
    }
    uint64_t now = replay->fast ? 0 : sim_now(wire->port);
    unsigned done = 0;
    struct record record;
    while (done < budget && next_record(replay, &record) && is_due(replay, &record, now) &&
           line_may_deliver(&replay->line)) {
        deliver_padded(&replay->line, &record);
        replay->at += RECORD_HEADER + record.length;
        done++;
    }
    return done;
}

static void replay_close(struct wire *wire) {
    struct replay *replay = (struct replay *)wire;
    if (replay->file) munmap((void *)replay->file, replay->size);
    free(replay);
}

static const struct wire_ops replay_ops = {"replay", line_swallow, replay_poll, line_has_light, replay_close};

int wire_replay(const struct wire_options *options, struct sim_device *port, struct line **line) {
    (void)port;
    struct replay *replay = calloc(1, sizeof *replay);
    if (!replay) return -ENOMEM;
    replay->line.wire.ops = &replay_ops;
    replay->loop = options->loop;
    replay->fast = options->fast;
    replay->at = FILE_HEADER;
    int error = map_file(replay, options->argument);
    if (!error) error = check_file_header(replay, options->argument);
    if (!error) error = check_records(replay, options->argument);
    if (error) {
        replay_close(&replay->line.wire);
        return error;
    }
    if (replay->size == FILE_HEADER) replay->loop = false;  // there is nothing to begin again with
    *line = &replay->line;
    return 0;
}
