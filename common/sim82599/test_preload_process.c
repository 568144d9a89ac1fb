// test_preload_process.c: programs come and go, fork, run others and are killed; the machine stays in order.

#include "test_foreign.h"

#include <dirent.h>
#include <spawn.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/stat.h>

extern char **environ;

enum { STATUS = 0x00008, RDBAL0 = 0x01000, EICS = 0x00808, EIMS = 0x00880, RAL0 = 0x0a200, RAL5 = 0x0a228 };

// ---- Cases: drivers ----

// Not with exit(): at the fork, another thread may have held a lock that a leak checker wants at the end.
static _Noreturn void end_child(void) {
    int code = test_summary();
    fflush(stdout);
    _exit(code);
}

static int child_status(pid_t child) {
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child);
    return status;
}

// A second process of the same machine finds the port taken, and free when the first has gone, in whatever way.
static void a_port_has_one_owner(void) {
    int ready[2], go[2];
    CHECK(pipe(ready) == 0 && pipe(go) == 0);
    for (int killed = 0; killed < 2; killed++) {
        pid_t owner = fork();
        if (owner == 0) {
            struct nic nic = nic_open(0, -1);
            char byte = nic.bar ? 'y' : 'n';
            if (write(ready[1], &byte, 1) != 1 || read(go[0], &byte, 1) != 1) _exit(1);
            _exit(0);
        }
        char byte = 0;
        CHECK_EQ(read(ready[0], &byte, 1), 1);
        CHECK_EQ(byte, 'y');
        CHECK_FAILS(nic_open_group(0), EBUSY);
        int other = nic_open_group(1);
        CHECK(other >= 0);
        close(other);
        if (killed)
            kill(owner, SIGKILL);
        else
            CHECK_EQ(write(go[1], "x", 1), 1);
        child_status(owner);
        int group = nic_open_group(0);
        CHECK(group >= 0);
        close(group);
    }
}

static void fork_leaves_the_nic_with_the_parent(void) {
    struct nic nic = nic_open(0, -1);
    nic_write(&nic, RAL5, 0x1111);
    nic_write(&nic, RDBAL0, 0x2000);
    CHECK_EQ(nic_map_dma(&nic, new_pages(4096), 0x1000, 4096), 0);
    pid_t child = fork();
    if (child == 0) {
        // The child's copy starts as the original was, and goes its own way from there.
        CHECK_EQ(nic_read(&nic, RAL5), 0x1111);
        CHECK_EQ(nic_read(&nic, RDBAL0), 0x2000);
        nic_write(&nic, RAL5, 0x2222);
        nic_write(&nic, RDBAL0, 0x3000);
        CHECK_EQ(nic_read(&nic, RAL5), 0x2222);
        CHECK_EQ(nic_read(&nic, RDBAL0), 0x3000);
        CHECK_EQ(nic_unmap_dma(&nic, 0x1000, 4096, 0), 4096);
        close(nic.device);
        close(nic.group);
        close(nic.container);
        end_child();
    }
    CHECK_EQ(child_status(child), 0);
    CHECK_EQ(nic_read(&nic, RAL5), 0x1111);
    CHECK_EQ(nic_read(&nic, RDBAL0), 0x2000);
    CHECK_EQ(nic_unmap_dma(&nic, 0x1000, 4096, 0), 4096);
    CHECK_FAILS(nic_open_group(0), EBUSY);
    close(nic.device);
    close(nic.group);
    munmap((void *)(uintptr_t)nic.bar, 0x20000);
    struct nic again = nic_open(0, -1);
    CHECK_EQ(nic_read(&again, RAL5), 0);  // reset
}

// How many of the process's descriptors are for memory of the machine's.
static unsigned memory_files(void) {
    unsigned count = 0;
    for (int fd = 0; fd < 1024; fd++) {
        char link[32], target[64] = "";
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        if (readlink(link, target, sizeof target - 1) > 0) count += strstr(target, "memfd:sim82599") != NULL;
    }
    return count;
}

static void fork_hands_no_descriptors_on(void) {
    struct nic nic = nic_open(0, -1);
    unsigned before = memory_files();
    CHECK(before > 0);
    CHECK(nic_read(&nic, RAL0) != 0);
    pid_t child = fork();
    if (child == 0) {
        CHECK_EQ(memory_files(), before);
        end_child();
    }
    CHECK_EQ(child_status(child), 0);
}

