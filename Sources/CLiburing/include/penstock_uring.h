// A thin door to liburing.
//
// Why it exists: liburing's own headers cannot be imported next to swift-system, whose private C module defines the same
// `struct io_uring_sqe`; its pointer and integer signatures drift between versions; and its completion macros do not
// import at all. Nothing of liburing appears in this header. It can go when swift-system's `IORing` offers DEFER_TASKRUN,
// cancellation by user data and multishot poll.
#ifndef PENSTOCK_URING_H
#define PENSTOCK_URING_H

#include <stdbool.h>
#include <stdint.h>

typedef struct penstock_ring penstock_ring;

/// One submission, field for field as `struct io_uring_sqe` wants it for the given opcode.
typedef struct penstock_sqe {
    uint8_t opcode;
    uint8_t flags;
    uint16_t buffer_index;
    int32_t fd;
    uint64_t offset;
    uint64_t address;
    uint32_t length;
    uint32_t op_flags;
    uint64_t user_data;
} penstock_sqe;

/// One completion.
typedef struct penstock_cqe {
    uint64_t user_data;
    int32_t result;
    uint32_t flags;
} penstock_cqe;

enum {
    PENSTOCK_OP_FSYNC = 3,
    PENSTOCK_OP_READ_FIXED = 4,
    PENSTOCK_OP_WRITE_FIXED = 5,
    PENSTOCK_OP_POLL_ADD = 6,
    PENSTOCK_OP_ASYNC_CANCEL = 14,
    PENSTOCK_OP_FALLOCATE = 17,
    PENSTOCK_OP_STATX = 21,
    PENSTOCK_OP_READ = 22,
    PENSTOCK_OP_WRITE = 23,
    PENSTOCK_OP_OPENAT2 = 28,
    PENSTOCK_OP_FTRUNCATE = 55,  // Linux 6.9; not in liburing 2.3

    PENSTOCK_SQE_FIXED_FILE = 1 << 0,
    PENSTOCK_SQE_ASYNC = 1 << 4,
    PENSTOCK_CQE_MORE = 1 << 1,
    PENSTOCK_POLL_MULTISHOT = 1 << 0,
    PENSTOCK_FSYNC_DATASYNC = 1 << 0,

    PENSTOCK_SETUP_SINGLE_ISSUER = 1 << 12,
    PENSTOCK_SETUP_DEFER_TASKRUN = 1 << 13,
    PENSTOCK_FEATURE_EXT_ARG = 1 << 8,     // Linux 5.11
    PENSTOCK_FEATURE_RSRC_TAGS = 1 << 10,  // Linux 5.13, which brought multishot polls too
    PENSTOCK_FEATURE_NO_IOWAIT = 1 << 17,  // Linux 6.15
};

/// Makes a ring for the calling thread, trying the newest flags first. Returns 0 or a negated errno.
int penstock_ring_create(penstock_ring **ring, unsigned entries, unsigned completions);
/// Unmaps and closes the ring. The kernel does not wait for reads in flight: drain first.
void penstock_ring_destroy(penstock_ring *ring);

uint32_t penstock_ring_setup_flags(const penstock_ring *ring);
uint32_t penstock_ring_features(const penstock_ring *ring);
unsigned penstock_ring_entries(const penstock_ring *ring);
/// Whether the kernel knows the opcode.
bool penstock_ring_supports(const penstock_ring *ring, uint8_t opcode);
/// Whether the ring's own descriptor is registered with the kernel.
bool penstock_ring_is_registered(const penstock_ring *ring);

/// Queues one submission. False when the submission queue is full: flush, then try again.
bool penstock_ring_push(penstock_ring *ring, const penstock_sqe *sqe);
/// Submits what is queued and runs due completion work; waits for nothing. Returns a count or a negated errno.
int penstock_ring_flush(penstock_ring *ring);
/// Submits what is queued and waits for one completion, or until the timeout (UINT64_MAX: none) has passed.
/// A wait without a submission does not count as iowait where the kernel allows that.
int penstock_ring_wait(penstock_ring *ring, uint64_t timeout_ns);
/// Whether completions are ready, or become ready with the next flush. No system call.
bool penstock_ring_has_completions(const penstock_ring *ring);
/// Takes up to `capacity` completions off the ring. No system call unless the completion queue had overflowed.
unsigned penstock_ring_reap(penstock_ring *ring, penstock_cqe *completions, unsigned capacity);

/// Reserves an empty table of `count` fixed files. Returns 0 or a negated errno.
int penstock_ring_reserve_files(penstock_ring *ring, unsigned count);
/// Puts a descriptor (or -1) into the fixed-file table.
int penstock_ring_set_file(penstock_ring *ring, unsigned index, int fd);
/// Reserves an empty table of `count` fixed buffers. Returns 0 or a negated errno.
int penstock_ring_reserve_buffers(penstock_ring *ring, unsigned count);
/// Pins memory into the fixed-buffer table (or clears the entry with NULL). Returns 0 or a negated errno.
int penstock_ring_set_buffer(penstock_ring *ring, unsigned index, void *address, uint64_t length);

#endif
