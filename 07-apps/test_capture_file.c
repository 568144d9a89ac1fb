// test_capture_file.c: whatever happens to the program or the disk, the file ends with a whole packet.

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "capture_file.h"
#include "clock.h"
#include "test.h"

enum { FILE_HEADER = 24, PACKET_HEADER = 16 };

static uint64_t in_file;
static char path[] = "/tmp/test_capture_XXXXXX";

// Reads the file as a reader would; returns how many packets, or -1 if it ends in the middle of one or if packet i is
// not i % 256 repeated 60 + i % 1000 times.
static long packets_in_file(uint32_t snaplen) {
    FILE *file = fopen(path, "rb");
    uint8_t header[FILE_HEADER];
    static uint8_t packet[2000];
    long packets = -1;
    if (fread(header, 1, FILE_HEADER, file) == FILE_HEADER &&
        !memcmp(header, "\x4d\x3c\xb2\xa1\x02\x00\x04\x00", 8)) {
        uint32_t fields[4];
        size_t got = 0;
        for (packets = 0; (got = fread(fields, 1, PACKET_HEADER, file)) == PACKET_HEADER; packets++) {
            uint32_t original = 60 + (uint32_t)packets % 1000, length = original < snaplen ? original : snaplen;
            if (fields[2] != length || fields[3] != original || fread(packet, 1, length, file) != length) break;
            for (uint32_t i = 0; i < length; i++)
                if (packet[i] != (uint8_t)packets) got = 1;
        }
        if (got) packets = -1;
    }
    fclose(file);
    return packets;
}

// Every third packet lies in two buffers.
static int add(struct capture_file *file, uint32_t i) {
    uint8_t bytes[1100];
    uint16_t length = (uint16_t)(60 + i % 1000), first = i % 3 ? length : (uint16_t)(i % 60);
    struct packet_buffer rest = {.data = bytes + first, .length = (uint16_t)(length - first)};
    struct packet_buffer packet = {.data = bytes, .length = first, .next = &rest};
    if (first < length) packet.request.what = PACKET_CHAINED;
    memset(bytes, (int)i, sizeof bytes);
    return capture_add(file, 1000000000ull * i + i, &packet);
}

static void packets_come_out_as_they_went_in(void) {
    struct capture_file file;
    CHECK_EQ(capture_open(&file, path, 65535, NULL), 0);
    CHECK_EQ(capture_begin(&file), 0);
    for (uint32_t i = 0; i < 5000; i++) CHECK_EQ(add(&file, i), 0);
    CHECK_EQ(capture_close(&file, &in_file), 0);
    CHECK_EQ(packets_in_file(65535), 5000);
    CHECK_EQ(in_file, 5000);
}

static void long_packets_are_cut_to_the_snaplen(void) {
    struct capture_file file;
    CHECK_EQ(capture_open(&file, path, 100, NULL), 0);
    CHECK_EQ(capture_begin(&file), 0);
    for (uint32_t i = 0; i < 500; i++) CHECK_EQ(add(&file, i), 0);
    CHECK_EQ(capture_close(&file, &in_file), 0);
    CHECK_EQ(packets_in_file(100), 500);
}

static void an_empty_capture_is_a_valid_file(void) {
    struct capture_file file;
    CHECK_EQ(capture_open(&file, path, 65535, NULL), 0);
    CHECK_EQ(capture_begin(&file), 0);
    CHECK_EQ(capture_close(&file, &in_file), 0);
    CHECK_EQ(packets_in_file(65535), 0);
}

static bool something_is_written(void) {
    uint64_t deadline = clock_ns() + 30000000000ull;
    struct stat status = {0};
    while (!stat(path, &status) && status.st_size <= FILE_HEADER && clock_ns() < deadline) sleep_us(100);
    return status.st_size > FILE_HEADER;
}

// The other end of this pipe is open in the program and in its writer, until they are gone.
static bool all_are_gone(int pipe) {
    struct pollfd end = {.fd = pipe, .events = POLLIN};
    return poll(&end, 1, 30000) == 1 && end.revents & POLLHUP;
}

// Writes as fast as it can, and waits to be killed. Should that take long, the disk is not to be full before.
static _Noreturn void capture_until_killed(void) {
    struct capture_file file;
    if (capture_open(&file, path, 65535, NULL) || capture_begin(&file)) _exit(1);
    for (uint32_t i = 0; i < 300000; i++) add(&file, i);
    for (;;) pause();
}

static void a_killed_program_leaves_a_whole_file(void) {
    for (uint32_t round = 0; round < 20; round++) {
        int ends[2];
        CHECK_EQ(pipe(ends), 0);
        CHECK_EQ(truncate(path, 0), 0);
        pid_t child = fork();
        if (!child) capture_until_killed();
        close(ends[1]);
        CHECK(something_is_written());
        sleep_us(round * 700);
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        CHECK(all_are_gone(ends[0]));
        close(ends[0]);
        CHECK(packets_in_file(65535) >= 0);
    }
}

