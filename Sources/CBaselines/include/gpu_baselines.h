/// What `penstock bench gpu` measures Penstock against: the same uploads, done the way a C programmer would do them.
///
/// As in baselines.h, each baseline runs its whole list once and times only the work, up to the moment the last byte
/// is in its destination; staging, command pools and semaphores are made, and staging is written once, before the
/// clock starts. Give it a destination that has been written once too: fresh memory is several times slower.
///
/// Each returns 0 or a negative errno: that of the failed system call; -EIO for a short read; -EINVAL for sizes that do
/// not fit together; -ENOMEM for a want of host, device or mappable memory; -ENOSYS if the device lacks a function of
/// Vulkan 1.3; -EOPNOTSUPP if no memory type fits; -ENODEV for a lost device; -EREMOTEIO for any other VkResult.
/// After a failure the times in the result mean nothing.
///
/// Handles are `void *` so that whoever includes this needs no Vulkan header.
#ifndef CBASELINES_GPU_BASELINES_H
#define CBASELINES_GPU_BASELINES_H

#include <stdint.h>

#include "baselines.h"

/// The caller's device, made for Vulkan 1.3 with `timelineSemaphore` and `synchronization2`. While a baseline runs,
/// nobody else may use the queue.
struct gpu_baseline_device {
    void *get_instance_proc_addr; ///< PFN_vkGetInstanceProcAddr
    void *instance;               ///< VkInstance
    void *physical_device;        ///< VkPhysicalDevice
    void *device;                 ///< VkDevice
    void *queue;                  ///< VkQueue that can transfer
    uint32_t queue_family;        ///< That queue's family.
};

/// Vulkan's functions and the semaphore that the baselines of one device share.
struct gpu_baselines;

/// Prepares to run baselines on `device`, which must outlive them.
int gpu_baseline_open(const struct gpu_baseline_device *device, struct gpu_baselines **baselines);

/// Releases what gpu_baseline_open made. Takes NULL, too.
void gpu_baseline_close(struct gpu_baselines *baselines);

/// The blocks to upload: `block_size` bytes of `fd` at each of `offsets`. Request i lands at
/// (i * block_size) % destination_size, so a destination smaller than the list is written again and again.
struct gpu_baseline_uploads {
    int fd;
    uint32_t block_size;
    const uint64_t *offsets;
    size_t count;
    void *destination;         ///< VkBuffer (TRANSFER_DST usage). Only the baselines that copy on the GPU look at it.
    uint64_t destination_size; ///< In bytes; a multiple of `block_size`.
};

/// Baseline "submit each": for each request, pread into one reused, mapped staging buffer, record one copy, submit it
/// and wait for it. Writes each request's nanoseconds to `request_ns` (room for `count`), unless that is NULL.
int gpu_baseline_submit_each(struct gpu_baselines *baselines, const struct gpu_baseline_uploads *uploads,
                             uint64_t *request_ns, struct baseline_result *result);

/// How staging is cut up. A segment holds `segment_requests` blocks or `segment_bytes` bytes, whichever is less, but at
/// least one block and never more than the destination. A zero stands for the default.
///
/// The defaults are meant for a GPU behind a bus (not measured on one). On lavapipe, which copies with the processor,
/// segments of 256 blocks or 1 MiB stay in its cache and were up to 1.4 times faster: measure against those there.
struct gpu_baseline_ring_shape {
    unsigned segments;         ///< Default 4.
    unsigned segment_requests; ///< Default 128.
    uint64_t segment_bytes;    ///< Default 4 MiB.
};

/// Baseline "staging ring", the careful hand-written uploader: one thread fills segments of mapped staging with pread,
/// submits each as one copy with many regions that signals a timeline value, and goes on with the next segment,
/// waiting only if that one's last copy is not done.
int gpu_baseline_staging_ring(struct gpu_baselines *baselines, const struct gpu_baseline_uploads *uploads,
                              struct gpu_baseline_ring_shape shape, struct baseline_result *result);

/// Baseline "pread mapped": one thread, pread straight into `mapped`, the destination's `destination_size` bytes of
/// host-visible memory. The floor where the processor can write the destination itself.
int gpu_baseline_pread_mapped(const struct gpu_baseline_uploads *uploads, void *mapped,
                              struct baseline_result *result);

/// Baseline "memcpy": one thread copies each block from `source` at offsets[i] % source_size to `target`
/// (`destination_size` bytes): the cost of moving the bytes once, with no file and no GPU. `source_size` and the
/// offsets are multiples of `block_size`. Both buffers have been written before and are page-aligned: a target 1 to 16
/// bytes further into its page than the source makes `rep movsb` 3 to 4 times slower on AMD's Zen 3.
int gpu_baseline_memcpy(const struct gpu_baseline_uploads *uploads, const void *source, uint64_t source_size,
                        void *target, struct baseline_result *result);

#endif
