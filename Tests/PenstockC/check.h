// What the tests of the C interface have in common. C11 and C++11.
#ifndef PENSTOCK_CHECK_H
#define PENSTOCK_CHECK_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dirent.h>
#include <fcntl.h>
#include <penstock.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#if defined __SANITIZE_ADDRESS__ && !defined __cplusplus
// Vulkan's drivers stay loaded, so that what they leave behind is named by where it comes from. In the place of the
// system's function where the program is linked with --export-dynamic-symbol=dlclose.
__attribute__((visibility("default"))) int dlclose(void *library) {
    (void)library;
    return 0;
}

// Not ours.
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) { return "leak:libvulkan_lvp\nleak:libVkLayer\nleak:libLLVM\n"; }
#endif

// Ends the program if the condition does not hold.
#define CHECK(condition)                                                              \
    do {                                                                              \
        if (!(condition)) {                                                           \
            fflush(stdout);                                                           \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);           \
            abort();                                                                  \
        }                                                                             \
    } while (0)

// Ends the program if the call's result is another one.
#define EXPECT(expected, call)                                                        \
    do {                                                                              \
        penstock_result check_result = (call);                                        \
        if (check_result != (expected)) {                                             \
            fflush(stdout);                                                           \
            fprintf(stderr, "%s:%d: %s: %s (%d), not %s\n", __FILE__, __LINE__, #call, \
                    penstock_result_name(check_result), check_result, #expected);     \
            abort();                                                                  \
        }                                                                             \
    } while (0)
#define OK(call) EXPECT(PENSTOCK_OK, call)

static inline uint64_t now_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

// The byte at a place of the files that the tests read.
static inline unsigned char pattern(uint64_t offset) { return (unsigned char)(offset * 131 + (offset >> 8) * 7 + 3); }

static inline void fill(unsigned char *bytes, uint64_t offset, size_t size) {
    for (size_t index = 0; index < size; index++) bytes[index] = pattern(offset + index);
}

static inline int matches(const unsigned char *bytes, uint64_t offset, size_t size) {
    for (size_t index = 0; index < size; index++)
        if (bytes[index] != pattern(offset + index)) return 0;
    return 1;
}

// Writes a file of the pattern, whose name is put into `path`, of at least 64 bytes.
static inline void make_file(char *path, const char *folder, const char *name, size_t size) {
    snprintf(path, 256, "%s/%s", folder, name);
    unsigned char *bytes = (unsigned char *)malloc(size ? size : 1);
    fill(bytes, 0, size);
    FILE *file = fopen(path, "wb");
    CHECK(file && fwrite(bytes, 1, size, file) == size && fclose(file) == 0);
    free(bytes);
}

// How many entries a folder has: of /proc/self/task, threads; of /proc/self/fd, descriptors.
static inline int count_entries(const char *folder) {
    int count = 0;
    DIR *directory = opendir(folder);
    CHECK(directory);
    while (readdir(directory)) count++;
    closedir(directory);
    return count;
}

// Until there are so many. A thread that has been joined may be listed a moment longer.
static inline void await_entries(const char *folder, int expected) {
    const uint64_t start = now_ns();
    while (count_entries(folder) != expected) {
        CHECK(now_ns() - start < 5000000000u);
        sched_yield();
    }
}

// A runtime with nothing special about it but its driver, PENSTOCK_DRIVER_…
static inline penstock_runtime make_runtime(uint32_t driver) {
    penstock_runtime_options options;
    memset(&options, 0, sizeof options);
    options.struct_size = sizeof options;
    options.driver = driver;
    penstock_runtime runtime;
    OK(penstock_runtime_create(&options, &runtime));
    return runtime;
}

static inline penstock_queue make_queue(penstock_runtime runtime, uint32_t capacity, uint32_t when_full) {
    penstock_queue_options options;
    memset(&options, 0, sizeof options);
    options.struct_size = sizeof options;
    options.capacity = capacity;
    options.when_full = when_full;
    options.capacity_limit = when_full == PENSTOCK_WHEN_FULL_GROW ? 2 * capacity : 0;
    penstock_queue queue;
    OK(penstock_queue_create(runtime, &options, &queue));
    return queue;
}

static inline penstock_file open_file(penstock_runtime runtime, const char *path, uint32_t access) {
    penstock_file file;
    OK(penstock_file_open(runtime, path, access, PENSTOCK_CACHING_AUTOMATIC, &file));
    return file;
}

// A new file for what the tests write, of which nothing is kept.
static inline penstock_file new_file(penstock_runtime runtime, const char *folder, const char *name) {
    char path[300];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return open_file(runtime, path,
                     PENSTOCK_ACCESS_READ | PENSTOCK_ACCESS_WRITE | PENSTOCK_ACCESS_CREATE | PENSTOCK_ACCESS_TRUNCATE);
}

static inline penstock_request read_request(penstock_file file, uint64_t offset, void *memory, uint64_t size) {
    penstock_request request;
    memset(&request, 0, sizeof request);
    request.struct_size = sizeof request;
    request.operation = PENSTOCK_READ;
    request.file = file;
    request.offset = offset;
    request.memory = memory;
    request.size = size;
    return request;
}

// What has been heard of a request: how often, and what it was. For `keep_ending`, as the request's `user_data`.
typedef struct ending {
    int count;
    penstock_completion completion;
} ending;

static inline void keep_ending(const penstock_completion *completion) {
    ending *kept = (ending *)completion->user_data;
    kept->completion = *completion;
    __atomic_fetch_add(&kept->count, 1, __ATOMIC_RELEASE);
}

// Enqueues a request, waits for its end, and returns what is told of it: in its callback, its status word, the error
// record and the wait, which must agree. For requests without callback and status of their own, on queues that have
// nothing else to do and deliver on the runtime's thread.
static inline penstock_completion perform(penstock_queue queue, const penstock_request *original) {
    ending end;
    penstock_status status = 1234;
    penstock_request request = *original;
    penstock_error_record record;
    memset(&end, 0, sizeof end);
    memset(&record, 0, sizeof record);
    record.struct_size = sizeof record;
    request.callback = keep_ending;
    request.user_data = &end;
    request.status = &status;
    OK(penstock_take_errors(queue, &record));
    OK(penstock_enqueue(queue, &request, 1, NULL));
    OK(penstock_wait(queue, UINT64_MAX));
    CHECK(__atomic_load_n(&end.count, __ATOMIC_ACQUIRE) == 1);
    const penstock_completion *completion = &end.completion;
    CHECK(completion->struct_size == sizeof *completion && completion->result == penstock_status_load(&status));
    CHECK(completion->operation == request.operation && completion->offset == request.offset);
    CHECK(completion->size == request.size && completion->tag == request.tag && completion->name == request.name);
    OK(penstock_take_errors(queue, &record));
    CHECK(record.count == (completion->result != PENSTOCK_OK));
    if (completion->result == PENSTOCK_OK) {
        CHECK(completion->os_error == 0 && completion->device_result == 0);
    } else {
        CHECK(completion->bytes == 0 && record.first.result == completion->result);
    }
    return *completion;
}

// The result alone.
static inline penstock_result result_of(penstock_queue queue, const penstock_request *request) {
    return perform(queue, request).result;
}

// The bytes of a file, read with the system's own calls, must be the pattern from `offset` on.
static inline void expect_file(const char *folder, const char *name, uint64_t offset, size_t size) {
    char path[300];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    unsigned char *bytes = (unsigned char *)malloc(size);
    FILE *file = fopen(path, "rb");
    CHECK(file && fread(bytes, 1, size, file) == size && fclose(file) == 0);
    CHECK(matches(bytes, offset, size));
    free(bytes);
}

// A test that is run with each driver.
typedef struct driver_test {
    const char *name;
    void (*run)(uint32_t driver);
} driver_test;
#define TEST(name) {#name, name}

// Runs tests with both drivers, and says how long each took; `after`, if not NULL, is called after each.
static inline void run_tests(const driver_test *tests, size_t count, void (*after)(void)) {
    const uint32_t drivers[] = {PENSTOCK_DRIVER_IO_URING, PENSTOCK_DRIVER_THREADS};
    for (int driver = 0; driver < 2; driver++) {
        for (size_t index = 0; index < count; index++) {
            const uint64_t start = now_ns();
            tests[index].run(drivers[driver]);
            printf("ok  %-36s %s  %6.1f ms\n", tests[index].name, driver ? "threads " : "io_uring",
                   (double)(now_ns() - start) / 1e6);
            fflush(stdout);
            if (after) after();
        }
    }
}

#endif