// Then the child's copy has no file behind it.
static void fork_without_free_descriptors(void) {
    struct nic nic = nic_open(0, -1);
    nic_write(&nic, RAL5, 0x1111);
    nic_write(&nic, EIMS, 1 << 20);
    struct rlimit limit;
    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &(struct rlimit){3, limit.rlim_max}), 0);
    pid_t child = fork();
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);  // at their end leak checkers need some
    if (child == 0) {
        CHECK_EQ(nic_read(&nic, RAL5), 0x1111);
        nic_write(&nic, RAL5, 0x2222);
        CHECK_EQ(nic_read(&nic, RAL5), 0x2222);
        end_child();
    }
    CHECK_EQ(child_status(child), 0);
    CHECK_EQ(nic_read(&nic, RAL5), 0x1111);
    CHECK_EQ(nic_read(&nic, EIMS), 1 << 20);
}

static bool reads_as_set(const struct nic *nic, uint32_t offset, uint32_t bit) {
    for (int i = 0; i < 30000 && !(nic_read(nic, offset) & bit); i++) usleep(1000);
    return nic_read(nic, offset) & bit;
}

// The parent's port is none of the child's, which has a device of its own that works, and rests when it is closed.
static void a_child_drives_the_other_port(void) {
    enum { LINKS = 0x42a4, DMATXCTL = 0x4a80, TDBAL = 0x6000, TDLEN = 0x6008, TDH = 0x6010, TDT = 0x6018 };
    enum { TXDCTL = 0x6028, TXDCTL_ENABLE = 1 << 25, LINK_UP = 1 << 30, MEMORY_AND_BUS_MASTER = 6 };
    struct nic parents = nic_open(0, -1);
    pid_t child = fork();
    if (child == 0) {
        struct nic nic = nic_open(1, -1);
        uint64_t *ring = new_pages(4096);
        ring[0] = 0x10000 + 2048;
        ring[1] = UINT64_C(60) << 46 | 0x2b300000 | 60;  // one packet, advanced, with its CRC
        CHECK_EQ(pwrite(nic.device, &(uint8_t){MEMORY_AND_BUS_MASTER}, 1, region_offset(CONFIG) + 4), 1);
        CHECK_EQ(nic_map_dma(&nic, ring, 0x10000, 4096), 0);
        CHECK(reads_as_set(&nic, LINKS, LINK_UP));
        nic_write(&nic, DMATXCTL, 1);
        nic_write(&nic, TDBAL, 0x10000);
        nic_write(&nic, TDLEN, 1024);
        nic_write(&nic, TXDCTL, TXDCTL_ENABLE);
        CHECK(reads_as_set(&nic, TXDCTL, TXDCTL_ENABLE));
        nic_write(&nic, TDT, 1);
        for (int i = 0; i < 30000 && nic_read(&nic, TDH) == 0; i++) usleep(1000);
        CHECK_EQ(nic_read(&nic, TDH), 1);
        close(parents.device);
        end_child();
    }
    CHECK_EQ(child_status(child), 0);
    CHECK(nic_read(&parents, RAL0) != 0);
}

// A program that has only looked around before it goes into the background drives the NIC from there.
static void the_background_drives_it(void) {
    CHECK(nic_group_number(0) > 0);
    pid_t child = fork();
    if (child == 0) {
        struct nic nic = nic_open(0, -1);
        nic_write(&nic, RDBAL0, 0x1000);
        CHECK_EQ(nic_read(&nic, RDBAL0), 0x1000);
        nic_write(&nic, RAL5, 7);
        CHECK_EQ(nic_read(&nic, RAL5), 7);
        CHECK_EQ(access("/sys/bus/pci/devices/0000:04:00.0/vendor", R_OK), 0);
        end_child();
    }
    CHECK_EQ(child_status(child), 0);
    int group = nic_open_group(0);
    CHECK(group >= 0);
}

