// What other libraries of this kind have got wrong, measured, and their own cases, each as a test here. By number:
//
//   cases  small reads, writing and reading back, three reads, a bad descriptor, an unknown compression
//   1   more requests than the queue has slots: the rest failed
//   2   the bytes that were moved: always 0, except for some kinds of requests
//   3   compression: ignored without a word, except for some kinds of requests
//   4   a short read, or one past the end: a full success, with the device's memory overwritten by what was not read
//   5   an offset and size that lie outside the device's buffer: not checked
//   6   a queue that is destroyed with work in flight, or right after waiting: use after free
//   7   a device that is given up with requests queued: crash
//   8   errno: read after the host's callback had run
//   9   errors of completions: never told; descriptors and sizes: not checked
//   10  callbacks that are null, or throw: crash. (That none may throw is said in the header.)
//   11  one submission, wait and lock for each request to a device
//   12  a wait that takes more than a second: called a success, and what is in use was freed
//   13  barriers and layouts: none
//   14  the host's VkQueue, used without its lock
//   15  sizes over 4 GiB: cut to 32 bits; completions that nobody takes: pile up
//
// Arguments: a folder for files.
#include "check.h"
#include "encoders.h"
#include "gpu.h"

#include <errno.h>
#include <malloc.h>
#include <stdatomic.h>
#include <sys/mman.h>

enum { SIZE = 64 << 10, BUFFER_SIZE = 1 << 20, MARGIN = 4096 };
static const uint64_t forever = UINT64_MAX;

static char folder[200], path[256];
static uint32_t driver;
static penstock_runtime runtime;
static penstock_queue queue;
static penstock_device device;
static gpu_buffer buffer;
static penstock_file file;  // of `SIZE` bytes of the pattern
static unsigned char bytes[SIZE];

static penstock_request buffer_request(uint64_t offset, uint64_t at, uint64_t size) {
    penstock_request request = read_request(file, offset, NULL, size);
    request.buffer = buffer.adopted;
    request.buffer_offset = at;
    return request;
}

static penstock_file small_file(const char *name, size_t size) {
    char small[256];
    make_file(small, folder, name, size);
    return open_file(runtime, small, PENSTOCK_ACCESS_READ);
}

// A file of what a compression makes of `count` bytes of the pattern, and how long it is.
static penstock_file encoded_file(uint32_t compression, size_t count, size_t *size) {
    unsigned char *plain = malloc(count), *encoded = malloc(encoded_bound(count));
    fill(plain, 0, count);
    *size = encode(compression, 0, plain, count, encoded);
    char name[300];
    snprintf(name, sizeof name, "%s/%s", folder, compression_names[compression]);
    FILE *stream = fopen(name, "wb");
    CHECK(stream && fwrite(encoded, 1, *size, stream) == *size && fclose(stream) == 0);
    free(plain);
    free(encoded);
    return open_file(runtime, name, PENSTOCK_ACCESS_READ);
}

// ---- The peer's own cases

static void own_cases(void) {
    memset(bytes, 0xAA, sizeof bytes);
    penstock_file fifteen = small_file("fifteen", 15);
    penstock_request request = read_request(fifteen, 0, bytes, 15);
    CHECK(perform(queue, &request).bytes == 15 && matches(bytes, 0, 15) && bytes[15] == 0xAA);

    penstock_file written = new_file(runtime, folder, "written");
    request = read_request(written, 0, bytes, 15);
    request.operation = PENSTOCK_WRITE;
    CHECK(perform(queue, &request).bytes == 15);
    expect_file(folder, "written", 0, 15);
    memset(bytes, 0, 15);
    request.operation = PENSTOCK_READ;
    CHECK(perform(queue, &request).bytes == 15 && matches(bytes, 0, 15));

    penstock_file five = small_file("five", 5);
    request = read_request(five, 0, bytes, 100);
    CHECK(perform(queue, &request).bytes == 5);

    // At 0, 10 and 26, at once.
    penstock_file thirty_six = small_file("thirty-six", 36);
    const uint64_t offsets[] = {0, 10, 26};
    penstock_request three[3];
    ending ends[3] = {{0}};
    for (int index = 0; index < 3; index++) {
        three[index] = read_request(thirty_six, offsets[index], bytes + 10 * index, 10);
        three[index].callback = keep_ending;
        three[index].user_data = &ends[index];
    }
    OK(penstock_enqueue(queue, three, 3, NULL));
    OK(penstock_wait(queue, forever));
    for (int index = 0; index < 3; index++) {
        CHECK(ends[index].count == 1 && ends[index].completion.bytes == 10);
        CHECK(matches(bytes + 10 * index, offsets[index], 10));
    }

    // A descriptor that is none is found out before there is a request; an error says where it was and how much.
    penstock_file none = {0};
    EXPECT(PENSTOCK_ERROR_BAD_DESCRIPTOR, penstock_file_adopt(runtime, -1, 0, 0, &none));
    CHECK(none.id == 0);
    request = read_request(none, 12345, bytes, 100);
    EXPECT(PENSTOCK_ERROR_INVALID_HANDLE, penstock_enqueue(queue, &request, 1, NULL));
    request = read_request(file, 12345, (void *)16, 100);
    const penstock_completion completion = perform(queue, &request);
    CHECK(completion.os_error == EFAULT && completion.offset == 12345 && completion.size == 100);

    request = read_request(file, 0, bytes, 100);
    request.compression = 99;
    request.uncompressed_size = 200;
    EXPECT(PENSTOCK_ERROR_NOT_SUPPORTED, penstock_enqueue(queue, &request, 1, NULL));
}

