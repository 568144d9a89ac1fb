// capture_file.c: the two ends of the pipe.

#define _GNU_SOURCE
#include "capture_file.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "log.h"
#include "offload.h"

enum {
    BUFFER_SIZE = 256 * 1024,
    LAST_BYTES_MS = 2000,  // how long to wait for room in the pipe once it is time to give up
    LINKTYPE_ETHERNET = 1,
};

// All in the byte order of the machine that writes; the magic number tells a reader which that was, and that times
// are in nanoseconds.
struct file_header {
    uint32_t magic;
    uint16_t version_major, version_minor;
    uint32_t zone, accuracy;  // always 0
    uint32_t snaplen;
    uint32_t linktype;
};

struct packet_header {
    uint32_t seconds, nanoseconds;
    uint32_t length;           // bytes in the file
    uint32_t original_length;  // bytes on the wire
};

// ---- The writer's end ---------------------------------------------------------------------------------------------

static int write_all(struct capture_output *output, const char *data, size_t size) {
    while (size) {
        ssize_t done = write(output->fd, data, size);
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) return done < 0 ? -errno : -EIO;
        data += done;
        size -= (size_t)done;
    }
    return 0;
}

// How many of these bytes are whole packets? Adds the packets to *count.
static size_t whole_packets(const char *data, size_t size, uint64_t *count) {
    size_t whole = 0;
    struct packet_header header;
    while (size - whole >= sizeof header) {
        memcpy(&header, data + whole, sizeof header);
        if (size - whole - sizeof header < header.length) break;
        whole += sizeof header + header.length;
        ++*count;
    }
    return whole;
}

// Of a write that failed half way, what is whole may stay.
static int cut_back(struct capture_output *output, const char *data, int error) {
    if (error == -EPIPE) return error;  // who reads has seen enough
    if (!output->all_ours) return log_error(error, "%s: writing stopped", output->path);
    struct stat status;
    size_t reached = fstat(output->fd, &status) ? 0 : (size_t)(status.st_size - output->whole);
    output->whole += (off_t)whole_packets(data, reached, output->packets);
    if (ftruncate(output->fd, output->whole)) log_error(-errno, "%s may end with half a packet", output->path);
    return log_error(error, "%s: writing stopped; the packets before it are in the file", output->path);
}

// Packets from the pipe to the file, whole ones only, until the other end is closed or dies. Returns the exit code.
static int write_packets(struct capture_output *output, int pipe) {
    static char buffer[2 * BUFFER_SIZE];
    size_t used = 0;
    for (;;) {
        ssize_t got = read(pipe, buffer + used, sizeof buffer - used);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return 0;
        used += (size_t)got;
        uint64_t packets = 0;
        size_t whole = whole_packets(buffer, used, &packets);
        int error = write_all(output, buffer, whole);
        if (error) return -cut_back(output, buffer, error);
        output->whole += (off_t)whole;
        *output->packets += packets;
        used -= whole;
        memmove(buffer, buffer + whole, used);
    }
}

// The writer is not to die of the Ctrl-C, nor of the kill of a whole process group, that ends the capture.
static _Noreturn void run_writer(struct capture_output *output, int pipe) {
    setsid();
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    _exit(write_packets(output, pipe));
}

// ---- The capturing program's end ----------------------------------------------------------------------------------