static void other_programs_are_not_disturbed(void) {
    struct nic nic = nic_open(0, -1);
    uint32_t low = nic_read(&nic, RAL0);
    CHECK_EQ(system("cat /sys/bus/pci/devices/0000:04:00.0/vendor | grep -q 0x8086"), 0);
    char *command[] = {"sh", "-c", "exit 3", NULL};
    pid_t child;
    CHECK_EQ(posix_spawnp(&child, "sh", NULL, NULL, command, environ), 0);
    CHECK_EQ(WEXITSTATUS(child_status(child)), 3);
    // Between vfork and exec the child closes what it does not want to hand on. It is the parent's memory that it
    // does this in, but its own descriptors.
    child = vfork();
    if (child == 0) {
        close(nic.device);
        close(nic.group);
        close(nic.container);
        execlp("true", "true", (char *)NULL);
        _exit(1);
    }
    CHECK_EQ(child_status(child), 0);
    struct vfio_device_info info = {.argsz = sizeof info};
    CHECK_EQ(ioctl(nic.device, VFIO_DEVICE_GET_INFO, &info), 0);
    CHECK_EQ(nic_read(&nic, RAL0), low);
}

// Exits with everything open, as programs do.
static void leaves_everything_open(void) {
    struct nic nic = nic_open(0, -1);
    nic_open(1, nic.container);
    CHECK_EQ(nic_map_dma(&nic, new_pages(4096), 0x1000, 4096), 0);
}

static void is_killed(void) {
    struct nic nic = nic_open(0, -1);
    CHECK(nic_read(&nic, RAL0) != 0);
    raise(SIGKILL);
}

static void only_looks(void) { CHECK(nic_group_number(0) > 0); }

// ---- The runner ----

static int trees_in(const char *directory) {
    int trees = 0;
    DIR *open_directory = opendir(directory);
    for (struct dirent *entry; open_directory && (entry = readdir(open_directory));)
        trees += strncmp(entry->d_name, "sim82599-", 9) == 0;
    if (open_directory) closedir(open_directory);
    return trees;
}

static struct outcome run_shell(const char *text) {
    char *command[] = {"sh", "-c", (char *)(uintptr_t)text, NULL};
    return run_command(command);
}

static void expect(const char *command, int exit_code, const char *words) {
    struct outcome outcome = run_shell(command);
    bool right = WIFEXITED(outcome.status) && WEXITSTATUS(outcome.status) == exit_code;
    if (!CHECK(right) || !CHECK(strstr(outcome.text, words) != NULL))
        printf("  %s: status 0x%x, printed: %s\n", command, (unsigned)outcome.status, outcome.text);
    free(outcome.text);
}

// The dynamic linker of one C library refuses what was built with another. So only where the shell has ours can it,
// and what else comes with the system, stand in the machine.
static bool the_system_has_our_c_library(void) {
    char command[512];
    snprintf(
        command, sizeof command,
        "for i in /bin/sh %s; do head -c 4096 $i | tr '\\0' '\\n' | grep -a -m 1 '^/.*/ld-'; done | uniq | wc -l",
        test_program);
    struct outcome outcome = run_shell(command);
    bool same = atoi(outcome.text) == 1;
    free(outcome.text);
    return same;
}

static void who_asks_for_nothing_gets_nothing(void) {
    expect("XDG_RUNTIME_DIR=$(mktemp -d) && export XDG_RUNTIME_DIR && "
           "scripts/sim sh -c 'ls / >/dev/null; ls -d $XDG_RUNTIME_DIR/sim82599-* 2>/dev/null; echo none'; "
           "rmdir $XDG_RUNTIME_DIR",
           0, "none");
}

static void nothing_stays_behind(void) {
    char directory[] = "/tmp/test-preload-XXXXXX", machine[32], command[512];
    snprintf(machine, sizeof machine, "test-left-%d", (int)getpid());
    if (!CHECK(mkdtemp(directory) != NULL)) return;
    setenv("XDG_RUNTIME_DIR", directory, 1);
    snprintf(command, sizeof command, "scripts/sim --machine %s %s only_looks", machine, test_program);
    expect(command, 0, "0 failed");
    CHECK_EQ(trees_in(directory), 0);
    snprintf(command, sizeof command, "scripts/sim --machine %s %s leaves_everything_open", machine, test_program);
    expect(command, 0, "0 failed");
    CHECK_EQ(trees_in(directory), 0);
    // kill -9 cannot be helped, but the next one sweeps.
    snprintf(command, sizeof command, "scripts/sim --machine %s %s is_killed; test $? = 137 && echo killed", machine,
             test_program);
    expect(command, 0, "killed");
    CHECK_EQ(trees_in(directory), 1);
    snprintf(command, sizeof command, "scripts/sim --machine %s %s only_looks", machine, test_program);
    expect(command, 0, "0 failed");
    CHECK_EQ(trees_in(directory), 0);
    unsetenv("XDG_RUNTIME_DIR");
    CHECK_EQ(rmdir(directory), 0);
    snprintf(command, sizeof command, "/dev/shm/sim82599-%u-%s", (unsigned)geteuid(), machine);
    unlink(command);
}

