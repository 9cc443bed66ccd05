// Baseline "C ring".
#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <sys/uio.h>

#include "baselines.h"
#include "stopwatch.h"

struct uring_run {
    struct io_uring ring;
    const struct baseline_reads *reads;
    struct io_uring_cqe **completions; // Room for a whole batch: `depth` of them.
    unsigned depth;
    int fixed_buffers;
    unsigned in_flight;
    size_t next;
};

// The fastest rung first; a kernel that lacks a flag refuses it with EINVAL. One thread sets up, submits and reaps, so
// nothing here needs IORING_SETUP_R_DISABLED and io_uring_enable_rings, which liburing 2.3 does not export.
static int open_ring(struct io_uring *ring, unsigned depth) {
    static const unsigned rungs[] = {
        IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
        IORING_SETUP_SUBMIT_ALL | IORING_SETUP_COOP_TASKRUN,
        0,
    };
    int status = -EINVAL;
    for (size_t rung = 0; rung < sizeof rungs / sizeof *rungs && status == -EINVAL; rung++) {
        status = io_uring_queue_init(depth, ring, rungs[rung]);
    }
    return status;
}

static int register_resources(struct uring_run *run) {
    // Spares the kernel a descriptor look-up on each enter. Kernels before 5.18 lack it, and the ring works without.
    (void)io_uring_register_ring_fd(&run->ring);

    int status = io_uring_register_files(&run->ring, &run->reads->fd, 1);
    if (status < 0 || !run->fixed_buffers) return status;

    struct iovec *vectors = calloc(run->depth, sizeof *vectors);
    if (!vectors) return -ENOMEM;
    for (unsigned slot = 0; slot < run->depth; slot++) {
        vectors[slot] = (struct iovec){run->reads->buffers[slot], run->reads->block_size};
    }
    status = io_uring_register_buffers(&run->ring, vectors, run->depth);
    free(vectors);
    return status;
}

// Puts the next read of the list into `slot`, which is the index of its buffer. The submission ring holds `depth`
// entries and at most `depth` are in flight, so there is always an entry free.
static inline void prepare(struct uring_run *run, unsigned slot) {
    const struct baseline_reads *reads = run->reads;
    struct io_uring_sqe *sqe = io_uring_get_sqe(&run->ring);
    const uint64_t offset = reads->offsets[run->next++];
    if (run->fixed_buffers) {
        io_uring_prep_read_fixed(sqe, 0, reads->buffers[slot], reads->block_size, offset, (int)slot);
    } else {
        io_uring_prep_read(sqe, 0, reads->buffers[slot], reads->block_size, offset);
    }
    sqe->flags |= IOSQE_FIXED_FILE;
    io_uring_sqe_set_data64(sqe, slot);
}

// Takes every completion that is there and puts a new read in each one's place. After a failure it puts none, but the
// caller goes on until nothing is in flight: the kernel may write to the buffers until then.
static int reap(struct uring_run *run, int status) {
    const unsigned count = io_uring_peek_batch_cqe(&run->ring, run->completions, run->depth);
    for (unsigned index = 0; index < count; index++) {
        const struct io_uring_cqe *cqe = run->completions[index];
        if (status == 0 && cqe->res < 0) status = cqe->res;
        if (status == 0 && (uint32_t)cqe->res != run->reads->block_size) status = -EIO;
        if (status == 0 && run->next < run->reads->count) {
            prepare(run, (unsigned)cqe->user_data);
        } else {
            run->in_flight--;
        }
    }
    io_uring_cq_advance(&run->ring, count);
    return status;
}

// Only after a submit that failed for good: what the kernel did take must still be waited for.
static void await_submitted(struct uring_run *run) {
    unsigned submitted = run->in_flight - io_uring_sq_ready(&run->ring);
    struct io_uring_cqe *cqe;
    while (submitted > 0 && io_uring_wait_cqe(&run->ring, &cqe) == 0) {
        io_uring_cqe_seen(&run->ring, cqe);
        submitted--;
    }
}

static int read_all(struct uring_run *run) {
    int status = 0;
    while (run->in_flight < run->depth && run->next < run->reads->count) prepare(run, run->in_flight++);
    while (run->in_flight > 0) {
        // An eighth of the depth at a time keeps the disk's queue full and saves most of the enters that waiting for
        // single completions costs. Cached reads complete within the submit and come back as one batch anyway.
        const unsigned batch = run->depth < 16 ? 1 : run->depth / 8;
        const unsigned wanted = batch < run->in_flight ? batch : run->in_flight;
        int submitted = io_uring_submit_and_wait(&run->ring, wanted);
        if (submitted < 0 && submitted != -EINTR && submitted != -EAGAIN && submitted != -EBUSY) {
            await_submitted(run);
            return submitted;
        }
        status = reap(run, status);
    }
    return status;
}

int baseline_uring(const struct baseline_reads *reads, unsigned depth, int fixed_buffers,
                   struct baseline_result *result) {
    if (depth == 0 || depth > reads->buffer_count) return -EINVAL;
    struct uring_run run = {.reads = reads, .depth = depth, .fixed_buffers = fixed_buffers};
    run.completions = calloc(depth, sizeof *run.completions);
    if (!run.completions) return -ENOMEM;

    int status = open_ring(&run.ring, depth);
    if (status == 0) {
        status = register_resources(&run);
        if (status == 0) {
            struct stopwatch start = stopwatch_start();
            status = read_all(&run);
            stopwatch_stop(start, result);
        }
        io_uring_queue_exit(&run.ring);
    }
    free(run.completions);
    result->operations = reads->count;
    result->bytes = (uint64_t)reads->count * reads->block_size;
    return status;
}