// ---- 1

enum { MANY = 64, SLOTS = 8, EACH = 1000 };

static void defect_1_more_requests_than_slots(void) {
    size_t encoded_size;
    penstock_file encoded = encoded_file(PENSTOCK_COMPRESSION_ZSTD, EACH, &encoded_size);
    // To memory, to a buffer, and both of them decoded.
    for (int kind = 0; kind < 4; kind++) {
        for (uint32_t when_full = PENSTOCK_WHEN_FULL_BLOCK; when_full <= PENSTOCK_WHEN_FULL_GROW; when_full++) {
            penstock_queue small = make_queue(runtime, SLOTS, when_full);
            const int is_decoded = kind >= 2, is_device = kind % 2;
            unsigned char *target = is_device ? buffer.bytes : bytes;
            memset(target, 0, (size_t)MANY * EACH);
            penstock_request requests[MANY];
            ending ends[MANY] = {{0}};
            for (int index = 0; index < MANY; index++) {
                const uint64_t at = (uint64_t)index * EACH;
                requests[index] = is_device ? buffer_request(at, at, EACH) : read_request(file, at, bytes + at, EACH);
                if (is_decoded) {
                    requests[index].file = encoded;
                    requests[index].offset = 0;
                    requests[index].size = encoded_size;
                    set_compression(&requests[index], PENSTOCK_COMPRESSION_ZSTD, EACH);
                }
                requests[index].callback = keep_ending;
                requests[index].user_data = &ends[index];
            }
            size_t done = 0, accepted = 0;
            while (done < MANY) {
                const penstock_result result = penstock_enqueue(small, requests + done, MANY - done, &accepted);
                done += accepted;
                CHECK(result == (done == MANY ? PENSTOCK_OK : PENSTOCK_WOULD_BLOCK));
                if (when_full == PENSTOCK_WHEN_FULL_BLOCK) CHECK(done == MANY);
                else CHECK(accepted > 0);
                OK(penstock_wait(small, forever));
            }
            for (int index = 0; index < MANY; index++) {
                CHECK(ends[index].count == 1 && ends[index].completion.result == PENSTOCK_OK);
                CHECK(ends[index].completion.bytes == EACH);
                CHECK(matches(target + index * EACH, is_decoded ? 0 : (uint64_t)index * EACH, EACH));
            }
            OK(penstock_queue_close(small));
        }
    }
}

// ---- 2

static void defect_2_bytes_are_told(void) {
    penstock_file five = small_file("five", 5);
    penstock_request request = read_request(file, 100, bytes, 1234);
    CHECK(perform(queue, &request).bytes == 1234);
    request = buffer_request(100, 0, 1234);
    CHECK(perform(queue, &request).bytes == 1234);
    request = buffer_request(0, 0, 100);
    request.file = five;
    CHECK(perform(queue, &request).bytes == 5);
    // Decoded: the bytes that came of it.
    size_t encoded_size;
    penstock_file encoded = encoded_file(PENSTOCK_COMPRESSION_LZ4, 5000, &encoded_size);
    for (int is_device = 0; is_device < 2; is_device++) {
        request = is_device ? buffer_request(0, 0, encoded_size) : read_request(encoded, 0, bytes, encoded_size);
        request.file = encoded;
        set_compression(&request, PENSTOCK_COMPRESSION_LZ4, 5000);
        CHECK(perform(queue, &request).bytes == 5000);
    }
    // Written, from both.
    penstock_file written = new_file(runtime, folder, "written");
    request = buffer_request(0, 0, 777);
    request.operation = PENSTOCK_WRITE;
    request.file = written;
    CHECK(perform(queue, &request).bytes == 777);
    request = read_request(written, 0, bytes, 778);
    request.operation = PENSTOCK_WRITE;
    CHECK(perform(queue, &request).bytes == 778);
    // And in the sum of what a queue has to do.
    penstock_queue_info info = {.struct_size = sizeof info};
    OK(penstock_queue_query(queue, &info));
    CHECK(info.bytes_pending == 0);
}