static int open_output(struct capture_output *output, const char *path) {
    struct stat status;
    if (!strcmp(path, "-")) {
        *output = (struct capture_output){.path = "standard output", .fd = STDOUT_FILENO};
    } else {
        *output = (struct capture_output){.path = path};
        output->fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
        output->created = output->fd >= 0;
        if (!output->created) output->fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
        if (output->fd < 0) return log_error(-errno, "cannot create %s", path);
    }
    if (isatty(output->fd))
        return log_error(-EINVAL, "packets on a terminal help nobody; try: 07-apps/pcap - | tshark -r -");
    output->is_file = !fstat(output->fd, &status) && S_ISREG(status.st_mode);
    output->whole = sizeof(struct file_header);
    output->all_ours = output->is_file && (!status.st_size || output->fd != STDOUT_FILENO);
    // Two who write into one file would overwrite each other.
    if (output->is_file && flock(output->fd, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK)
        return log_error(-EBUSY, "another program is capturing to %s", output->path);
    return 0;
}

static void close_output(struct capture_output *output) {
    if (output->fd > STDERR_FILENO) close(output->fd);
    output->fd = -1;
}

static int start_writer(struct capture_file *file) {
    struct capture_output *output = &file->output;
    int ends[2];
    if (pipe2(ends, O_CLOEXEC)) return log_error(-errno, "a pipe to the writer of %s", output->path);
    fcntl(ends[1], F_SETPIPE_SZ, 1 << 20);  // room for a burst; less is fine
    fcntl(ends[1], F_SETFL, O_NONBLOCK);    // see wait_for_room
    file->writer = fork();
    if (file->writer < 0) {
        int error = log_error(-errno, "a writer for %s", output->path);
        close(ends[0]);
        close(ends[1]);
        return error;
    }
    if (!file->writer) {
        close(ends[1]);
        run_writer(output, ends[0]);
    }
    close(ends[0]);
    file->pipe = ends[1];
    return 0;
}

static int get_memory(struct capture_file *file) {
    uint64_t *packets = mmap(NULL, sizeof *packets, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    file->buffer = malloc(BUFFER_SIZE);
    file->output.packets = packets == MAP_FAILED ? NULL : packets;
    return file->buffer && file->output.packets ? 0 : log_error(-ENOMEM, "%s", file->output.path);
}

// Closes the file, and removes it if it is new and nothing was written to it.
static void release(struct capture_file *file) {
    if (!file->begun && file->output.created) unlink(file->output.path);
    close_output(&file->output);
    free(file->buffer);
    if (file->output.packets) munmap(file->output.packets, sizeof *file->output.packets);
}

int capture_open(struct capture_file *file, const char *path, uint32_t snaplen, bool (*give_up)(void)) {
    *file = (struct capture_file){.pipe = -1, .snaplen = snaplen, .give_up = give_up};
    // A writer that has given up, or a file that is too large, is an error to handle, not a reason to die.
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    int error = open_output(&file->output, path);
    if (!error) error = get_memory(file);
    if (!error) error = start_writer(file);
    if (error) release(file);
    return error;
}

int capture_begin(struct capture_file *file) {
    struct capture_output *output = &file->output;
    struct file_header header = {.magic = 0xa1b23c4d,
                                 .version_major = 2,
                                 .version_minor = 4,
                                 .snaplen = file->snaplen,
                                 .linktype = LINKTYPE_ETHERNET};
    if (output->all_ours && ftruncate(output->fd, 0)) return log_error(-errno, "cannot empty %s", output->path);
    int error = write_all(output, (const char *)&header, sizeof header);
    if (error) {
        log_error(error, "cannot write to %s", output->path);
        if (output->all_ours && ftruncate(output->fd, 0)) log_error(-errno, "%s holds half a header", output->path);
    }
    file->begun = !error;
    close_output(output);
    return error;
}

// The writer waits for whoever reads what it writes, and we wait for the writer. But a program that is to end must
// not leave its card running because of that. So from then on there is a deadline.
static int check_reader(struct capture_file *file) {
    if (file->output.is_file || !file->give_up || !file->give_up()) return 0;
    if (!file->deadline_ns) file->deadline_ns = clock_ns() + LAST_BYTES_MS * 1000000ull;
    if (clock_ns() < file->deadline_ns) return 0;
    return log_error(-ETIMEDOUT, "nobody reads what was captured; the last of it may be lost");
}

static int wait_for_room(struct capture_file *file) {
    struct pollfd room = {.fd = file->pipe, .events = POLLOUT};
    int error = 0;
    while (!error && poll(&room, 1, 100) <= 0) error = check_reader(file);
    return error;
}

int capture_flush(struct capture_file *file) {
    for (uint32_t sent = 0; !file->error && sent < file->used;) {
        ssize_t done = write(file->pipe, file->buffer + sent, file->used - sent);
        if (done > 0)
            sent += (uint32_t)done;
        else if (errno == EAGAIN)
            file->error = wait_for_room(file);
        else if (errno != EINTR)
            file->error = -errno;
    }
    file->used = 0;
    return file->error;
}

int capture_add(struct capture_file *file, uint64_t time_ns, const struct packet_buffer *packet) {
    uint32_t length = packet_length(packet);
    struct packet_header header = {
        .seconds = (uint32_t)(time_ns / 1000000000),
        .nanoseconds = (uint32_t)(time_ns % 1000000000),
        .length = length < file->snaplen ? length : file->snaplen,
        .original_length = length,
    };
    if (file->used + sizeof header + header.length > BUFFER_SIZE) capture_flush(file);
    if (file->error) return file->error;
    memcpy(file->buffer + file->used, &header, sizeof header);
    file->used += (uint32_t)sizeof header;
    for (uint32_t left = header.length, size; left; left -= size, packet = packet->next) {
        size = left < packet->length ? left : packet->length;
        memcpy(file->buffer + file->used, packet->data, size);
        file->used += size;
    }
    return 0;
}

int capture_close(struct capture_file *file, uint64_t *packets) {
    int status = 0;
    capture_flush(file);
    close(file->pipe);
    while (file->error != -ETIMEDOUT && !waitpid(file->writer, &status, WNOHANG)) {
        sleep_us(1000);
        int error = check_reader(file);
        if (error) file->error = error;
    }
    *packets = *file->output.packets;
    release(file);
    if (WIFSIGNALED(status)) return log_error(-EIO, "the file's writer was killed by signal %d", WTERMSIG(status));
    // The writer has said what went wrong on its side; its exit code is the errno.
    return WEXITSTATUS(status) ? -WEXITSTATUS(status) : file->error;
}
