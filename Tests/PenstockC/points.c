// Timeline semaphores of the host's: requests of all kinds that wait for a value and signal another, those that fail,
// and places in a queue that wait. Arguments: a folder for files.
#include "check.h"
#include "encoders.h"
#include "gpu.h"

#include <malloc.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { SIZE = 64 << 10, COUNT = 16384 };
static const uint64_t forever = UINT64_MAX, moment = 20000000;

// All kinds of requests that a device has to do with; each moves `COUNT` bytes.
enum {
    FILE_TO_BUFFER, MEMORY_TO_BUFFER, ENCODED_FILE_TO_BUFFER, ENCODED_MEMORY_TO_BUFFER, FILE_TO_IMAGE, MEMORY_TO_IMAGE,
    ENCODED_FILE_TO_IMAGE, ENCODED_MEMORY_TO_IMAGE, BUFFER_TO_FILE, IMAGE_TO_FILE, KINDS
};
static const char *const kind_names[] = {
    "a file to a buffer", "memory to a buffer", "an encoded file to a buffer", "encoded memory to a buffer",
    "a file to an image", "memory to an image", "an encoded file to an image", "encoded memory to an image",
    "a buffer to a file", "an image to a file"};

static char folder[200], path[256];
static penstock_runtime runtime;
static penstock_queue queue;
static penstock_device device;
static penstock_file file, copy, zstd_file;
static gpu_buffer buffer;
// One for each kind of request: they run side by side.
static gpu_image images[KINDS];
static size_t zstd_size;
static unsigned char zstd_bytes[2 * COUNT + 1024], plain[SIZE];

static const penstock_image_description description = {
    .struct_size = sizeof description, .format = VK_FORMAT_R8G8B8A8_UNORM, .width = 64, .height = 64};

static penstock_request request_of(int kind) {
    const int is_write = kind >= BUFFER_TO_FILE;
    const int is_encoded = kind == ENCODED_FILE_TO_BUFFER || kind == ENCODED_MEMORY_TO_BUFFER ||
                           kind == ENCODED_FILE_TO_IMAGE || kind == ENCODED_MEMORY_TO_IMAGE;
    const int is_of_memory = kind == MEMORY_TO_BUFFER || kind == ENCODED_MEMORY_TO_BUFFER || kind == MEMORY_TO_IMAGE ||
                             kind == ENCODED_MEMORY_TO_IMAGE;
    const int is_of_image = (kind >= FILE_TO_IMAGE && kind <= ENCODED_MEMORY_TO_IMAGE) || kind == IMAGE_TO_FILE;
    penstock_request request = read_request(is_encoded ? zstd_file : file, 0, NULL, is_encoded ? zstd_size : COUNT);
    if (is_write) {
        request.operation = PENSTOCK_WRITE;
        request.file = copy;
    }
    if (is_encoded) set_compression(&request, PENSTOCK_COMPRESSION_ZSTD, COUNT);
    if (is_of_memory) {
        request.file.id = 0;
        request.source = is_encoded ? zstd_bytes : plain;
    }
    if (is_of_image) {
        request.image = images[kind].adopted;
        request.old_layout = is_write ? VK_IMAGE_LAYOUT_GENERAL : VK_IMAGE_LAYOUT_UNDEFINED;
        request.new_layout = VK_IMAGE_LAYOUT_GENERAL;
    } else {
        request.buffer = buffer.adopted;
        request.buffer_offset = (uint64_t)kind * COUNT;
    }
    return request;
}