// ---- 3

static const penstock_image_description square = {
    .struct_size = sizeof square, .format = VK_FORMAT_R8G8B8A8_UNORM, .width = 64, .height = 64};

static void defect_3_compression_is_never_ignored(void) {
    penstock_image image;
    OK(penstock_image_create(device, &square, 0, &image));
    uint64_t size;
    OK(penstock_image_size(image, &size));
    CHECK(size == 64 * 64 * 4);
    for (int place = 0; place < 3; place++) {
        penstock_request good = place == 0 ? read_request(file, 0, bytes, 100) : buffer_request(0, 0, 100);
        if (place == 2) {
            good.buffer.id = 0;
            good.image = image;
            good.new_layout = VK_IMAGE_LAYOUT_GENERAL;
        }
        // One that there is none of.
        for (uint32_t compression = LAST_COMPRESSION + 1; compression < 1000; compression++) {
            penstock_request request = good;
            request.compression = compression;
            request.uncompressed_size = size;
            EXPECT(PENSTOCK_ERROR_NOT_SUPPORTED, penstock_enqueue(queue, &request, 1, NULL));
        }
        // The pattern is none of these: what is not decoded must not look as if it had been.
        for (uint32_t compression = FIRST_COMPRESSION; compression <= LAST_COMPRESSION; compression++) {
            penstock_request request = good;
            set_compression(&request, compression, size);
            EXPECT(PENSTOCK_ERROR_MALFORMED_DATA, result_of(queue, &request));
            request.operation = PENSTOCK_WRITE;
            EXPECT(PENSTOCK_ERROR_NOT_SUPPORTED, penstock_enqueue(queue, &request, 1, NULL));
        }
    }
    OK(penstock_image_close(image));
    // That each is decoded, into each of these, is in `decoded.c`.
}

// ---- 4

static void defect_4_nothing_behind_the_end(void) {
    for (uint64_t there = 0; there <= 100; there += 10) {
        for (int kind = 0; kind < 2; kind++) {
            unsigned char *target = kind ? buffer.bytes + 500 : bytes;
            memset(kind ? buffer.bytes : bytes, 0xEE, 4096);
            const penstock_request request = kind ? buffer_request(SIZE - there, 500, 1000)
                                                  : read_request(file, SIZE - there, bytes, 1000);
            const penstock_completion completion = perform(queue, &request);
            CHECK(completion.result == PENSTOCK_OK && completion.bytes == there);
            CHECK(matches(target, SIZE - there, there) && all_are(target + there, 1000 - there, 0xEE));
        }
    }
    // Far behind it.
    memset(buffer.bytes, 0xEE, 4096);
    penstock_request request = buffer_request(INT64_MAX - 1000, 0, 1000);
    CHECK(perform(queue, &request).bytes == 0 && all_are(buffer.bytes, 4096, 0xEE));
    // Many at once that are short, among others that are not: each tells its own.
    enum { COUNT = 200 };
    static ending ends[COUNT];
    memset(ends, 0, sizeof ends);
    memset(buffer.bytes, 0xEE, (size_t)COUNT * 512);
    for (int index = 0; index < COUNT; index++) {
        request = buffer_request(index % 2 ? 0 : SIZE - (uint64_t)index, (uint64_t)index * 512, 512);
        request.callback = keep_ending;
        request.user_data = &ends[index];
        OK(penstock_enqueue(queue, &request, 1, NULL));
    }
    OK(penstock_wait(queue, forever));
    for (int index = 0; index < COUNT; index++) {
        const size_t moved = index % 2 ? 512 : index;
        CHECK(ends[index].count == 1 && ends[index].completion.bytes == moved);
        CHECK(matches(buffer.bytes + index * 512, index % 2 ? 0 : SIZE - (uint64_t)index, moved));
        CHECK(all_are(buffer.bytes + index * 512 + moved, 512 - moved, 0xEE));
    }
}

