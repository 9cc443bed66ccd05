// A host in C that has a Vulkan device of its own, and lets Penstock stream files to and from its buffers:
//
//     chost FOLDER
//
// A file of the program's making goes into a VkBuffer; the host's own commands check it there and change a piece of
// it; the buffer goes into another file, which is checked again. Meanwhile a second thread of the host's keeps
// submitting to the same VkQueue. One timeline semaphore says whose turn it is: see `turn`.
//
// The program ends with 1 if anything is wrong, the silence of Vulkan's validation layer included.
#include "gpu.h"

#include <penstock.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    SIZE = 24 << 20,
    STAMP_SIZE = 4096,         // what the host's own commands change
    STAMP_BYTE = 0xA7,
    FRAME_SIZE = 1 << 20,      // what the second thread keeps filling
};

// The values of the timeline semaphore: each step waits for the one before it, on the GPU.
enum turn {
    FILE_IS_IN_BUFFER = 1,   // signalled by the read
    HOST_HAS_CHANGED_IT = 2, // signalled by the host's own commands
    BUFFER_WAS_TAKEN = 3,    // signalled by the write: the buffer's bytes are on their way to the file
};

// At once, without what `exit` takes down: the second thread may be in the middle of a call to Vulkan.
static void fail(const char *what) {
    fprintf(stderr, "FAILED: %s\n", what);
    fflush(stdout);
    _exit(1);
}

// A call that must succeed. `penstock_result_text` says what is wrong, and what to do about it.
static void require_ok(penstock_result result, const char *what) {
    if (result == PENSTOCK_OK) return;
    fprintf(stderr, "%s: %s: %s\n", what, penstock_result_name(result), penstock_result_text(result));
    fail(what);
}
#define OK(call) require_ok(call, #call)

// ---- The files

static unsigned char byte_at(size_t offset) { return (unsigned char)(offset * 131 + (offset >> 8) * 7 + 3); }

static void make_file(const char *path) {
    unsigned char *bytes = malloc(SIZE);
    if (!bytes) fail("memory");
    for (size_t offset = 0; offset < SIZE; offset++) bytes[offset] = byte_at(offset);
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(bytes, 1, SIZE, file) != SIZE || fclose(file) != 0) fail(path);
    free(bytes);
}

// What is in the buffer at the end: the stamp, and the file's bytes behind it.
static void check_stamped_file(const char *path) {
    unsigned char *bytes = malloc(SIZE);
    FILE *file = fopen(path, "rb");
    if (!bytes || !file || fread(bytes, 1, SIZE, file) != SIZE || fgetc(file) != EOF) fail(path);
    fclose(file);
    for (size_t offset = 0; offset < SIZE; offset++)
        if (bytes[offset] != (offset < STAMP_SIZE ? STAMP_BYTE : byte_at(offset))) fail("the second file is wrong");
    free(bytes);
}

// ---- The host's second thread

typedef struct renderer {
    gpu *gpu;
    pthread_t thread;
    atomic_bool stops;
    atomic_ulong frames;
} renderer;

// Draws nothing, but submits all the time, as a frame loop does.
static void *render(void *user_data) {
    renderer *renderer = user_data;
    gpu *gpu = renderer->gpu;
    gpu_buffer picture = gpu_create_buffer(gpu, FRAME_SIZE, false);
    VkSemaphore timeline = gpu_create_timeline(gpu);
    gpu_commands commands = gpu_create_commands(gpu);
    for (uint64_t frame = 1; !renderer->stops; frame++) {
        gpu_begin(commands);
        vkCmdFillBuffer(commands.buffer, picture.handle, 0, VK_WHOLE_SIZE, (uint32_t)frame);
        gpu_submit(gpu, commands, timeline, 0, frame);
        gpu_wait_for(gpu, timeline, frame);
        renderer->frames++;
    }
    gpu_destroy_commands(gpu, commands);
    vkDestroySemaphore(gpu->device, timeline, NULL);
    gpu_destroy_buffer(gpu, picture);
    return NULL;
}

static void start_rendering(renderer *renderer, gpu *gpu) {
    memset(renderer, 0, sizeof *renderer);
    renderer->gpu = gpu;
    if (pthread_create(&renderer->thread, NULL, render, renderer) != 0) fail("pthread_create");
    while (renderer->frames == 0) sched_yield();
}

static void stop_rendering(renderer *renderer) {
    renderer->stops = true;
    pthread_join(renderer->thread, NULL);
}

// ---- Penstock

// All handles are numbers; zero is none.
typedef struct streaming {
    penstock_runtime runtime;
    penstock_queue queue;
    penstock_device device;
    penstock_buffer buffer;
} streaming;

