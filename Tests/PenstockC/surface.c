// Every function and struct of the header as it says itself: handles that are none, structs of other sizes, calls out
// of callbacks, options and what becomes of them. Arguments: a folder for files.
#include "check.h"
#include "encoders.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

enum { SIZE = 1 << 20 };
static const uint64_t forever = UINT64_MAX;

static char folder[200], path[256];
static penstock_device device;
static unsigned char memory[SIZE];

// ---- Results

static void results_have_their_names(uint32_t driver) {
    (void)driver;
    static const struct {
        penstock_result result;
        int32_t number;
        const char *name;
    } all[] = {
#define NAMED(name, number) {PENSTOCK_##name, number, #name}
#define FAILURE(name, number) {PENSTOCK_ERROR_##name, number, #name}
        NAMED(OK, 0), NAMED(PENDING, 1), NAMED(WOULD_BLOCK, 2), NAMED(TIMEOUT, 3), FAILURE(OTHER, -1),
        FAILURE(INVALID_ARGUMENT, -2), FAILURE(INVALID_HANDLE, -3), FAILURE(STRUCT_SIZE, -4), FAILURE(WRONG_THREAD, -5),
        FAILURE(INVALID_RANGE, -6), FAILURE(QUEUE_CLOSED, -7), FAILURE(FILE_CLOSED, -8), FAILURE(FOREIGN_FILE, -9),
        FAILURE(NOT_SUPPORTED, -10), FAILURE(UNAVAILABLE, -11), FAILURE(CANCELLED, -20),
        FAILURE(DEADLINE_EXCEEDED, -21), FAILURE(NOT_FOUND, -30), FAILURE(PERMISSION_DENIED, -31),
        FAILURE(ALREADY_EXISTS, -32), FAILURE(IS_DIRECTORY, -33),
        FAILURE(UNSUPPORTED_FILE_TYPE, -34), FAILURE(BAD_DESCRIPTOR, -35), FAILURE(BAD_ADDRESS, -36),
        FAILURE(TOO_MANY_OPEN_FILES, -37), FAILURE(NO_SPACE, -38), FAILURE(FILE_TOO_LARGE, -39),
        FAILURE(READ_ONLY, -40),
        FAILURE(OUT_OF_MEMORY, -41), FAILURE(MEMORY_LIMIT, -42), FAILURE(BUSY, -43), FAILURE(IO, -44),
        FAILURE(DEVICE_LOST, -60), FAILURE(DEVICE_MEMORY, -61), FAILURE(DEVICE, -62), FAILURE(MALFORMED_DATA, -70),
        FAILURE(CHECKSUM_MISMATCH, -71)};
    for (size_t index = 0; index < sizeof all / sizeof *all; index++) {
        CHECK(all[index].result == all[index].number);
        CHECK(strcmp(penstock_result_name(all[index].result), all[index].name) == 0);
        const char *text = penstock_result_text(all[index].result);
        for (size_t other = 0; other < index; other++)
            CHECK(strcmp(text, penstock_result_text(all[other].result)) != 0);
    }
    CHECK(strcmp(penstock_result_name(12345), "OTHER") == 0);
    CHECK(PENSTOCK_MAKE_VERSION(1, 2, 3) == 0x402003 && penstock_version() >= PENSTOCK_MAKE_VERSION(0, 1, 0));
}

// ---- Handles

