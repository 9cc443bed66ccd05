#include "gpu_copy.h"

int gpu_copy_open(struct gpu_baselines *baselines, struct gpu_copy *copy) {
    const VkCommandPoolCreateInfo pool = {
        .sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
        .flags = VK_COMMAND_POOL_CREATE_TRANSIENT_BIT,
        .queueFamilyIndex = baselines->queue_family,
    };
    *copy = (struct gpu_copy){0};
    int status = gpu_status(baselines->CreateCommandPool(baselines->device, &pool, NULL, &copy->pool));
    if (status != 0) return status;

    const VkCommandBufferAllocateInfo commands = {
        .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
        .commandPool = copy->pool,
        .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
        .commandBufferCount = 1,
    };
    return gpu_status(baselines->AllocateCommandBuffers(baselines->device, &commands, &copy->commands));
}

void gpu_copy_close(struct gpu_baselines *baselines, struct gpu_copy *copy) {
    // Takes VK_NULL_HANDLE, and the command buffer goes with its pool.
    baselines->DestroyCommandPool(baselines->device, copy->pool, NULL);
}

static void record_barrier(struct gpu_baselines *baselines, VkCommandBuffer commands, const VkMemoryBarrier2 *barrier) {
    const VkDependencyInfo dependency = {
        .sType = VK_STRUCTURE_TYPE_DEPENDENCY_INFO,
        .memoryBarrierCount = 1,
        .pMemoryBarriers = barrier,
    };
    baselines->CmdPipelineBarrier2(commands, &dependency);
}

static VkResult record(struct gpu_baselines *baselines, VkCommandBuffer commands, const VkCopyBufferInfo2 *what) {
    // An uploader does not know who uses the destination before and after it, so both barriers name everyone.
    const VkMemoryBarrier2 before = {
        .sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER_2,
        .srcStageMask = VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT,
        .srcAccessMask = VK_ACCESS_2_MEMORY_READ_BIT | VK_ACCESS_2_MEMORY_WRITE_BIT,
        .dstStageMask = VK_PIPELINE_STAGE_2_COPY_BIT,
        .dstAccessMask = VK_ACCESS_2_TRANSFER_WRITE_BIT,
    };
    const VkMemoryBarrier2 after = {
        .sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER_2,
        .srcStageMask = VK_PIPELINE_STAGE_2_COPY_BIT,
        .srcAccessMask = VK_ACCESS_2_TRANSFER_WRITE_BIT,
        .dstStageMask = VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT | VK_PIPELINE_STAGE_2_HOST_BIT,
        .dstAccessMask = VK_ACCESS_2_MEMORY_READ_BIT | VK_ACCESS_2_MEMORY_WRITE_BIT,
    };
    const VkCommandBufferBeginInfo begin = {
        .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO,
        .flags = VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT,
    };
    VkResult result = baselines->BeginCommandBuffer(commands, &begin);
    if (result != VK_SUCCESS) return result;
    record_barrier(baselines, commands, &before);
    baselines->CmdCopyBuffer2(commands, what);
    record_barrier(baselines, commands, &after);
    return baselines->EndCommandBuffer(commands);
}

static VkResult submit(struct gpu_baselines *baselines, VkCommandBuffer commands, uint64_t value) {
    const VkCommandBufferSubmitInfo buffer = {
        .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_SUBMIT_INFO,
        .commandBuffer = commands,
    };
    const VkSemaphoreSubmitInfo signal = {
        .sType = VK_STRUCTURE_TYPE_SEMAPHORE_SUBMIT_INFO,
        .semaphore = baselines->timeline,
        .value = value,
        .stageMask = VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT,
    };
    const VkSubmitInfo2 info = {
        .sType = VK_STRUCTURE_TYPE_SUBMIT_INFO_2,
        .commandBufferInfoCount = 1,
        .pCommandBufferInfos = &buffer,
        .signalSemaphoreInfoCount = 1,
        .pSignalSemaphoreInfos = &signal,
    };
    return baselines->QueueSubmit2(baselines->queue, 1, &info, VK_NULL_HANDLE);
}

int gpu_copy_submit(struct gpu_baselines *baselines, struct gpu_copy *copy, const VkCopyBufferInfo2 *what) {
    VkResult result = baselines->ResetCommandPool(baselines->device, copy->pool, 0);
    if (result == VK_SUCCESS) result = record(baselines, copy->commands, what);
    if (result == VK_SUCCESS) result = submit(baselines, copy->commands, baselines->submitted + 1);
    // A value that no submit will signal must not be waited for.
    if (result == VK_SUCCESS) copy->submitted = ++baselines->submitted;
    return gpu_status(result);
}