static void log_line(void *user_data, int32_t level, const char *message) {
    (void)user_data;
    if (level >= PENSTOCK_LOG_WARNING) fprintf(stderr, "penstock: %s\n", message);
}

// Lends Penstock the device, and the queue under the host's own lock. It destroys nothing of them.
static void adopt_device(streaming *streaming, gpu *gpu) {
    const penstock_device_options options = {
        .struct_size = sizeof options,
        .instance = gpu->instance,
        .physical_device = gpu->physical_device,
        .device = gpu->device,
        .queue = gpu->queue,
        .queue_family = gpu->queue_family,
        .enabled = gpu->has_memory_host ? PENSTOCK_ENABLED_MEMORY_HOST : 0,
        .lock = gpu_lock_queue,
        .unlock = gpu_unlock_queue,
        .lock_user_data = gpu,
        // The host links the loader itself, so there is none to be looked for.
        .get_instance_proc_addr = (void (*(*)(void *, const char *))(void))vkGetInstanceProcAddr,
    };
    OK(penstock_device_adopt(&options, &streaming->device));
}

static void start_streaming(streaming *streaming, gpu *gpu, gpu_buffer buffer) {
    const penstock_runtime_options runtime = {.struct_size = sizeof runtime, .name = "chost", .log = log_line};
    OK(penstock_runtime_create(&runtime, &streaming->runtime));
    const penstock_queue_options queue = {.struct_size = sizeof queue, .priority = PENSTOCK_PRIORITY_HIGH};
    OK(penstock_queue_create(streaming->runtime, &queue, &streaming->queue));
    adopt_device(streaming, gpu);
    OK(penstock_buffer_adopt(streaming->device, (uint64_t)buffer.handle, buffer.size, &streaming->buffer));
}

// Closing waits for what is in flight. The host's VkBuffer and VkDevice are there as before, and can go after this.
static void stop_streaming(streaming *streaming) {
    OK(penstock_queue_close(streaming->queue));
    OK(penstock_runtime_close(streaming->runtime));
    OK(penstock_buffer_close(streaming->buffer));
    OK(penstock_device_close(streaming->device));
}

// How the callback hands a result to the thread that waits for it.
typedef struct ending {
    sem_t has_come;
    penstock_result result;
    uint64_t bytes;
} ending;

// Runs on Penstock's thread, so it does little and never waits.
static void has_ended(const penstock_completion *completion) {
    ending *ending = completion->user_data;
    ending->result = completion->result;
    ending->bytes = completion->bytes;
    if (completion->result != PENSTOCK_OK)
        fprintf(stderr, "%s: %s (errno %d, VkResult %d)\n", completion->name, penstock_result_text(completion->result),
                completion->os_error, completion->device_result);
    sem_post(&ending->has_come);
}

// Starts a request, and waits until it has ended. A game goes on with something else in between.
static void perform(streaming *streaming, penstock_request *request) {
    ending ending = {.result = PENSTOCK_PENDING};
    sem_init(&ending.has_come, 0, 0);
    penstock_status status;
    request->callback = has_ended;
    request->user_data = &ending;
    request->status = &status;
    OK(penstock_enqueue(streaming->queue, request, 1, NULL));
    OK(penstock_submit(streaming->queue));
    while (sem_wait(&ending.has_come) != 0) {}  // a signal may end it too early
    sem_destroy(&ending.has_come);
    OK(ending.result);
    // Whoever has no callback looks here, from any thread, as often as it likes.
    OK(penstock_status_load(&status));
    if (ending.bytes != request->size) fail("fewer bytes were moved than asked for");
}

static void read_file(streaming *streaming, const char *path, VkSemaphore timeline) {
    penstock_file file;
    OK(penstock_file_open(streaming->runtime, path, PENSTOCK_ACCESS_READ, PENSTOCK_CACHING_AUTOMATIC, &file));
    penstock_request request = {
        .struct_size = sizeof request,
        .operation = PENSTOCK_READ,
        .file = file,
        .size = SIZE,
        .buffer = streaming->buffer,
        .signal = {(uint64_t)timeline, FILE_IS_IN_BUFFER},
        .name = "file to buffer",
    };
    perform(streaming, &request);
    OK(penstock_file_close(file));
}