// Waits for a value, which the queue reaches only later, and signals another one.
static void requests_wait_and_signal(void) {
    VkSemaphore before = gpu_make_semaphore(), after = gpu_make_semaphore();
    for (int kind = 0; kind < KINDS; kind++) {
        const uint64_t value = (uint64_t)kind + 1;
        unsigned char *target = buffer.bytes + kind * COUNT;
        ending end = {0};
        penstock_request request = request_of(kind);
        request.wait = gpu_point(before, value);
        request.signal = gpu_point(after, 10 * value);
        request.callback = keep_ending;
        request.user_data = &end;
        OK(penstock_enqueue(queue, &request, 1, NULL));
        EXPECT(PENSTOCK_TIMEOUT, penstock_wait(queue, moment));
        CHECK(end.count == 0 && gpu_value(after) == 10 * (value - 1));
        if (kind < FILE_TO_IMAGE) CHECK(all_are(target, COUNT, 0xEE));
        gpu_signal_by_queue(before, value);
        // The GPU tells first that the bytes are there; who waits for that on the host sees them.
        gpu_await(after, 10 * value);
        if (kind < FILE_TO_IMAGE) CHECK(matches(target, 0, COUNT));
        OK(penstock_wait(queue, forever));
        CHECK(end.count == 1 && end.completion.result == PENSTOCK_OK && end.completion.bytes == COUNT);
        if (kind >= BUFFER_TO_FILE) expect_file(folder, "copy", 0, COUNT);
        printf("ok  %s waits and signals\n", kind_names[kind]);
    }
    // A value that has been reached already, and either of the two alone.
    penstock_request request = request_of(FILE_TO_BUFFER);
    request.wait = gpu_point(before, 1);
    OK(result_of(queue, &request));
    request.wait.semaphore = 0;
    request.signal = gpu_point(after, 1000);
    OK(result_of(queue, &request));
    CHECK(gpu_value(after) == 1000);
    // Values must rise, and host memory is no GPU's.
    EXPECT(PENSTOCK_ERROR_INVALID_ARGUMENT, penstock_enqueue(queue, &request, 1, NULL));
    request.signal.value = 1001;
    request.buffer.id = 0;
    request.memory = plain;
    EXPECT(PENSTOCK_ERROR_NOT_SUPPORTED, penstock_enqueue(queue, &request, 1, NULL));
    CHECK(gpu_value(after) == 1000);
    gpu.DestroySemaphore(gpu.device, before, NULL);
    gpu.DestroySemaphore(gpu.device, after, NULL);
}

// Whoever waits for the signal of a request that has failed would take what is there for what was asked for.
static void failures_do_not_signal(void) {
    VkSemaphore before = gpu_make_semaphore(), after = gpu_make_semaphore();
    unsigned char damaged[64] = {1, 2, 3};
    uint64_t value = 0;  // of the first: what has been signalled may not have got there yet
    for (int place = 0; place < 2; place++) {
        // What is decoded is not what it should be.
        const uint64_t unused = gpu_value(after) + 1;
        penstock_request request = request_of(place ? ENCODED_MEMORY_TO_IMAGE : ENCODED_MEMORY_TO_BUFFER);
        request.source = damaged;
        request.size = sizeof damaged;
        request.signal = gpu_point(after, unused);
        EXPECT(PENSTOCK_ERROR_MALFORMED_DATA, result_of(queue, &request));
        // The file is closed before it is read.
        penstock_file closed = open_file(runtime, path, PENSTOCK_ACCESS_READ);
        request = request_of(place ? FILE_TO_IMAGE : FILE_TO_BUFFER);
        request.file = closed;
        request.signal = gpu_point(after, unused);
        penstock_status status;
        request.status = &status;
        OK(penstock_enqueue(queue, &request, 1, NULL));
        OK(penstock_file_close(closed));
        OK(penstock_wait(queue, forever));
        CHECK(penstock_status_load(&status) == PENSTOCK_ERROR_FILE_CLOSED && gpu_value(after) < unused);
        // It is cancelled, or its time is over, while it waits.
        for (int is_late = 0; is_late < 2; is_late++) {
            for (int is_encoded = 0; is_encoded < 2; is_encoded++) {
                const uint64_t signalled = gpu_value(after);
                value++;
                request = request_of(
                    place ? (is_encoded ? ENCODED_FILE_TO_IMAGE : FILE_TO_IMAGE)
                          : (is_encoded ? ENCODED_FILE_TO_BUFFER : FILE_TO_BUFFER));
                request.wait = gpu_point(before, value);
                request.signal = gpu_point(after, signalled + 1);
                request.timeout = is_late ? moment / 4 : 0;
                request.tag = 7;
                ending end = {0};
                request.callback = keep_ending;
                request.user_data = &end;
                OK(penstock_enqueue(queue, &request, 1, NULL));
                OK(penstock_submit(queue));
                if (!is_late) OK(penstock_cancel(queue, UINT64_MAX, 7));
                // It may be too far on for that; then it ends when it may go on.
                const penstock_result result = penstock_wait(queue, 2 * moment);
                CHECK(result == PENSTOCK_OK || result == PENSTOCK_TIMEOUT);
                gpu_signal_by_queue(before, value);
                OK(penstock_wait(queue, forever));
                CHECK(end.count == 1);
                if (end.completion.result == PENSTOCK_OK) {
                    gpu_await(after, signalled + 1);
                } else {
                    EXPECT(is_late ? PENSTOCK_ERROR_DEADLINE_EXCEEDED : PENSTOCK_ERROR_CANCELLED,
                           end.completion.result);
                    CHECK(gpu_value(after) == signalled);
                }
                printf("    %s while %s waits: %s\n", is_late ? "late" : "cancelled",
                       is_encoded ? "what is encoded" : "a read", penstock_result_name(end.completion.result));
            }
        }
    }
    // The values that were not used are there to be used.
    penstock_request request = request_of(FILE_TO_BUFFER);
    request.signal = gpu_point(after, gpu_value(after) + 1);
    OK(result_of(queue, &request));
    CHECK(gpu_value(after) == request.signal.value);
    gpu_await(before, value);
    gpu.DestroySemaphore(gpu.device, before, NULL);
    gpu.DestroySemaphore(gpu.device, after, NULL);
    printf("ok  failures do not signal\n");
}

