// test_foreign.h: somebody else's driver, in small pieces, and the program that runs them.
//
// A test of the preload front has two lives. Started as a test it runs itself once for each case and mode under
// scripts/sim, in a machine of its own, and judges how that ended and what it printed. Started with a case's name it
// is a VFIO driver that knows nothing about any of this.
#pragma once

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADED = 1, STEPPED = 2, MANUAL = 4, ALL_MODES = 7 };

struct test_case {
    const char *name;
    void (*run)(void);
    unsigned modes;
    const char *message;  // must be printed; NULL: anything will do
    int killed_by;        // 0: must exit by itself
};

static const char *test_program;

// ---- The driver's side ----

enum { BAR0 = 0, MSIX_BAR = 4, CONFIG = VFIO_PCI_CONFIG_REGION_INDEX };

static const char *const nic_addresses[] = {"0000:04:00.0", "0000:05:00.0"};

struct nic {
    int container, group, device;
    volatile uint8_t *bar;
};

static inline off_t region_offset(unsigned region) { return (off_t)region << 40; }

static inline int nic_group_number(unsigned port) {
    char path[64], target[256];
    snprintf(path, sizeof path, "/sys/bus/pci/devices/%s/iommu_group", nic_addresses[port]);
    ssize_t length = readlink(path, target, sizeof target - 1);
    if (length < 0) return -1;
    target[length] = '\0';
    return atoi(strrchr(target, '/') + 1);
}

static inline int nic_open_group(unsigned port) {
    char path[32];
    snprintf(path, sizeof path, "/dev/vfio/%d", nic_group_number(port));
    return open(path, O_RDWR);
}

static inline void *nic_map(const struct nic *nic, void *address, size_t offset, size_t size, int flags) {
    return mmap(address, size, PROT_READ | PROT_WRITE, MAP_SHARED | flags, nic->device,
                region_offset(BAR0) + (off_t)offset);
}

// A port, ready to use; `container` -1 for a new one.
static inline struct nic nic_open(unsigned port, int container) {
    struct nic nic = {.container = container};
    if (container < 0) nic.container = open("/dev/vfio/vfio", O_RDWR);
    nic.group = nic_open_group(port);
    CHECK(nic.container >= 0 && nic.group >= 0);
    CHECK_EQ(ioctl(nic.group, VFIO_GROUP_SET_CONTAINER, &nic.container), 0);
    if (container < 0) CHECK_EQ(ioctl(nic.container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU), 0);
    nic.device = ioctl(nic.group, VFIO_GROUP_GET_DEVICE_FD, nic_addresses[port]);
    CHECK(nic.device >= 0);
    void *bar = nic_map(&nic, NULL, 0, 0x20000, 0);
    CHECK(bar != MAP_FAILED);
    nic.bar = bar;
    return nic;
}

static inline volatile uint32_t *nic_register(const struct nic *nic, uint32_t offset) {
    return (volatile uint32_t *)(nic->bar + offset);
}
static inline uint32_t nic_read(const struct nic *nic, uint32_t offset) { return *nic_register(nic, offset); }
static inline void nic_write(const struct nic *nic, uint32_t offset, uint32_t value) {
    *nic_register(nic, offset) = value;
}

static inline int nic_map_dma(const struct nic *nic, void *memory, uint64_t iova, uint64_t size) {
    struct vfio_iommu_type1_dma_map map = {.argsz = sizeof map,
                                           .flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
                                           .vaddr = (uintptr_t)memory,
                                           .iova = iova,
                                           .size = size};
    return ioctl(nic->container, VFIO_IOMMU_MAP_DMA, &map) < 0 ? -errno : 0;
}

// The number of bytes unmapped, or a negative errno.
static inline long nic_unmap_dma(const struct nic *nic, uint64_t iova, uint64_t size, uint32_t flags) {
    struct vfio_iommu_type1_dma_unmap unmap = {.argsz = sizeof unmap, .flags = flags, .iova = iova, .size = size};
    return ioctl(nic->container, VFIO_IOMMU_UNMAP_DMA, &unmap) < 0 ? -errno : (long)unmap.size;
}