// ---- 5

static void defect_5_buffers_have_bounds(void) {
    memset(buffer.bytes, 0xEE, BUFFER_SIZE + MARGIN);
    static const struct {
        uint64_t at, size;
    } outside[] = {
        {BUFFER_SIZE, 1}, {BUFFER_SIZE - 1, 2}, {0, BUFFER_SIZE + 1}, {BUFFER_SIZE + MARGIN - 1, 1},
        {UINT64_MAX, 1}, {UINT64_MAX - 10, 100}, {INT64_MAX, 1}, {(uint64_t)INT64_MAX + 1, 16},
        {1ull << 32, 16}, {(1ull << 32) + 16, 16}, {16, 1ull << 32}, {16, UINT64_MAX}};
    size_t encoded_size;
    penstock_file encoded = encoded_file(PENSTOCK_COMPRESSION_ZSTD, 1000, &encoded_size);
    for (size_t index = 0; index < sizeof outside / sizeof *outside; index++) {
        penstock_request request = buffer_request(0, outside[index].at, outside[index].size);
        EXPECT(PENSTOCK_ERROR_INVALID_RANGE, penstock_enqueue(queue, &request, 1, NULL));
        request.file.id = 0;
        request.source = bytes;
        EXPECT(PENSTOCK_ERROR_INVALID_RANGE, penstock_enqueue(queue, &request, 1, NULL));
        request = buffer_request(0, outside[index].at, encoded_size);
        request.file = encoded;
        set_compression(&request, PENSTOCK_COMPRESSION_ZSTD, outside[index].size);
        EXPECT(PENSTOCK_ERROR_INVALID_RANGE, penstock_enqueue(queue, &request, 1, NULL));
    }
    // The last byte that there is.
    penstock_request request = buffer_request(0, BUFFER_SIZE - 1, 1);
    CHECK(perform(queue, &request).bytes == 1);
    CHECK(all_are(buffer.bytes, BUFFER_SIZE - 1, 0xEE) && buffer.bytes[BUFFER_SIZE - 1] == pattern(0));
    CHECK(all_are(buffer.bytes + BUFFER_SIZE, MARGIN, 0xEE));
}

// ---- 6

static atomic_int ended, is_over;

static void count(const penstock_completion *completion) {
    CHECK(!is_over && completion->result == PENSTOCK_OK);
    ended++;
}

static void defect_6_queues_end_what_they_hold(void) {
    for (int round = 0; round < 100; round++) {
        penstock_queue short_lived = make_queue(runtime, 256, PENSTOCK_WHEN_FULL_BLOCK);
        ended = is_over = 0;
        for (int index = 0; index < 200; index++) {
            penstock_request request = index % 2 ? buffer_request(0, 0, 4096) : read_request(file, 0, bytes, 4096);
            request.callback = count;
            OK(penstock_enqueue(short_lived, &request, 1, NULL));
        }
        // In flight, or right after waiting, or both not.
        if (round % 3 == 0) OK(penstock_submit(short_lived));
        if (round % 3 == 1) OK(penstock_wait(short_lived, forever));
        OK(penstock_queue_close(short_lived));
        is_over = 1;
        CHECK(ended == 200);
    }
}

// ---- 7

static void defect_7_devices_end_what_they_hold(void) {
    is_over = 0;
    for (int round = 0; round < 50; round++) {
        penstock_device short_lived = gpu_adopt();
        gpu_buffer other = gpu_make_buffer(short_lived, SIZE, 0);
        penstock_runtime owner = make_runtime(driver);
        penstock_queue requests = make_queue(owner, 0, PENSTOCK_WHEN_FULL_BLOCK);
        penstock_file own = open_file(owner, path, PENSTOCK_ACCESS_READ);
        ended = 0;
        for (uint64_t at = 0; at < SIZE; at += 512) {
            penstock_request request = read_request(own, at, NULL, 512);
            request.buffer = other.adopted;
            request.buffer_offset = at;
            request.callback = count;
            OK(penstock_enqueue(requests, &request, 1, NULL));
        }
        if (round % 2) OK(penstock_submit(requests));
        OK(penstock_device_close(short_lived));
        OK(penstock_buffer_close(other.adopted));
        other.adopted.id = 0;
        OK(penstock_runtime_close(owner));
        CHECK(ended == SIZE / 512 && matches(other.bytes, 0, SIZE));
        // Nothing uses it any more: the layers would say so.
        gpu_destroy_buffer(&other);
    }
}

