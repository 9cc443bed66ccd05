/// A command buffer that is recorded and submitted again and again, each time with one copy.
#ifndef CBASELINES_GPU_COPY_H
#define CBASELINES_GPU_COPY_H

#include "gpu_device.h"

struct gpu_copy {
    VkCommandPool pool; ///< Holds only `commands`, so that it can be reset whole, the cheapest way there is.
    VkCommandBuffer commands;
    uint64_t submitted; ///< The timeline value of the last submit; 0, which never has to be waited for, before it.
};

/// Call gpu_copy_close also after a failure.
int gpu_copy_open(struct gpu_baselines *baselines, struct gpu_copy *copy);

/// Only when its last submit is done.
void gpu_copy_close(struct gpu_baselines *baselines, struct gpu_copy *copy);

/// Records and submits one copy. Its last submit must be done. What used the destination on this queue before, and
/// what will use it after, there or (once the submit is awaited) on the host, needs no barrier of its own.
int gpu_copy_submit(struct gpu_baselines *baselines, struct gpu_copy *copy, const VkCopyBufferInfo2 *what);

#endif