static void the_script_says_what_is_wrong(void) {
    expect("scripts/sim --help", 0, "--machine NAME");
    expect("scripts/sim", 2, "which program?");
    expect("scripts/sim --mode fast true", 2, "--mode fast");
    expect("scripts/sim --mode", 2, "--mode needs a value");
    expect("scripts/sim --report=yes true", 2, "--report takes no value");
    expect("scripts/sim --trace= true", 2, "--trace= needs a file");
    expect("scripts/sim --machine a/b true", 2, "--machine a/b");
    expect("scripts/sim --frobnicate true", 2, "unknown option --frobnicate");
    expect("scripts/sim /nonexistent/program 2>&1; test $? = 127 && echo right", 0, "right");
    expect("d=$(mktemp -d) && mkdir $d/scripts && cp scripts/sim $d/scripts && $d/scripts/sim true; r=$?; rm -r $d; "
           "exit $r",
           1, "run  make  first");
}

static void the_script_turns_options_into_variables(void) {
    expect("scripts/sim --mode=stepped --wire0 sink --wire1=unplugged --fault0 link-flap --machine x env", 0,
           "SIM82599_MODE=stepped");
    expect("scripts/sim --trace env", 0, "SIM82599_TRACE=-");
    expect("scripts/sim --trace=- env", 0, "SIM82599_TRACE=-");
    expect("scripts/sim --trace=/tmp/some-trace env", 0, "SIM82599_TRACE=text:/tmp/some-trace");
    expect("scripts/sim --plain-doorbells env", 0, "SIM82599_PLAIN_DOORBELLS=1");
    expect("scripts/sim --report env", 0, "SIM82599_REPORT=1");
    expect("scripts/sim --fault unplugged env", 0, "SIM82599_FAULTS1=unplugged");
    expect("scripts/sim --wire generator:size=64 env", 0, "SIM82599_WIRE1=generator:size=64");
    expect("SIM82599_MODE=slow scripts/sim ls /dev/vfio", 1, "it can be threaded, stepped or manual");
}

// ThreadSanitizer lets nobody start a thread in the child of a process that had several. AddressSanitizer does not
// take the locks of its allocator for a fork, so one that the parent's thread holds then stays locked in the child.
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
enum { CHILD_HAS_A_THREAD = 0 };
#else
enum { CHILD_HAS_A_THREAD = THREADED };
#endif

int main(int argc, char **argv) {
    static const struct test_case with_others[] = {
        {"other_programs", other_programs_are_not_disturbed, THREADED | STEPPED, NULL, 0},
    };
    static const struct test_case tests[] = {
        {"a_port_has_one_owner", a_port_has_one_owner, THREADED | STEPPED, NULL, 0},
        {"fork", fork_leaves_the_nic_with_the_parent, ALL_MODES, "is a fork; the NIC stayed with its parent", 0},
        {"fork_hands_no_descriptors_on", fork_hands_no_descriptors_on, THREADED, NULL, 0},
        {"fork_without_free_descriptors", fork_without_free_descriptors, ALL_MODES, NULL, 0},
        {"child_drives_the_other_port", a_child_drives_the_other_port, STEPPED | MANUAL | CHILD_HAS_A_THREAD, NULL,
         0},
        {"the_background_drives_it", the_background_drives_it, ALL_MODES, NULL, 0},
        {"leaves_everything_open", leaves_everything_open, ALL_MODES, NULL, 0},
        {"is_killed", is_killed, THREADED, NULL, SIGKILL},
        {"only_looks", only_looks, THREADED, NULL, 0},
    };
    if (argc == 1 && !CHILD_HAS_A_THREAD)
        SKIP("a forked child that drives a port with a thread: not under a sanitizer");
    test_program = argv[0];
    bool others = argc > 1 || the_system_has_our_c_library();
    if (argc == 1) {
        nothing_stays_behind();
        the_script_says_what_is_wrong();
    }
    if (argc == 1 && others) {
        who_asks_for_nothing_gets_nothing();
        the_script_turns_options_into_variables();
    }
    if (others)
        run_cases(argc, argv, with_others, 1);
    else
        SKIP("this system's programs use another C library, and cannot be run on the software NIC");
    return run_cases(argc, argv, tests, sizeof tests / sizeof *tests);
}
