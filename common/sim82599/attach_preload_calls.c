// attach_preload_calls.c: the calls that a VFIO driver makes, and what becomes of them.
//
// Every call is looked at as briefly as possible: does its path belong to the machine, is its descriptor one of
// ours, does its memory touch ours? If not, it goes on to the C library as it came. A descriptor of ours is a real
// one, for a file of the tree, so that fork, dup, close-on-exec and select treat it as they treat any; a table says
// which object it stands for.

#include "attach_preload.h"
#include "attach_preload_real.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

struct real_calls real_calls_;
bool real_calls_found_;

void real_calls_find_(void) {
#define FIND(type, name, arguments) *(void **)&real_calls_.name = dlsym(RTLD_NEXT, #name);
    ALL_CALLS(FIND)
    real_calls_found_ = true;
}

__attribute__((constructor)) static void begin(void) { (void)real_calls(); }

__attribute__((destructor)) static void end(void) {
    host_switch_off();
    tree_remove();
}

// ---- Which descriptor is which object ----

enum { CHUNK = 1024, CHUNKS = 1024 };  // as many descriptors as a process can have

static _Atomic(struct vfio_object *) *_Atomic table[CHUNKS];
static atomic_uint entries;
static pid_t owner;  // whose table this is: a child between vfork and exec uses our memory, but its own descriptors

struct vfio_object *calls_object(int fd) {
    if (fd < 0 || fd >= CHUNK * CHUNKS) return NULL;
    _Atomic(struct vfio_object *) *chunk = atomic_load_explicit(&table[fd / CHUNK], memory_order_acquire);
    return chunk ? atomic_load_explicit(&chunk[fd % CHUNK], memory_order_acquire) : NULL;
}

static bool is_ours(int fd) {
    return atomic_load(&entries) && !host_is_mine() && calls_object(fd) && owner == getpid();
}

void calls_inherit(void) { owner = getpid(); }

static int enter(int fd, struct vfio_object *object) {
    if (fd >= CHUNK * CHUNKS) return -EMFILE;
    if (!table[fd / CHUNK]) {
        void *chunk = calloc(CHUNK, sizeof **table);
        if (!chunk) return -ENOMEM;
        atomic_store(&table[fd / CHUNK], chunk);
    }
    owner = getpid();
    atomic_store(&table[fd / CHUNK][fd % CHUNK], object);
    atomic_fetch_add(&entries, 1);
    return 0;
}

static void leave(int fd) {
    struct vfio_object *object = calls_object(fd);
    if (!object) return;
    atomic_store(&table[fd / CHUNK][fd % CHUNK], NULL);
    atomic_fetch_sub(&entries, 1);
    vfio_release(object);
}

// A second descriptor for the same object.
static void follow(int fd, int copy) {
    if (copy < 0) return;
    host_lock();
    struct vfio_object *object = calls_object(fd);
    if (object && copy != fd) {
        leave(copy);
        vfio_reference(object);
        if (enter(copy, object) < 0) vfio_release(object);
    }
    host_unlock();
}

static void forget(int fd) {
    host_lock();
    leave(fd);
    host_unlock();
}

// The C library's way of saying what the kernel's is a negative number for.
static long answer(long result) {
    if (result >= 0) return result;
    errno = (int)-result;
    return -1;
}

// ---- Opening ----

static int open_object(const char *behind, int flags) {
    struct vfio_object *object;
    host_lock();
    int error = vfio_open(tree_strip(behind), &object), fd = -1;
    if (!error) {
        fd = real.openat(AT_FDCWD, behind, flags & ~(O_CREAT | O_TRUNC));
        if (fd < 0) error = -errno;
        if (object && !error) error = enter(fd, object);
        if (object && error) vfio_release(object);
        if (error && fd >= 0) real.close(fd);
    }
    host_unlock();
    return error ? (int)answer(error) : fd;
}

