// software_nic.c: the only place that knows that there may be no hardware.

#include "software_nic.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "ixgbe_regs.h"
#include "log.h"

static unsigned long read_id(const char *address, const char *name) {
    char path[128], text[16] = "";
    snprintf(path, sizeof path, "/sys/bus/pci/devices/%s/%s", address, name);
    FILE *file = fopen(path, "r");
    if (!file) return 0;
    if (!fgets(text, sizeof text, file)) text[0] = '\0';
    fclose(file);
    return strtoul(text, NULL, 16);
}

static bool is_82599(const char *address) {
    return read_id(address, "vendor") == IXGBE_VENDOR_ID && read_id(address, "device") == IXGBE_DEVICE_ID;
}

static bool is_bound_to_vfio(const char *address) {
    char path[128], target[PATH_MAX];
    snprintf(path, sizeof path, "/sys/bus/pci/devices/%s/driver", address);
    ssize_t length = readlink(path, target, sizeof target - 1);
    if (length < 0) return false;
    target[length] = '\0';
    const char *name = strrchr(target, '/');
    return strcmp(name ? name + 1 : target, "vfio-pci") == 0;
}

static bool is_simulated(void) {
    const char *preloaded = getenv("LD_PRELOAD");
    return preloaded && strstr(preloaded, "libsim82599");
}

// Programs lie in a chapter's directory, and scripts/ beside the chapters.
static bool find_simulator(char path[PATH_MAX]) {
    ssize_t length = readlink("/proc/self/exe", path, PATH_MAX - sizeof "scripts/sim");
    if (length < 0) return false;
    path[length] = '\0';
    for (int up = 0; up < 2; up++) {
        char *slash = strrchr(path, '/');
        if (!slash) return false;
        *slash = '\0';
    }
    strcat(path, "/scripts/sim");
    return access(path, X_OK) == 0;
}

static bool is_hardware(const char *address) { return is_82599(address) && is_bound_to_vfio(address); }

void use_software_nic_if_no_hardware(char *const argv[], const char *address, const char *address_2,
                                     const char *wire) {
    char simulator[PATH_MAX], program[PATH_MAX];
    const char *missing = !is_hardware(address) ? address : address_2 && !is_hardware(address_2) ? address_2 : NULL;
    if (!missing || is_simulated() || !find_simulator(simulator)) return;
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    if (length < 0) return;
    program[length] = '\0';

    size_t count = 0;
    while (argv[count]) count++;
    char **command = calloc(count + 3, sizeof *command);
    if (!command) return;
    command[0] = simulator;
    command[1] = program;
    for (size_t i = 1; i < count; i++) command[i + 1] = argv[i];
    log_info("no 82599 bound to vfio-pci at %s: running on the software NIC (scripts/sim)", missing);
    setenv("SIM82599_WIRE0", wire, 0);
    setenv("SIM82599_WIRE1", wire, 0);
    execv(simulator, command);
    perror(simulator);
    free(command);
}
