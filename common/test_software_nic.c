// test_software_nic.c: when a program starts itself on the software NIC, and when not.
//
// The test is its own subject: copied into a tree with a scripts/sim that only tells what it was given.

#include "cli.h"
#include "software_nic.h"
#include "test.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char directory[] = "/tmp/test-software-nic-XXXXXX";

static int run(const char *command, char output[1024]) {
    char full[256];
    snprintf(full, sizeof full, "cd %s && %s 2>&1", directory, command);
    FILE *pipe = popen(full, "r");
    if (!CHECK(pipe != NULL)) return -1;
    output[fread(output, 1, 1023, pipe)] = '\0';
    return pclose(pipe);
}

static void set_up(const char *self) {
    char output[1024], command[512];
    CHECK(mkdtemp(directory) != NULL);
    snprintf(command, sizeof command, "mkdir chapter scripts && cp %s chapter/program", self);
    CHECK_EQ(run(command, output), 0);
    CHECK_EQ(run("printf '#!/bin/sh\\necho \"sim got: $* on $SIM82599_WIRE0, $SIM82599_WIRE1\"\\n' >scripts/sim && "
                 "chmod +x scripts/sim",
                 output),
             0);
}

static void it_runs_itself_there(void) {
    char output[1024];
    CHECK_EQ(run("chapter/program one 'two three'", output), 0);
    const char *line = strstr(output, "no 82599 bound to vfio-pci at 0000:04:00.0");
    CHECK(line != NULL);
    const char *got = strstr(output, "sim got: ");
    CHECK(got != NULL && strstr(got, "/chapter/program one two three on cable, cable\n") != NULL);
    CHECK(strstr(output, "went on") == NULL);
}

static void with_the_wire_it_asks_for(void) {
    char output[1024];
    CHECK_EQ(run("chapter/program wire", output), 0);
    CHECK(strstr(output, "/chapter/program wire on generator, generator\n") != NULL);
    CHECK_EQ(run("SIM82599_WIRE1=sink chapter/program wire", output), 0);
    CHECK(strstr(output, "/chapter/program wire on generator, sink\n") != NULL);
}

static void it_does_so_once(void) {
    char output[1024];
    CHECK_EQ(run("SIM=libsim82599.so; LD_PRELOAD=/nowhere/$SIM chapter/program one", output), 0);
    CHECK(strstr(output, "went on") != NULL);
    CHECK(strstr(output, "sim got") == NULL);
}

static void without_the_script_it_goes_on(void) {
    char output[1024];
    CHECK_EQ(run("rm scripts/sim && chapter/program one", output), 0);
    CHECK(strcmp(output, "went on\n") == 0);
}

int main(int argc, char **argv) {
    if (argc > 1) {
        const char *wire = strcmp(argv[1], "wire") == 0 ? "generator" : "cable";
        use_software_nic_if_no_hardware(argv, DEFAULT_ADDRESS, NULL, wire);
        puts("went on");
        return 0;
    }
    char self[256], output[1024];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    if (!CHECK(length > 0)) return test_summary();
    self[length] = '\0';
    if (access("/sys/bus/pci/devices/0000:04:00.0", F_OK) == 0) {
        SKIP("this machine has a device at 0000:04:00.0");
        return test_summary();
    }
    set_up(self);
    it_runs_itself_there();
    with_the_wire_it_asks_for();
    it_does_so_once();
    without_the_script_it_goes_on();
    CHECK_EQ(run("rm -r chapter scripts", output), 0);
    CHECK_EQ(rmdir(directory), 0);
    return test_summary();
}