static int open_path(int directory, const char *path, int flags, mode_t mode) {
    char buffer[PATH_MAX];
    const char *behind = tree_path(path, buffer);
    if (behind == path) return real.openat(directory, path, flags, mode);
    if (tree_is_device_node(path)) return open_object(behind, flags);
    return real.openat(AT_FDCWD, behind, flags, mode);
}

static mode_t mode_argument(int flags, va_list arguments) {
    return flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(arguments, mode_t) : 0;
}

int our_open(const char *path, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = mode_argument(flags, arguments);
    va_end(arguments);
    return open_path(AT_FDCWD, path, flags, mode);
}
ALSO(open64, open);
ALSO(__open_2, open);
ALSO(__open64_2, open);

int our_openat(int directory, const char *path, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = mode_argument(flags, arguments);
    va_end(arguments);
    return open_path(directory, path, flags, mode);
}
ALSO(openat64, openat);
ALSO(__openat_2, openat);
ALSO(__openat64_2, openat);

FILE *our_fopen(const char *path, const char *mode) {
    char buffer[PATH_MAX];
    return real.fopen(tree_path(path, buffer), mode);
}
ALSO(fopen64, fopen);

DIR *our_opendir(const char *path) {
    char buffer[PATH_MAX];
    return real.opendir(tree_path(path, buffer));
}

int our_scandir(const char *path, struct dirent ***names, int (*filter)(const struct dirent *),
                int (*compare)(const struct dirent **, const struct dirent **)) {
    char buffer[PATH_MAX];
    return real.scandir(tree_path(path, buffer), names, filter, compare);
}
ALSO(scandir64, scandir);

int our_chdir(const char *path) {
    char buffer[PATH_MAX];
    return real.chdir(tree_path(path, buffer));
}

// ---- Asking about paths ----

int our_access(const char *path, int mode) {
    char buffer[PATH_MAX];
    return real.access(tree_path(path, buffer), mode);
}

int our_eaccess(const char *path, int mode) {
    char buffer[PATH_MAX];
    return real.eaccess(tree_path(path, buffer), mode);
}
ALSO(euidaccess, eaccess);

int our_faccessat(int directory, const char *path, int mode, int flags) {
    char buffer[PATH_MAX];
    return real.faccessat(directory, tree_path(path, buffer), mode, flags);
}

// /dev/vfio's nodes are ordinary files in the tree, because making real ones takes root.
static int as_device_node(int result, const char *path, struct stat *status) {
    enum { MISC_MAJOR = 10, VFIO_MINOR = 196 };
    if (result == 0 && S_ISREG(status->st_mode) && tree_is_device_node(path)) {
        status->st_mode = S_IFCHR | 0666;
        status->st_rdev = makedev(MISC_MAJOR, VFIO_MINOR);
    }
    return result;
}

int our_stat(const char *path, struct stat *status) {
    char buffer[PATH_MAX];
    const char *behind = tree_path(path, buffer);
    int result = real.fstatat(AT_FDCWD, behind, status, 0);
    return behind == path ? result : as_device_node(result, path, status);
}
ALSO(stat64, stat);

int our_lstat(const char *path, struct stat *status) {
    char buffer[PATH_MAX];
    const char *behind = tree_path(path, buffer);
    int result = real.fstatat(AT_FDCWD, behind, status, AT_SYMLINK_NOFOLLOW);
    return behind == path ? result : as_device_node(result, path, status);
}
ALSO(lstat64, lstat);

int our_fstatat(int directory, const char *path, struct stat *status, int flags) {
    char buffer[PATH_MAX];
    const char *behind = tree_path(path, buffer);
    int result = real.fstatat(directory, behind, status, flags);
    return behind == path ? result : as_device_node(result, path, status);
}
ALSO(fstatat64, fstatat);