// Calls every function with a handle of every kind that is none.
static void no_handles(uint64_t id, penstock_runtime good_runtime, penstock_queue good_queue) {
    const penstock_runtime runtime = {id};
    const penstock_file file = {id};
    const penstock_queue queue = {id};
    const penstock_device gpu = {id};
    const penstock_buffer buffer = {id};
    const penstock_image image = {id};
    penstock_runtime_info runtime_info = {.struct_size = sizeof runtime_info};
    penstock_queue_info queue_info = {.struct_size = sizeof queue_info};
    penstock_device_info device_info = {.struct_size = sizeof device_info};
    penstock_feature feature = {.struct_size = sizeof feature};
    penstock_error_record record = {.struct_size = sizeof record};
    const penstock_image_description description = {
        .struct_size = sizeof description, .format = 37 /* VK_FORMAT_R8G8B8A8_UNORM */, .width = 8, .height = 8};
    penstock_file new_file_handle;
    penstock_queue new_queue;
    penstock_buffer new_buffer;
    penstock_image new_image;
    penstock_status status = 1234;
    size_t length;
    uint64_t size;
#define NONE(call) EXPECT(PENSTOCK_ERROR_INVALID_HANDLE, call)
    NONE(penstock_runtime_close(runtime));
    NONE(penstock_runtime_query(runtime, &runtime_info));
    NONE(penstock_runtime_describe(runtime, NULL, 0, &length));
    NONE(penstock_runtime_feature(runtime, 0, &feature));
    NONE(penstock_dispatch(runtime, 0, 0, NULL));
    NONE(penstock_file_open(runtime, path, PENSTOCK_ACCESS_READ, 0, &new_file_handle));
    NONE(penstock_file_adopt(runtime, 0, 0, 0, &new_file_handle));
    NONE(penstock_queue_create(runtime, NULL, &new_queue));
    NONE(penstock_file_size(file, &size));
    NONE(penstock_file_close(file));
    NONE(penstock_queue_close(queue));
    NONE(penstock_queue_query(queue, &queue_info));
    NONE(penstock_submit(queue));
    NONE(penstock_enqueue_status(queue, &status));
    NONE(penstock_enqueue_event(queue, 0));
    NONE(penstock_enqueue_wait(queue, device, 1, 1));
    NONE(penstock_enqueue_signal(queue, device, 1, 1));
    NONE(penstock_wait(queue, 0));
    NONE(penstock_cancel(queue, 0, 0));
    NONE(penstock_take_errors(queue, &record));
    NONE(penstock_device_query(gpu, &device_info));
    NONE(penstock_device_close(gpu));
    NONE(penstock_buffer_adopt(gpu, 1, 1, &new_buffer));
    NONE(penstock_buffer_create(gpu, 1, 0, &new_buffer));
    NONE(penstock_buffer_close(buffer));
    NONE(penstock_image_adopt(gpu, 1, &description, &new_image));
    NONE(penstock_image_create(gpu, &description, 0, &new_image));
    NONE(penstock_image_size(image, &size));
    NONE(penstock_image_close(image));
    NONE(penstock_enqueue_wait(good_queue, gpu, 1, 1));
    NONE(penstock_enqueue_signal(good_queue, gpu, 1, 1));
    penstock_file good_file = open_file(good_runtime, path, PENSTOCK_ACCESS_READ);
    penstock_request request = read_request(good_file, 0, memory, 10);
    request.status = &status;
    NONE(penstock_enqueue(queue, &request, 1, NULL));
    request.file = file;
    NONE(penstock_enqueue(good_queue, &request, 1, NULL));
    if (id != 0) {
        request = read_request(good_file, 0, NULL, 10);
        request.status = &status;
        request.buffer = buffer;
        NONE(penstock_enqueue(good_queue, &request, 1, NULL));
        request.buffer.id = 0;
        request.image = image;
        NONE(penstock_enqueue(good_queue, &request, 1, NULL));
    }
    CHECK(status == 1234);
    OK(penstock_file_close(good_file));
}

static void handles_that_are_none(uint32_t driver) {
    penstock_runtime runtime = make_runtime(driver), other = make_runtime(driver);
    penstock_queue queue = make_queue(runtime, 0, PENSTOCK_WHEN_FULL_BLOCK);
    no_handles(0, runtime, queue);
    no_handles(UINT64_MAX, runtime, queue);
    no_handles(0x123456789, runtime, queue);
    // One that was. Its place is taken by another, which is not meant.
    OK(penstock_runtime_close(other));
    penstock_runtime later = make_runtime(driver);
    EXPECT(PENSTOCK_ERROR_INVALID_HANDLE, penstock_runtime_close(other));
    OK(penstock_runtime_close(later));
    for (int round = 0; round < 1000; round++) {
        penstock_queue first = make_queue(runtime, 1, PENSTOCK_WHEN_FULL_BLOCK);
        OK(penstock_queue_close(first));
        penstock_queue second = make_queue(runtime, 1, PENSTOCK_WHEN_FULL_BLOCK);
        CHECK(first.id != second.id);
        EXPECT(PENSTOCK_ERROR_INVALID_HANDLE, penstock_submit(first));
        OK(penstock_queue_close(second));
    }
    OK(penstock_runtime_close(runtime));
}

// ---- Structs

// Of a struct that is given, with a call that takes it: too small, too large, larger than is known.
#define GIVEN(Struct, value, call)                                                                     \
    do {                                                                                               \
        struct {                                                                                       \
            Struct known;                                                                              \
            unsigned char later[64];                                                                   \
        } larger;                                                                                      \
        memset(&larger, 0, sizeof larger);                                                             \
        larger.known = (value);                                                                        \
        const Struct *given = &larger.known;                                                           \
        static const uint32_t wrong[] = {0, 1, 3, 4097, UINT32_MAX};                                   \
        for (size_t index = 0; index < sizeof wrong / sizeof *wrong; index++) {                        \
            larger.known.struct_size = wrong[index];                                                   \
            EXPECT(PENSTOCK_ERROR_STRUCT_SIZE, call);                                                  \
        }                                                                                              \
        larger.known.struct_size = sizeof larger;                                                      \
        larger.later[63] = 1;                                                                          \
        EXPECT(PENSTOCK_ERROR_STRUCT_SIZE, call);                                                      \
        larger.later[63] = 0;                                                                          \
        OK(call);                                                                                      \
    } while (0)