static void queues_wait(void) {
    VkSemaphore first = gpu_make_semaphore(), second = gpu_make_semaphore();
    penstock_queue other = make_queue(runtime, 0, PENSTOCK_WHEN_FULL_BLOCK);
    static ending ends[KINDS + 1];
    for (uint64_t round = 1; round <= 3; round++) {
        memset(ends, 0, sizeof ends);
        // In front of the place: does not wait.
        penstock_request request = request_of(FILE_TO_BUFFER);
        request.callback = keep_ending;
        request.user_data = &ends[KINDS];
        request.buffer_offset = KINDS * COUNT;
        OK(penstock_enqueue(queue, &request, 1, NULL));
        OK(penstock_enqueue_wait(queue, device, (uint64_t)(uintptr_t)first, round));
        // Behind it: all kinds, each of which waits, and none alone.
        for (int kind = 0; kind < KINDS; kind++) {
            request = request_of(kind);
            request.callback = keep_ending;
            request.user_data = &ends[kind];
            OK(penstock_enqueue(queue, &request, 1, NULL));
        }
        // Host memory, and other queues, have nothing to do with it.
        unsigned char memory[1000];
        penstock_status status;
        request = read_request(file, 0, memory, sizeof memory);
        request.status = &status;
        OK(penstock_enqueue(queue, &request, 1, NULL));
        OK(penstock_submit(queue));
        request = request_of(FILE_TO_BUFFER);
        request.buffer_offset = (KINDS + 1) * COUNT;
        OK(result_of(other, &request));
        while (penstock_status_load(&status) == PENSTOCK_PENDING) sched_yield();
        while (!__atomic_load_n(&ends[KINDS].count, __ATOMIC_ACQUIRE)) sched_yield();
        EXPECT(PENSTOCK_TIMEOUT, penstock_wait(queue, moment));
        for (int kind = 0; kind < KINDS; kind++) CHECK(ends[kind].count == 0);
        gpu_signal_by_queue(first, round);
        OK(penstock_wait(queue, forever));
        for (int kind = 0; kind < KINDS; kind++) {
            CHECK(ends[kind].count == 1);
            OK(ends[kind].completion.result);
        }
        // The next such call takes the place of this one; a semaphore of zero, of all.
        if (round == 1) {
            OK(penstock_enqueue_wait(queue, device, (uint64_t)(uintptr_t)first, 1000));
            OK(penstock_enqueue_wait(queue, device, (uint64_t)(uintptr_t)second, 1));
            request = request_of(FILE_TO_BUFFER);
            request.status = &status;
            OK(penstock_enqueue(queue, &request, 1, NULL));
            EXPECT(PENSTOCK_TIMEOUT, penstock_wait(queue, moment));
            CHECK(penstock_status_load(&status) == PENSTOCK_PENDING);
            gpu_signal_by_queue(second, 1);
            OK(penstock_wait(queue, forever));
            CHECK(penstock_status_load(&status) == PENSTOCK_OK);
        } else {
            OK(penstock_enqueue_wait(queue, device, (uint64_t)(uintptr_t)first, 1000));
            OK(penstock_enqueue_wait(queue, device, 0, 0));
            for (int kind = 0; kind < KINDS; kind++) {
                request = request_of(kind);
                OK(result_of(queue, &request));
            }
        }
    }
    // With points of its own a request waits for both.
    OK(penstock_enqueue_wait(queue, device, (uint64_t)(uintptr_t)first, 4));
    penstock_request request = request_of(ENCODED_FILE_TO_BUFFER);
    penstock_status status;
    request.status = &status;
    request.wait = gpu_point(second, 2);
    request.signal = gpu_point(second, 10);
    OK(penstock_enqueue(queue, &request, 1, NULL));
    EXPECT(PENSTOCK_TIMEOUT, penstock_wait(queue, moment));
    gpu_signal_by_queue(second, 2);
    EXPECT(PENSTOCK_TIMEOUT, penstock_wait(queue, moment));
    CHECK(penstock_status_load(&status) == PENSTOCK_PENDING && gpu_value(second) == 2);
    gpu_signal_by_queue(first, 4);
    OK(penstock_wait(queue, forever));
    CHECK(penstock_status_load(&status) == PENSTOCK_OK && gpu_value(second) == 10);
    OK(penstock_enqueue_wait(queue, device, 0, 0));

    EXPECT(PENSTOCK_ERROR_INVALID_HANDLE, penstock_enqueue_wait(queue, (penstock_device){0}, 1, 1));
    EXPECT(PENSTOCK_ERROR_INVALID_HANDLE, penstock_enqueue_wait((penstock_queue){0}, device, 1, 1));
    OK(penstock_queue_close(other));
    EXPECT(PENSTOCK_ERROR_INVALID_HANDLE, penstock_enqueue_wait(other, device, 1, 1));
    gpu.DestroySemaphore(gpu.device, first, NULL);
    gpu.DestroySemaphore(gpu.device, second, NULL);
    printf("ok  places in a queue wait\n");
}