// ---- 8

static atomic_int refused;

static void change_errno(const penstock_completion *completion) {
    CHECK((completion->result == PENSTOCK_OK) == (completion->os_error == 0));
    CHECK(completion->result == PENSTOCK_OK || completion->os_error == EFAULT);
    refused += completion->result != PENSTOCK_OK;
    errno = 77;
}

static void defect_8_errno_is_the_requests_own(void) {
    refused = 0;
    errno = 55;
    for (int index = 0; index < 200; index++) {
        penstock_request request = read_request(file, 0, index % 3 ? (void *)16 : bytes, 64);
        request.callback = change_errno;
        OK(penstock_enqueue(queue, &request, 1, NULL));
        OK(penstock_submit(queue));
    }
    OK(penstock_wait(queue, forever));
    penstock_error_record record = {.struct_size = sizeof record};
    OK(penstock_take_errors(queue, &record));
    CHECK(refused == 133 && record.count == 133 && record.first.os_error == EFAULT);
}

// ---- 9

static void defect_9_errors_reach_the_host(void) {
    // Refused when they are enqueued: a size of 0, a file that is not open for this.
    penstock_request request = read_request(file, 0, bytes, 0);
    EXPECT(PENSTOCK_ERROR_INVALID_ARGUMENT, penstock_enqueue(queue, &request, 1, NULL));
    request = buffer_request(0, 0, 0);
    EXPECT(PENSTOCK_ERROR_INVALID_ARGUMENT, penstock_enqueue(queue, &request, 1, NULL));
    request = read_request(file, 0, bytes, 10);
    request.operation = PENSTOCK_WRITE;
    EXPECT(PENSTOCK_ERROR_BAD_DESCRIPTOR, penstock_enqueue(queue, &request, 1, NULL));
    // Descriptors that are no files, or none at all.
    penstock_file none;
    int ends[2];
    CHECK(pipe(ends) == 0);
    EXPECT(PENSTOCK_ERROR_UNSUPPORTED_FILE_TYPE, penstock_file_adopt(runtime, ends[0], 0, 0, &none));
    close(ends[0]);
    close(ends[1]);
    EXPECT(PENSTOCK_ERROR_BAD_DESCRIPTOR, penstock_file_adopt(runtime, ends[0], 0, 0, &none));
    EXPECT(PENSTOCK_ERROR_BAD_DESCRIPTOR, penstock_file_adopt(runtime, INT32_MAX, 0, 0, &none));
    EXPECT(PENSTOCK_ERROR_BAD_DESCRIPTOR, penstock_file_adopt(runtime, INT32_MIN, 0, 0, &none));

    // What only the kernel finds: a file that is sealed against writing, and one that must not grow.
    int sealed = memfd_create("sealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    CHECK(sealed >= 0 && ftruncate(sealed, 4096) == 0);
    penstock_file target;
    OK(penstock_file_adopt(runtime, sealed, 0, 0, &target));
    CHECK(fcntl(sealed, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_WRITE) == 0);
    for (int is_device = 0; is_device < 2; is_device++) {
        request = is_device ? buffer_request(0, 0, 100) : read_request(target, 0, bytes, 100);
        request.operation = PENSTOCK_WRITE;
        request.file = target;
        request.offset = 17;
        const penstock_completion completion = perform(queue, &request);
        CHECK(completion.result == PENSTOCK_ERROR_PERMISSION_DENIED && completion.os_error == EPERM);
        CHECK(completion.offset == 17 && completion.size == 100);
    }
    close(sealed);
}

// ---- 10

static void defect_10_callbacks_may_be_null(void) {
    // Nobody is to hear of these.
    penstock_request request = read_request(file, 0, bytes, 100);
    OK(penstock_enqueue(queue, &request, 1, NULL));
    request.memory = (void *)16;
    OK(penstock_enqueue(queue, &request, 1, NULL));
    request = buffer_request(0, 0, 100);
    OK(penstock_enqueue(queue, &request, 1, NULL));
    size_t encoded_size;
    request = read_request(encoded_file(PENSTOCK_COMPRESSION_ZLIB, 100, &encoded_size), 0, bytes, 0);
    request.size = encoded_size;
    set_compression(&request, PENSTOCK_COMPRESSION_ZLIB, 100);
    OK(penstock_enqueue(queue, &request, 1, NULL));
    OK(penstock_wait(queue, forever));
    penstock_error_record record = {.struct_size = sizeof record};
    OK(penstock_take_errors(queue, &record));
    CHECK(record.count == 1);
    // A decoder must be there; and a lock has two halves.
    set_compression(&request, PENSTOCK_COMPRESSION_CUSTOM, encoded_size);
    request.decoder = NULL;
    EXPECT(PENSTOCK_ERROR_INVALID_ARGUMENT, penstock_enqueue(queue, &request, 1, NULL));
    penstock_device none;
    penstock_device_options options = gpu_options();
    options.unlock = NULL;
    EXPECT(PENSTOCK_ERROR_INVALID_ARGUMENT, penstock_device_adopt(&options, &none));
    options.unlock = options.lock;
    options.lock = NULL;
    EXPECT(PENSTOCK_ERROR_INVALID_ARGUMENT, penstock_device_adopt(&options, &none));
}

// ---- 11

static void defect_11_requests_share_submissions(void) {
    // The lock is taken once for each submission.
    enum { COUNT = 512 };
    pthread_mutex_lock(&gpu.mutex);
    const int before = gpu.locks;
    pthread_mutex_unlock(&gpu.mutex);
    ended = is_over = 0;
    for (int index = 0; index < COUNT; index++) {
        penstock_request request = buffer_request((uint64_t)(index % 16) * 4096, (uint64_t)(index % 256) * 4096, 4096);
        request.callback = count;
        OK(penstock_enqueue(queue, &request, 1, NULL));
    }
    OK(penstock_wait(queue, forever));
    pthread_mutex_lock(&gpu.mutex);
    const int submissions = gpu.locks - before;
    pthread_mutex_unlock(&gpu.mutex);
    CHECK(ended == COUNT && submissions > 0 && submissions <= COUNT / 8);
    printf("    %d requests in %d submissions\n", COUNT, submissions);
}

// ---- 12

static VkSemaphore gate;
static penstock_queue waiting;
static penstock_status waiting_status;

static void *open_gate_late(void *argument) {
    const gpu_buffer *target = argument;
    // More than a second: nothing but the time is waited for.
    const uint64_t start = now_ns();
    EXPECT(PENSTOCK_TIMEOUT, penstock_wait(waiting, 1200000000));
    CHECK(now_ns() - start >= 1200000000);
    CHECK(penstock_status_load(&waiting_status) == PENSTOCK_PENDING && ended == 0);
    CHECK(all_are(target->bytes, target->size, 0xEE));
    gpu_signal(gate, 1);
    return NULL;
}

static void defect_12_long_waits_are_waits(void) {
    gate = gpu_make_semaphore();
    waiting = make_queue(runtime, 0, PENSTOCK_WHEN_FULL_BLOCK);
    gpu_buffer target = gpu_make_buffer(device, 4096, 0);
    penstock_file source = open_file(runtime, path, PENSTOCK_ACCESS_READ);
    penstock_request request = read_request(source, 0, NULL, 4096);
    request.buffer = target.adopted;
    request.wait = gpu_point(gate, 1);
    request.status = &waiting_status;
    request.callback = count;
    ended = is_over = 0;
    OK(penstock_enqueue(waiting, &request, 1, NULL));
    OK(penstock_submit(waiting));
    // The handles go, and what they stand for stays.
    OK(penstock_file_close(source));
    OK(penstock_buffer_close(target.adopted));
    target.adopted.id = 0;
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, open_gate_late, &target) == 0);
    OK(penstock_wait(waiting, forever));
    CHECK(penstock_status_load(&waiting_status) == PENSTOCK_OK && ended == 1 && matches(target.bytes, 0, 4096));
    pthread_join(thread, NULL);
    OK(penstock_queue_close(waiting));
    gpu_destroy_buffer(&target);
    gpu.DestroySemaphore(gpu.device, gate, NULL);
}