// Of a struct that is filled: beyond its own word for its size nothing is written.
#define FILLED(Struct, call)                                                                           \
    do {                                                                                               \
        union {                                                                                        \
            Struct known;                                                                              \
            unsigned char bytes[sizeof(Struct) + 64];                                                  \
        } room;                                                                                        \
        Struct *filled = &room.known;                                                                  \
        static const uint32_t wrong[] = {0, 1, 3, UINT32_MAX};                                         \
        for (size_t index = 0; index < sizeof wrong / sizeof *wrong; index++) {                        \
            memset(&room, 0xEE, sizeof room);                                                          \
            filled->struct_size = wrong[index];                                                        \
            EXPECT(PENSTOCK_ERROR_STRUCT_SIZE, call);                                                  \
            for (size_t at = 4; at < sizeof room; at++) CHECK(room.bytes[at] == 0xEE);                 \
        }                                                                                              \
        for (uint32_t size = 4; size <= sizeof room; size += 4) {                                      \
            memset(&room, 0xEE, sizeof room);                                                          \
            filled->struct_size = size;                                                                \
            OK(call);                                                                                  \
            CHECK(filled->struct_size == size);                                                        \
            const size_t end = size < sizeof(Struct) ? size : sizeof(Struct);                          \
            for (size_t at = end; at < size; at++) CHECK(room.bytes[at] == 0);                         \
            for (size_t at = size; at < sizeof room; at++) CHECK(room.bytes[at] == 0xEE);              \
        }                                                                                              \
    } while (0)

static void structs_may_have_other_sizes(uint32_t driver) {
    penstock_runtime runtime = make_runtime(driver), other;
    penstock_queue queue = make_queue(runtime, 0, PENSTOCK_WHEN_FULL_BLOCK), another;
    penstock_file file = open_file(runtime, path, PENSTOCK_ACCESS_READ);
    penstock_image image;
    const penstock_runtime_options runtime_options = {.driver = driver};
    GIVEN(penstock_runtime_options, runtime_options, penstock_runtime_create(given, &other));
    OK(penstock_runtime_close(other));
    const penstock_queue_options queue_options = {.capacity = 3};
    GIVEN(penstock_queue_options, queue_options, penstock_queue_create(runtime, given, &another));
    const penstock_request request = read_request(file, 0, memory, 10);
    GIVEN(penstock_request, request, penstock_enqueue(queue, given, 1, NULL));
    const penstock_image_description description = {.format = 37, .width = 8, .height = 8};
    GIVEN(penstock_image_description, description, penstock_image_create(device, given, 0, &image));
    OK(penstock_image_close(image));
    penstock_device_info info = {.struct_size = sizeof info};
    OK(penstock_device_query(device, &info));
    const penstock_device_options device_options = {
        .queue_family = info.queue_family, .instance = info.instance, .physical_device = info.physical_device,
        .device = info.device, .queue = info.queue};
    penstock_device adopted;
    GIVEN(penstock_device_options, device_options, penstock_device_adopt(given, &adopted));
    OK(penstock_device_close(adopted));

    FILLED(penstock_runtime_info, penstock_runtime_query(runtime, filled));
    FILLED(penstock_queue_info, penstock_queue_query(queue, filled));
    FILLED(penstock_device_info, penstock_device_query(device, filled));
    FILLED(penstock_error_record, penstock_take_errors(queue, filled));
    FILLED(penstock_feature, penstock_runtime_feature(runtime, 0, filled));
    OK(penstock_runtime_close(runtime));
}

