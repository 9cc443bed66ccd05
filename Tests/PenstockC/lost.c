// A driver that fails: the host's own loader hands the library commands that refuse, or lose the device. Every request
// ends once, with what Vulkan said, and nobody hangs. Arguments: a folder for files.
#include "check.h"
#include "encoders.h"
#include "gpu.h"

#include <stdatomic.h>

enum { SIZE = 256 << 10, PART = 4096, COUNT = SIZE / PART };
static const uint64_t forever = UINT64_MAX;

static char folder[200], path[256];

// ---- The loader

static atomic_int loads, submits, submits_that_work = INT32_MAX;
static VkResult refusal;
static const char *missing;
static PFN_vkQueueSubmit2 real_submit;
static PFN_vkGetDeviceProcAddr real_device_loader;

static VkResult VKAPI_CALL submit(VkQueue queue, uint32_t count, const VkSubmitInfo2 *infos, VkFence fence) {
    if (submits++ >= submits_that_work) {
        // What was submitted before may still be at work: the runtime must not take it anything away.
        return refusal;
    }
    return real_submit(queue, count, infos, fence);
}

static PFN_vkVoidFunction VKAPI_CALL load_of_device(VkDevice device, const char *name) {
    loads++;
    if (missing && strcmp(name, missing) == 0) return NULL;
    PFN_vkVoidFunction found = real_device_loader(device, name);
    if (found && (strcmp(name, "vkQueueSubmit2") == 0 || strcmp(name, "vkQueueSubmit2KHR") == 0)) {
        real_submit = (PFN_vkQueueSubmit2)found;
        return (PFN_vkVoidFunction)submit;
    }
    return found;
}

static void (*load(void *instance, const char *name))(void) {
    loads++;
    if (missing && strcmp(name, missing) == 0) return NULL;
    PFN_vkVoidFunction found = gpu.load(instance, name);
    if (found && strcmp(name, "vkGetDeviceProcAddr") == 0) {
        real_device_loader = (PFN_vkGetDeviceProcAddr)found;
        return (PFN_vkVoidFunction)load_of_device;
    }
    if (found && (strcmp(name, "vkQueueSubmit2") == 0 || strcmp(name, "vkQueueSubmit2KHR") == 0)) {
        real_submit = (PFN_vkQueueSubmit2)found;
        return (PFN_vkVoidFunction)submit;
    }
    return found;
}

static penstock_device adopt(void) {
    penstock_device_options options = gpu_options();
    options.get_instance_proc_addr = load;
    penstock_device device;
    loads = submits = 0;
    OK(penstock_device_adopt(&options, &device));
    CHECK(loads > 0);
    return device;
}

// ---- Tests

static atomic_int ended, succeeded, lost, others;
static VkResult told;

static void count(const penstock_completion *completion) {
    if (completion->result == PENSTOCK_OK) {
        succeeded++;
    } else if (completion->result == PENSTOCK_ERROR_DEVICE_LOST) {
        CHECK(completion->bytes == 0 && completion->os_error == 0);
        lost++;
    } else {
        CHECK(completion->bytes == 0 && completion->os_error == 0);
        told = (VkResult)completion->device_result;
        others++;
    }
    ended++;
}

static penstock_request read_part(penstock_file file, const gpu_buffer *buffer, int index) {
    penstock_request request = read_request(file, (uint64_t)index * PART, NULL, PART);
    request.buffer = buffer->adopted;
    request.buffer_offset = (uint64_t)index * PART;
    request.callback = count;
    return request;
}

// The device is lost at the first submission, or the third.
static void lost_devices_end_everything(int works) {
    submits_that_work = works;
    refusal = VK_ERROR_DEVICE_LOST;
    penstock_device device = adopt();
    gpu_buffer buffer = gpu_make_buffer(device, SIZE, 0);
    penstock_runtime runtime = make_runtime(PENSTOCK_DRIVER_AUTOMATIC);
    penstock_queue queue = make_queue(runtime, 0, PENSTOCK_WHEN_FULL_BLOCK);
    penstock_file file = open_file(runtime, path, PENSTOCK_ACCESS_READ), copy = new_file(runtime, folder, "copy");
    ended = succeeded = lost = others = 0;
    for (int index = 0; index < COUNT; index++) {
        const penstock_request request = read_part(file, &buffer, index);
        OK(penstock_enqueue(queue, &request, 1, NULL));
        // One after the other, so that there are many submissions.
        OK(penstock_wait(queue, forever));
    }
    CHECK(ended == COUNT && lost > 0 && succeeded + lost == COUNT && others == 0);
    CHECK(matches(buffer.bytes, 0, (size_t)succeeded * PART));
    penstock_device_info info = {.struct_size = sizeof info};
    OK(penstock_device_query(device, &info));
    CHECK(info.is_lost == 1 && info.device == gpu.device && info.queue == gpu.queue);
    // It stays so, for requests of all kinds; what has nothing to do with it goes on.
    unsigned char memory[PART];
    for (int kind = 0; kind < 4; kind++) {
        penstock_request request = read_part(file, &buffer, 0);
        request.callback = NULL;
        if (kind == 1) {
            request.operation = PENSTOCK_WRITE;
            request.file = copy;
        }
        if (kind >= 2) {
            request.file.id = 0;
            request.source = memory;
        }
        if (kind == 3) set_compression(&request, PENSTOCK_COMPRESSION_CUSTOM, PART);
        penstock_status status = 1234;
        request.status = &status;
        const penstock_result result = penstock_enqueue(queue, &request, 1, NULL);
        OK(penstock_wait(queue, forever));
        EXPECT(PENSTOCK_ERROR_DEVICE_LOST, result == PENSTOCK_OK ? penstock_status_load(&status) : result);
    }
    penstock_request request = read_request(file, 0, memory, PART);
    penstock_error_record record = {.struct_size = sizeof record};
    OK(penstock_take_errors(queue, &record));
    CHECK(record.count >= (uint64_t)lost && record.first.result == PENSTOCK_ERROR_DEVICE_LOST);
    OK(result_of(queue, &request));
    OK(penstock_runtime_close(runtime));
    gpu_destroy_buffer(&buffer);
    OK(penstock_device_close(device));
    printf("ok  a device lost after %d submissions: %d succeeded, %d did not\n", works, succeeded, lost);
}