// ---- 13, 14

static void defect_13_and_14_the_queue_is_shared_under_its_lock(void) {
    gpu_image image = gpu_make_image(device, &square);
    gpu_buffer seen = gpu_make_buffer(device, 64 * 64 * 4, 0);
    const VkBufferImageCopy whole = {
        .imageSubresource = {.aspectMask = VK_IMAGE_ASPECT_COLOR_BIT, .layerCount = 1}, .imageExtent = {64, 64, 1}};
    ended = is_over = 0;
    int expected = 0;
    for (int round = 0; round < 50; round++) {
        // Buffers and an image stream, while this thread submits to the same VkQueue.
        for (int index = 0; index < 20; index++) {
            penstock_request request = buffer_request((uint64_t)index * 1000, (uint64_t)index * 4096, 3000);
            request.callback = count;
            OK(penstock_enqueue(queue, &request, 1, NULL));
            expected++;
        }
        penstock_request request = read_request(file, (uint64_t)round * 16, NULL, 64 * 64 * 4);
        request.image = image.adopted;
        request.old_layout = round % 2 ? VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL : VK_IMAGE_LAYOUT_UNDEFINED;
        request.new_layout = VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL;
        request.callback = count;
        OK(penstock_enqueue(queue, &request, 1, NULL));
        expected++;
        OK(penstock_submit(queue));
        for (int index = 0; index < 5; index++) {
            gpu_begin();
            gpu.CmdFillBuffer(gpu.commands, seen.handle, 0, VK_WHOLE_SIZE, (uint32_t)index);
            gpu_run();
        }
        OK(penstock_wait(queue, forever));
        CHECK(ended == expected);
        // In the layout that was asked for, as the host's own commands find it.
        gpu_look(image.handle, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL, whole, &seen);
        CHECK(matches(seen.bytes, (uint64_t)round * 16, 64 * 64 * 4));
    }
    gpu_destroy_image(&image);
    gpu_destroy_buffer(&seen);
}