static void requests_come_in_arrays_of_any_size(uint32_t driver) {
    penstock_runtime runtime = make_runtime(driver);
    penstock_queue queue = make_queue(runtime, 0, PENSTOCK_WHEN_FULL_BLOCK);
    penstock_file file = open_file(runtime, path, PENSTOCK_ACCESS_READ);
    // Of a host that is older: its struct ended with the name. Of one that is newer: there is more, all of it zero.
    const size_t strides[] = {
        offsetof(penstock_request, buffer), sizeof(penstock_request), sizeof(penstock_request) + 40};
    enum { COUNT = 20 };
    for (int which = 0; which < 3; which++) {
        const size_t stride = strides[which];
        // At the end of memory that can only be read.
        const size_t page = (size_t)sysconf(_SC_PAGESIZE), room = (COUNT * stride + page - 1) / page * page;
        unsigned char *start = mmap(NULL, room + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        CHECK(start != MAP_FAILED);
        unsigned char *requests = start + room - COUNT * stride;
        for (size_t index = 0; index < COUNT; index++) {
            const penstock_request request = read_request(file, index * 100, memory + index * 100, 100);
            memcpy(requests + index * stride, &request, stride < sizeof request ? stride : sizeof request);
            const uint32_t size = (uint32_t)stride;
            memcpy(requests + index * stride, &size, sizeof size);
        }
        CHECK(mprotect(start, room, PROT_READ) == 0 && mprotect(start + room, page, PROT_NONE) == 0);
        memset(memory, 0, COUNT * 100);
        size_t accepted;
        OK(penstock_enqueue(queue, (const penstock_request *)(const void *)requests, COUNT, &accepted));
        CHECK(accepted == COUNT);
        OK(penstock_wait(queue, forever));
        CHECK(matches(memory, 0, COUNT * 100));
        munmap(start, room + page);
    }
    // All of them have the first one's size.
    penstock_request mixed[3];
    for (int index = 0; index < 3; index++) mixed[index] = read_request(file, 0, memory, 10);
    mixed[1].struct_size -= 8;
    size_t accepted = 99;
    EXPECT(PENSTOCK_ERROR_STRUCT_SIZE, penstock_enqueue(queue, mixed, 3, &accepted));
    CHECK(accepted == 1);
    OK(penstock_runtime_close(runtime));
}

// ---- Out of callbacks

static struct {
    penstock_runtime runtime;
    penstock_queue queue, full;
    penstock_file file;
    atomic_int ended, nested;
} place;

static void count_nested(const penstock_completion *completion) {
    OK(completion->result);
    place.nested++;
}

// Everything is allowed but waiting.
static void call_everything(const penstock_completion *completion) {
    OK(completion->result);
    EXPECT(PENSTOCK_ERROR_WRONG_THREAD, penstock_wait(place.queue, forever));
    EXPECT(PENSTOCK_ERROR_WRONG_THREAD, penstock_wait(place.queue, 0));
    EXPECT(PENSTOCK_ERROR_WRONG_THREAD, penstock_runtime_close(place.runtime));
    uint32_t delivered = 99;
    OK(penstock_dispatch(place.runtime, 0, forever, &delivered));
    CHECK(delivered == 0);
    penstock_runtime_info info = {.struct_size = sizeof info};
    OK(penstock_runtime_query(place.runtime, &info));
    size_t length;
    OK(penstock_runtime_describe(place.runtime, NULL, 0, &length));
    penstock_feature feature = {.struct_size = sizeof feature};
    OK(penstock_runtime_feature(place.runtime, 0, &feature));
    penstock_file file = open_file(place.runtime, path, PENSTOCK_ACCESS_READ), twin;
    uint64_t size;
    OK(penstock_file_size(file, &size));
    CHECK(size == SIZE);
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    OK(penstock_file_adopt(place.runtime, descriptor, PENSTOCK_ADOPT_AND_CLOSE, 0, &twin));
    OK(penstock_file_close(twin));
    penstock_queue queue = make_queue(place.runtime, 8, PENSTOCK_WHEN_FULL_BLOCK);
    penstock_queue_info queue_info = {.struct_size = sizeof queue_info};
    OK(penstock_queue_query(queue, &queue_info));
    CHECK(queue_info.slots == 8 && queue_info.slots_free == 8);
    // Blocking would wait for this callback: it refuses.
    static unsigned char bytes[9][16];
    for (int index = 0; index < 9; index++) {
        penstock_request request = read_request(file, 0, bytes[index], 16);
        request.callback = count_nested;
        EXPECT(index < 8 ? PENSTOCK_OK : PENSTOCK_WOULD_BLOCK, penstock_enqueue(queue, &request, 1, NULL));
    }
    static penstock_status status;
    int event = eventfd(0, EFD_CLOEXEC);
    EXPECT(PENSTOCK_WOULD_BLOCK, penstock_enqueue_status(queue, &status));
    EXPECT(PENSTOCK_WOULD_BLOCK, penstock_enqueue_event(queue, event));
    OK(penstock_enqueue_status(place.queue, &status));
    OK(penstock_enqueue_event(place.queue, event));
    close(event);
    OK(penstock_submit(queue));
    OK(penstock_cancel(queue, UINT64_MAX, 12345));
    penstock_error_record record = {.struct_size = sizeof record};
    OK(penstock_take_errors(queue, &record));
    penstock_device_info device_info = {.struct_size = sizeof device_info};
    OK(penstock_device_query(device, &device_info));
    penstock_buffer buffer;
    OK(penstock_buffer_create(device, 64, 0, &buffer));
    OK(penstock_buffer_close(buffer));
    // A runtime of another kind may be waited for: its thread is not this one.
    penstock_runtime other = make_runtime(PENSTOCK_DRIVER_THREADS);
    penstock_queue its_queue = make_queue(other, 1, PENSTOCK_WHEN_FULL_BLOCK);
    const penstock_request request = read_request(open_file(other, path, PENSTOCK_ACCESS_READ), 0, bytes[8], 16);
    OK(penstock_enqueue(its_queue, &request, 1, NULL));
    OK(penstock_wait(its_queue, forever));
    OK(penstock_runtime_close(other));
    OK(penstock_queue_close(queue));
    OK(penstock_file_close(file));
    place.ended++;
}

static void callbacks_call_everything(uint32_t driver) {
    for (uint32_t delivery = PENSTOCK_DELIVER_ON_RUNTIME_THREAD; delivery <= PENSTOCK_DELIVER_ON_DISPATCH; delivery++) {
        memset(&place, 0, sizeof place);
        const penstock_runtime_options options = {
            .struct_size = sizeof options, .driver = driver, .delivery = delivery};
        OK(penstock_runtime_create(&options, &place.runtime));
        place.queue = make_queue(place.runtime, 0, PENSTOCK_WHEN_FULL_BLOCK);
        place.file = open_file(place.runtime, path, PENSTOCK_ACCESS_READ);
        for (int index = 0; index < 3; index++) {
            penstock_request request = read_request(place.file, 0, memory, 100);
            request.callback = call_everything;
            OK(penstock_enqueue(place.queue, &request, 1, NULL));
        }
        OK(penstock_submit(place.queue));
        // Until they have: closing takes the handles away first.
        while (place.ended < 3) {
            if (delivery == PENSTOCK_DELIVER_ON_DISPATCH) OK(penstock_dispatch(place.runtime, 0, forever, NULL));
            else sched_yield();
        }
        OK(penstock_runtime_close(place.runtime));
        CHECK(place.ended == 3 && place.nested == 24);
    }
}

// ---- Dispatching

static atomic_int is_inside, may_go_on, seen_by_other;

static void hold_up(const penstock_completion *completion) {
    (void)completion;
    is_inside = 1;
    while (!may_go_on) sched_yield();
}

static void *dispatch_meanwhile(void *argument) {
    while (!is_inside) sched_yield();
    uint32_t delivered = 99;
    OK(penstock_dispatch(*(penstock_runtime *)argument, 0, 0, &delivered));
    seen_by_other = (int)delivered;
    may_go_on = 1;
    return NULL;
}

static void one_thread_dispatches_at_a_time(uint32_t driver) {
    const penstock_runtime_options options = {
        .struct_size = sizeof options, .driver = driver, .delivery = PENSTOCK_DELIVER_ON_DISPATCH};
    penstock_runtime runtime;
    OK(penstock_runtime_create(&options, &runtime));
    penstock_queue queue = make_queue(runtime, 0, PENSTOCK_WHEN_FULL_BLOCK);
    penstock_request request = read_request(open_file(runtime, path, PENSTOCK_ACCESS_READ), 0, memory, 100);
    is_inside = may_go_on = 0;
    seen_by_other = 99;
    // Nothing there: the time is over.
    uint32_t delivered = 99;
    const uint64_t start = now_ns();
    OK(penstock_dispatch(runtime, 0, 5000000, &delivered));
    CHECK(delivered == 0 && now_ns() - start >= 5000000);
    request.callback = hold_up;
    for (int index = 0; index < 3; index++) OK(penstock_enqueue(queue, &request, 1, NULL));
    OK(penstock_wait(queue, forever));
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, dispatch_meanwhile, &runtime) == 0);
    OK(penstock_dispatch(runtime, 0, 0, &delivered));
    CHECK(delivered == 3 && seen_by_other == 0);
    pthread_join(thread, NULL);
    OK(penstock_runtime_close(runtime));
}