// With many in flight, and the queue closed on top of that.
static void lost_devices_let_queues_close(void) {
    for (int round = 0; round < 20; round++) {
        submits_that_work = round % 5;
        refusal = VK_ERROR_DEVICE_LOST;
        penstock_device device = adopt();
        gpu_buffer buffer = gpu_make_buffer(device, SIZE, 0);
        penstock_runtime runtime = make_runtime(round % 2 ? PENSTOCK_DRIVER_THREADS : PENSTOCK_DRIVER_AUTOMATIC);
        penstock_queue queue = make_queue(runtime, 0, PENSTOCK_WHEN_FULL_BLOCK);
        penstock_file file = open_file(runtime, path, PENSTOCK_ACCESS_READ);
        ended = succeeded = lost = others = 0;
        for (int index = 0; index < COUNT; index++) {
            const penstock_request request = read_part(file, &buffer, index);
            OK(penstock_enqueue(queue, &request, 1, NULL));
            if (index % 8 == 0) OK(penstock_submit(queue));
        }
        if (round % 3) OK(penstock_queue_close(queue));
        OK(penstock_runtime_close(runtime));
        CHECK(ended == COUNT && succeeded + lost == COUNT);
        gpu_destroy_buffer(&buffer);
        OK(penstock_device_close(device));
    }
    printf("ok  queues close on a device that is lost\n");
}

// What Vulkan says is told. Whether it was more than the one submission is the next one's to say.
static void refusals_are_told(void) {
    static const struct {
        VkResult result;
        penstock_result expected;
    } refusals[] = {
        {VK_ERROR_OUT_OF_DEVICE_MEMORY, PENSTOCK_ERROR_DEVICE_MEMORY},
        {VK_ERROR_OUT_OF_HOST_MEMORY, PENSTOCK_ERROR_OUT_OF_MEMORY},
        {VK_ERROR_UNKNOWN, PENSTOCK_ERROR_DEVICE},
    };
    for (size_t index = 0; index < sizeof refusals / sizeof *refusals; index++) {
        submits_that_work = 0;
        refusal = refusals[index].result;
        penstock_device device = adopt();
        gpu_buffer buffer = gpu_make_buffer(device, SIZE, 0);
        penstock_runtime runtime = make_runtime(PENSTOCK_DRIVER_AUTOMATIC);
        penstock_queue queue = make_queue(runtime, 0, PENSTOCK_WHEN_FULL_BLOCK);
        penstock_file file = open_file(runtime, path, PENSTOCK_ACCESS_READ);
        ended = succeeded = lost = others = 0;
        told = VK_SUCCESS;
        penstock_request request = read_part(file, &buffer, 0);
        penstock_status status;
        request.status = &status;
        OK(penstock_enqueue(queue, &request, 1, NULL));
        OK(penstock_wait(queue, forever));
        CHECK(ended == 1 && others == 1 && told == refusal && penstock_status_load(&status) < 0);
        EXPECT(refusals[index].expected, penstock_status_load(&status));
        // And then it works again.
        submits_that_work = INT32_MAX;
        request.callback = NULL;
        OK(result_of(queue, &request));
        CHECK(matches(buffer.bytes, 0, PART));
        OK(penstock_runtime_close(runtime));
        gpu_destroy_buffer(&buffer);
        OK(penstock_device_close(device));
    }
    printf("ok  refusals are told\n");
}

// A loader that lacks a command is found out when the device is adopted, not when the command is needed.
static void loaders_may_lack_commands(void) {
    static const char *const commands[] = {
        "vkGetDeviceProcAddr", "vkCreateCommandPool", "vkWaitSemaphores", "vkCreateSemaphore", "vkAllocateMemory"};
    penstock_device_options options = gpu_options();
    options.get_instance_proc_addr = load;
    for (size_t index = 0; index < sizeof commands / sizeof *commands; index++) {
        missing = commands[index];
        penstock_device device;
        const penstock_result result = penstock_device_adopt(&options, &device);
        EXPECT(PENSTOCK_ERROR_UNAVAILABLE, result);
    }
    missing = NULL;
    OK(penstock_device_close(adopt()));
    printf("ok  loaders may lack commands\n");
}

int main(int count_of_arguments, char **arguments) {
    CHECK(count_of_arguments == 2);
    setvbuf(stdout, NULL, _IOLBF, 0);
    snprintf(folder, sizeof folder, "%s", arguments[1]);
    make_file(path, folder, "large", SIZE);
    gpu_open();
    lost_devices_end_everything(0);
    lost_devices_end_everything(2);
    lost_devices_let_queues_close();
    refusals_are_told();
    loaders_may_lack_commands();
    gpu_close();
    return 0;
}
