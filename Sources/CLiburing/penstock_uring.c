#define _GNU_SOURCE
#include "penstock_uring.h"

#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>

// Newer than liburing 2.3's copy of the kernel header.
#define ENTER_NO_IOWAIT (1u << 7)
#ifndef IORING_ENTER_REGISTERED_RING
#define IORING_ENTER_REGISTERED_RING (1u << 4)
#endif

struct penstock_ring {
    struct io_uring ring;
    bool registered;
    bool supported[256];
};

static int set_up(struct io_uring *ring, unsigned entries, unsigned completions, unsigned flags) {
    struct io_uring_params parameters;
    memset(&parameters, 0, sizeof parameters);
    parameters.flags = flags | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP;
    parameters.cq_entries = completions;
    return io_uring_queue_init_params(entries, ring, &parameters);
}

int penstock_ring_create(penstock_ring **out, unsigned entries, unsigned completions) {
    // Newest first: 6.1 (SINGLE_ISSUER, DEFER_TASKRUN), 5.19 (COOP_TASKRUN), 5.18 (SUBMIT_ALL), older.
    static const unsigned chain[] = {
        IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_COOP_TASKRUN
            | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL,
        IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL,
        IORING_SETUP_SUBMIT_ALL,
        0,
    };
    penstock_ring *ring = calloc(1, sizeof *ring);
    if (!ring) return -ENOMEM;
    int result = -EINVAL;
    // Only EINVAL means "an unknown flag"; anything else would fail the same way again.
    for (size_t i = 0; i < sizeof chain / sizeof *chain && result == -EINVAL; i++)
        result = set_up(&ring->ring, entries, completions, chain[i]);
    if (result < 0) {
        free(ring);
        return result;
    }
    ring->registered = io_uring_register_ring_fd(&ring->ring) == 1;
    struct io_uring_probe *probe = io_uring_get_probe_ring(&ring->ring);
    if (probe) {
        for (int opcode = 0; opcode < 256; opcode++)
            ring->supported[opcode] = io_uring_opcode_supported(probe, opcode);
        io_uring_free_probe(probe);
    }
    *out = ring;
    return 0;
}

void penstock_ring_destroy(penstock_ring *ring) {
    io_uring_queue_exit(&ring->ring);
    free(ring);
}

uint32_t penstock_ring_setup_flags(const penstock_ring *ring) { return ring->ring.flags; }
uint32_t penstock_ring_features(const penstock_ring *ring) { return ring->ring.features; }
unsigned penstock_ring_entries(const penstock_ring *ring) { return *ring->ring.sq.kring_entries; }
bool penstock_ring_supports(const penstock_ring *ring, uint8_t opcode) { return ring->supported[opcode]; }
bool penstock_ring_is_registered(const penstock_ring *ring) { return ring->registered; }

bool penstock_ring_push(penstock_ring *ring, const penstock_sqe *from) {
    struct io_uring_sqe *sqe = io_uring_get_sqe(&ring->ring);
    if (!sqe) return false;
    memset(sqe, 0, sizeof *sqe);
    sqe->opcode = from->opcode;
    sqe->flags = from->flags;
    sqe->fd = from->fd;
    sqe->off = from->offset;
    sqe->addr = from->address;
    sqe->len = from->length;
    sqe->rw_flags = (int)from->op_flags;
    sqe->user_data = from->user_data;
    sqe->buf_index = from->buffer_index;
    return true;
}

int penstock_ring_flush(penstock_ring *ring) { return io_uring_submit_and_get_events(&ring->ring); }

int penstock_ring_wait(penstock_ring *ring, uint64_t timeout_ns) {
    struct __kernel_timespec timeout = {
        .tv_sec = (long long)(timeout_ns / 1000000000), .tv_nsec = (long long)(timeout_ns % 1000000000)};
    bool forever = timeout_ns == UINT64_MAX;
    if (io_uring_sq_ready(&ring->ring) > 0) {
        struct io_uring_cqe *cqe;
        return io_uring_submit_and_wait_timeout(&ring->ring, &cqe, 1, forever ? NULL : &timeout, NULL);
    }
    if (io_uring_cq_ready(&ring->ring) > 0) return 0;
    unsigned flags = IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG;
    if (ring->ring.features & PENSTOCK_FEATURE_NO_IOWAIT) flags |= ENTER_NO_IOWAIT;
    if (ring->registered) flags |= IORING_ENTER_REGISTERED_RING;
    struct io_uring_getevents_arg argument = {.ts = forever ? 0 : (uint64_t)(uintptr_t)&timeout};
    int fd = ring->registered ? ring->ring.enter_ring_fd : ring->ring.ring_fd;
    return io_uring_enter2((unsigned)fd, 0, 1, flags, (sigset_t *)&argument, sizeof argument);
}

bool penstock_ring_has_completions(const penstock_ring *ring) {
    if (io_uring_cq_ready(&ring->ring) > 0) return true;
    unsigned flags = IO_URING_READ_ONCE(*ring->ring.sq.kflags);
    return (flags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0;
}

unsigned penstock_ring_reap(penstock_ring *ring, penstock_cqe *completions, unsigned capacity) {
    struct io_uring_cqe *cqes[64];
    unsigned taken = 0;
    while (taken < capacity) {
        unsigned room = capacity - taken < 64 ? capacity - taken : 64;
        unsigned count = io_uring_peek_batch_cqe(&ring->ring, cqes, room);
        for (unsigned i = 0; i < count; i++, taken++)
            completions[taken] = (penstock_cqe){cqes[i]->user_data, cqes[i]->res, cqes[i]->flags};
        io_uring_cq_advance(&ring->ring, count);
        if (count < room) break;
    }
    return taken;
}

int penstock_ring_reserve_files(penstock_ring *ring, unsigned count) {
    return io_uring_register_files_sparse(&ring->ring, count);
}

int penstock_ring_set_file(penstock_ring *ring, unsigned index, int fd) {
    int result = io_uring_register_files_update(&ring->ring, index, &fd, 1);
    return result < 0 ? result : 0;
}

int penstock_ring_reserve_buffers(penstock_ring *ring, unsigned count) {
    return io_uring_register_buffers_sparse(&ring->ring, count);
}

int penstock_ring_set_buffer(penstock_ring *ring, unsigned index, void *address, uint64_t length) {
    struct iovec buffer = {.iov_base = address, .iov_len = length};
    __u64 tag = 0;
    int result = io_uring_register_buffers_update_tag(&ring->ring, index, &buffer, &tag, 1);
    return result < 0 ? result : 0;
}