// ---- Files

static void files_are_closed_under_requests(uint32_t driver) {
    penstock_runtime runtime = make_runtime(driver);
    penstock_queue queue = make_queue(runtime, 0, PENSTOCK_WHEN_FULL_BLOCK);
    enum { COUNT = 100 };
    static penstock_status status[2 * COUNT];
    penstock_file file = open_file(runtime, path, PENSTOCK_ACCESS_READ);
    for (int index = 0; index < 2 * COUNT; index++) {
        penstock_request request = read_request(file, (uint64_t)index * 4096, memory + index * 4096, 4096);
        request.status = &status[index];
        OK(penstock_enqueue(queue, &request, 1, NULL));
        // Those that have been submitted end first; the others may be too late.
        if (index == COUNT - 1) OK(penstock_submit(queue));
    }
    OK(penstock_file_close(file));
    OK(penstock_wait(queue, forever));
    uint64_t late = 0;
    for (int index = 0; index < 2 * COUNT; index++) {
        const penstock_result result = penstock_status_load(&status[index]);
        if (result == PENSTOCK_OK) {
            CHECK(matches(memory + index * 4096, (uint64_t)index * 4096, 4096));
        } else {
            EXPECT(PENSTOCK_ERROR_FILE_CLOSED, result);
            CHECK(index >= COUNT);
            late++;
        }
    }
    penstock_error_record record = {.struct_size = sizeof record};
    OK(penstock_take_errors(queue, &record));
    CHECK(record.count == late && (late == 0 || record.first.result == PENSTOCK_ERROR_FILE_CLOSED));
    OK(penstock_runtime_close(runtime));
}