// A limit on the file's size stands in for the full disk: the write that crosses it is cut short, the next one fails.
static void a_full_disk_keeps_what_is_whole(void) {
    pid_t child = fork();
    if (!child) {
        struct rlimit limit = {100000, 100000};
        struct capture_file file;
        int error = 0;
        setrlimit(RLIMIT_FSIZE, &limit);
        if (capture_open(&file, path, 65535, NULL) || capture_begin(&file)) _exit(9);
        for (uint32_t i = 0; i < 100000 && !error; i++) error = add(&file, i);
        error = capture_close(&file, &in_file) == -EFBIG && error ? 0 : 1;
        _exit(error || packets_in_file(65535) != (long)in_file);
    }
    int status;
    waitpid(child, &status, 0);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK(packets_in_file(65535) > 0);
}

// Standard output may be the end of a file that has something in it already (>>). That stays.
static void what_was_there_before_stays(void) {
    enum { BEFORE = 90000 };
    CHECK_EQ(truncate(path, 0), 0);
    CHECK_EQ(truncate(path, BEFORE), 0);
    pid_t child = fork();
    if (!child) {
        struct rlimit limit = {100000, 100000};
        struct capture_file file;
        setrlimit(RLIMIT_FSIZE, &limit);
        int fd = open(path, O_WRONLY | O_APPEND);
        if (dup2(fd, STDOUT_FILENO) < 0 || capture_open(&file, "-", 65535, NULL) || capture_begin(&file)) _exit(9);
        for (uint32_t i = 0; i < 1000; i++) add(&file, i);
        _exit(capture_close(&file, &in_file) != -EFBIG);
    }
    int status;
    waitpid(child, &status, 0);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    struct stat file;
    CHECK_EQ(stat(path, &file), 0);
    CHECK(file.st_size > BEFORE);
}

static void what_cannot_be_opened_is_an_error(void) {
    struct capture_file file;
    CHECK_EQ(capture_open(&file, "/nonexistent/file.pcap", 65535, NULL), -ENOENT);
    CHECK_EQ(capture_open(&file, "/dev/full", 65535, NULL), 0);
    CHECK_EQ(capture_begin(&file), -ENOSPC);
    CHECK_EQ(capture_close(&file, &in_file), 0);
}

// What else a program needs may be missing. Then the old file stays as it is, and no new one is left.
static void what_is_not_begun_changes_nothing(void) {
    struct capture_file file;
    CHECK_EQ(capture_open(&file, path, 65535, NULL), 0);
    CHECK_EQ(capture_begin(&file), 0);
    for (uint32_t i = 0; i < 10; i++) add(&file, i);
    CHECK_EQ(capture_close(&file, &in_file), 0);
    CHECK_EQ(capture_open(&file, path, 65535, NULL), 0);
    CHECK_EQ(capture_close(&file, &in_file), 0);
    CHECK_EQ(packets_in_file(65535), 10);
    unlink(path);
    CHECK_EQ(capture_open(&file, path, 65535, NULL), 0);
    CHECK_EQ(access(path, F_OK), 0);
    CHECK_EQ(capture_close(&file, &in_file), 0);
    CHECK(access(path, F_OK) < 0);
}

static void a_file_has_one_capture_at_a_time(void) {
    struct capture_file file, second;
    CHECK_EQ(capture_open(&file, path, 65535, NULL), 0);
    CHECK_EQ(capture_open(&second, path, 65535, NULL), -EBUSY);
    CHECK_EQ(capture_begin(&file), 0);
    for (uint32_t i = 0; i < 10; i++) add(&file, i);
    CHECK_EQ(capture_open(&second, path, 65535, NULL), -EBUSY);
    CHECK_EQ(capture_close(&file, &in_file), 0);
    CHECK_EQ(packets_in_file(65535), 10);
    CHECK_EQ(capture_open(&second, path, 65535, NULL), 0);
    CHECK_EQ(capture_close(&second, &in_file), 0);
}

int main(void) {
    close(mkstemp(path));
    packets_come_out_as_they_went_in();
    long_packets_are_cut_to_the_snaplen();
    an_empty_capture_is_a_valid_file();
    a_killed_program_leaves_a_whole_file();
    a_full_disk_keeps_what_is_whole();
    what_was_there_before_stays();
    what_cannot_be_opened_is_an_error();
    what_is_not_begun_changes_nothing();
    a_file_has_one_capture_at_a_time();
    unlink(path);
    return test_summary();
}