int our_statx(int directory, const char *path, int flags, unsigned mask, struct statx *status) {
    char buffer[PATH_MAX];
    const char *behind = tree_path(path, buffer);
    int result = real.statx(directory, behind, flags, mask, status);
    struct stat mode = {.st_mode = S_IFREG};
    if (result < 0 || behind == path) return result;
    as_device_node(0, path, &mode);
    if (S_ISCHR(mode.st_mode)) {
        // The kernel's layout, which not every C library declares.
        enum { STX_MODE = 28, STX_RDEV = 128 };
        uint32_t device[2] = {major(mode.st_rdev), minor(mode.st_rdev)};
        memcpy((char *)status + STX_MODE, &(uint16_t){(uint16_t)mode.st_mode}, sizeof(uint16_t));
        memcpy((char *)status + STX_RDEV, device, sizeof device);
    }
    return result;
}

ssize_t our_readlink(const char *path, char *target, size_t size) {
    char buffer[PATH_MAX];
    return real.readlink(tree_path(path, buffer), target, size);
}

ssize_t our_readlinkat(int directory, const char *path, char *target, size_t size) {
    char buffer[PATH_MAX];
    return real.readlinkat(directory, tree_path(path, buffer), target, size);
}

char *our_realpath(const char *path, char *resolved) {
    char buffer[PATH_MAX];
    char *result = real.realpath(tree_path(path, buffer), resolved);
    if (!result) return NULL;
    const char *shown = tree_strip(result);
    memmove(result, shown, strlen(shown) + 1);
    return result;
}

// ---- Descriptors ----

int our_close(int fd) {
    if (is_ours(fd)) forget(fd);
    return real.close(fd);
}

int our_dup(int fd) {
    int copy = real.dup(fd);
    if (is_ours(fd)) follow(fd, copy);
    return copy;
}

int our_dup2(int fd, int copy) {
    int result = real.dup2(fd, copy);
    if (result >= 0 && fd != copy && is_ours(copy)) forget(copy);
    if (is_ours(fd)) follow(fd, result);
    return result;
}

int our_dup3(int fd, int copy, int flags) {
    int result = real.dup3(fd, copy, flags);
    if (result >= 0 && is_ours(copy)) forget(copy);
    if (is_ours(fd)) follow(fd, result);
    return result;
}

int our_fcntl(int fd, int command, ...) {
    va_list arguments;
    va_start(arguments, command);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    int result = real.fcntl(fd, command, argument);
    if ((command == F_DUPFD || command == F_DUPFD_CLOEXEC) && is_ours(fd)) follow(fd, result);
    return result;
}
ALSO(fcntl64, fcntl);

int our_close_range(unsigned first, unsigned last, int flags) {
    enum { ONLY_CLOSE_ON_EXEC = 4 };
    for (unsigned fd = first; !(flags & ONLY_CLOSE_ON_EXEC) && fd <= last && fd < CHUNK * CHUNKS && entries; fd++)
        if (is_ours((int)fd)) forget((int)fd);
    return real.close_range ? real.close_range(first, last, flags)
                            : (int)syscall(SYS_close_range, first, last, flags);
}

void our_closefrom(int first) {
    if (our_close_range(first < 0 ? 0 : (unsigned)first, ~0u, 0) < 0 && real.closefrom) real.closefrom(first);
}

int our_ioctl(int fd, unsigned long request, ...) {
    va_list arguments;
    va_start(arguments, request);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    if (!is_ours(fd)) return real.ioctl(fd, request, argument);
    host_lock();
    struct vfio_object *object = calls_object(fd), *created = NULL;  // another thread may have closed it meanwhile
    long result = object ? vfio_ioctl(object, (unsigned)request, argument, &created) : -EBADF;
    if (created) {
        // The kernel makes device descriptors close-on-exec; any file will do to hold the number.
        result = real.fcntl(fd, F_DUPFD_CLOEXEC, 0);
        if (result < 0) result = -errno;
        if (result >= 0 && enter((int)result, created) < 0) result = -EMFILE;
        if (result < 0) vfio_release(created);
    }
    host_unlock();
    return (int)answer(result);
}

// ---- Reading and writing ----