static void files_are_opened_in_every_way(uint32_t driver) {
    penstock_runtime runtime = make_runtime(driver);
    penstock_queue queue = make_queue(runtime, 0, PENSTOCK_WHEN_FULL_BLOCK);
    penstock_file file;
    for (uint32_t caching = PENSTOCK_CACHING_AUTOMATIC; caching <= PENSTOCK_CACHING_UNCACHED; caching++) {
        // The file system may not be able to; then it is said.
        const penstock_result result = penstock_file_open(runtime, path, PENSTOCK_ACCESS_READ, caching, &file);
        if (result == PENSTOCK_ERROR_NOT_SUPPORTED) continue;
        OK(result);
        memset(memory, 0, SIZE);
        penstock_request request = read_request(file, 0, memory, SIZE);
        CHECK(perform(queue, &request).bytes == SIZE && matches(memory, 0, SIZE));
        request = read_request(file, 1234, memory, 777);
        CHECK(perform(queue, &request).bytes == 777 && matches(memory, 1234, 777));
        OK(penstock_file_close(file));
        int descriptor = open(path, O_RDONLY | O_CLOEXEC);
        OK(penstock_file_adopt(runtime, descriptor, 0, caching, &file));
        request = read_request(file, 0, memory, 50);
        CHECK(perform(queue, &request).bytes == 50);
        OK(penstock_file_close(file));
        close(descriptor);
    }
    char other[300];
    snprintf(other, sizeof other, "%s/ways", folder);
    unlink(other);
    EXPECT(PENSTOCK_ERROR_NOT_FOUND, penstock_file_open(runtime, other, PENSTOCK_ACCESS_WRITE, 0, &file));
    OK(penstock_file_open(
        runtime, other, PENSTOCK_ACCESS_WRITE | PENSTOCK_ACCESS_CREATE | PENSTOCK_ACCESS_EXCLUSIVE, 0, &file));
    // For writing alone; and its size is what it is now.
    penstock_request request = read_request(file, 0, memory, 100);
    EXPECT(PENSTOCK_ERROR_BAD_DESCRIPTOR, penstock_enqueue(queue, &request, 1, NULL));
    for (uint64_t part = 0; part < 4; part++) {
        uint64_t size;
        OK(penstock_file_size(file, &size));
        CHECK(size == 100 * part);
        request.operation = PENSTOCK_WRITE;
        request.offset = 100 * part;
        OK(result_of(queue, &request));
    }
    OK(penstock_file_close(file));
    OK(penstock_file_open(runtime, other, PENSTOCK_ACCESS_WRITE | PENSTOCK_ACCESS_TRUNCATE, 0, &file));
    uint64_t size = 99;
    OK(penstock_file_size(file, &size));
    CHECK(size == 0);
    penstock_runtime_info info = {.struct_size = sizeof info};
    OK(penstock_runtime_query(runtime, &info));
    CHECK(info.driver == driver && info.files == 1 && info.queues == 1);
    OK(penstock_file_close(file));
    OK(penstock_queue_close(queue));
    OK(penstock_runtime_query(runtime, &info));
    CHECK(info.files == 0 && info.queues == 0);
    OK(penstock_runtime_close(runtime));
}

// ---- Options

