/// What `penstock bench` measures Penstock against: the same work, done the way a C programmer would do it.
///
/// Each baseline runs its whole list once and times only the work: threads, rings and registrations are set up before
/// the clock starts and torn down after it stops. Each returns 0, or -errno of the first failure; a short read is
/// -EIO, because a baseline that skips bytes would be compared with a Penstock that does not.
#ifndef CBASELINES_BASELINES_H
#define CBASELINES_BASELINES_H

#include <stddef.h>
#include <stdint.h>

/// What one run cost. CPU time is that of the whole process, so of every thread the work ran on (io_uring's kernel
/// workers included): run nothing else meanwhile.
struct baseline_result {
    uint64_t wall_ns;
    uint64_t cpu_ns;
    uint64_t operations;
    uint64_t bytes;
};

/// The blocks to read: `block_size` bytes of `fd` at each of `offsets`, into buffers that are used over and over.
struct baseline_reads {
    int fd; ///< May be open with O_DIRECT; offsets, size and buffers must then be aligned for it.
    uint32_t block_size;
    const uint64_t *offsets;
    size_t count;
    void *const *buffers; ///< One for each request in flight, page-aligned, `block_size` bytes or more each.
    size_t buffer_count;
};

/// Baseline "pread": a loop of pread(2) on each of `threads` threads, the offsets split evenly between them.
/// Needs a buffer for each thread.
int baseline_pread(const struct baseline_reads *reads, unsigned threads, struct baseline_result *result);

/// Baseline "C ring": one thread with one io_uring (SINGLE_ISSUER | DEFER_TASKRUN where the kernel has them), ring
/// descriptor registered, fixed file, `depth` reads in flight, completions reaped and replaced in batches.
/// Needs `depth` buffers. With `fixed_buffers` they are registered too; that can fail with -ENOMEM (RLIMIT_MEMLOCK).
int baseline_uring(const struct baseline_reads *reads, unsigned depth, int fixed_buffers,
                   struct baseline_result *result);

/// Baseline "open-read-close" on threads: each of `threads` threads takes the next path, opens it, fstats it, reads it
/// to the end into its own reused buffer and closes it.
int baseline_open_read_close(const char *const *paths, size_t count, unsigned threads,
                             struct baseline_result *result);

/// The inner step of "open-read-close", for callers that bring their own threads or tasks: blocking open, fstat, read
/// to the end, close. Grows `*buffer` (page-aligned, from NULL; release it with free(3)) and `*capacity` as needed.
/// Returns the bytes read, or -errno.
int64_t baseline_load_file(const char *path, void **buffer, size_t *capacity);

#endif