typedef ssize_t access_function(struct vfio_object *object, char *data, size_t size, off_t offset);

static ssize_t read_object(struct vfio_object *object, char *data, size_t size, off_t offset) {
    return vfio_read(object, data, size, offset);
}

static ssize_t write_object(struct vfio_object *object, char *data, size_t size, off_t offset) {
    return vfio_write(object, data, size, offset);
}

static ssize_t access_parts(int fd, const struct iovec *parts, int count, off_t offset, access_function *function) {
    ssize_t done = 0, result = 0;
    host_lock();
    for (int i = 0; i < count && result >= 0; i++) {
        struct vfio_object *object = calls_object(fd);
        result = object ? function(object, parts[i].iov_base, parts[i].iov_len, offset + done) : -EBADF;
        if (result > 0) done += result;
        if (result < (ssize_t)parts[i].iov_len) break;
    }
    host_unlock();
    return done ? done : answer(result);
}

// Without an offset in the call, it is the file's.
static ssize_t access_here(int fd, const struct iovec *parts, int count, access_function *function) {
    off_t offset = lseek(fd, 0, SEEK_CUR);
    ssize_t done = access_parts(fd, parts, count, offset, function);
    if (done > 0) lseek(fd, offset + done, SEEK_SET);
    return done;
}

#define ONE_PART(data, size) (&(struct iovec){(void *)(uintptr_t)(data), size}), 1

ssize_t our_pread(int fd, void *data, size_t size, off_t offset) {
    return is_ours(fd) ? access_parts(fd, ONE_PART(data, size), offset, read_object)
                       : real.pread(fd, data, size, offset);
}
ALSO(pread64, pread);

ssize_t our_pwrite(int fd, const void *data, size_t size, off_t offset) {
    return is_ours(fd) ? access_parts(fd, ONE_PART(data, size), offset, write_object)
                       : real.pwrite(fd, data, size, offset);
}
ALSO(pwrite64, pwrite);

ssize_t our_preadv(int fd, const struct iovec *parts, int count, off_t offset) {
    return is_ours(fd) ? access_parts(fd, parts, count, offset, read_object) : real.preadv(fd, parts, count, offset);
}
ALSO(preadv64, preadv);

ssize_t our_pwritev(int fd, const struct iovec *parts, int count, off_t offset) {
    return is_ours(fd) ? access_parts(fd, parts, count, offset, write_object)
                       : real.pwritev(fd, parts, count, offset);
}
ALSO(pwritev64, pwritev);

ssize_t our_read(int fd, void *data, size_t size) {
    if (is_ours(fd)) return access_here(fd, ONE_PART(data, size), read_object);
    return wait_for_interrupt(fd) < 0 ? -1 : real.read(fd, data, size);
}

ssize_t our_write(int fd, const void *data, size_t size) {
    return is_ours(fd) ? access_here(fd, ONE_PART(data, size), write_object) : real.write(fd, data, size);
}

ssize_t our_readv(int fd, const struct iovec *parts, int count) {
    if (is_ours(fd)) return access_here(fd, parts, count, read_object);
    return wait_for_interrupt(fd) < 0 ? -1 : real.readv(fd, parts, count);
}

// The C library's eventfd_read calls the C library's read, past ours.
int our_eventfd_read(int fd, eventfd_t *value) {
    return wait_for_interrupt(fd) < 0 ? -1 : real.eventfd_read(fd, value);
}

ssize_t our_writev(int fd, const struct iovec *parts, int count) {
    return is_ours(fd) ? access_here(fd, parts, count, write_object) : real.writev(fd, parts, count);
}

// ---- The same with the C library's overflow checks ----

#define CHECKED(type, name, parameters, size, space, call)                                                           \
    type checked_##name parameters __asm__("__" #name "_chk") EXPORTED;                                              \
    type checked_##name parameters {                                                                                 \
        if ((size) > (space)) abort();                                                                               \
        return call;                                                                                                 \
    }