static void options_are_kept_to(uint32_t driver) {
    penstock_runtime_options options = {
        .struct_size = sizeof options, .driver = driver, .bytes_in_flight = 64 << 10, .staging_bytes = 4 << 20};
    penstock_runtime runtime;
    OK(penstock_runtime_create(&options, &runtime));
    // Requests that are larger than what may be in flight, and than what there is for staging, are done in parts.
    penstock_queue queue = make_queue(runtime, 0, PENSTOCK_WHEN_FULL_BLOCK);
    char large[256];
    make_file(large, folder, "larger", 12 << 20);
    penstock_file file = open_file(runtime, large, PENSTOCK_ACCESS_READ), copy = new_file(runtime, folder, "copy");
    penstock_request request = read_request(file, 5, memory, SIZE);
    CHECK(perform(queue, &request).bytes == SIZE && matches(memory, 5, SIZE));
    penstock_buffer buffer;
    OK(penstock_buffer_create(device, 12 << 20, 0, &buffer));
    request = read_request(file, 0, NULL, 12 << 20);
    request.buffer = buffer;
    CHECK(perform(queue, &request).bytes == 12 << 20);
    request.operation = PENSTOCK_WRITE;
    request.file = copy;
    CHECK(perform(queue, &request).bytes == 12 << 20);
    expect_file(folder, "copy", 0, 12 << 20);
    OK(penstock_buffer_close(buffer));

    penstock_queue_info info = {.struct_size = sizeof info};
    penstock_queue other;
    penstock_queue_options queue_options = {.struct_size = sizeof queue_options};
    OK(penstock_queue_create(runtime, &queue_options, &other));
    OK(penstock_queue_query(other, &info));
    CHECK(info.slots == 1024 && info.slots_free == 1024 && info.completed == 0 && info.failed == 0);
    OK(penstock_queue_close(other));
    for (uint32_t priority = PENSTOCK_PRIORITY_NORMAL; priority <= PENSTOCK_PRIORITY_URGENT; priority++) {
        queue_options.priority = priority;
        queue_options.capacity = 1;
        OK(penstock_queue_create(runtime, &queue_options, &other));
        request = read_request(file, 0, memory, 1000);
        OK(result_of(other, &request));
        request.memory = (void *)16;
        EXPECT(PENSTOCK_ERROR_BAD_ADDRESS, result_of(other, &request));
        OK(penstock_queue_query(other, &info));
        CHECK(info.slots == 1 && info.slots_free == 1 && info.bytes_pending == 0);
        CHECK(info.completed == 2 && info.failed == 1);
        OK(penstock_queue_close(other));
    }
    queue_options.priority = PENSTOCK_PRIORITY_URGENT + 1;
    EXPECT(PENSTOCK_ERROR_INVALID_ARGUMENT, penstock_queue_create(runtime, &queue_options, &other));
    queue_options = (penstock_queue_options){
        .struct_size = sizeof queue_options, .capacity = 8, .when_full = PENSTOCK_WHEN_FULL_GROW, .capacity_limit = 7};
    EXPECT(PENSTOCK_ERROR_INVALID_ARGUMENT, penstock_queue_create(runtime, &queue_options, &other));
    queue_options.capacity_limit = 1048577;
    EXPECT(PENSTOCK_ERROR_INVALID_ARGUMENT, penstock_queue_create(runtime, &queue_options, &other));
    queue_options = (penstock_queue_options){.struct_size = sizeof queue_options, .capacity = 1048576};
    OK(penstock_queue_create(runtime, &queue_options, &other));
    OK(penstock_runtime_close(runtime));

    options = (penstock_runtime_options){.struct_size = sizeof options, .delivery = 2};
    EXPECT(PENSTOCK_ERROR_INVALID_ARGUMENT, penstock_runtime_create(&options, &runtime));
    options = (penstock_runtime_options){.struct_size = sizeof options, .staging_bytes = UINT64_MAX};
    EXPECT(PENSTOCK_ERROR_INVALID_ARGUMENT, penstock_runtime_create(&options, &runtime));
    // On its own it takes whichever driver there is.
    OK(penstock_runtime_create(NULL, &runtime));
    penstock_runtime_info runtime_info = {.struct_size = sizeof runtime_info};
    OK(penstock_runtime_query(runtime, &runtime_info));
    CHECK(runtime_info.driver == PENSTOCK_DRIVER_IO_URING || runtime_info.driver == PENSTOCK_DRIVER_THREADS);
    OK(penstock_runtime_close(runtime));
}

// What cannot be: either of two places, both of two sources, a field that says nothing here.
static void requests_make_sense(uint32_t driver) {
    penstock_runtime runtime = make_runtime(driver);
    penstock_queue queue = make_queue(runtime, 0, PENSTOCK_WHEN_FULL_BLOCK);
    penstock_file file = open_file(runtime, path, PENSTOCK_ACCESS_READ);
    penstock_buffer buffer;
    OK(penstock_buffer_create(device, 4096, 0, &buffer));
    const penstock_request good = read_request(file, 0, memory, 100);
    penstock_request bad;
#define REFUSED(expected, change)                                      \
    bad = good;                                                        \
    change;                                                            \
    EXPECT(expected, penstock_enqueue(queue, &bad, 1, NULL))
    REFUSED(PENSTOCK_ERROR_INVALID_ARGUMENT, bad.reserved = 1);
    REFUSED(PENSTOCK_ERROR_INVALID_ARGUMENT, bad.buffer = buffer);
    REFUSED(PENSTOCK_ERROR_INVALID_ARGUMENT, bad.source = memory);
    REFUSED(PENSTOCK_ERROR_NOT_SUPPORTED, (bad.source = memory, bad.file.id = 0, bad.operation = PENSTOCK_WRITE));
    REFUSED(PENSTOCK_ERROR_INVALID_ARGUMENT, (bad.source = memory, bad.file.id = 0, bad.size = 0));
    REFUSED(PENSTOCK_ERROR_INVALID_RANGE, (bad.source = (void *)(UINTPTR_MAX - 10), bad.file.id = 0));
    REFUSED(PENSTOCK_ERROR_INVALID_RANGE, bad.memory = (void *)(UINTPTR_MAX - 10));
    // A deadline that has passed when it begins, also of what is decoded.
    bad = good;
    bad.timeout = 1;
    bad.compression = PENSTOCK_COMPRESSION_CUSTOM;
    bad.uncompressed_size = 100;
    bad.decoder = decode_one_more;
    const penstock_result result = result_of(queue, &bad);
    CHECK(result == PENSTOCK_ERROR_DEADLINE_EXCEEDED || result == PENSTOCK_OK);
    // One that never comes.
    bad.timeout = UINT64_MAX;
    OK(result_of(queue, &bad));
    OK(penstock_buffer_close(buffer));
    OK(penstock_runtime_close(runtime));
}