// ---- 15

static void defect_15_sizes_have_64_bits(void) {
    const uint64_t gibi = 1ull << 30, far = 5 * gibi + 12345;
    char sparse_path[256];
    snprintf(sparse_path, sizeof sparse_path, "%s/sparse", folder);
    int descriptor = open(sparse_path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    CHECK(descriptor >= 0 && ftruncate(descriptor, (off_t)(6 * gibi)) == 0);
    unsigned char written[1000];
    fill(written, far, sizeof written);
    CHECK(pwrite(descriptor, written, sizeof written, (off_t)far) == sizeof written);
    penstock_file sparse = open_file(runtime, sparse_path, PENSTOCK_ACCESS_READ | PENSTOCK_ACCESS_WRITE);
    uint64_t size;
    OK(penstock_file_size(sparse, &size));
    CHECK(size == 6 * gibi);
    for (int is_device = 0; is_device < 2; is_device++) {
        penstock_request request = is_device ? buffer_request(far, 0, 1000) : read_request(sparse, far, bytes, 1000);
        request.file = sparse;
        memset(is_device ? buffer.bytes : bytes, 0xEE, 1000);
        const penstock_completion completion = perform(queue, &request);
        CHECK(completion.bytes == 1000 && completion.offset == far);
        CHECK(matches(is_device ? buffer.bytes : bytes, far, 1000));
        // The same place, written 1 GiB on.
        request.operation = PENSTOCK_WRITE;
        request.offset = far + gibi / 2 + (uint64_t)is_device * 4096;
        CHECK(perform(queue, &request).bytes == 1000);
        CHECK(pread(descriptor, written, sizeof written, (off_t)request.offset) == sizeof written);
        CHECK(matches(written, far, 1000));
    }
    // A size of more than 32 bits, of which the file has little: it must not be taken for its lower half.
    CHECK(ftruncate(descriptor, (off_t)(far + 1000)) == 0);
    void *room = mmap(NULL, 5 * gibi, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(room != MAP_FAILED);
    penstock_request request = read_request(sparse, far, room, 4 * gibi + 10);
    penstock_completion completion = perform(queue, &request);
    CHECK(completion.bytes == 1000 && completion.size == 4 * gibi + 10 && matches(room, far, 1000));
    munmap(room, 5 * gibi);

    // Encoded sizes and decoded ones.
    size_t encoded_size;
    penstock_file encoded = encoded_file(PENSTOCK_COMPRESSION_ZSTD, 1000, &encoded_size);
    for (uint32_t compression = FIRST_COMPRESSION; compression <= LAST_COMPRESSION; compression++) {
        encoded = encoded_file(compression, 1000, &encoded_size);
        request = read_request(encoded, 0, bytes, encoded_size);
        set_compression(&request, compression, 4 * gibi + 1000);
        // Where it is told is its own affair.
        penstock_status status = PENSTOCK_OK;
        request.status = &status;
        penstock_result result = penstock_enqueue(queue, &request, 1, NULL);
        OK(penstock_wait(queue, forever));
        CHECK(result < 0 || penstock_status_load(&status) < 0);
        request = read_request(encoded, 0, bytes, 4 * gibi + encoded_size);
        set_compression(&request, compression, 1000);
        request.status = &status;
        result = penstock_enqueue(queue, &request, 1, NULL);
        OK(penstock_wait(queue, forever));
        CHECK(result < 0 || penstock_status_load(&status) < 0);
    }
    penstock_error_record record = {.struct_size = sizeof record};
    OK(penstock_take_errors(queue, &record));
    close(descriptor);
    unlink(sparse_path);
}

// What has been allocated and not freed. Zero under a sanitizer, which has an allocator of its own.
static size_t allocated_bytes(void) {
    const struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

// Completions that nobody takes keep their slots: there are never more of them than that.
static void defect_15_completions_do_not_pile_up(void) {
    penstock_runtime_options options = {
        .struct_size = sizeof options, .driver = driver, .delivery = PENSTOCK_DELIVER_ON_DISPATCH};
    penstock_runtime own;
    OK(penstock_runtime_create(&options, &own));
    enum { CAPACITY = 64 };
    penstock_queue requests = make_queue(own, CAPACITY, PENSTOCK_WHEN_FULL_REFUSE);
    penstock_file source = open_file(own, path, PENSTOCK_ACCESS_READ);
    ended = is_over = 0;
    int accepted = 0;
    size_t before = 0;
    for (int index = 0; index < 200000; index++) {
        penstock_request request = read_request(source, 0, bytes, 64);
        request.callback = count;
        const penstock_result result = penstock_enqueue(requests, &request, 1, NULL);
        accepted += result == PENSTOCK_OK;
        CHECK(result == (accepted <= CAPACITY && index < CAPACITY ? PENSTOCK_OK : PENSTOCK_WOULD_BLOCK));
        if (index == CAPACITY) {
            OK(penstock_wait(requests, forever));
            before = allocated_bytes();
        }
    }
    CHECK(accepted == CAPACITY && ended == 0 && allocated_bytes() < before + (64 << 10));
    OK(penstock_dispatch(own, 0, 0, NULL));
    CHECK(ended == CAPACITY);
    OK(penstock_runtime_close(own));
}

int main(int count_of_arguments, char **arguments) {
    CHECK(count_of_arguments == 2);
    snprintf(folder, sizeof folder, "%s", arguments[1]);
    make_file(path, folder, "large", SIZE);
    gpu_open();
    static const struct {
        const char *name;
        void (*run)(void);
    } tests[] = {
        TEST(own_cases),
        TEST(defect_1_more_requests_than_slots),
        TEST(defect_2_bytes_are_told),
        TEST(defect_3_compression_is_never_ignored),
        TEST(defect_4_nothing_behind_the_end),
        TEST(defect_5_buffers_have_bounds),
        TEST(defect_6_queues_end_what_they_hold),
        TEST(defect_7_devices_end_what_they_hold),
        TEST(defect_8_errno_is_the_requests_own),
        TEST(defect_9_errors_reach_the_host),
        TEST(defect_10_callbacks_may_be_null),
        TEST(defect_11_requests_share_submissions),
        TEST(defect_12_long_waits_are_waits),
        TEST(defect_13_and_14_the_queue_is_shared_under_its_lock),
        TEST(defect_15_sizes_have_64_bits),
        TEST(defect_15_completions_do_not_pile_up),
    };
    const uint32_t drivers[] = {PENSTOCK_DRIVER_IO_URING, PENSTOCK_DRIVER_THREADS};
    for (int each = 0; each < 2; each++) {
        driver = drivers[each];
        for (size_t index = 0; index < sizeof tests / sizeof *tests; index++) {
            const uint64_t start = now_ns();
            device = gpu_adopt();
            runtime = make_runtime(driver);
            queue = make_queue(runtime, 0, PENSTOCK_WHEN_FULL_BLOCK);
            file = open_file(runtime, path, PENSTOCK_ACCESS_READ);
            buffer = gpu_make_buffer(device, BUFFER_SIZE, MARGIN);
            tests[index].run();
            OK(penstock_runtime_close(runtime));
            gpu_destroy_buffer(&buffer);
            OK(penstock_device_close(device));
            printf("ok  %-52s %s  %6.1f ms\n", tests[index].name, each ? "threads " : "io_uring",
                   (double)(now_ns() - start) / 1e6);
            fflush(stdout);
        }
    }
    gpu_close();
    return 0;
}