// Chains: each request waits for what the one before it signals. In one queue, enqueued the wrong way round.
static void requests_wait_for_each_other(void) {
    enum { LINKS = 20 };
    VkSemaphore chain = gpu_make_semaphore();
    static ending ends[LINKS];
    memset(ends, 0, sizeof ends);
    for (int link = LINKS - 1; link >= 0; link--) {
        penstock_request request = request_of(link % BUFFER_TO_FILE);
        request.wait = gpu_point(chain, (uint64_t)link);
        if (link == 0) request.wait.semaphore = 0;
        request.signal = gpu_point(chain, (uint64_t)link + 1);
        request.callback = keep_ending;
        request.user_data = &ends[link];
        OK(penstock_enqueue(queue, &request, 1, NULL));
    }
    OK(penstock_submit(queue));
    gpu_await(chain, LINKS);
    OK(penstock_wait(queue, forever));
    for (int link = 0; link < LINKS; link++) {
        CHECK(ends[link].count == 1);
        OK(ends[link].completion.result);
    }
    gpu.DestroySemaphore(gpu.device, chain, NULL);
    printf("ok  requests wait for each other\n");
}

// Marks take slots until they are reached, and asking whether all is over leaves nothing behind, however often.
static void places_are_bounded(void) {
    enum { SLOTS = 4, POLLS = 20000, UNTOUCHED = 77 };
    VkSemaphore before = gpu_make_semaphore(), after = gpu_make_semaphore();
    penstock_queue small = make_queue(runtime, SLOTS, PENSTOCK_WHEN_FULL_REFUSE);
    penstock_request request = request_of(FILE_TO_BUFFER);
    request.wait = gpu_point(before, 1);
    OK(penstock_enqueue(small, &request, 1, NULL));
    penstock_status first = UNTOUCHED, refused = UNTOUCHED;
    const int event = eventfd(0, EFD_NONBLOCK);
    CHECK(event >= 0);
    OK(penstock_enqueue_status(small, &first));
    OK(penstock_enqueue_event(small, event));
    OK(penstock_enqueue_signal(small, device, (uint64_t)(uintptr_t)after, 1));
    EXPECT(PENSTOCK_WOULD_BLOCK, penstock_enqueue_status(small, &refused));
    EXPECT(PENSTOCK_WOULD_BLOCK, penstock_enqueue_event(small, event));
    EXPECT(PENSTOCK_WOULD_BLOCK, penstock_enqueue_signal(small, device, (uint64_t)(uintptr_t)after, 2));
    EXPECT(PENSTOCK_WOULD_BLOCK, penstock_enqueue(small, &request, 1, NULL));
    CHECK(refused == UNTOUCHED);
    EXPECT(PENSTOCK_TIMEOUT, penstock_wait(small, 0));
    const size_t used = mallinfo2().uordblks + mallinfo2().hblkhd;
    for (int poll = 0; poll < POLLS; poll++) EXPECT(PENSTOCK_TIMEOUT, penstock_wait(small, poll % 2));
    const size_t more = mallinfo2().uordblks + mallinfo2().hblkhd - used;
    // A block for each second one would be far more; others may have allocated meanwhile.
    CHECK((int64_t)more < POLLS * 8);
    EXPECT(PENSTOCK_PENDING, penstock_status_load(&first));
    gpu_signal(before, 1);
    OK(penstock_wait(small, forever));
    OK(penstock_status_load(&first));
    gpu_await(after, 1);
    eventfd_t count = 0;
    CHECK(eventfd_read(event, &count) == 0 && count == 1);
    penstock_queue_info info = {.struct_size = sizeof info};
    OK(penstock_queue_query(small, &info));
    CHECK(info.slots_free == SLOTS);
    // What comes later is waited for as well.
    request.wait.semaphore = 0;
    penstock_status later;
    request.status = &later;
    OK(penstock_enqueue(small, &request, 1, NULL));
    OK(penstock_wait(small, forever));
    OK(penstock_status_load(&later));
    OK(penstock_queue_close(small));
    CHECK(close(event) == 0);
    gpu.DestroySemaphore(gpu.device, before, NULL);
    gpu.DestroySemaphore(gpu.device, after, NULL);
    printf("ok  places are bounded\n");
}