CHECKED(ssize_t, read, (int fd, void *data, size_t size, size_t space), size, space, our_read(fd, data, size))
CHECKED(ssize_t, pread, (int fd, void *data, size_t size, off_t offset, size_t space), size, space,
        our_pread(fd, data, size, offset))
CHECKED(ssize_t, pread64, (int fd, void *data, size_t size, off_t offset, size_t space), size, space,
        our_pread(fd, data, size, offset))
CHECKED(ssize_t, readlink, (const char *path, char *target, size_t size, size_t space), size, space,
        our_readlink(path, target, size))
CHECKED(ssize_t, readlinkat, (int directory, const char *path, char *target, size_t size, size_t space), size, space,
        our_readlinkat(directory, path, target, size))
CHECKED(char *, realpath, (const char *path, char *resolved, size_t space), (size_t)PATH_MAX, space,
        our_realpath(path, resolved))

// ---- Names of old, still in programs linked long ago ----

#define OLD_STAT(name, call)                                                                                         \
    int old_##name(int version, const char *path, struct stat *status) __asm__("__" #name) EXPORTED;                 \
    int old_##name(int version, const char *path, struct stat *status) {                                             \
        (void)version;                                                                                               \
        return call(path, status);                                                                                   \
    }

OLD_STAT(xstat, our_stat)
OLD_STAT(xstat64, our_stat)
OLD_STAT(lxstat, our_lstat)
OLD_STAT(lxstat64, our_lstat)

#define OLD_STAT_AT(name)                                                                                            \
    int old_##name(int version, int directory, const char *path, struct stat *status, int flags) __asm__("__" #name) \
        EXPORTED;                                                                                                    \
    int old_##name(int version, int directory, const char *path, struct stat *status, int flags) {                   \
        (void)version;                                                                                               \
        return our_fstatat(directory, path, status, flags);                                                          \
    }

OLD_STAT_AT(fxstatat)
OLD_STAT_AT(fxstatat64)

// ---- Memory ----

// Memory that is given back or replaced: windows in it end, and DMA to it does too.
static void memory_goes(void *address, size_t size) {
    uintptr_t start = (uintptr_t)address;
    size = (size + PAGE - 1) & ~(size_t)(PAGE - 1);
    vfio_memory_lost(start, size);
    bar_forget(start, size);
}

static bool memory_matters(void) { return host_is_on() && !host_is_mine() && (bar_any() || vfio_any_dma()); }

void *our_mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset) {
    bool device = !(flags & MAP_ANONYMOUS) && is_ours(fd);
    bool replaces = (flags & MAP_FIXED) && memory_matters();
    if (!device && !replaces) return real.mmap(address, size, protection, flags, fd, offset);
    host_lock();
    if (replaces) memory_goes(address, size);
    struct vfio_object *object = device ? calls_object(fd) : NULL;
    void *memory = MAP_FAILED;
    if (!device)
        memory = real.mmap(address, size, protection, flags, fd, offset);
    else if (object)
        memory = vfio_mmap(object, address, size, protection, flags, offset);
    else
        errno = EBADF;
    int error = errno;
    host_unlock();
    if (memory == MAP_FAILED) errno = error;
    return memory;
}
ALSO(mmap64, mmap);

int our_munmap(void *address, size_t size) {
    if (!memory_matters()) return real.munmap(address, size);
    host_lock();
    memory_goes(address, size);
    int result = real.munmap(address, size), error = errno;
    host_unlock();
    if (result < 0) errno = error;
    return result;
}

int our_mprotect(void *address, size_t size, int protection) {
    if (!memory_matters()) return real.mprotect(address, size, protection);
    host_lock();
    long result = bar_overlaps((uintptr_t)address, size) ? answer(bar_protect((uintptr_t)address, size, protection))
                                                         : real.mprotect(address, size, protection);
    int error = errno;
    host_unlock();
    if (result < 0) errno = error;
    return (int)result;
}