static inline void *new_pages(size_t size) {
    return mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

// One interrupt vector of kind `index`, on an eventfd.
static inline int nic_set_trigger(const struct nic *nic, uint32_t index, uint32_t vector, int fd) {
    struct {
        uint32_t argsz, flags, index, start, count;
        int32_t fd;
    } request = {sizeof request, VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER, index, vector, 1, fd};
    return ioctl(nic->device, VFIO_DEVICE_SET_IRQS, &request) < 0 ? -errno : 0;
}

// What a call that should fail says.
#define CHECK_FAILS(call, error)                                                                                     \
    __extension__({                                                                                                  \
        errno = 0;                                                                                                   \
        if (CHECK((call) < 0)) CHECK_EQ(errno, error);                                                               \
    })

// ---- The runner's side ----

struct outcome {
    char *text;
    int status;
};

// Runs a command to its end and keeps what it prints.
static inline struct outcome run_command(char *const command[]) {
    struct outcome outcome = {.text = calloc(1, 1 << 16)};
    int ends[2];
    if (!outcome.text || pipe(ends) < 0) exit(2);
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDOUT_FILENO);
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        execvp(command[0], command);
        perror(command[0]);
        _exit(127);
    }
    close(ends[1]);
    size_t length = 0;
    ssize_t part;
    while ((part = read(ends[0], outcome.text + length, (1 << 16) - 1 - length)) > 0) length += (size_t)part;
    close(ends[0]);
    waitpid(child, &outcome.status, 0);
    return outcome;
}

static inline void print_failures(const char *text) {
    for (const char *line = strstr(text, "FAIL"); line; line = strstr(line + 1, "FAIL"))
        printf("%.*s\n", (int)strcspn(line, "\n"), line);
    fflush(stdout);
}

static inline void run_case(const struct test_case *test, const char *mode) {
    static unsigned number;
    char machine[64];
    snprintf(machine, sizeof machine, "test-%d-%u", (int)getpid(), number++);
    char *command[] = {"scripts/sim",
                       "--mode",
                       (char *)(uintptr_t)mode,
                       "--machine",
                       machine,
                       (char *)(uintptr_t)test_program,
                       (char *)(uintptr_t)test->name,
                       NULL};
    struct outcome outcome = run_command(command);
    bool ended = test->killed_by ? WIFSIGNALED(outcome.status) && WTERMSIG(outcome.status) == test->killed_by
                                 : WIFEXITED(outcome.status) && WEXITSTATUS(outcome.status) == 0;
    bool said = !test->message || strstr(outcome.text, test->message);
    if (!CHECK(ended) || !CHECK(said)) {
        printf("  case %s, mode %s, status 0x%x\n", test->name, mode, (unsigned)outcome.status);
        print_failures(outcome.text);
        if (!strstr(outcome.text, "FAIL")) printf("%s\n", outcome.text);
    }
    free(outcome.text);
    // What a case that was killed has left of its machine.
    char left[128];
    snprintf(left, sizeof left, "/dev/shm/sim82599-%u-%s", (unsigned)geteuid(), machine);
    unlink(left);
}

static inline int run_cases(int argc, char **argv, const struct test_case *tests, size_t count) {
    static const char *const modes[] = {"threaded", "stepped", "manual"};
    test_program = argv[0];
    for (size_t i = 0; i < count; i++) {
        if (argc > 1 && strcmp(argv[1], tests[i].name) == 0) {
            setvbuf(stdout, NULL, _IOLBF, 0);
            alarm(120);  // a test that hangs has failed
            tests[i].run();
            exit(test_summary());
        }
        for (unsigned mode = 0; argc == 1 && mode < 3; mode++)
            if (tests[i].modes & 1u << mode) run_case(&tests[i], modes[mode]);
    }
    return test_summary();
}