static void write_file(streaming *streaming, const char *path, VkSemaphore timeline) {
    penstock_file file;
    OK(penstock_file_open(
        streaming->runtime, path, PENSTOCK_ACCESS_WRITE | PENSTOCK_ACCESS_CREATE | PENSTOCK_ACCESS_TRUNCATE,
        PENSTOCK_CACHING_AUTOMATIC, &file));
    penstock_request request = {
        .struct_size = sizeof request,
        .operation = PENSTOCK_WRITE,
        .file = file,
        .size = SIZE,
        .buffer = streaming->buffer,
        .wait = {(uint64_t)timeline, HOST_HAS_CHANGED_IT},
        .signal = {(uint64_t)timeline, BUFFER_WAS_TAKEN},
        .name = "buffer to file",
    };
    perform(streaming, &request);
    OK(penstock_file_close(file));
}

// ---- The host's own work with the buffer

// Copies the buffer to where the CPU sees it, then changes its first bytes. The semaphore makes the file's bytes
// visible to these commands. They are submitted only now that the read's own submission is known to be there: a queue
// works in order, and commands that wait for something behind them in the same queue would wait for ever.
static void copy_and_stamp(gpu *gpu, gpu_buffer buffer, gpu_buffer seen, VkSemaphore timeline) {
    gpu_commands commands = gpu_create_commands(gpu);
    gpu_begin(commands);
    const VkBufferCopy region = {.size = SIZE};
    vkCmdCopyBuffer(commands.buffer, buffer.handle, seen.handle, 1, &region);
    const VkMemoryBarrier2 after_copy = {
        .sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER_2,
        .srcStageMask = VK_PIPELINE_STAGE_2_ALL_TRANSFER_BIT,
        .srcAccessMask = VK_ACCESS_2_TRANSFER_WRITE_BIT,
        .dstStageMask = VK_PIPELINE_STAGE_2_ALL_TRANSFER_BIT | VK_PIPELINE_STAGE_2_HOST_BIT,
        .dstAccessMask = VK_ACCESS_2_TRANSFER_WRITE_BIT | VK_ACCESS_2_HOST_READ_BIT,
    };
    const VkDependencyInfo dependency = {
        .sType = VK_STRUCTURE_TYPE_DEPENDENCY_INFO, .memoryBarrierCount = 1, .pMemoryBarriers = &after_copy};
    vkCmdPipelineBarrier2(commands.buffer, &dependency);
    vkCmdFillBuffer(commands.buffer, buffer.handle, 0, STAMP_SIZE, STAMP_BYTE * 0x01010101u);
    gpu_submit(gpu, commands, timeline, FILE_IS_IN_BUFFER, HOST_HAS_CHANGED_IT);
    gpu_wait_for(gpu, timeline, HOST_HAS_CHANGED_IT);
    gpu_destroy_commands(gpu, commands);
}

static void check_content(gpu_buffer seen) {
    const unsigned char *bytes = seen.mapped;
    for (size_t offset = 0; offset < SIZE; offset++)
        if (bytes[offset] != byte_at(offset)) fail("the buffer does not hold the file's bytes");
}

int main(int argument_count, char **arguments) {
    if (argument_count != 2) fail("usage: chost FOLDER");
    char source[1024], copy[1024];
    snprintf(source, sizeof source, "%s/source.bin", arguments[1]);
    snprintf(copy, sizeof copy, "%s/copy.bin", arguments[1]);
    make_file(source);
    remove(copy);

    gpu gpu;
    gpu_create(&gpu);
    const gpu_buffer buffer = gpu_create_buffer(&gpu, SIZE, false);
    const gpu_buffer seen = gpu_create_buffer(&gpu, SIZE, true);
    const VkSemaphore timeline = gpu_create_timeline(&gpu);
    renderer renderer;
    start_rendering(&renderer, &gpu);
    printf("the second thread submits to the queue\n");

    streaming streaming;
    start_streaming(&streaming, &gpu, buffer);
    read_file(&streaming, source, timeline);
    printf("%d MiB: file to buffer\n", SIZE >> 20);
    copy_and_stamp(&gpu, buffer, seen, timeline);
    check_content(seen);
    printf("the buffer holds the file's bytes\n");
    write_file(&streaming, copy, timeline);
    if (gpu_value_of(&gpu, timeline) != BUFFER_WAS_TAKEN) fail("the write has not signalled the timeline semaphore");
    printf("%d MiB: buffer to file\n", SIZE >> 20);
    stop_streaming(&streaming);

    stop_rendering(&renderer);
    printf("%lu frames were submitted in the meantime\n", (unsigned long)renderer.frames);
    check_stamped_file(copy);
    printf("the second file is what it should be\n");

    vkDestroySemaphore(gpu.device, timeline, NULL);
    gpu_destroy_buffer(&gpu, seen);
    gpu_destroy_buffer(&gpu, buffer);
    gpu_destroy(&gpu);
    if (gpu_messages(&gpu) > 0) fail("the validation layer has something to say");
    printf("ok: validation is silent\n");
    return 0;
}
