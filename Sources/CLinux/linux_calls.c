#define _GNU_SOURCE
#include "linux_calls.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#ifndef STATX_DIOALIGN
#define STATX_DIOALIGN 0x2000u
#endif

// The kernel's layout with the direct I/O fields, which glibc 2.36 does not name.
struct statx_with_alignment {
    uint32_t mask, block_size;
    uint64_t attributes;
    uint32_t links, uid, gid;
    uint16_t mode, pad0;
    uint64_t inode, size, blocks, attributes_mask;
    struct { int64_t seconds; uint32_t nanoseconds; int32_t pad; } times[4];
    uint32_t rdev_major, rdev_minor, dev_major, dev_minor;
    uint64_t mount;
    uint32_t direct_memory_alignment, direct_offset_alignment;
    uint64_t spare[12];
};

static ssize_t negated(ssize_t result) { return result < 0 ? -errno : result; }

ssize_t linux_preadv2(int fd, void *address, size_t length, int64_t offset, int flags) {
    struct iovec vector = {.iov_base = address, .iov_len = length};
    // Not glibc's preadv2: as a cancellation point it takes two atomic operations more.
    return negated(syscall(SYS_preadv2, fd, &vector, 1, offset, 0, flags));
}

ssize_t linux_pwritev2(int fd, const void *address, size_t length, int64_t offset, int flags) {
    struct iovec vector = {.iov_base = (void *)address, .iov_len = length};
    return negated(pwritev2(fd, &vector, 1, offset, flags));
}

static int openat2_in(int directory, const char *path, uint64_t flags, uint32_t mode, uint64_t resolve) {
    struct open_how how = {.flags = flags | O_LARGEFILE, .mode = mode, .resolve = resolve};
    return (int)negated(syscall(SYS_openat2, directory, path, &how, sizeof how));
}

// Before Linux 5.6 there is no openat2, and a seccomp filter that does not know it may say so either way. A refusal that
// was meant comes again from whatever is tried instead.
static bool is_unknown_call(int result) { return result == -ENOSYS || result == -EPERM; }

int linux_openat2(const char *path, uint64_t flags, uint32_t mode, uint64_t resolve) {
    int result = openat2_in(AT_FDCWD, path, flags, mode, resolve);
    if (!is_unknown_call(result) || resolve != 0) return result;
    return (int)negated(open(path, (int)flags | O_LARGEFILE, mode));
}

// What openat2 does with RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS, a component at a time.
static int walk_beneath(int directory, const char *path, int flags, mode_t mode) {
    int folder = directory;
    while (true) {
        size_t length = strcspn(path, "/");
        bool is_last = path[length] == 0;
        char component[NAME_MAX + 1];
        int result;
        if (length > NAME_MAX) {
            result = -ENAMETOOLONG;
        } else {
            memcpy(component, path, length);
            component[length] = 0;
            bool leads_out = length == 0 || strcmp(component, "..") == 0;
            int how = is_last ? flags : O_PATH | O_DIRECTORY;
            result = leads_out ? -EXDEV : (int)negated(openat(folder, component, how | O_NOFOLLOW | O_CLOEXEC, mode));
        }
        if (folder != directory) close(folder);
        if (is_last || result < 0) return result;
        folder = result;
        path += length + 1;
    }
}

static int open_beneath(int directory, const char *path, int flags, mode_t mode, bool walks) {
    int result = -ENOSYS;
    if (!walks)
        result = openat2_in(
            directory, path, (uint64_t)(flags | O_CLOEXEC), mode, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
    return is_unknown_call(result) ? walk_beneath(directory, path, flags, mode) : result;
}

int linux_open_folder_beneath(int directory, const char *path, bool walks) {
    return open_beneath(directory, path, O_PATH | O_DIRECTORY, 0, walks);
}

int linux_create_beneath(int directory, const char *path, bool walks) {
    return open_beneath(directory, path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0666, walks);
}

int linux_open_folder(const char *path) { return (int)negated(open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)); }

int linux_temporary_file(const char *directory) {
    return (int)negated(open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0666));
}

int linux_name_file(int fd, const char *path) {
    char descriptor[40];
    snprintf(descriptor, sizeof descriptor, "/proc/self/fd/%d", fd);
    // Not AT_EMPTY_PATH, which wants a privilege.
    return (int)negated(linkat(AT_FDCWD, descriptor, AT_FDCWD, path, AT_SYMLINK_FOLLOW));
}

int linux_close(int fd) { return (int)negated(close(fd)); }