typedef struct closing_queue {
    penstock_queue queue;
    pthread_barrier_t barrier;
} closing_queue;

static void *close_it(void *user_data) {
    closing_queue *closing = (closing_queue *)user_data;
    pthread_barrier_wait(&closing->barrier);
    OK(penstock_queue_close(closing->queue));
    return NULL;
}

// A status that is refused leaves its word alone, even if the queue is closed in the same moment.
static void refused_statuses_are_left_alone(uint32_t driver) {
    enum { ROUNDS = 2000, MOST = 64, UNTOUCHED = 77 };
    penstock_runtime runtime = make_runtime(driver);
    closing_queue closing;
    CHECK(pthread_barrier_init(&closing.barrier, NULL, 2) == 0);
    for (int round = 0; round < ROUNDS; round++) {
        OK(penstock_queue_create(runtime, NULL, &closing.queue));
        pthread_t thread;
        CHECK(pthread_create(&thread, NULL, close_it, &closing) == 0);
        pthread_barrier_wait(&closing.barrier);
        penstock_status status[MOST + 1];
        int count = 0;
        penstock_result result = PENSTOCK_OK;
        while (result == PENSTOCK_OK && count < MOST) {
            status[count] = UNTOUCHED;
            result = penstock_enqueue_status(closing.queue, &status[count]);
            if (result == PENSTOCK_OK) count++;
        }
        pthread_join(thread, NULL);
        if (result != PENSTOCK_OK) CHECK(status[count] == UNTOUCHED);
        for (int index = 0; index < count; index++) EXPECT(PENSTOCK_OK, penstock_status_load(&status[index]));
    }
    pthread_barrier_destroy(&closing.barrier);
    OK(penstock_runtime_close(runtime));
}

// What numbers there are come back, whatever they are.
static void numbers_may_be_large(uint32_t driver) {
    penstock_runtime runtime = make_runtime(driver);
    penstock_queue queue = make_queue(runtime, 0, PENSTOCK_WHEN_FULL_BLOCK);
    // Nothing is in it, so that nothing can come of what asks for more than its memory holds.
    penstock_file file = new_file(runtime, folder, "empty");
    size_t accepted = 5;
    static unsigned char byte;
    penstock_request request = read_request(file, 0, &byte, 1);
    EXPECT(PENSTOCK_ERROR_INVALID_ARGUMENT, penstock_enqueue(queue, &request, SIZE_MAX, &accepted));
    CHECK(accepted == 0);
    request.size = INT64_MAX;
    request.tag = 9;
    for (int index = 0; index < 2; index++) {
        const penstock_result result = penstock_enqueue(queue, &request, 1, NULL);
        if (result != PENSTOCK_OK) EXPECT(PENSTOCK_ERROR_INVALID_RANGE, result);
    }
    penstock_queue_info info;
    memset(&info, 0, sizeof info);
    info.struct_size = sizeof info;
    OK(penstock_queue_query(queue, &info));
    CHECK(info.bytes_pending % (uint64_t)INT64_MAX == 0);
    OK(penstock_file_close(file));
    OK(penstock_cancel(queue, UINT64_MAX, 9));
    OK(penstock_queue_close(queue));
    OK(penstock_runtime_close(runtime));
}

int main(int count_of_arguments, char **arguments) {
    CHECK(count_of_arguments == 2);
    setvbuf(stdout, NULL, _IOLBF, 0);
    snprintf(folder, sizeof folder, "%s", arguments[1]);
    make_file(path, folder, "large", SIZE);
    OK(penstock_device_create(&device));
    static const driver_test tests[] = {
        TEST(results_have_their_names),
        TEST(handles_that_are_none),
        TEST(structs_may_have_other_sizes),
        TEST(requests_come_in_arrays_of_any_size),
        TEST(callbacks_call_everything),
        TEST(one_thread_dispatches_at_a_time),
        TEST(files_are_closed_under_requests),
        TEST(files_are_opened_in_every_way),
        TEST(options_are_kept_to),
        TEST(requests_make_sense),
        TEST(refused_statuses_are_left_alone),
        TEST(numbers_may_be_large),
    };
    run_tests(tests, sizeof tests / sizeof *tests, NULL);
    OK(penstock_device_close(device));
    return 0;
}
