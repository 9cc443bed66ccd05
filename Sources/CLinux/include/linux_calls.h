// System calls and constants that Swift's Glibc module does not show (they hide behind _GNU_SOURCE, are variadic, or are
// newer than the C library). It can go, call by call, as Glibc's module map learns them.
#ifndef PENSTOCK_LINUX_CALLS_H
#define PENSTOCK_LINUX_CALLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
    LINUX_O_DIRECT = 040000,
    LINUX_RWF_NOWAIT = 0x8,
    LINUX_RWF_DONTCACHE = 0x80,     // Linux 6.14
    LINUX_RESOLVE_CACHED = 0x20,    // Linux 5.12
};

/// What `statx` says about a file, in plain types.
typedef struct linux_file_status {
    uint64_t size;
    uint64_t device;
    uint32_t mode;
    uint32_t direct_memory_alignment;  // 0: direct I/O is not supported; UINT32_MAX: the kernel does not say
    uint32_t direct_offset_alignment;
} linux_file_status;

// Each returns its result, or a negated errno: errno itself is never left to be read later.
ssize_t linux_preadv2(int fd, void *address, size_t length, int64_t offset, int flags);
ssize_t linux_pwritev2(int fd, const void *address, size_t length, int64_t offset, int flags);
int linux_openat2(const char *path, uint64_t flags, uint32_t mode, uint64_t resolve);
/// A directory, to be searched and not read, at or below another one; no link on the way is followed. `openat2`, or where
/// that is not to be had, or `walks` is set, `openat` for each component.
int linux_open_folder_beneath(int directory, const char *path, bool walks);
/// A new file, to be written, below a directory. The same holds, and the umask applies.
int linux_create_beneath(int directory, const char *path, bool walks);
/// A directory to be read or synchronized.
int linux_open_folder(const char *path);
/// A file without a name in the directory, to be written, and to be named by linux_name_file. The umask applies.
int linux_temporary_file(const char *directory);
/// Names an open file, which must not have a name yet; fails with EEXIST if the name is taken.
int linux_name_file(int fd, const char *path);
int linux_close(int fd);
int linux_status(int fd, linux_file_status *status);
/// The same without the alignments, which are 0 then: half the price.
int linux_size_and_mode(int fd, linux_file_status *status);
/// The descriptor's file opened a second time with other flags, through /proc/self/fd.
int linux_reopen(int fd, int flags);
int linux_fsync(int fd, bool data_only);
int linux_fallocate(int fd, int64_t offset, int64_t length);
int linux_ftruncate(int fd, int64_t length);
int linux_drop_cache(int fd, int64_t offset, int64_t length);
/// An inert descriptor: every read or write on it fails with EBADF.
int linux_open_inert(void);
/// Makes `fd` another name of an inert descriptor: what it was is closed, and its number stays taken.
int linux_make_inert(int fd, int inert);

int linux_eventfd(void);
/// Adds one to an eventfd's counter.
int linux_eventfd_signal(int fd);
/// Waits until an eventfd's counter is not zero, or the timeout (UINT64_MAX: none) has passed, and resets it.
int linux_eventfd_wait(int fd, uint64_t timeout_ns);
/// An anonymous file of `length` zero bytes, or a negated errno.
int linux_memory_file(const char *name, uint64_t length);

/// Nanoseconds of CLOCK_MONOTONIC.
uint64_t linux_monotonic_ns(void);
/// Tells the processor that this is a spin-wait.
void linux_spin_hint(void);
int linux_online_processors(void);
/// Names the calling thread; the kernel keeps 15 bytes.
void linux_name_thread(const char *name);

/// `size` bytes of anonymous memory at a multiple of `alignment`, or NULL.
void *linux_map_aligned(size_t size, size_t alignment);
void linux_unmap(void *address, size_t size);
/// Asks for huge pages; false when the kernel refuses.
bool linux_advise_huge(void *address, size_t size);
/// Has the kernel give every page of the range now.
void linux_populate(void *address, size_t size);

/// `struct statx`, for the ring's STATX operation: its size and a reader for it.
size_t linux_statx_size(void);
uint32_t linux_statx_mask(void);
uint32_t linux_statx_flags(void);
void linux_statx_read(const void *statx, linux_file_status *status);

/// `struct open_how`, for the ring's OPENAT2 operation.
typedef struct linux_open_how {
    uint64_t flags;
    uint64_t mode;
    uint64_t resolve;
} linux_open_how;

#endif