size_t linux_statx_size(void) { return sizeof(struct statx_with_alignment); }
uint32_t linux_statx_mask(void) { return STATX_BASIC_STATS | STATX_DIOALIGN; }
uint32_t linux_statx_flags(void) { return AT_EMPTY_PATH; }

void linux_statx_read(const void *from, linux_file_status *status) {
    const struct statx_with_alignment *statx = from;
    bool aligned = (statx->mask & STATX_DIOALIGN) != 0;
    status->size = statx->size;
    status->device = makedev(statx->dev_major, statx->dev_minor);
    status->mode = statx->mode;
    status->direct_memory_alignment = aligned ? statx->direct_memory_alignment : UINT32_MAX;
    status->direct_offset_alignment = aligned ? statx->direct_offset_alignment : UINT32_MAX;
}

int linux_status(int fd, linux_file_status *status) {
    struct statx_with_alignment statx = {0};
    int result = (int)negated(syscall(SYS_statx, fd, "", AT_EMPTY_PATH, linux_statx_mask(), &statx));
    if (result == 0) linux_statx_read(&statx, status);
    return result;
}

int linux_size_and_mode(int fd, linux_file_status *status) {
    struct stat plain;
    if (fstat(fd, &plain) < 0) return -errno;
    *status = (linux_file_status){.size = (uint64_t)plain.st_size, .device = plain.st_dev, .mode = plain.st_mode};
    return 0;
}

int linux_reopen(int fd, int flags) {
    char path[40];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return (int)negated(open(path, flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
}

int linux_fsync(int fd, bool data_only) { return (int)negated(data_only ? fdatasync(fd) : fsync(fd)); }
int linux_fallocate(int fd, int64_t offset, int64_t length) { return (int)negated(fallocate(fd, 0, offset, length)); }
int linux_ftruncate(int fd, int64_t length) { return (int)negated(ftruncate(fd, length)); }
int linux_drop_cache(int fd, int64_t offset, int64_t length) {
    return -posix_fadvise(fd, offset, length, POSIX_FADV_DONTNEED);
}

int linux_open_inert(void) { return (int)negated(open("/", O_PATH | O_CLOEXEC)); }

int linux_make_inert(int fd, int inert) {
    int result = (int)negated(dup3(inert, fd, O_CLOEXEC));
    return result < 0 ? result : 0;
}

int linux_eventfd(void) { return (int)negated(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)); }

int linux_eventfd_signal(int fd) {
    uint64_t one = 1;
    return (int)negated(write(fd, &one, sizeof one));
}

int linux_eventfd_wait(int fd, uint64_t timeout_ns) {
    struct pollfd poll = {.fd = fd, .events = POLLIN};
    struct timespec timeout = {
        .tv_sec = (time_t)(timeout_ns / 1000000000), .tv_nsec = (long)(timeout_ns % 1000000000)};
    int result = (int)negated(ppoll(&poll, 1, timeout_ns == UINT64_MAX ? NULL : &timeout, NULL));
    uint64_t count;
    if (result > 0 && read(fd, &count, sizeof count) < 0 && errno != EAGAIN) return -errno;
    return result;
}

int linux_memory_file(const char *name, uint64_t length) {
    int fd = memfd_create(name, MFD_CLOEXEC);
    if (fd < 0) return -errno;
    if (ftruncate(fd, (off_t)length) < 0) {
        int error = errno;
        close(fd);
        return -error;
    }
    return fd;
}

uint64_t linux_monotonic_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

void linux_spin_hint(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

int linux_online_processors(void) {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
    return (int)sysconf(_SC_NPROCESSORS_ONLN);
}

void linux_name_thread(const char *name) { pthread_setname_np(pthread_self(), name); }

void *linux_map_aligned(size_t size, size_t alignment) {
    size_t reserved = size + alignment;
    char *start = mmap(NULL, reserved, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (start == MAP_FAILED) return NULL;
    char *aligned = (char *)(((uintptr_t)start + alignment - 1) & ~(uintptr_t)(alignment - 1));
    if (aligned > start) munmap(start, (size_t)(aligned - start));
    char *end = start + reserved;
    if (end > aligned + size) munmap(aligned + size, (size_t)(end - (aligned + size)));
    return aligned;
}

void linux_unmap(void *address, size_t size) { munmap(address, size); }
bool linux_advise_huge(void *address, size_t size) { return madvise(address, size, MADV_HUGEPAGE) == 0; }

void linux_populate(void *address, size_t size) {
    if (madvise(address, size, MADV_POPULATE_WRITE) == 0) return;
    // Before Linux 5.14: touch each page by hand.
    for (size_t offset = 0; offset < size; offset += 4096) ((volatile char *)address)[offset] = 0;
}