int main(int count_of_arguments, char **arguments) {
    CHECK(count_of_arguments == 2);
    snprintf(folder, sizeof folder, "%s", arguments[1]);
    make_file(path, folder, "large", SIZE);
    fill(plain, 0, SIZE);
    zstd_size = encode(PENSTOCK_COMPRESSION_ZSTD, 1, plain, COUNT, zstd_bytes);
    char zstd_path[256];
    snprintf(zstd_path, sizeof zstd_path, "%s/zstd", folder);
    FILE *stream = fopen(zstd_path, "wb");
    CHECK(stream && fwrite(zstd_bytes, 1, zstd_size, stream) == zstd_size && fclose(stream) == 0);
    gpu_open();
    device = gpu_adopt();
    runtime = make_runtime(PENSTOCK_DRIVER_AUTOMATIC);
    queue = make_queue(runtime, 0, PENSTOCK_WHEN_FULL_BLOCK);
    file = open_file(runtime, path, PENSTOCK_ACCESS_READ);
    zstd_file = open_file(runtime, zstd_path, PENSTOCK_ACCESS_READ);
    copy = new_file(runtime, folder, "copy");
    buffer = gpu_make_buffer(device, (KINDS + 2) * COUNT, 0);
    fill(buffer.bytes + BUFFER_TO_FILE * COUNT, 0, COUNT);
    for (int kind = 0; kind < KINDS; kind++) images[kind] = gpu_make_image(device, &description);
    penstock_request request = request_of(FILE_TO_IMAGE);
    request.image = images[IMAGE_TO_FILE].adopted;
    OK(result_of(queue, &request));
    requests_wait_and_signal();
    failures_do_not_signal();
    queues_wait();
    requests_wait_for_each_other();
    places_are_bounded();
    OK(penstock_runtime_close(runtime));
    for (int kind = 0; kind < KINDS; kind++) gpu_destroy_image(&images[kind]);
    gpu_destroy_buffer(&buffer);
    OK(penstock_device_close(device));
    gpu_close();
    return 0;
}
